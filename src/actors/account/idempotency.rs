//! Calls with an Idempotency-Key that run now or ended a moment ago. What ended earlier is in the store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{Account, Admission, Admit, IdempotencyClaim, NotAdmitted, micros};
use crate::{
    actors::supervision::Reply,
    domain::{Timestamp, refusal::Refusal},
};

/// Duplicates that may wait for one call.
const WAITING_MAX: usize = 1_000;

type AdmitReply = Reply<Result<Admission, NotAdmitted>>;

#[derive(Default)]
pub(super) struct InFlight(HashMap<String, State>);

enum State {
    Running { request_hash: String, waiting: Vec<AdmitReply> },
    Ended { request_hash: String, at: Timestamp },
}

impl InFlight {
    pub fn begin(&mut self, claim: &IdempotencyClaim) {
        self.0.insert(claim.key.clone(), State::Running { request_hash: claim.request_hash.clone(), waiting: Vec::new() });
    }

    /// The call has ended. With an answer its duplicates replay that; without one the key is free again.
    pub fn end(&mut self, key: &str, answered: bool, account_id: &Arc<str>, now: Timestamp) {
        let Some(State::Running { request_hash, waiting }) = self.0.remove(key) else { return };
        if answered {
            self.0.insert(key.to_owned(), State::Ended { request_hash, at: now });
        }
        for reply in waiting {
            let verdict = if answered { NotAdmitted::Replay { account_id: account_id.clone() } } else { NotAdmitted::Again };
            let _ = reply.send(Err(verdict));
        }
    }

    /// The answer of an ended call was withheld after all: the key is free again.
    pub fn forget(&mut self, key: &str) {
        if matches!(self.0.get(key), Some(State::Ended { .. })) {
            self.0.remove(key);
        }
    }

    fn forget_before(&mut self, before: Timestamp) {
        self.0.retain(|_, state| !matches!(state, State::Ended { at, .. } if *at < before));
    }
}

impl Account {
    /// Answers a duplicate, or lets it wait for the call it repeats; gives a call back that is none.
    pub(super) fn join_in_flight(&mut self, message: Admit, reply: AdmitReply, now: Timestamp) -> Option<(Admit, AdmitReply)> {
        let Some(claim) = &message.idempotency else { return Some((message, reply)) };
        self.in_flight.forget_before(now - micros(memory(self)));
        // Only a valid key may learn anything about other calls of the account.
        let authentic = self.loaded.as_mut().is_some_and(|loaded| super::find_key(&mut loaded.keys, &message.credentials).is_ok());
        let known = if authentic { self.in_flight.0.get_mut(&claim.key) } else { None };
        let Some(state) = known else { return Some((message, reply)) };
        let (State::Running { request_hash, .. } | State::Ended { request_hash, .. }) = &*state;
        let who = message.credentials;
        if *request_hash != claim.request_hash {
            self.refuse(Refusal::IdempotencyConflict(OTHER_REQUEST), reply, &who);
            return None;
        }
        match state {
            State::Ended { .. } => {
                let _ = reply.send(Err(NotAdmitted::Replay { account_id: self.account_id.clone() }));
            }
            State::Running { waiting, .. } if waiting.len() < WAITING_MAX => waiting.push(reply),
            State::Running { .. } => {
                let refusal = Refusal::Overloaded { what: "too many duplicates of this call wait for it", retry_after_ms: 1_000 };
                self.refuse(refusal, reply, &who);
            }
        }
        None
    }
}

pub const OTHER_REQUEST: &str = "this Idempotency-Key was used with another request; use a new key for a new request";

fn memory(account: &Account) -> Duration {
    account.parts.policy.idempotency_memory
}
