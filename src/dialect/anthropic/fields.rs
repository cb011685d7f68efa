//! Objects of a request, read member by member, so that what nobody asked for is known at the end and every fault has its field's name.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use crate::dialect::{
    Invalid,
    canonical::Json,
    json::{self, Text},
};

/// Far above every count in a request, far below what could overflow a price.
pub(super) const NUMBER_MAX: u64 = 1_000_000_000;

/// The members of one object that were not taken yet.
pub(super) struct Fields<'a> {
    /// Where the object stands, with a dot at the end: `messages.0.`; empty for the body.
    path: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// `name` is the object's own, in its parent's terms.
    pub fn of(name: &str, raw: &'a RawValue) -> Result<Self, Invalid> {
        Self::read(format!("{name}."), raw.get()).map_err(|problem| Invalid::field(name, problem))
    }

    /// The request's body itself.
    pub fn of_body(text: &'a str) -> Result<Self, Invalid> {
        Self::read(String::new(), text).map_err(|problem| Invalid::body(format!("the request body {problem}")))
    }

    fn read(path: String, text: &'a str) -> Result<Self, &'static str> {
        if !json::is_object(text) {
            return Err("must be an object");
        }
        let members = json::members(text).ok_or("is not valid JSON")?;
        // What is priced here must be what the upstream reads.
        let mut names = HashSet::with_capacity(members.len());
        if !members.iter().all(|(name, _)| names.insert(&**name)) {
            return Err("has a member twice");
        }
        Ok(Self { path, members })
    }

    /// The full name of a member.
    pub fn name(&self, member: &str) -> String {
        format!("{}{member}", self.path)
    }

    /// `problem` continues a sentence that begins with the member's name.
    pub fn invalid(&self, member: &str, problem: &str) -> Invalid {
        Invalid::field(self.name(member), problem)
    }

    /// A member's value; `null` is as good as absent.
    pub fn take(&mut self, member: &str) -> Option<&'a RawValue> {
        let position = self.members.iter().position(|(name, _)| name == member)?;
        Some(self.members.swap_remove(position).1).filter(|raw| raw.get() != "null")
    }

    pub fn required(&mut self, member: &str) -> Result<&'a RawValue, Invalid> {
        self.take(member).ok_or_else(|| self.invalid(member, "is required"))
    }

    pub fn object(&mut self, member: &str) -> Result<Option<Fields<'a>>, Invalid> {
        let Some(raw) = self.take(member) else { return Ok(None) };
        Fields::of(&self.name(member), raw).map(Some)
    }

    pub fn text(&mut self, member: &str) -> Result<Option<Cow<'a, str>>, Invalid> {
        let Some(raw) = self.take(member) else { return Ok(None) };
        text(raw).map(Some).ok_or_else(|| self.invalid(member, "must be a string"))
    }

    pub fn required_text(&mut self, member: &str) -> Result<Cow<'a, str>, Invalid> {
        self.text(member)?.ok_or_else(|| self.invalid(member, "is required"))
    }

    pub fn boolean(&mut self, member: &str) -> Result<Option<bool>, Invalid> {
        match self.take(member).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.invalid(member, "must be true or false")),
        }
    }

    pub fn integer(&mut self, member: &str, least: u64) -> Result<Option<u64>, Invalid> {
        let Some(raw) = self.take(member) else { return Ok(None) };
        let number = raw.get().parse().ok().filter(|number| (least..=NUMBER_MAX).contains(number));
        number.map(Some).ok_or_else(|| self.invalid(member, &format!("must be a whole number from {least} to {NUMBER_MAX}")))
    }

    /// A number, in the text it was written in.
    pub fn number(&mut self, member: &str) -> Result<Option<Json>, Invalid> {
        let Some(raw) = self.take(member) else { return Ok(None) };
        let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
        is_number.then(|| Json::parse(raw.get())).flatten().map(Some).ok_or_else(|| self.invalid(member, "must be a number"))
    }

    pub fn array(&mut self, member: &str) -> Result<Option<Vec<&'a RawValue>>, Invalid> {
        let Some(raw) = self.take(member) else { return Ok(None) };
        elements(raw).map(Some).ok_or_else(|| self.invalid(member, "must be an array"))
    }

    /// Full names of the members that were never taken and say something, with their values.
    pub fn left(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        let Self { path, members } = self;
        members.into_iter().filter(|(_, raw)| raw.get() != "null").map(move |(name, raw)| (format!("{path}{name}"), raw))
    }
}

/// The text of a JSON string.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// The elements of a JSON array.
pub(super) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}
