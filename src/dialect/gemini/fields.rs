//! Protobuf JSON, read leniently: both spellings of every field, `null` as absent, one value in place of a list, numbers as strings.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::{
    Invalid,
    canonical::{Json, Unmodelled},
    json::{self, Text},
};

/// Arrays and objects inside each other; the upstream's parser should not be the first to find out.
const NESTING_MAX: usize = 128;
/// The parser quotes what it found, which may be the whole input.
const PROBLEM_CHARACTERS_MAX: usize = 300;

/// The members of an object that were not taken yet.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    path: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A value and where it stands, in the caller's spelling: `contents[0].parts[2].inline_data`.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub path: String,
    pub raw: &'a RawValue,
}

/// Whether `written` is `camel` in one of its spellings. Clients in the wild also put an underscore in front.
pub(super) fn same_name(written: &str, camel: &str) -> bool {
    let mut expected = camel.bytes();
    let mut upper = false;
    for byte in written.trim_start_matches('_').bytes() {
        if byte == b'_' {
            upper = true;
            continue;
        }
        let byte = if upper { byte.to_ascii_uppercase() } else { byte };
        upper = false;
        if expected.next() != Some(byte) {
            return false;
        }
    }
    !upper && expected.next().is_none()
}

/// Whether a value says no more than its absence would.
pub(super) fn is_default(raw: &str) -> bool {
    matches!(raw, "null" | "false" | "0" | "\"\"" | "[]" | "{}")
}

impl<'a> Fields<'a> {
    /// The body of a call: UTF-8, one JSON object, not too deep.
    pub fn of_body(body: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body).map_err(|_| Invalid::body("the request body is not valid UTF-8"))?;
        if !json::nests_within(body, NESTING_MAX) {
            return Err(Invalid::body(format!("the request body nests deeper than {NESTING_MAX} levels")));
        }
        if !json::is_object(text) {
            return Err(Invalid::body("the request body must be a JSON object"));
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
            let problem: String = error.to_string().chars().take(PROBLEM_CHARACTERS_MAX).collect();
            Invalid::body(format!("the request body is not valid JSON: {problem}"))
        })?;
        Self::of(Field { path: String::new(), raw })
    }

    pub fn of(field: Field<'a>) -> Result<Self, Invalid> {
        match json::members(field.raw.get()) {
            Some(members) => Ok(Self { path: field.path, members }),
            None => Err(Invalid::field(field.path, "must be an object")),
        }
    }

    /// Where a member stands.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a member out; `null` is absent.
    pub fn take(&mut self, camel: &str) -> Result<Option<Field<'a>>, Invalid> {
        let Some(at) = self.members.iter().position(|(name, _)| same_name(name, camel)) else { return Ok(None) };
        let (name, raw) = self.members.remove(at);
        let path = self.path_of(&name);
        if self.members.iter().any(|(name, _)| same_name(name, camel)) {
            return Err(Invalid::field(path, "is given twice"));
        }
        Ok((raw.get() != "null").then_some(Field { path, raw }))
    }

    pub fn object(&mut self, camel: &str) -> Result<Option<Fields<'a>>, Invalid> {
        self.take(camel)?.map(Fields::of).transpose()
    }

    /// The elements of a list; a single value is a list of one.
    pub fn list(&mut self, camel: &str) -> Result<Vec<Field<'a>>, Invalid> {
        self.take(camel)?.map_or(Ok(Vec::new()), Field::elements)
    }

    pub fn text(&mut self, camel: &str) -> Result<Option<Cow<'a, str>>, Invalid> {
        self.take(camel)?.map(|field| field.text()).transpose()
    }

    pub fn texts(&mut self, camel: &str) -> Result<Vec<String>, Invalid> {
        self.list(camel)?.iter().map(|field| field.text().map(Cow::into_owned)).collect()
    }

    pub fn boolean(&mut self, camel: &str) -> Result<Option<bool>, Invalid> {
        let Some(field) = self.take(camel)? else { return Ok(None) };
        match field.raw.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(Invalid::field(field.path, "must be true or false")),
        }
    }

    /// A number as it was written.
    pub fn number(&mut self, camel: &str) -> Result<Option<Json>, Invalid> {
        let Some(field) = self.take(camel)? else { return Ok(None) };
        let text = unquoted(field.raw.get());
        let number = Json::parse(text).filter(|_| text.starts_with(|first: char| first == '-' || first.is_ascii_digit()));
        number.map(Some).ok_or_else(|| Invalid::field(field.path, "must be a number"))
    }

    pub fn whole(&mut self, camel: &str, least: u64, most: u64) -> Result<Option<u64>, Invalid> {
        let Some(field) = self.take(camel)? else { return Ok(None) };
        match unquoted(field.raw.get()).parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Invalid::field(field.path, &format!("must be a whole number from {least} to {most}"))),
        }
    }

    /// What was not taken and says something, as fields that no other dialect has. `is_harmless` gets names in the caller's spelling.
    pub fn leave(self, unmodelled: &mut Vec<Unmodelled>, is_harmless: impl Fn(&str) -> bool) {
        for (name, raw) in &self.members {
            if !is_default(raw.get()) {
                unmodelled.push(Unmodelled { field: self.path_of(name), harmless: is_harmless(name) });
            }
        }
    }

    /// Name and value of the first member left.
    pub fn first_left(&self) -> Option<(&str, &'a RawValue)> {
        self.members.first().map(|(name, raw)| (&**name, *raw))
    }
}

