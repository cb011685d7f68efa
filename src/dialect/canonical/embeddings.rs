//! What an embedding call asks for and what it is answered.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Json, Unmodelled};
use crate::{dialect::tokens, domain::pricing::Quantities};

/// One embedding call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embeddings {
    /// As the caller names it.
    pub model: String,
    pub inputs: Vec<EmbeddingInput>,
    /// Numbers of each vector; the model's own when missing.
    pub dimensions: Option<u64>,
    pub encoding: Encoding,
    /// What the vectors are for (Gemini's `taskType`).
    pub task: Option<String>,
    /// Of the embedded document.
    pub title: Option<String>,
    pub user: Option<String>,
    /// Flat count of what is no text.
    pub media_tokens: u64,
    pub unmodelled: Vec<Unmodelled>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbeddingInput {
    Text(String),
    /// Tokens of the model's own vocabulary.
    Tokens(Vec<u64>),
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

/// The vectors, one an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embedded {
    pub vectors: Vec<Vector>,
    /// In disjoint buckets (`requests` is left at 0); `None` when the upstream reported none.
    pub usage: Option<Quantities>,
}

/// A vector as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vector {
    /// An array of numbers.
    Floats(Json),
    Base64(String),
}

impl Embeddings {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter_map(|input| match input {
            EmbeddingInput::Text(text) => Some(&**text),
            EmbeddingInput::Tokens(_) => None,
        })
    }

    /// Bytes that [`Self::input_tokens`] has to tokenise.
    pub fn text_bytes(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Our count of the input.
    pub fn input_tokens(&self) -> u64 {
        let given = self.inputs.iter().map(|input| match input {
            EmbeddingInput::Text(text) => tokens::count(text),
            EmbeddingInput::Tokens(tokens) => tokens.len() as u64,
        });
        given.sum::<u64>() + self.media_tokens
    }
}

impl Vector {
    /// The same numbers in this encoding, as JSON: an array, or a string. `None` when they are no finite 32-bit floats.
    pub fn json(&self, encoding: Encoding) -> Option<Cow<'_, Json>> {
        match (self, encoding) {
            (Self::Floats(array), Encoding::Float) => Some(Cow::Borrowed(array)),
            (Self::Base64(data), Encoding::Base64) => Some(Cow::Owned(Json::of(data))),
            (Self::Floats(array), Encoding::Base64) => {
                let bytes: Vec<u8> = read_floats(array.text())?.into_iter().flat_map(f32::to_le_bytes).collect();
                Some(Cow::Owned(Json::of(&STANDARD.encode(bytes))))
            }
            (Self::Base64(data), Encoding::Float) => {
                let bytes = STANDARD.decode(data).ok()?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                let floats: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
                let fits = rest.is_empty() && floats.iter().all(|number| number.is_finite());
                // The shortest text that reads as the same 32 bits.
                fits.then(|| Cow::Owned(Json::of(&floats)))
            }
        }
    }
}

/// The numbers of an array, each rounded once: by way of 64 bits some would be rounded twice.
fn read_floats(array: &str) -> Option<Vec<f32>> {
    let inside = array.trim().strip_prefix('[')?.strip_suffix(']')?;
    if inside.trim().is_empty() {
        return Some(Vec::new());
    }
    inside.split(',').map(|number| number.trim().parse::<f32>().ok().filter(|number| number.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn converted(vector: &Vector, encoding: Encoding) -> Option<String> {
        vector.json(encoding).map(|json| json.text().to_owned())
    }

    #[test]
    fn vectors_change_their_form_as_asked() {
        let floats = Vector::Floats(Json::parse("[1.0, -0.5,0]").unwrap());
        assert_eq!(converted(&floats, Encoding::Float).unwrap(), "[1.0, -0.5,0]");
        assert_eq!(converted(&floats, Encoding::Base64).unwrap(), "\"AACAPwAAAL8AAAAA\"");
        let base64 = Vector::Base64("AACAPwAAAL8AAAAA".to_owned());
        assert_eq!(converted(&base64, Encoding::Float).unwrap(), "[1.0,-0.5,0.0]");
        assert_eq!(converted(&Vector::Floats(Json::parse("[]").unwrap()), Encoding::Base64).unwrap(), "\"\"");
    }

    #[test]
    fn what_is_no_vector_is_none() {
        for array in ["{}", "[null]", "[[1]]", "[1e99]", "\"x\""] {
            assert_eq!(converted(&Vector::Floats(Json::parse(array).unwrap()), Encoding::Base64), None, "{array}");
        }
        for data in ["AAAA", "*", "AADAfw=="] {
            assert_eq!(converted(&Vector::Base64(data.to_owned()), Encoding::Float), None, "{data}");
        }
    }

    proptest! {
        #[test]
        fn no_bit_is_lost(floats in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO, 0..20)) {
            let bytes: Vec<u8> = floats.iter().flat_map(|number| number.to_le_bytes()).collect();
            let data = STANDARD.encode(bytes);
            let array = Vector::Base64(data.clone()).json(Encoding::Float).unwrap().into_owned();
            prop_assert_eq!(converted(&Vector::Floats(array), Encoding::Base64).unwrap(), format!("\"{data}\""));
        }
    }
}
