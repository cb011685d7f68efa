//! What a call loses on its way to an upstream of another dialect.

use super::{
    canonical::Request,
    format::{Aim, Unsupported},
};

/// What cannot be carried: refused, or left out where the caller allows it. Fields have their canonical names, which are those of OpenAI
/// chat where it has the field.
pub(crate) struct Losses {
    allowed: bool,
    dropped: Vec<String>,
}

impl Losses {
    /// Begins with the fields of the caller's dialect that no other can say.
    pub fn of(request: &Request, aim: &Aim<'_>) -> Result<Self, Unsupported> {
        let mut losses = Self { allowed: aim.drop_unsupported, dropped: Vec::new() };
        for unmodelled in &request.unmodelled {
            match unmodelled.harmless {
                true => losses.note(&unmodelled.field),
                false => losses.lose(&unmodelled.field, "the model's format has nothing like it")?,
            }
        }
        Ok(losses)
    }

    /// Leaves a field out if that is allowed.
    pub fn lose(&mut self, field: &str, why: &str) -> Result<(), Unsupported> {
        if self.allowed {
            self.note(field);
            return Ok(());
        }
        Err(Unsupported { field: field.to_owned(), why: why.to_owned() })
    }

    /// Leaves a field out by rule.
    pub fn note(&mut self, field: &str) {
        if !self.dropped.iter().any(|noted| noted == field) {
            self.dropped.push(field.to_owned());
        }
    }

    /// The fields that were left out.
    pub fn into_dropped(self) -> Vec<String> {
        self.dropped
    }
}
