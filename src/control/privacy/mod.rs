//! What people may ask about their data: a copy, an end, a restriction, an objection; signed in, by mail, or through the staff.
//!
//! Before data leaves or goes the person is confirmed again. Answers to people who are not signed in are the same whether an address is
//! known or not. Absent on purpose: the work itself (see `actors::privacy`).

mod identity;
mod requests;
mod staff;
mod switches;

use std::sync::Arc;

pub use self::{
    identity::{Proof, ask_code},
    requests::{
        ConfirmedRequest, NewMailRequest, archive, archive_by_token, ask_by_mail, cancel, confirm, delete_me, export_me, of_account,
    },
    staff::{Decision, NewStaffRequest, decide, enter, get, list},
    switches::{SwitchPatch, set_switches},
};
use super::{Control, ControlError};
pub use crate::store::{privacy::Request, retention::Swept};
use crate::{
    actors::privacy::Parts,
    domain::{Timestamp, content::KeepContent},
    store,
};

/// What privacy's use cases work with. Shared by all threads.
#[derive(Clone)]
pub struct Privacy {
    pub jobs: Parts,
    /// Between asking for a deletion and the deletion, in microseconds.
    pub cooling_off: Timestamp,
    pub retention: Arc<[Retention]>,
    /// Whose requests and answers are kept.
    pub keep_content: KeepContent,
}

/// How long a class of data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub class: &'static str,
    /// The setting that says so; empty when none does.
    pub setting: &'static str,
    /// `None` keeps it.
    pub days: Option<u64>,
    /// How often what is too old is looked for, in microseconds; `None`: nothing is swept for this class.
    pub every: Option<Timestamp>,
}

/// A period with what was swept because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub period: Retention,
    pub swept: Option<Swept>,
    /// Of this node.
    pub next_sweep_at: Option<Timestamp>,
}

/// Every period in force, with the sweeps of all nodes so far.
pub async fn retention(control: &Control) -> Result<Vec<Kept>, ControlError> {
    let swept = store::retention::all(&control.db).await?;
    let now = control.clock.now();
    let kept = control.privacy.retention.iter().map(|period| {
        let swept = swept.get(period.class).copied().filter(|_| period.every.is_some());
        let next = |every: Timestamp| swept.map_or(now, |swept| swept.at).saturating_add(every).max(now);
        Kept { period: *period, swept, next_sweep_at: period.every.map(next) }
    });
    Ok(kept.collect())
}
