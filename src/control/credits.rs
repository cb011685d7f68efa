//! Credits given and taken back, and how an account stands.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Actor, BARRIER_DEADLINE, Control, ControlError, Moment, Page, PageRequest, accounts, audit,
    input::{check_future, check_range, check_text},
};
use crate::{
    actors::{account::Position, supervision::AskError},
    domain::{
        Micros,
        ledger::{Category, GRANT_MICROS_MAX, LedgerError},
    },
    store::{
        self,
        ledger::{LedgerFailure, StoredBalance},
    },
};

pub use crate::{
    domain::ledger::Balance,
    store::ledger::{Entry, GrantRow},
};

const REASON_LENGTH_MAX: usize = 500;
const PRIORITY_MAX: i32 = 1_000_000;
/// How often a balance is read again because credits were being leased meanwhile.
const BALANCE_TRIES: usize = 20;

/// Credits to give.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    #[schema(value_type = i64, example = 5_000_000, minimum = 1)]
    pub amount_micros: Micros,
    #[schema(example = "goodwill, ticket 12", min_length = 1, max_length = 500)]
    pub reason: String,
    /// `paid` when missing.
    #[serde(default)]
    pub category: Option<Category>,
    /// Lower is drawn first; 0 when missing.
    #[serde(default)]
    pub priority: Option<i32>,
    /// When what is left of it runs out; never when missing.
    #[serde(default)]
    pub expires_at: Option<Moment>,
}

/// What to take back.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// All that is left of the grant when missing.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub amount_micros: Option<Micros>,
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// Gives credits, once per account and idempotency key; debt is paid from them first. The next call sees them.
pub async fn grant(
    control: &Control,
    actor: &Actor,
    account_id: &str,
    idempotency_key: Option<&str>,
    new: NewGrant,
) -> Result<GrantRow, ControlError> {
    let Some(idempotency_key) = idempotency_key else {
        return Err(ControlError::invalid(
            "Idempotency-Key",
            "a grant needs the header Idempotency-Key, so that a retry never gives twice",
        ));
    };
    let now = control.clock.now();
    check_range("amount_micros", new.amount_micros, 1, GRANT_MICROS_MAX)?;
    check_text("reason", &new.reason, REASON_LENGTH_MAX)?;
    check_range("priority", new.priority.unwrap_or(0), -PRIORITY_MAX, PRIORITY_MAX)?;
    check_future("expires_at", new.expires_at, now)?;
    let account = accounts::get(control, account_id).await?;
    let request_hash = request_hash(&new)?;
    let row = store::ledger::NewGrant {
        id: control.clock.new_id("grant"),
        amount: new.amount_micros,
        category: new.category.unwrap_or(Category::Paid),
        priority: new.priority.unwrap_or(0),
        effective_at: now,
        expires_at: new.expires_at.map(|at| at.0),
        reason: new.reason,
        actor: actor.id.clone(),
        idempotency_key: idempotency_key.to_owned(),
        request_hash,
    };
    let granted = store::ledger::grant(&control.db, &account.id, row, now).await?;
    control.accounts.credits_changed(&account.locator).await;
    if !granted.replayed {
        let details = json!({ "account_id": account.id, "amount_micros": granted.grant.amount, "category": granted.grant.category });
        audit::note(control, actor, "grant.create", &granted.grant.id, details).await;
    }
    Ok(granted)
}

/// Grants of an account, newest first.
pub async fn grants(control: &Control, account_id: &str, page: &PageRequest) -> Result<Page<GrantRow>, ControlError> {
    let account = accounts::get(control, account_id).await?;
    let rows = store::ledger::grants_of(&control.db, &account.id).await?;
    Ok(Page::of_all(rows, page, |row| row.grant.id.clone()))
}

