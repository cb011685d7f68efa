//! What scripts and clients written for other gateways call: LiteLLM's key and user routes, one-api's billing routes, OpenRouter's
//! base path and list of models. docs/compatibility.md says field by field what each supports.
//!
//! Absent on purpose: rules and writes (see `control`), and other gateways' dashboards, teams, groups and logs.

pub mod headers;
pub mod litellm;
pub mod one_api;
pub mod openrouter;

use actix_web::web;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::{dialect::credits_text, domain::Micros};

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.configure(litellm::configure).configure(one_api::configure).configure(openrouter::configure);
}

/// Decimal credits as a JSON number, without going through a float.
fn decimal(micros: Micros) -> Result<Box<RawValue>, ApiError> {
    number(credits_text(micros))
}

/// A JSON number out of its text.
fn number(text: String) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(text).map_err(|error| ApiError::invalid(error.to_string(), None))
}
