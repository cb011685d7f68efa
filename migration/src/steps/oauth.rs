//! An account has at most one identity of each provider, also when two are linked at the same time.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261123_000018_oauth",
    both: &["CREATE UNIQUE INDEX external_identities_one_a_provider ON external_identities (account_id, provider)"],
    sqlite: &[],
    postgres: &[],
};
