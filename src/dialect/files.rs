//! Files that a call names instead of sending: where it names them, and how their contents get into it. Pure text in, pure text out.
//!
//! Everything behind this (counting, translation, upstreams) sees calls that carry their files themselves.

use std::{borrow::Cow, ops::Range};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::{
    Endpoint, Invalid,
    json::{self, Edit, MemberSpan, Text},
};
use crate::domain::id;

/// No format nests the parts of its messages deeper.
const DEPTH_MAX: usize = 12;

/// A place in a call that names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub id: String,
    /// Where the id stands, as the caller would write it: `messages[0].content[1].file.file_id`.
    pub path: String,
    form: Form,
    /// What is replaced.
    at: Range<usize>,
}

/// How the content is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `{"type":"file","file":{"file_id"}}`, the whole part.
    Chat,
    /// `{"type":"input_file","file_id"}`, the whole part.
    ResponsesFile,
    /// `{"type":"input_image","file_id"}`, the whole part.
    ResponsesImage,
    /// The `source` of an image.
    AnthropicImage,
    /// The `source` of a document.
    AnthropicDocument,
    /// `"fileData":{…}`, name and value.
    Gemini,
}

/// A file with its content.
#[derive(Debug, Clone)]
pub struct Content {
    pub filename: String,
    pub mime: String,
    pub bytes: Bytes,
}

/// Bytes that a content of this length has in a call, at most.
pub fn inlined_bytes(content_bytes: u64) -> u64 {
    const AROUND: u64 = 512;
    content_bytes.div_ceil(3).saturating_mul(4).saturating_add(AROUND)
}

/// Whether the call may name files: a search for a word, since most calls name none.
pub fn may_name(endpoint: Endpoint, body: &[u8]) -> bool {
    needles(endpoint).iter().any(|needle| memmem::find(body, needle).is_some())
}

fn needles(endpoint: Endpoint) -> &'static [&'static [u8]] {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Responses | Endpoint::Messages => &[b"file_id"],
        Endpoint::GenerateContent => &[b"fileUri", b"file_uri"],
        _ => &[],
    }
}

/// Members in which parts of messages may stand.
fn leads_to_parts(endpoint: Endpoint, name: &str) -> bool {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Messages => matches!(name, "messages" | "content"),
        Endpoint::Responses => matches!(name, "input" | "content" | "output"),
        _ => matches!(name, "contents" | "parts" | "functionResponse" | "function_response" | "systemInstruction" | "system_instruction"),
    }
}

/// The places that name files, in their order. A body that cannot be read has none; whoever reads all of it says why.
pub fn mentions(endpoint: Endpoint, body: &[u8]) -> Vec<Mention> {
    let mut finder = Finder { endpoint, body, found: Vec::new() };
    if let Ok(text) = std::str::from_utf8(body) {
        finder.walk(text, String::new(), 0);
    }
    finder.found
}

struct Finder<'a> {
    endpoint: Endpoint,
    body: &'a [u8],
    found: Vec<Mention>,
}