/// Takes back what is left of a grant, and answers with the micros taken: what is spent or in a node's lease stays.
pub async fn revoke(
    control: &Control,
    actor: &Actor,
    account_id: &str,
    grant_id: &str,
    revocation: &Revocation,
) -> Result<Micros, ControlError> {
    check_text("reason", &revocation.reason, REASON_LENGTH_MAX)?;
    let amount = revocation.amount_micros.unwrap_or(GRANT_MICROS_MAX);
    check_range("amount_micros", amount, 1, GRANT_MICROS_MAX)?;
    let account = accounts::get(control, account_id).await?;
    let now = control.clock.now();
    let taken = store::ledger::revoke(&control.db, &account.id, grant_id, amount, &revocation.reason, &actor.id, now).await;
    let taken = taken.map_err(|failure| match failure {
        LedgerFailure::Refused(LedgerError::NoGrant(id)) => ControlError::NotFound(format!("grant {id}")),
        other => other.into(),
    })?;
    control.accounts.credits_changed(&account.locator).await;
    audit::note(control, actor, "grant.revoke", grant_id, json!({ "account_id": account.id, "revoked_micros": taken })).await;
    Ok(taken)
}

/// Lines of an account's ledger, newest first.
pub async fn entries(control: &Control, account_id: &str, page: &PageRequest) -> Result<Page<Entry>, ControlError> {
    let after = page.after().map(|cursor| cursor.parse::<i64>()).transpose();
    let after = after.map_err(|_| ControlError::invalid("cursor", "cursor must be the next_cursor of the page before"))?;
    let account = accounts::get(control, account_id).await?;
    let entries = store::ledger::entries(&control.db, &account.id, after, page.rows()).await?;
    Ok(Page::cut(entries, page, |entry| entry.seq.to_string()))
}

/// The balance of an account at one moment:
/// available + held + spent + expired + revoked = granted + debt, whatever runs meanwhile.
///
/// The store knows what is leased; the account's actor on this node knows which part of its lease is held by calls. The store is
/// read between two looks at the actor, until no lease operation came in between: then the actor's second look and the store
/// describe the same lease.
pub async fn balance(control: &Control, account_id: &str) -> Result<Balance, ControlError> {
    let account = accounts::get(control, account_id).await?;
    let mut before = position(control, &account.locator).await?;
    for tries_left in (0..BALANCE_TRIES).rev() {
        // What calls that have ended cost becomes visible, and leases that are being closed are closed.
        if !control.journal.barrier(BARRIER_DEADLINE).await {
            return Err(ControlError::Unavailable("the journal did not write in time; the balance is not known".to_owned()));
        }
        let stored = store::ledger::balance_at(&control.db, &account.id, control.clock.now()).await?;
        let after = position(control, &account.locator).await?;
        if is_settled(before.as_ref(), after.as_ref()) || tries_left == 0 {
            return Ok(combine(&stored, after.as_ref()));
        }
        before = after;
    }
    Err(ControlError::Internal("the balance was read not even once".to_owned()))
}

async fn position(control: &Control, locator: &str) -> Result<Option<Position>, ControlError> {
    control.accounts.position(locator).await.map_err(|error| match error {
        AskError::Failed => ControlError::Internal("the account's actor failed while it was asked for its balance".to_owned()),
        error => ControlError::Unavailable(format!("the account's actor did not answer: {error:?}")),
    })
}

/// True when the lease behind both positions is the same, and nothing is being added to it.
fn is_settled(before: Option<&Position>, after: Option<&Position>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => !after.unsettled && (&before.lease_id, before.version) == (&after.lease_id, after.version),
        _ => false,
    }
}

/// Splits what the store counts as available: leased credits are partly held by calls, and on this node partly spent already by
/// captures that are not in the store yet. Every part is bounded by what its lease reserves, so the sum never changes.
fn combine(stored: &StoredBalance, position: Option<&Position>) -> Balance {
    let mut balance = stored.balance;
    let local_lease = position.and_then(|position| position.lease_id.as_deref());
    for lease in &stored.open_leases {
        let reserved = lease.reserved.max(0);
        let (unheld, held) = match position.filter(|_| local_lease == Some(lease.lease_id.as_str())) {
            Some(position) => {
                let unheld = position.unheld.clamp(0, reserved);
                (unheld, position.held.clamp(0, reserved - unheld))
            }
            None => {
                let held = lease.held.clamp(0, reserved);
                (reserved - held, held)
            }
        };
        balance.available_micros -= reserved - unheld;
        balance.held_micros += held;
        balance.spent_micros += reserved - unheld - held;
    }
    balance
}