impl<'a> Field<'a> {
    pub fn text(&self) -> Result<Cow<'a, str>, Invalid> {
        match serde_json::from_str::<Text<'a>>(self.raw.get()) {
            Ok(text) => Ok(text.0),
            Err(_) => Err(Invalid::field(self.path.clone(), "must be a string")),
        }
    }

    pub fn elements(self) -> Result<Vec<Field<'a>>, Invalid> {
        if !self.raw.get().starts_with('[') {
            return Ok(vec![self]);
        }
        let elements: Vec<&'a RawValue> =
            serde_json::from_str(self.raw.get()).map_err(|_| Invalid::field(self.path.clone(), "must be an array"))?;
        Ok(elements.into_iter().enumerate().map(|(at, raw)| Field { path: format!("{}[{at}]", self.path), raw }).collect())
    }

    pub fn json(&self) -> Json {
        Json::of(&self.raw)
    }
}

/// Protobuf writes large numbers as strings.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_name() {
        for written in ["topK", "top_k", "_topK"] {
            assert!(same_name(written, "topK"), "{written}");
        }
        for written in ["topk", "top_K_", "top", "topKK", "top__", ""] {
            assert!(!same_name(written, "topK"), "{written}");
        }
        assert!(same_name("_response_json_schema", "responseJsonSchema"));
    }

    #[test]
    fn fields_are_read_leniently_and_named_as_written() {
        let body = br#"{"stop_sequences":"a","topK":"40","seed":null,"temperature":0.50,"store":false,"new_thing":{"a":1}}"#;
        let mut fields = Fields::of_body(body).unwrap();
        assert_eq!(fields.texts("stopSequences").unwrap(), ["a"]);
        assert_eq!(fields.whole("topK", 0, 100).unwrap(), Some(40));
        assert_eq!(fields.whole("seed", 0, 100).unwrap(), None);
        assert_eq!(fields.number("temperature").unwrap().unwrap().text(), "0.50");
        let mut left = Vec::new();
        fields.leave(&mut left, |_| false);
        assert_eq!(left, [Unmodelled { field: "new_thing".to_owned(), harmless: false }]);
    }

    #[test]
    fn wrong_types_are_named() {
        let wrong = |body: &'static str, read: fn(&mut Fields<'static>) -> Option<Invalid>| {
            read(&mut Fields::of_body(body.as_bytes()).unwrap()).expect("an error").param.expect("a name")
        };
        assert_eq!(wrong(r#"{"top_k":1,"topK":2}"#, |fields| fields.take("topK").err()), "top_k");
        assert_eq!(wrong(r#"{"a":[1]}"#, |fields| fields.texts("a").err()), "a[0]");
        assert_eq!(wrong(r#"{"a":true}"#, |fields| fields.number("a").err()), "a");
        assert_eq!(wrong(r#"{"a":-1}"#, |fields| fields.whole("a", 0, 9).err()), "a");
        assert_eq!(wrong(r#"{"a":1}"#, |fields| fields.boolean("a").err()), "a");
        assert_eq!(wrong(r#"{"a":1}"#, |fields| fields.object("a").err()), "a");
        for body in [&b"\xff"[..], b"[]", b"{", b"", b"{\"a\":1}x"] {
            assert!(Fields::of_body(body).is_err());
        }
        assert!(Fields::of_body(format!("{{\"a\":{}", "[".repeat(200)).as_bytes()).is_err());
    }
}
