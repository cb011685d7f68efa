//! How a model's calls find their upstream.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000010_routing",
    both: &["ALTER TABLE models ADD COLUMN routing TEXT NOT NULL DEFAULT '{}'"],
    sqlite: &[],
    postgres: &[],
};