/// Tells a repetition of a grant from another wish under the same key.
fn request_hash(new: &NewGrant) -> Result<String, ControlError> {
    let canonical =
        json!([new.amount_micros, new.reason, new.category.unwrap_or(Category::Paid), new.priority.unwrap_or(0), new.expires_at]);
    let text = serde_json::to_vec(&canonical).map_err(|error| ControlError::Internal(error.to_string()))?;
    Ok(digest(&SHA256, &text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::LeasePosition;

    fn stored(leases: &[(&str, Micros, Micros)]) -> StoredBalance {
        let open_leases = leases.iter().map(|(lease_id, reserved, held)| LeasePosition {
            lease_id: (*lease_id).to_owned(),
            node_id: "node_a".to_owned(),
            reserved: *reserved,
            held: *held,
        });
        let balance = Balance {
            available_micros: 100,
            held_micros: 0,
            debt_micros: 0,
            granted_micros: 150,
            spent_micros: 40,
            expired_micros: 7,
            revoked_micros: 3,
        };
        StoredBalance { balance, open_leases: open_leases.collect() }
    }

    fn here(unheld: Micros, held: Micros) -> Position {
        Position { lease_id: Some("here".to_owned()), unheld, held, unsettled: false, version: 1 }
    }

    #[track_caller]
    fn check(leases: &[(&str, Micros, Micros)], position: Option<Position>, (available, held, spent): (Micros, Micros, Micros)) {
        let balance = combine(&stored(leases), position.as_ref());
        assert_eq!((balance.available_micros, balance.held_micros, balance.spent_micros), (available, held, spent));
        let parts = balance.available_micros + balance.held_micros + balance.spent_micros + balance.expired_micros + balance.revoked_micros;
        assert_eq!(parts, balance.granted_micros + balance.debt_micros);
    }

    #[test]
    fn what_is_leased_is_available_held_or_spent() {
        check(&[], None, (100, 0, 40));
        check(&[("here", 60, 0)], Some(here(60, 0)), (100, 0, 40));
        check(&[("here", 60, 0)], Some(here(35, 20)), (75, 20, 45));
        check(&[("there", 60, 25)], None, (75, 25, 40));
        check(&[("here", 30, 9), ("there", 60, 25)], Some(here(10, 20)), (55, 45, 40));
    }

    #[test]
    fn no_position_can_break_the_sum() {
        check(&[("here", 60, 0)], Some(here(90, 20)), (100, 0, 40));
        check(&[("here", 60, 0)], Some(here(50, 20)), (90, 10, 40));
        check(&[("here", 0, 0)], Some(here(50, 20)), (100, 0, 40));
        check(&[("there", 10, 25)], Some(here(50, 20)), (90, 10, 40));
    }

    #[test]
    fn a_balance_is_read_again_while_credits_are_leased() {
        let leasing = Position { unsettled: true, ..here(1, 1) };
        let grown = Position { version: 2, ..here(9, 1) };
        assert!(is_settled(None, None));
        assert!(is_settled(Some(&here(1, 1)), Some(&here(0, 2))));
        assert!(!is_settled(Some(&here(1, 1)), Some(&leasing)));
        assert!(!is_settled(Some(&here(1, 1)), Some(&grown)));
        assert!(!is_settled(None, Some(&here(1, 1))));
    }

    #[test]
    fn defaults_that_are_written_out_are_the_same_grant() {
        let short: NewGrant = serde_json::from_str(r#"{"amount_micros":5,"reason":"r"}"#).unwrap();
        let long: NewGrant =
            serde_json::from_str(r#"{"reason":"r","amount_micros":5,"category":"paid","priority":0,"expires_at":null}"#).unwrap();
        assert_eq!(request_hash(&short).unwrap(), request_hash(&long).unwrap());
        let other = NewGrant { amount_micros: 6, ..short.clone() };
        assert_ne!(request_hash(&short).unwrap(), request_hash(&other).unwrap());
    }
}
