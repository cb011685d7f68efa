//! Usage records for operators.

use super::{Control, ControlError, Page, PageRequest, accounts};
use crate::{
    domain::{Micros, SECOND, Timestamp, api_key::BudgetPeriod},
    store,
};

pub use crate::domain::usage::UsageRecord;

/// Which calls to list. `Default` is: all.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    pub account_id: Option<String>,
    pub key_id: Option<String>,
    pub model: Option<String>,
    /// Calls that started at or after this moment.
    pub from: Option<Timestamp>,
    /// Calls that started before this moment.
    pub to: Option<Timestamp>,
}

/// Calls, newest first.
pub async fn list(control: &Control, filter: &UsageFilter, page: &PageRequest) -> Result<Page<UsageRecord>, ControlError> {
    let stored = store::usage::Filter {
        account_id: filter.account_id.as_deref(),
        key_id: filter.key_id.as_deref(),
        model: filter.model.as_deref(),
        from: filter.from,
        to: filter.to,
        after: page.after(),
        limit: page.rows(),
    };
    let records = store::usage::list(&control.db, &stored).await?;
    Ok(Page::cut(records, page, |record| record.id.clone()))
}

/// Calls of an account that exists.
pub async fn list_of_account(
    control: &Control,
    account_id: &str,
    filter: UsageFilter,
    page: &PageRequest,
) -> Result<Page<UsageRecord>, ControlError> {
    let account = accounts::get(control, account_id).await?;
    list(control, &UsageFilter { account_id: Some(account.id), ..filter }, page).await
}

/// A call of an account by any id its caller may know.
pub async fn find(control: &Control, account_id: &str, id: &str) -> Result<Option<UsageRecord>, ControlError> {
    Ok(store::usage::get_by_any_id(&control.db, account_id, id).await?)
}

/// What a key has cost over its whole life, in micros.
pub async fn spent_by_key(control: &Control, account_id: &str, key_id: &str) -> Result<Micros, ControlError> {
    Ok(store::usage::sum_cost(&control.db, account_id, key_id, 0).await?)
}

/// What a key has cost, in micros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    pub total: Micros,
    /// Since midnight, UTC.
    pub day: Micros,
    /// Since Monday, UTC.
    pub week: Micros,
    /// Since the first of the month, UTC.
    pub month: Micros,
}

/// What a key has cost over its life and in the running day, week and month.
pub async fn spending_of_key(control: &Control, account_id: &str, key_id: &str) -> Result<Spending, ControlError> {
    let now = control.clock.now();
    let starts = [BudgetPeriod::Day.started_at(now), week_started_at(now), BudgetPeriod::Month.started_at(now)];
    let (total, [day, week, month]) = store::usage::sum_costs(&control.db, account_id, key_id, starts).await?;
    Ok(Spending { total, day, week, month })
}

/// The Monday that `now` lies behind, at midnight UTC.
fn week_started_at(now: Timestamp) -> Timestamp {
    const DAY: Timestamp = 86_400 * SECOND;
    // The epoch was a Thursday, the fourth day of its week.
    const THURSDAY: i64 = 3;
    let day = now.div_euclid(DAY);
    (day - (day + THURSDAY).rem_euclid(7)) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_mondays() {
        let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        for (now, monday) in [
            ("2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z"),
            ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("1970-01-01T12:00:00Z", "1969-12-29T00:00:00Z"),
        ] {
            assert_eq!(week_started_at(micros(now)), micros(monday), "{now}");
        }
    }
}
