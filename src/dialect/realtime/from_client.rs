//! What a caller sends: how much input it adds, whether it asks for a response, and the model it may name.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{IMAGE_TOKENS, sound::decoded_bytes};
use crate::dialect::{
    Invalid,
    json::{self, Edit, Prose, Text},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ResponseCreate,
    ResponseCancel,
    Other,
}

/// What an event adds to the conversation, as far as it can be told before the upstream counts it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// To be counted.
    pub text: String,
    /// Bytes of sound.
    pub sound_bytes: u64,
    /// Tokens of everything else.
    pub tokens: u64,
}

/// An event, ready to be forwarded.
#[derive(Debug, PartialEq, Eq)]
pub struct FromClient {
    pub kind: Kind,
    pub input: Input,
    /// The event with the upstream's name of the model, where it was named.
    pub message: String,
}

/// What the model is called on both sides.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// What the caller asked for, and the model's own id; either is understood.
    pub public: [&'a str; 2],
    pub upstream: &'a str,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

impl FromClient {
    /// The error says what cannot be understood; such an event must not be forwarded, because it cannot be metered.
    pub fn read(message: &str, names: Names<'_>) -> Result<Self, Invalid> {
        let wire: Wire<'_> = serde_json::from_str(message)
            .map_err(|error| Invalid::body(format!("an event has to be a JSON object with a 'type', each member once: {error}")))?;
        let mut edits = Vec::new();
        for (object, param) in [(wire.session, "session.model"), (wire.response, "response.model")] {
            edits.extend(object.map(|object| rename(message, object, param, names)).transpose()?.flatten());
        }
        for (object, param) in [(wire.session, "session.prompt"), (wire.response, "response.prompt")] {
            no_prompt(object, param)?;
        }
        edits.sort_by_key(|edit: &Edit| edit.at.start);
        let mut input = Input::default();
        let kind = match &*wire.kind.0 {
            "response.create" => Kind::ResponseCreate,
            "response.cancel" => Kind::ResponseCancel,
            _ => Kind::Other,
        };
        input.sound_bytes = wire.audio.map_or(0, decoded_bytes);
        if let Some(item) = wire.item {
            input.add_item(item);
        }
        for object in [wire.session, wire.response].into_iter().flatten() {
            input.add_instructions(object);
        }
        let message = match edits.is_empty() {
            true => message.to_owned(),
            false => String::from_utf8_lossy(&json::splice(message.as_bytes(), &edits)).into_owned(),
        };
        Ok(Self { kind, input, message })
    }
}

impl Input {
    fn add_item(&mut self, item: &RawValue) {
        #[derive(Deserialize)]
        struct Item<'a> {
            #[serde(borrow, default)]
            content: Vec<&'a RawValue>,
            #[serde(borrow, default)]
            arguments: Option<Prose<'a>>,
            #[serde(borrow, default)]
            output: Option<Prose<'a>>,
        }
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow, default)]
            text: Option<Prose<'a>>,
            #[serde(borrow, default)]
            transcript: Option<Prose<'a>>,
            #[serde(borrow, default)]
            audio: Option<&'a RawValue>,
            #[serde(borrow, default)]
            image_url: Option<&'a RawValue>,
        }
        // What is no item is refused by the upstream; it adds nothing.
        let Ok(item) = serde_json::from_str::<Item<'_>>(item.get()) else { return };
        for Prose(text) in [item.arguments, item.output].into_iter().flatten() {
            self.text.push_str(&text);
        }
        for content in item.content.iter().filter_map(|content| serde_json::from_str::<Content<'_>>(content.get()).ok()) {
            for Prose(text) in [content.text, content.transcript].into_iter().flatten() {
                self.text.push_str(&text);
            }
            self.sound_bytes = self.sound_bytes.saturating_add(content.audio.map_or(0, decoded_bytes));
            self.tokens = self.tokens.saturating_add(content.image_url.map_or(0, |_| IMAGE_TOKENS));
        }
    }

    fn add_instructions(&mut self, object: &RawValue) {
        #[derive(Deserialize)]
        struct Given<'a> {
            #[serde(borrow, default)]
            instructions: Option<Prose<'a>>,
            #[serde(borrow, default)]
            tools: Option<&'a RawValue>,
            #[serde(borrow, default)]
            input: Option<Vec<&'a RawValue>>,
        }
        let Ok(given) = serde_json::from_str::<Given<'_>>(object.get()) else { return };
        self.text.push_str(&given.instructions.unwrap_or_default().0);
        self.text.push_str(given.tools.map_or("", RawValue::get));
        for item in given.input.unwrap_or_default() {
            self.add_item(item);
        }
    }
}

