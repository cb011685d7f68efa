//! What must hold for every chat format alike, and the table of what is carried between them.

mod citations;
mod conformance;
mod table;

use super::{
    CallHead, Endpoint,
    format::{Aim, CallerFormat, Quirks, UpstreamFormat},
    plan,
};

type Format = (Endpoint, &'static dyn CallerFormat, &'static dyn UpstreamFormat);

/// Formats with both sides.
fn formats() -> impl Iterator<Item = Format> {
    Endpoint::ALL.into_iter().filter_map(|endpoint| Some((endpoint, plan::caller_format(endpoint)?, plan::upstream_format(endpoint)?)))
}

/// Formats of upstreams.
fn upstreams() -> impl Iterator<Item = (Endpoint, &'static dyn UpstreamFormat)> {
    Endpoint::ALL.into_iter().filter_map(|endpoint| Some((endpoint, plan::upstream_format(endpoint)?)))
}

fn aim(model: &str) -> Aim<'_> {
    let quirks = Quirks { top_k: true, reasoning_input: true, ..Quirks::default() };
    Aim { model, max_output_tokens: 64_000, quirks, drop_unsupported: false }
}

/// The head under which a written body is read back.
fn head(endpoint: Endpoint) -> CallHead {
    let in_path = endpoint == Endpoint::GenerateContent;
    CallHead { model: in_path.then(|| "m".to_owned()), streamed: in_path.then_some(false), ..CallHead::new(endpoint) }
}
