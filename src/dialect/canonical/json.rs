//! A JSON value that is carried as it was written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Valid JSON text, carried through a translation without being understood: schemas, arguments, metadata. Equal when the text is.
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// `None` when the text is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Box<RawValue>>(text).ok().map(Self)
    }

    pub fn of(value: &impl Serialize) -> Self {
        serde_json::value::to_raw_value(value).map_or_else(|_| Self::null(), Self)
    }

    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// An object without members.
    pub fn empty_object() -> Self {
        Self::parse("{}").unwrap_or_else(Self::null)
    }

    pub fn text(&self) -> &str {
        self.0.get()
    }

    pub fn is_object(&self) -> bool {
        self.text().trim_ascii_start().starts_with('{')
    }

    /// As a tree, for the rare places that have to look inside.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}
