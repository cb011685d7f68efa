//! Lists: `{"data":[…],"has_more":bool,"next_cursor":…}`, asked for with `?limit=&cursor=`.

use serde::{Deserialize, Serialize};

use super::error::ApiError;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 200;

/// The part of a query that every list has. Numbers arrive as text because other parameters are flattened beside them.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items of a page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    pub fn limit(&self) -> Result<u64, ApiError> {
        let Some(text) = &self.limit else { return Ok(LIMIT_DEFAULT) };
        match text.parse::<u64>() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(ApiError::invalid(format!("limit must be a whole number from 1 to {LIMIT_MAX}"), Some("limit".into()))),
        }
    }

    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|cursor| !cursor.is_empty())
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub has_more: bool,
    /// Pass it as `cursor` to get the next page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Of rows that were asked for one more than `limit`.
    pub fn of(mut rows: Vec<T>, limit: u64, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if has_more { rows.last().map(cursor) } else { None };
        Self { data: rows, has_more, next_cursor }
    }

    pub fn map<U>(self, each: impl Fn(T) -> U) -> Page<U> {
        Page { data: self.data.into_iter().map(each).collect(), has_more: self.has_more, next_cursor: self.next_cursor }
    }
}
