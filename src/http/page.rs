//! Lists: `{"data":[…],"has_more":bool,"next_cursor":…}`, asked for with `?limit=&cursor=`.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::control;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;

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
    /// What is asked for, or which part of it makes no sense.
    pub fn request(&self) -> Result<control::PageRequest, ApiError> {
        Ok(control::PageRequest { limit: self.limit()?, cursor: self.cursor.clone().filter(|cursor| !cursor.is_empty()) })
    }

    fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = &self.limit else { return Ok(LIMIT_DEFAULT) };
        match text.parse::<usize>() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(ApiError::invalid(format!("limit must be a whole number from 1 to {LIMIT_MAX}"), Some("limit".into()))),
        }
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
    /// Shows the items of a page one by one.
    pub fn of<I>(page: control::Page<I>) -> Self
    where
        T: From<I>,
    {
        Self { data: page.items.into_iter().map(T::from).collect(), has_more: page.next.is_some(), next_cursor: page.next }
    }
}
