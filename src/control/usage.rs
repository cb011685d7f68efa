//! Usage records for operators.

use super::{Control, ControlError, Page, PageRequest, accounts};
use crate::{domain::Timestamp, store};

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
