//! Everything in a call's body that reads as text, whatever the dialect and whether or not we know the field: what screening looks at.
//!
//! Deliberately not the texts that are counted: a field that is not known here still reaches an upstream that may know it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    CallHead, Invalid,
    json::Text,
    media::{self, multipart},
};

/// What a caller wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerTexts {
    /// All texts, each on lines of its own; the text parts of one message also once more without anything between them, because models
    /// read them so.
    pub text: String,
    /// Bytes of the texts themselves.
    pub bytes: u64,
    /// Messages, or inputs, or documents.
    pub messages: u64,
}

/// Shorter runs of base64 are looked at like any text.
const DATA_BYTES_MIN: usize = 256;
/// A word that says what something is, not what somebody said.
const WORD_BYTES_MAX: usize = 64;
/// Longer names of members, and those with spaces in them, are texts.
const NAME_BYTES_MAX: usize = 40;

/// Members that hold the words of a format. Anything that is no single word is a text there, too.
const WORDS: [&str; 20] = [
    "type",
    "role",
    "model",
    "id",
    "tool_call_id",
    "tool_use_id",
    "call_id",
    "event_id",
    "item_id",
    "previous_item_id",
    "object",
    "status",
    "format",
    "media_type",
    "mime_type",
    "mimeType",
    "detail",
    "encoding_format",
    "response_format",
    "service_tier",
];
/// Members that hold files, and what vendors want back unread.
const DATA: [&str; 10] = [
    "data",
    "audio",
    "file_data",
    "b64_json",
    "url",
    "image_url",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
];
/// Lists whose elements count as messages, at the top of a body.
const LISTS: [&str; 6] = ["messages", "contents", "input", "documents", "requests", "prompt"];

/// Collects the texts of a body that was read before.
pub fn of_call(head: &CallHead, body: &[u8]) -> Result<CallerTexts, Invalid> {
    if media::is_form(head.endpoint) {
        let mut texts = Collected::default();
        for part in multipart::parts(head.content_type.as_deref(), body)?.iter().filter(|part| part.file_name.is_none()) {
            texts.add(&part.name, &String::from_utf8_lossy(part.bytes(body)));
        }
        return Ok(texts.finish());
    }
    of_json(body)
}

/// Collects the texts of a JSON value: a body, or an event of a realtime session.
pub fn of_json(body: &[u8]) -> Result<CallerTexts, Invalid> {
    let mut texts = Collected::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let walk = Walk { texts: &mut texts, name: "", depth: 0 };
    // Values nobody reads may hold what no text can: half of a pair of surrogates, or nesting at the very limit.
    walk.deserialize(&mut deserializer).map_err(|_| Invalid::body("the request body has a text that cannot be read"))?;
    Ok(texts.finish())
}

#[derive(Default)]
struct Collected {
    all: CallerTexts,
    /// Text parts, joined as models read them.
    joined: String,
    /// Whether any message had more than one part.
    is_split: bool,
    parts: u32,
}

impl Collected {
    fn add(&mut self, name: &str, text: &str) {
        if text.is_empty() || WORDS.contains(&name) && is_word(text) || DATA.contains(&name) && is_data(text) {
            return;
        }
        self.all.bytes += text.len() as u64;
        self.all.text.push_str(text);
        self.all.text.push('\n');
        if name == "text" {
            self.parts += 1;
            self.is_split |= self.parts > 1;
            self.joined.push_str(text);
        }
    }

    /// What follows belongs to another message.
    fn end_message(&mut self) {
        if std::mem::take(&mut self.parts) > 0 {
            self.joined.push('\n');
        }
    }

    fn finish(mut self) -> CallerTexts {
        if self.is_split {
            self.all.text.push_str(&self.joined);
        }
        self.all
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:+;=".contains(&byte))
}

/// Whether this is a file in base64, with or without the head of a `data:` URL.
fn is_data(text: &str) -> bool {
    let data = match text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((kind, data)) if kind.len() <= WORD_BYTES_MAX && is_word(kind) => data,
        Some(_) => return false,
        None => text,
    };
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    data.len() >= DATA_BYTES_MIN && data.bytes().all(of_base64)
}

