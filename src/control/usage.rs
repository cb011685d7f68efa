//! Usage records for operators.

use super::{Control, ControlError, Page, PageRequest, accounts};
use crate::{
    domain::{Micros, Timestamp},
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
