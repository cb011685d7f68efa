//! Reading one JSON object of a call field by field, so that every refusal names its field by its whole path.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use crate::dialect::{
    Invalid,
    canonical::Json,
    json::{self, Text},
};

/// The members of an object that were not taken yet. `null` is as good as absent.
pub(super) struct Fields<'a> {
    /// Path of the object from the body's root, empty at the root.
    at: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    pub fn read(at: impl Into<String>, text: &'a str) -> Result<Self, Invalid> {
        let at = at.into();
        let Some(members) = json::members(text) else { return Err(Invalid::field(at, "must be an object")) };
        let mut seen = HashSet::with_capacity(members.len());
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(&**name)) {
            return Err(Invalid::field(joined(&at, name), "is given twice"));
        }
        drop(seen);
        Ok(Self { at, members })
    }

    /// The path of one of its members.
    pub fn path(&self, name: &str) -> String {
        joined(&self.at, name)
    }

    /// Where the object itself stands.
    pub fn at(&self) -> &str {
        &self.at
    }

    pub fn invalid(&self, name: &str, problem: &str) -> Invalid {
        Invalid::field(self.path(name), problem)
    }

    /// As it stands, without taking it.
    pub fn peek(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let position = self.members.iter().position(|(member, _)| member == name)?;
        let (_, raw) = self.members.remove(position);
        (raw.get() != "null").then_some(raw)
    }

    pub fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        match serde_json::from_str::<Text<'a>>(raw.get()) {
            Ok(Text(text)) => Ok(Some(text)),
            Err(_) => Err(self.invalid(name, "must be a string")),
        }
    }

    /// A text that has to be there and to say something.
    pub fn required_text(&mut self, name: &str) -> Result<Cow<'a, str>, Invalid> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.invalid(name, "must not be empty")),
            None => Err(self.invalid(name, "is required")),
        }
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
        match self.take(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid(name, "must be true or false")),
        }
    }

    pub fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Invalid> {
        match self.take(name).map(|raw| raw.get().parse::<u64>()) {
            None => Ok(None),
            Some(Ok(number)) if (least..=most).contains(&number) => Ok(Some(number)),
            Some(_) => Err(self.invalid(name, &format!("must be a whole number from {least} to {most}"))),
        }
    }

    /// A number, as it was written.
    pub fn number(&mut self, name: &str) -> Result<Option<Json>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if is_number { Ok(Json::parse(raw.get())) } else { Err(self.invalid(name, "must be a number")) }
    }

    /// An object, as it was written.
    pub fn json_object(&mut self, name: &str) -> Result<Option<Json>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        match Json::parse(raw.get()).filter(Json::is_object) {
            Some(object) => Ok(Some(object)),
            None => Err(self.invalid(name, "must be an object")),
        }
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, Invalid> {
        self.take(name).map(|raw| Fields::read(self.path(name), raw.get())).transpose()
    }

    pub fn array(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        match serde_json::from_str(raw.get()) {
            Ok(elements) => Ok(Some(elements)),
            Err(_) => Err(self.invalid(name, "must be an array")),
        }
    }

    /// Drops members, all of a name or those that say exactly this.
    pub fn forget(&mut self, members: &[(&str, Option<&str>)]) {
        let is_named = |name: &str, raw: &RawValue| {
            members.iter().any(|(member, value)| *member == name && value.is_none_or(|value| value == raw.get()))
        };
        self.members.retain(|(name, raw)| !is_named(name, raw));
    }

    /// Paths of what nobody took, and says something.
    pub fn rest(&self) -> impl Iterator<Item = (String, &'a RawValue)> + '_ {
        let said = self.members.iter().filter(|(_, raw)| !matches!(raw.get(), "null" | "false" | "[]" | "{}"));
        said.map(|(name, raw)| (self.path(name), *raw))
    }
}

fn joined(at: &str, name: &str) -> String {
    // Names are the caller's and may be of any length.
    let name: String = name.chars().take(100).collect();
    if at.is_empty() { name } else { format!("{at}.{name}") }
}