impl Finder<'_> {
    fn walk(&mut self, text: &str, path: String, depth: usize) {
        if depth > DEPTH_MAX || !may_name(self.endpoint, text.as_bytes()) {
            return;
        }
        if json::is_object(text) {
            let Some(members) = json::member_spans(text) else { return };
            if let Some(mention) = self.mention(text, &members, &path) {
                return self.found.push(mention);
            }
            let endpoint = self.endpoint;
            for member in members.iter().filter(|member| leads_to_parts(endpoint, &member.name)) {
                self.walk(&text[member.value.clone()], below(&path, &member.name), depth + 1);
            }
        } else if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
            for (at, element) in elements.into_iter().enumerate() {
                let path = if self.endpoint == Endpoint::Messages { below(&path, &at.to_string()) } else { format!("{path}[{at}]") };
                self.walk(element.get(), path, depth + 1);
            }
        }
    }

    fn mention(&self, text: &str, members: &[MemberSpan<'_>], path: &str) -> Option<Mention> {
        let start = json::span_in(self.body, text).start;
        let whole = start..start + text.len();
        let kind = string(text, members, "type");
        let (id, path, form, at) = match (self.endpoint, kind.as_deref()) {
            (Endpoint::ChatCompletions, Some("file")) => {
                let file = value(text, members, "file")?;
                let inner = json::member_spans(file).filter(|inner| !has(file, inner, "file_data"))?;
                (string(file, &inner, "file_id")?, below(path, "file.file_id"), Form::Chat, whole)
            }
            (Endpoint::Responses, Some("input_file")) if !has(text, members, "file_data") && !has(text, members, "file_url") => {
                (string(text, members, "file_id")?, below(path, "file_id"), Form::ResponsesFile, whole)
            }
            (Endpoint::Responses, Some("input_image")) if !has(text, members, "image_url") => {
                (string(text, members, "file_id")?, below(path, "file_id"), Form::ResponsesImage, whole)
            }
            (Endpoint::Messages, Some(kind @ ("image" | "document"))) => {
                let source = value(text, members, "source")?;
                let inner = json::member_spans(source)?;
                string(source, &inner, "type").filter(|kind| kind == "file")?;
                let form = if kind == "image" { Form::AnthropicImage } else { Form::AnthropicDocument };
                (string(source, &inner, "file_id")?, below(path, "source.file_id"), form, json::span_in(self.body, source))
            }
            (Endpoint::GenerateContent, _) => {
                let member = members.iter().find(|member| matches!(&*member.name, "fileData" | "file_data"))?;
                let data = &text[member.value.clone()];
                let inner = json::member_spans(data)?;
                let name = inner.iter().map(|member| &*member.name).find(|name| matches!(*name, "fileUri" | "file_uri"))?;
                let id = id_of_uri(&string(data, &inner, name)?)?;
                let path = below(&below(path, &member.name), name);
                (Cow::Owned(id), path, Form::Gemini, start + member.key.start..start + member.value.end)
            }
            _ => return None,
        };
        Some(Mention { id: id.into_owned(), path, form, at })
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn value<'a>(object: &'a str, members: &[MemberSpan<'_>], name: &str) -> Option<&'a str> {
    members.iter().find(|member| member.name == name).and_then(|member| object.get(member.value.clone()))
}

fn string<'a>(object: &'a str, members: &[MemberSpan<'_>], name: &str) -> Option<Cow<'a, str>> {
    serde_json::from_str::<Text<'a>>(value(object, members, name)?).ok().map(|text| text.0).filter(|text| !text.is_empty())
}

/// Whether a member is there and says something.
fn has(object: &str, members: &[MemberSpan<'_>], name: &str) -> bool {
    value(object, members, name).is_some_and(|value| value != "null" && value != "\"\"")
}

/// One of our ids at the end of what Gemini calls a URI: `files/file_…`, our own address with it, or the id alone. `None`: another's.
fn id_of_uri(uri: &str) -> Option<String> {
    let (before, last) = uri.rsplit_once('/').unwrap_or(("files", uri));
    let is_ours = (before == "files" || before.ends_with("/files")) && last.starts_with("file_") && id::made_at(last).is_some();
    is_ours.then(|| last.to_owned())
}

/// Puts contents into a call, one for each of its mentions.
pub fn inline<'a>(body: &[u8], mentions: impl IntoIterator<Item = (&'a Mention, &'a Content)>) -> Result<Bytes, Invalid> {
    let mut edits = Vec::new();
    for (mention, content) in mentions {
        let was = body.get(mention.at.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        edits.push(Edit { at: mention.at.clone(), with: written(mention, was, content)? });
    }
    Ok(json::splice(body, &edits))
}

fn written(mention: &Mention, was: &str, content: &Content) -> Result<String, Invalid> {
    let is_image = content.mime.starts_with("image/");
    let refused = |takes: &str| {
        let message = format!("names a file of the type {}, and {takes} belongs here", content.mime);
        Err(Invalid::field(mention.path.clone(), &message))
    };
    match mention.form {
        Form::Chat if is_image => {
            Ok(part(was, &["type", "file"], &[("type", "\"image_url\""), ("image_url", &object(&[("url", &data_url(content))]))]))
        }
        Form::Chat => match sound(content) {
            Some(format) => {
                let sound = object(&[("data", &quoted_base64(content)), ("format", &json::quoted(format))]);
                Ok(part(was, &["type", "file"], &[("type", "\"input_audio\""), ("input_audio", &sound)]))
            }
            None => {
                let name = named(was, &["file", "filename"]).unwrap_or_else(|| content.filename.clone());
                let file = object(&[("filename", &json::quoted(&name)), ("file_data", &data_url(content))]);
                Ok(part(was, &["file"], &[("file", &file)]))
            }
        },
        Form::ResponsesImage if !is_image => refused("an image"),
        Form::ResponsesImage => Ok(part(was, &["file_id", "image_url"], &[("image_url", &data_url(content))])),
        Form::ResponsesFile if is_image => {
            let image = [("type", "\"input_image\""), ("image_url", &data_url(content))];
            Ok(part(was, &["type", "file_id", "filename", "file_data", "file_url"], &image))
        }
        Form::ResponsesFile => {
            let name = named(was, &["filename"]).unwrap_or_else(|| content.filename.clone());
            let file = [("filename", &*json::quoted(&name)), ("file_data", &*data_url(content))];
            Ok(part(was, &["file_id", "filename", "file_data", "file_url"], &file))
        }
        Form::AnthropicImage if !is_image => refused("an image"),
        Form::AnthropicDocument if content.mime != "application/pdf" => match text_of(content) {
            Some(text) => Ok(object(&[("type", "\"text\""), ("media_type", "\"text/plain\""), ("data", &json::quoted(text))])),
            None => refused("a PDF or a text"),
        },
        Form::AnthropicImage | Form::AnthropicDocument => {
            let mime = json::quoted(&content.mime);
            Ok(object(&[("type", "\"base64\""), ("media_type", &mime), ("data", &quoted_base64(content))]))
        }
        Form::Gemini => {
            let data = object(&[("mimeType", &json::quoted(&content.mime)), ("data", &quoted_base64(content))]);
            Ok(format!("\"inlineData\":{data}"))
        }
    }
}

/// The formats of sound that OpenAI's chat takes.
fn sound(content: &Content) -> Option<&'static str> {
    match content.mime.as_str() {
        "audio/wav" | "audio/x-wav" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}

fn text_of(content: &Content) -> Option<&str> {
    let is_text = content.mime.starts_with("text/") || matches!(content.mime.as_str(), "application/json" | "application/xml");
    std::str::from_utf8(&content.bytes).ok().filter(|_| is_text)
}

/// A text at this place in an object.
fn named(object: &str, path: &[&str]) -> Option<String> {
    let members = json::member_spans(object)?;
    match path {
        [name] => string(object, &members, name).map(Cow::into_owned),
        [name, rest @ ..] => named(value(object, &members, name)?, rest),
        [] => None,
    }
}

/// An object without some of its members, and with others in front.
fn part(was: &str, without: &[&str], with: &[(&str, &str)]) -> String {
    let members = json::members(was).unwrap_or_default();
    let kept = members.iter().filter(|(name, _)| !without.contains(&&**name)).map(|(name, raw)| (&**name, raw.get()));
    object(&with.iter().copied().chain(kept).collect::<Vec<_>>())
}

fn object(members: &[(&str, &str)]) -> String {
    let length: usize = members.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let mut out = String::with_capacity(length + 2);
    out.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&json::quoted(name));
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

fn quoted_base64(content: &Content) -> String {
    quoted_data("", content)
}

fn data_url(content: &Content) -> String {
    quoted_data(&format!("data:{};base64,", content.mime), content)
}

/// Base64 needs no escapes, and types are checked when a file is taken in.
fn quoted_data(head: &str, content: &Content) -> String {
    let mut out = String::with_capacity(head.len() + content.bytes.len().div_ceil(3) * 4 + 2);
    out.push('"');
    out.push_str(head);
    BASE64_STANDARD.encode_string(&content.bytes, &mut out);
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PDF: &str = "application/pdf";

    fn content(mime: &str) -> Content {
        Content { filename: "a \"b\".pdf".to_owned(), mime: mime.to_owned(), bytes: Bytes::from_static(b"abc") }
    }

    /// The call with every file put in, and where it named them.
    fn inlined(endpoint: Endpoint, call: &Value, mime: &str) -> Result<(Value, Vec<(String, String)>), Invalid> {
        let body = serde_json::to_vec(call).expect("JSON");
        let mentions = mentions(endpoint, &body);
        let content = content(mime);
        let whole = inline(&body, mentions.iter().map(|mention| (mention, &content)))?;
        Ok((serde_json::from_slice(&whole).expect("JSON"), mentions.into_iter().map(|mention| (mention.id, mention.path)).collect()))
    }

    #[track_caller]
    fn check(endpoint: Endpoint, wrap: impl Fn(Value) -> Value, part: Value, mime: &str, path: &str, expected: Value) {
        let (call, named) = inlined(endpoint, &wrap(part), mime).expect("fits");
        assert_eq!((named.len(), named[0].1.as_str()), (1, path));
        assert_eq!(call, wrap(expected));
    }

    #[test]
    fn chat_parts() {
        let wrap = |part: Value| json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "file_id"}, part]}], "temperature": 0.70});
        let part = json!({"type": "file", "file": {"file_id": "file_1"}, "cache_control": {"type": "ephemeral"}});
        let path = "messages[0].content[1].file.file_id";
        let kept = json!({"type": "ephemeral"});
        let pdf = json!({"type": "file", "file": {"filename": "a \"b\".pdf", "file_data": "data:application/pdf;base64,YWJj"}, "cache_control": kept});
        check(Endpoint::ChatCompletions, wrap, part.clone(), PDF, path, pdf);
        let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}, "cache_control": kept});
        check(Endpoint::ChatCompletions, wrap, part.clone(), "image/png", path, image);
        let sound = json!({"type": "input_audio", "input_audio": {"data": "YWJj", "format": "wav"}, "cache_control": kept});
        check(Endpoint::ChatCompletions, wrap, part, "audio/wav", path, sound);
        let own_name = json!({"type": "file", "file": {"file_id": "file_1", "filename": "mine"}});
        let named = json!({"type": "file", "file": {"filename": "mine", "file_data": "data:application/pdf;base64,YWJj"}});
        check(Endpoint::ChatCompletions, wrap, own_name, PDF, path, named);
    }

    #[test]
    fn responses_parts() {
        let wrap = |part: Value| json!({"input": [{"role": "user", "content": [part]}], "model": "m"});
        let path = "input[0].content[0].file_id";
        let file = json!({"type": "input_file", "file_id": "file_1"});
        let pdf = json!({"type": "input_file", "filename": "a \"b\".pdf", "file_data": "data:application/pdf;base64,YWJj"});
        check(Endpoint::Responses, wrap, file.clone(), PDF, path, pdf);
        let image = json!({"type": "input_image", "image_url": "data:image/png;base64,YWJj"});
        check(Endpoint::Responses, wrap, file, "image/png", path, image);
        let picture = json!({"type": "input_image", "file_id": "file_1", "detail": "low", "image_url": null});
        let shown = json!({"type": "input_image", "image_url": "data:image/png;base64,YWJj", "detail": "low"});
        check(Endpoint::Responses, wrap, picture.clone(), "image/png", path, shown);
        let refused = inlined(Endpoint::Responses, &wrap(picture), PDF).expect_err("no image");
        assert!(refused.to_string().contains(path), "{refused}");
        let outputs = |part: Value| json!({"input": [{"type": "function_call_output", "call_id": "c", "output": [part]}]});
        let part = json!({"type": "input_file", "file_id": "f", "filename": "x"});
        let put = json!({"type": "input_file", "filename": "x", "file_data": "data:application/pdf;base64,YWJj"});
        check(Endpoint::Responses, outputs, part, PDF, "input[0].output[0].file_id", put);
    }

    #[test]
    fn anthropic_blocks() {
        let wrap = |block: Value| json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]}]});
        let path = "messages.0.content.0.content.0.source.file_id";
        let block = |kind: &str, source: Value| json!({"type": kind, "source": source, "title": "t"});
        let file = json!({"type": "file", "file_id": "file_1"});
        let base64 = |mime: &str| json!({"type": "base64", "media_type": mime, "data": "YWJj"});
        check(Endpoint::Messages, wrap, block("document", file.clone()), PDF, path, block("document", base64(PDF)));
        check(Endpoint::Messages, wrap, block("image", file.clone()), "image/png", path, block("image", base64("image/png")));
        let text = json!({"type": "text", "media_type": "text/plain", "data": "abc"});
        check(Endpoint::Messages, wrap, block("document", file.clone()), "text/csv", path, block("document", text));
        for (kind, mime) in [("image", PDF), ("document", "image/png"), ("document", "application/zip")] {
            let refused = inlined(Endpoint::Messages, &wrap(block(kind, file.clone())), mime).expect_err("does not fit");
            assert!(refused.to_string().contains(path), "{refused}");
        }
    }

    #[test]
    fn gemini_parts() {
        let id = id::prefixed("file", 1_700_000_000_000_000, [1; 10]);
        let wrap = |part: Value| json!({"contents": [{"role": "user", "parts": [{"text": "x"}, part]}]});
        let put = json!({"inlineData": {"mimeType": PDF, "data": "YWJj"}, "thought": false});
        for uri in [id.clone(), format!("files/{id}"), format!("https://pix.example/v1/files/{id}")] {
            let part = json!({"fileData": {"mimeType": "x/y", "fileUri": uri}, "thought": false});
            check(Endpoint::GenerateContent, wrap, part, PDF, "contents[0].parts[1].fileData.fileUri", put.clone());
        }
        for other in ["gs://bucket/file_1", "https://x.example/file_1", "files/abc", "https://www.youtube.com/watch?v=file_id"] {
            let part = wrap(json!({"fileData": {"fileUri": other}}));
            assert_eq!(inlined(Endpoint::GenerateContent, &part, PDF).expect("untouched"), (part, Vec::new()), "{other}");
        }
    }

    #[test]
    fn what_only_looks_like_a_file_stays() {
        let calls = [
            (
                Endpoint::ChatCompletions,
                json!({"messages": [{"role": "assistant", "tool_calls": [{"type": "file", "file": {"file_id": "f"}}]}]}),
            ),
            (Endpoint::ChatCompletions, json!({"messages": [{"content": [{"type": "file", "file": {"file_id": "f", "file_data": "d"}}]}]})),
            (
                Endpoint::Messages,
                json!({"messages": [{"content": [{"type": "tool_use", "input": {"type": "image", "source": {"type": "file", "file_id": "f"}}}]}]}),
            ),
            (Endpoint::Responses, json!({"tools": [{"type": "code_interpreter", "container": {"file_ids": ["f"]}}], "input": "file_id"})),
            (Endpoint::Embeddings, json!({"input": [{"type": "input_file", "file_id": "f"}]})),
        ];
        for (endpoint, call) in calls {
            assert_eq!(inlined(endpoint, &call, PDF).expect("untouched"), (call, Vec::new()));
        }
        assert!(mentions(Endpoint::Messages, b"{\"file_id").is_empty() && mentions(Endpoint::Messages, b"\xff file_id").is_empty());
        let deep = "{\"content\":[".repeat(200) + "\"file_id\"" + &"]}".repeat(200);
        assert!(mentions(Endpoint::Messages, deep.as_bytes()).is_empty());
        assert!(!may_name(Endpoint::ChatCompletions, b"{\"messages\":[]}"));
    }
}