/// A prompt that is kept at the vendor lies in an account that all callers share.
fn no_prompt(object: Option<&RawValue>, param: &str) -> Result<(), Invalid> {
    let members = object.and_then(|object| json::members(object.get())).unwrap_or_default();
    match members.iter().any(|(name, value)| name == "prompt" && value.get() != "null") {
        true => Err(Invalid {
            message: "prompts that are kept at the vendor cannot be used here; send their text as 'instructions'".to_owned(),
            param: Some(param.to_owned()),
        }),
        false => Ok(()),
    }
}

/// The edit that puts the upstream's name of the model in place of the caller's. Another model would be used at this one's prices.
fn rename(message: &str, object: &RawValue, param: &str, names: Names<'_>) -> Result<Option<Edit>, Invalid> {
    let invalid = |said: String| Invalid { message: said, param: Some(param.to_owned()) };
    let members = json::members(object.get()).unwrap_or_default();
    let mut named = members.iter().filter(|(name, _)| name == "model");
    let (Some((_, model)), None) = (named.next(), named.next()) else {
        return match members.iter().any(|(name, _)| name == "model") {
            true => Err(invalid("the model is named twice; name it once, or not at all".to_owned())),
            false => Ok(None),
        };
    };
    let Ok(Text(model_name)) = serde_json::from_str::<Text<'_>>(model.get()) else {
        return Err(invalid("the model's name has to be a string".to_owned()));
    };
    if !names.public.contains(&&*model_name) {
        return Err(invalid(format!(
            "a session keeps the model it began with, '{}'; open another session for another model",
            names.public[1]
        )));
    }
    let upstream = serde_json::Value::from(names.upstream).to_string();
    Ok(Some(Edit { at: json::span_in(message.as_bytes(), model.get()), with: upstream }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names { public: ["alias", "our/voice"], upstream: "gpt-realtime" };

    fn read(message: &str) -> FromClient {
        FromClient::read(message, NAMES).unwrap()
    }

    #[test]
    fn a_prompt_of_the_vendors_account_is_refused() {
        for (event, param) in [
            (r#"{"type":"session.update","session":{"prompt":{"id":"pmpt_1"}}}"#, "session.prompt"),
            (r#"{"type":"response.create","response":{"prompt":{"id":"pmpt_1"}}}"#, "response.prompt"),
        ] {
            assert_eq!(FromClient::read(event, NAMES).unwrap_err().param.as_deref(), Some(param));
        }
        read(r#"{"type":"session.update","session":{"prompt":null}}"#);
    }

    #[test]
    fn the_model_is_renamed_and_cannot_be_changed() {
        let event = read(r#"{"type":"session.update","session":{"model":"alias","instructions":"Be brief"}}"#);
        assert_eq!(event.message, r#"{"type":"session.update","session":{"model":"gpt-realtime","instructions":"Be brief"}}"#);
        assert_eq!(event.input.text, "Be brief");
        for odd in [
            r#"{"type":"session.update","session":{"model":"gpt-realtime-dear"}}"#,
            r#"{"type":"session.update","session":{"model":"alias","model":"dear"}}"#,
            r#"{"type":"session.update","session":{},"session":{"model":"dear"}}"#,
            r#"{"type":"session.update","session":{"m\u006fdel":"dear"}}"#,
            r#"{"type":"response.create","response":{"model":"dear"}}"#,
            "[]",
            "no json",
            r#"{"session":{}}"#,
        ] {
            assert!(FromClient::read(odd, NAMES).is_err(), "{odd}");
        }
    }

    #[test]
    fn input_is_found_wherever_it_is() {
        let sound = read(r#"{"type":"input_audio_buffer.append","audio":"AAAAAAAA"}"#);
        assert_eq!((sound.kind, sound.input.sound_bytes), (Kind::Other, 6));
        let item = read(
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_audio","audio":"AAAA"},{"type":"input_image","image_url":"data:x"}]}}"#,
        );
        assert_eq!(item.input, Input { text: "Hi".to_owned(), sound_bytes: 3, tokens: IMAGE_TOKENS });
        let response = read(r#"{"type":"response.create","response":{"input":[{"type":"function_call_output","output":"42"}]}}"#);
        assert_eq!((response.kind, response.input.text.as_str()), (Kind::ResponseCreate, "42"));
        assert_eq!(read(r#"{"type":"response.cancel"}"#).kind, Kind::ResponseCancel);
    }
}
