//! The ledger checked against itself, with everything in it that was handed to the journal before.

use super::{BARRIER_DEADLINE, Control, ControlError};
use crate::store;

pub use crate::store::ledger::{Check, Difference};

/// Derives every balance again and answers with what differs.
pub async fn ledger(control: &Control) -> Result<Check, ControlError> {
    if !control.journal.barrier(BARRIER_DEADLINE).await {
        return Err(ControlError::Unavailable("the journal did not write in time; a check now would miss calls".to_owned()));
    }
    let check = store::ledger::check(&control.db).await?;
    for difference in &check.differences {
        tracing::error!(
            account.id = %difference.account_id, what = %difference.what, expected = difference.expected, found = difference.found,
            "the ledger does not add up"
        );
    }
    Ok(check)
}
