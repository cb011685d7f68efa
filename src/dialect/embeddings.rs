//! Embedding calls between dialects, through [`canonical::Embeddings`](Embeddings).

use std::{borrow::Cow, rc::Rc};

use bytes::Bytes;

use super::{
    CallHead, Charge, Endpoint, Garbage, Invalid, Whole,
    canonical::{Embeddings, Encoding},
    format::{Aim, Unsupported, Written},
    gemini, openai,
};
use crate::domain::pricing::Quantities;

/// Reads a call of any dialect.
pub fn read(head: &CallHead, body: &[u8]) -> Result<Embeddings, Invalid> {
    match head.endpoint {
        Endpoint::Embeddings => openai::embeddings::read_request(body),
        _ => gemini::embeddings::read_request(head, body),
    }
}

/// Writes a call for an upstream that is asked at `endpoint`.
pub fn write(endpoint: Endpoint, request: &Embeddings, aim: &Aim<'_>) -> Result<Written, Unsupported> {
    match endpoint {
        Endpoint::Embeddings => openai::embeddings::write_request(request, aim),
        _ => gemini::embeddings::write_request(request, aim),
    }
}

/// Reads the answer of an upstream that was asked at `upstream`, for a caller at `caller` who names the model so.
pub fn whole(caller: Endpoint, upstream: Endpoint, request: &Rc<Embeddings>, body: &[u8], model: &str) -> Result<Box<dyn Whole>, Garbage> {
    let embedded = match upstream {
        Endpoint::Embeddings => openai::embeddings::read_answer(body)?,
        _ => gemini::embeddings::read_answer(body)?,
    };
    let (found, asked) = (embedded.vectors.len(), request.inputs.len());
    if found != asked {
        return Err(Garbage(format!("the answer has {found} embeddings for {asked} inputs")));
    }
    let encoding = if caller == Endpoint::Embeddings { request.encoding } else { Encoding::Float };
    let vectors = embedded.vectors.iter().map(|vector| Some(vector.json(encoding)?.text().to_owned()));
    let vectors =
        vectors.collect::<Option<Vec<String>>>().ok_or_else(|| Garbage("the answer has an embedding that is no vector".to_owned()))?;
    Ok(Box::new(Translated { caller, vectors, usage: embedded.usage, model: model.to_owned() }))
}

struct Translated {
    caller: Endpoint,
    /// In the caller's encoding, as JSON.
    vectors: Vec<String>,
    usage: Option<Quantities>,
    model: String,
}

impl Whole for Translated {
    fn id(&self) -> Option<&str> {
        None
    }

    fn usage(&self) -> Option<Quantities> {
        self.usage
    }

    fn produced_tokens(&self) -> u64 {
        0
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        let vectors: Vec<&str> = self.vectors.iter().map(String::as_str).collect();
        let body = match self.caller {
            Endpoint::Embeddings => openai::embeddings::write_answer(&vectors, &self.model, charge),
            endpoint => gemini::embeddings::write_answer(&vectors, endpoint, charge),
        };
        (body, Cow::Borrowed("application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(encoding: Encoding, inputs: usize) -> Rc<Embeddings> {
        let input = super::super::canonical::EmbeddingInput::Text("a".to_owned());
        Rc::new(Embeddings { encoding, inputs: vec![input; inputs], ..Embeddings::default() })
    }

    fn answer(caller: Endpoint, upstream: Endpoint, encoding: Encoding, body: &str) -> String {
        let whole = whole(caller, upstream, &request(encoding, 1), body.as_bytes(), "ours").unwrap();
        let charge = Charge { cost_micros: 1, quantities: Quantities::default(), ..Charge::default() };
        String::from_utf8(whole.finish(&charge).0.to_vec()).unwrap()
    }

    #[test]
    fn vectors_reach_each_dialect_in_its_form() {
        let gemini = r#"{"embeddings":[{"values":[1.0]}]}"#;
        let openai = r#"{"data":[{"index":0,"embedding":"AACAPw=="}]}"#;
        let batch = Endpoint::BatchEmbedContents;
        assert!(answer(Endpoint::Embeddings, batch, Encoding::Base64, gemini).contains(r#""embedding":"AACAPw==""#));
        assert!(answer(Endpoint::Embeddings, batch, Encoding::Float, gemini).contains(r#""embedding":[1.0]"#));
        assert!(answer(batch, Endpoint::Embeddings, Encoding::Float, openai).starts_with(r#"{"embeddings":[{"values":[1.0]}]"#));
        assert!(answer(Endpoint::EmbedContent, batch, Encoding::Float, gemini).starts_with(r#"{"embedding":{"values":[1.0]}"#));
    }

    #[test]
    fn every_input_needs_its_vector() {
        let body = br#"{"embeddings":[{"values":[1.0]}]}"#;
        assert!(whole(Endpoint::Embeddings, Endpoint::BatchEmbedContents, &request(Encoding::Float, 2), body, "ours").is_err());
        let odd = br#"{"embeddings":[{"values":[null]}]}"#;
        assert!(whole(Endpoint::Embeddings, Endpoint::BatchEmbedContents, &request(Encoding::Base64, 1), odd, "ours").is_err());
    }
}