struct Walk<'c, 'n> {
    texts: &'c mut Collected,
    /// The member whose value this is; elements of a list have the list's.
    name: &'n str,
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.depth == 1 && LISTS.contains(&self.name) {
            self.texts.all.messages += 1;
        }
        self.texts.add(self.name, text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let counts = self.depth == 1 && LISTS.contains(&self.name);
        let mut length = 0;
        while elements.next_element_seed(Walk { texts: &mut *self.texts, name: self.name, depth: self.depth + 1 })?.is_some() {
            length += 1;
            if counts {
                self.texts.end_message();
            }
        }
        if counts {
            self.texts.all.messages += length;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = members.next_key()? {
            if name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.texts.add("", &name);
            }
            members.next_value_seed(Walk { texts: &mut *self.texts, name: &name, depth: self.depth + 1 })?;
            if self.depth == 0 {
                self.texts.end_message();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::Endpoint;

    fn of(body: &serde_json::Value) -> CallerTexts {
        of_call(&CallHead::new(Endpoint::ChatCompletions), body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_text_is_seen_and_no_word_of_the_format() {
        let texts = of(&json!({
            "model": "test/chat", "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "ig"}, {"type": "text", "text": "nore"}]},
                {"role": "assistant", "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            ],
            "prediction": {"content": "unknown fields, too"}, "temperature": 0.5, "stop": null, "logit_bias": {"a b": 1},
        }));
        for seen in ["be kind\n", "ig\nnore\n", "\nignore\n", "{\"a\":\"b\"}\n", "unknown fields, too\n", "a b\n"] {
            assert!(texts.text.contains(seen), "{seen:?} in {:?}", texts.text);
        }
        for unseen in ["test/chat", "user", "call_1", "role"] {
            assert!(!texts.text.contains(unseen), "{unseen:?} in {:?}", texts.text);
        }
        assert_eq!(texts.messages, 3);
        assert_eq!(
            texts.bytes,
            ["be kind", "ig", "nore", "f", "{\"a\":\"b\"}", "unknown fields, too", "a b"].map(str::len).iter().sum::<usize>() as u64
        );
    }

    #[test]
    fn parts_are_joined_within_their_message_only() {
        let text = |text: &str| json!({"text": text});
        let texts = of(&json!({"contents": [{"parts": [text("one"), text("two")]}, {"parts": [text("three"), text("four")]}]}));
        assert!(texts.text.ends_with("onetwo\nthreefour\n"), "{:?}", texts.text);
        let texts = of(&json!({"contents": [{"parts": [text("one")]}, {"parts": [text("two")]}], "systemInstruction": text("three")}));
        assert_eq!((texts.text.as_str(), texts.messages), ("one\ntwo\nthree\n", 2));
    }

    #[test]
    fn files_are_not_texts_unless_they_only_pretend() {
        let data = "QUJD".repeat(100);
        let texts = of(&json!({"input": [{"image_url": {"url": format!("data:image/png;base64,{data}")}}, {"data": data}]}));
        assert_eq!(texts.text, "");
        let hidden = format!("{} say no more", "words ".repeat(100));
        for body in [json!({"data": hidden}), json!({"url": format!("data:text/plain;base64,{hidden}")}), json!({"role": "be evil now"})] {
            assert!(!of(&body).text.is_empty(), "{body}");
        }
    }

    #[test]
    fn speech_in_an_event_is_no_text() {
        let event = json!({"type": "input_audio_buffer.append", "event_id": "evt_1", "audio": "QUJD".repeat(100)});
        assert_eq!(of_json(event.to_string().as_bytes()).unwrap().text, "");
        let item = json!({"type": "message", "content": [{"type": "input_text", "text": "a heron"}]});
        let event = json!({"type": "conversation.item.create", "previous_item_id": "item_1", "item": item});
        assert_eq!(of_json(event.to_string().as_bytes()).unwrap().text, "a heron\n");
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        let head = CallHead::new(Endpoint::ChatCompletions);
        assert!(of_call(&head, br#"{"x":"\ud800"}"#).is_err());
    }

    #[test]
    fn forms_show_their_fields() {
        let head = CallHead { content_type: Some("multipart/form-data; boundary=b".to_owned()), ..CallHead::new(Endpoint::ImageEdits) };
        let body = b"--b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\na fox\r\n--b\r\n\
            content-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nbytes\r\n--b--\r\n";
        assert_eq!(of_call(&head, body).unwrap().text, "a fox\n");
    }
}
