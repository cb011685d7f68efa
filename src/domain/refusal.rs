//! A rule said no. A refusal is data: what happened, which limit, what to do. The HTTP layer alone turns it into a status.

use serde::Serialize;

use super::{Micros, identity::IdentityRefusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    Rpm,
    Rpd,
    Tpm,
    Concurrency,
    Budget,
}

impl LimitKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Rpd => "rpd",
            Self::Tpm => "tpm",
            Self::Concurrency => "concurrency",
            Self::Budget => "budget",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    Key,
    Account,
    Ip,
    Plan,
    Upstream,
}

impl LimitScope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Account => "account",
            Self::Ip => "ip",
            Self::Plan => "plan",
            Self::Upstream => "upstream",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Unknown, malformed, revoked and expired keys look the same to a caller.
    #[error("{0}")]
    InvalidKey(&'static str),
    #[error("the e-mail address of this account is not verified yet; open the link in the verification mail, or ask the operator")]
    EmailUnverified,
    #[error("this account is {0}; ask the operator of this gateway")]
    AccountNotActive(&'static str),
    #[error("the owner of this account restricted its processing, so it makes no calls; PATCH /api/v1/me/privacy lifts the restriction")]
    ProcessingRestricted,
    /// Unknown addresses and wrong passwords look the same.
    #[error("the e-mail address or the password is wrong; /auth/forgot sets a new password")]
    InvalidCredentials,
    #[error("this account has a second factor; send its code as 'code', or a 'recovery_code'")]
    SecondFactorRequired,
    #[error("{0}")]
    WrongCode(&'static str),
    #[error("this link is unknown, was used, or is too old; {0}")]
    LinkSpent(&'static str),
    #[error(transparent)]
    Identity(#[from] IdentityRefusal),
    #[error("this gateway takes no sign-ups; ask its operator for an account")]
    SignUpClosed,
    #[error("too many {what}; try again in {} s", retry_after_ms.div_ceil(1_000))]
    Throttled { what: &'static str, scope: LimitScope, retry_after_ms: u64 },
    #[error("the role '{role}' may not {wish} here; ask an owner or admin of this account")]
    RoleMissing { role: &'static str, wish: &'static str },
    /// A request with a session cookie that may come from a page that is not ours.
    #[error("{0}")]
    NotOurPage(&'static str),
    #[error("this key lacks the scope '{0}'; create a key that has it")]
    ScopeMissing(&'static str),
    #[error("keys of scope '{0}' are made, changed and rotated by the operator of this gateway only")]
    ScopeNotYours(&'static str),
    #[error("{0}")]
    BadSignature(&'static str),
    #[error("this key may not use the model '{0}'; ask the owner of the key to allow it")]
    ModelNotAllowed(String),
    #[error("this key may not be used from {0}; ask the owner of the key to allow that address")]
    IpNotAllowed(String),
    /// A screening rule; what it looks for is not told.
    #[error(
        "this request was refused by the content rule '{rule}' of this gateway; change what you send, or ask the operator with this request's id if it is a mistake"
    )]
    ContentScreened { rule: String },
    #[error("this request is too large for the content rules of this gateway and was not let through; send less text at once")]
    NotScreened,
    #[error("the model '{0}' does not exist; GET /v1/models lists the models you can use")]
    ModelNotFound(String),
    #[error("{limit} limit of this {scope} reached ({value}); retry after {retry_after_ms} ms", limit = .limit.as_str(), scope = .scope.as_str())]
    RateLimited { limit: LimitKind, scope: LimitScope, value: u64, retry_after_ms: u64 },
    #[error("this call needs about {tokens} tokens, more than the whole tpm limit of this {scope} ({value}); send a smaller request", scope = .scope.as_str())]
    NeverFits { scope: LimitScope, tokens: u64, value: u64 },
    #[error("insufficient credits: this call needs up to {needed} micros, {available} are available; add credits or lower max_tokens")]
    InsufficientCredits { needed: Micros, available: Micros },
    #[error("this account owes {debt} micros; the next purchase or grant pays them, then calls work again")]
    InDebt { debt: Micros },
    #[error("the budget of this key is used up: {needed} micros needed, {left} of {budget} left in this {period}")]
    BudgetExhausted { needed: Micros, left: Micros, budget: Micros, period: &'static str },
    #[error(
        "the previous response '{0}' was not found; it may have expired, been deleted or never been kept: send the whole conversation as 'input'"
    )]
    PreviousResponseNotFound(String),
    #[error("{message}")]
    Invalid { message: String, param: Option<String> },
    #[error("the request body is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error(
        "with the files it names this call has about {bytes} bytes, more than the {limit_bytes} of a call; name fewer or smaller files"
    )]
    FilesTooLarge { bytes: u64, limit_bytes: usize },
    #[error("the file has {bytes} bytes, and {limit_bytes} are allowed")]
    FileTooLarge { bytes: u64, limit_bytes: u64 },
    #[error("this account wrote {limit} {what} within an hour, which is the limit; one more is taken in {} s", retry_after_ms.div_ceil(1_000))]
    TicketsLimited { what: &'static str, limit: u64, retry_after_ms: u64 },
    #[error("{0}")]
    IdempotencyConflict(&'static str),
    /// A bounded queue of ours is full or a store is away.
    #[error("{what}; retry after {retry_after_ms} ms")]
    Overloaded { what: &'static str, retry_after_ms: u64 },
    #[error("this node is shutting down; retry, another node or the restarted one will answer")]
    Draining,
}
