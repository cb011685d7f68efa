//! What an account can be asked and told.

use std::{net::IpAddr, sync::Arc};

use super::{Account, held::HeldCredits, limits::RateState, own_keys::OwnKeys};
use crate::{
    actors::{
        journal::Slot,
        supervision::{Handle, Message},
    },
    domain::{
        Micros, Timestamp,
        api_key::{ApiKey, KeyOptions, Scope},
        key_hash::Digests,
        purse::Allocation,
        quota::Limits,
        refusal::Refusal,
    },
    store::ledger::Capture,
};

/// Who asks, proven by the keyed hashes of the key.
#[derive(Debug, Clone, Copy)]
pub struct Credentials {
    pub digests: Digests,
    pub scope: Scope,
    /// The caller's address, when it is known.
    pub ip: Option<IpAddr>,
}

/// The one question of a paid call: may it run, and if so, hold its worst case.
pub struct Admit {
    pub credentials: Credentials,
    pub call: CallFacts,
    /// Worst-case cost in micros at the frozen prices.
    pub hold: Micros,
    /// Worst-case tokens, for the tpm limits.
    pub tokens: u64,
    /// Idempotency-Key and hash of the request, when the caller sent one.
    pub idempotency: Option<IdempotencyClaim>,
    /// Room for the capture.
    pub slot: Slot,
    /// The actor's own address, for the way back.
    pub account: Handle<Account>,
}

/// What an operator is told of a call that was running when its node died.
#[derive(Debug, Clone)]
pub struct CallFacts {
    /// `req_…`, the id of the usage record to be.
    pub id: String,
    pub request_id: String,
    pub endpoint: &'static str,
    pub model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyClaim {
    pub key: String,
    pub request_hash: String,
}

/// A call that may run.
pub struct Admission {
    pub account_id: Arc<str>,
    pub key_id: Arc<str>,
    pub options: KeyOptions,
    /// Keys of providers that the account brought itself.
    pub own_keys: Arc<OwnKeys>,
    /// Whether the requests and answers of this account are kept.
    pub keeps_content: bool,
    pub held: HeldCredits,
    pub rate: RateState,
}

#[derive(Debug)]
pub enum NotAdmitted {
    Refused(Refusal, Box<RateState>),
    /// The same Idempotency-Key and request ended a moment ago: replay its answer.
    Replay {
        account_id: Arc<str>,
    },
    /// The same call was in flight and ended without an answer to replay: ask again.
    Again,
}

impl Message for Admit {
    type Reply = Result<Admission, NotAdmitted>;
}

/// A call has ended: what it held and did not use comes back.
pub struct Settled {
    pub number: u64,
    pub incarnation: u64,
    pub unused: Vec<Allocation>,
    pub cost: Micros,
    pub tokens: u64,
    /// `None` when nothing was charged.
    pub ended: Option<Timestamp>,
}

impl Message for Settled {
    type Reply = ();
}

/// A charge could not be made durable and never will be: it is as if the call had cost nothing.
pub struct Withdrawn {
    pub incarnation: u64,
    pub capture: Arc<Capture>,
}

impl Message for Withdrawn {
    type Reply = ();
}

/// A call costs more than it held: whatever else is at hand, up to `amount`.
pub struct ExtendHold {
    pub incarnation: u64,
    pub amount: Micros,
}

impl Message for ExtendHold {
    type Reply = Vec<Allocation>;
}

/// Who is this? For routes that cost nothing.
pub struct Authenticate(pub Credentials);

/// A proven caller.
#[derive(Debug, Clone)]
pub struct Identity {
    pub account_id: String,
    pub key: ApiKey,
    /// Limits in force for the account itself.
    pub account_limits: Limits,
    pub budget_spent: Micros,
    pub budget_left: Option<Micros>,
}

impl Message for Authenticate {
    type Reply = Result<Identity, Refusal>;
}

/// The account or a key of it was changed in the store.
pub struct Reload;

impl Message for Reload {
    /// False when the store is away: the actor ends and the next call loads anew.
    type Reply = bool;
}

/// Credits were added or taken in the store.
pub struct CreditsChanged;

impl Message for CreditsChanged {
    type Reply = ();
}

/// How this node's share of the account stands right now.
pub struct AskPosition;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The lease on this node, if any.
    pub lease_id: Option<String>,
    /// Leased and in no hold.
    pub unheld: Micros,
    /// Leased and run out since; booked as expired when the lease ends.
    pub lapsed: Micros,
    /// Held by open calls.
    pub held: Micros,
    /// True while more is being leased: the numbers are about to change.
    pub unsettled: bool,
    /// Changes with every lease operation.
    pub version: u64,
}

impl Message for AskPosition {
    type Reply = Position;
}

/// End now if nothing is open.
pub struct PassivateIfIdle;

impl Message for PassivateIfIdle {
    type Reply = bool;
}
