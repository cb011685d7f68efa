//! Peeking at JSON text and splicing into it, without building a tree.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A string that borrows from the input unless it has escapes. (`Option<Cow<str>>` alone would always copy.)
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Deserialises a field that is there, `null` included; use with `default` so that `None` means absent.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Whatever text a value holds: a string as it is, the strings inside arrays and objects joined, nothing for the rest.
/// Vendors put text in more shapes than the specification has, and a shape we do not know must not break a stream.
#[derive(Debug, Default)]
pub(crate) struct Prose<'a>(pub Cow<'a, str>);

/// Members that hold names, ids and data, not text the model wrote.
const NOT_PROSE: [&str; 7] = ["type", "id", "index", "signature", "data", "url", "image_url"];

impl<'de: 'a, 'a> Deserialize<'de> for Prose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProseVisitor).map(Self)
    }
}

struct ProseVisitor;

impl<'de> Visitor<'de> for ProseVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut joined = String::new();
        while let Some(Prose(text)) = elements.next_element()? {
            joined.push_str(&text);
        }
        Ok(Cow::Owned(joined))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut joined = String::new();
        while let Some(Text(name)) = members.next_key()? {
            if NOT_PROSE.contains(&&*name) {
                members.next_value::<IgnoredAny>()?;
            } else {
                joined.push_str(&members.next_value::<Prose<'de>>()?.0);
            }
        }
        Ok(Cow::Owned(joined))
    }
}

/// The members of an object as they stand; `None` when the text is none.
pub(crate) fn members(object: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str::<Members<'_>>(object).ok().map(|members| members.0)
}

/// A member of an object and where it lies.
pub(crate) struct MemberSpan<'a> {
    pub name: Cow<'a, str>,
    /// With its quotes.
    pub key: Range<usize>,
    pub value: Range<usize>,
}

/// The members of an object with their places in the text; `None` when the text is none.
pub(crate) fn member_spans(object: &str) -> Option<Vec<MemberSpan<'_>>> {
    let bytes = object.as_bytes();
    let mut at = object.find('{')? + 1;
    let spans = members(object)?.into_iter().map(|(name, raw)| {
        // Between members there is nothing but white space and a comma.
        let start = at + bytes.get(at..)?.iter().position(|byte| *byte == b'"')?;
        let value = span_in(bytes, raw.get());
        at = value.end;
        Some(MemberSpan { name, key: start..end_of_string(bytes, start + 1), value })
    });
    spans.collect()
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// Where `part`, a slice borrowed from `whole`, lies in it.
pub(crate) fn span_in(whole: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

/// Whether arrays and objects nest at most `depth_max` deep. Needed because skipped values are not checked by the parser.
pub(crate) fn nests_within(text: &[u8], depth_max: usize) -> bool {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if depth == depth_max => return false,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(text, at),
            _ => {}
        }
    }
    true
}

fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(rest) = text.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            None => break,
            Some(offset) if rest[offset] == b'"' => return at + offset + 1,
            Some(offset) => at += offset + 2,
        }
    }
    text.len()
}

/// Whether the text is an object, as far as its first byte tells. (Derived structs would also take arrays.)
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// Replaces a span of the original by a text.
#[derive(Debug)]
pub(crate) struct Edit {
    pub at: Range<usize>,
    pub with: String,
}

/// Applies edits (in order of position, disjoint) in one copy.
pub(crate) fn splice(whole: &[u8], edits: &[Edit]) -> Bytes {
    let grown: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut result = Vec::with_capacity(whole.len() + grown);
    let mut copied = 0;
    for edit in edits {
        result.extend_from_slice(&whole[copied..edit.at.start]);
        result.extend_from_slice(edit.with.as_bytes());
        copied = edit.at.end;
    }
    result.extend_from_slice(&whole[copied..]);
    Bytes::from(result)
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    let mut clean = 0;
    out.push(b'"');
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[clean..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        clean = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[clean..]);
    out.push(b'"');
}

/// Appends a value as JSON. Writing to memory fails for no type of ours.
pub(crate) fn push<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// An object that is written member by member; its brace closes when this is dropped.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Where the value of this member is to be written.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        push_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        push(self.key(name), value);
    }

    /// A member that is left out when there is no value.
    pub fn maybe<T: Serialize>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    pub fn object(&mut self, name: &str) -> Object<'_> {
        Object::new(self.key(name))
    }

    pub fn array(&mut self, name: &str) -> Array<'_> {
        Array::new(self.key(name))
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

/// An array that is written element by element; its bracket closes when this is dropped.
pub(crate) struct Array<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Array<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, is_empty: true }
    }

    /// Where the next element is to be written.
    pub fn element(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out
    }

    pub fn object(&mut self) -> Object<'_> {
        Object::new(self.element())
    }
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

/// `text` as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_ignores_strings() {
        assert!(nests_within(br#"{"a":["[[[[\"[[[",{"b":1}]}"#, 3));
        assert!(!nests_within(br#"{"a":[{"b":1}]}"#, 2));
        assert!(nests_within(br#""unterminated \"#, 1));
        assert!(nests_within("[]".repeat(500).as_bytes(), 1));
        assert!(!nests_within("[".repeat(129).as_bytes(), 128));
        assert!(nests_within("[".repeat(128).as_bytes(), 128));
    }

    #[test]
    fn prose_takes_text_out_of_any_shape() {
        let text = |json: &str| serde_json::from_str::<Prose<'_>>(json).expect("JSON").0.into_owned();
        assert_eq!(text(r#""a\nb""#), "a\nb");
        assert_eq!(text("null"), "");
        assert_eq!(text("-1.5"), "");
        assert_eq!(text(r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},"x"]"#), "hmx");
    }

    proptest! {
        #[test]
        fn pushed_strings_read_back(text in "\\PC*|[\\x00-\\x7f]*") {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).expect("JSON"), text);
        }
    }
}
