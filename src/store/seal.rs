//! How secrets in the database are sealed; the rule itself is in [`crate::domain::seal`], because blobs are sealed the same way.

pub use crate::domain::seal::{SealError, Sealer};

use super::StoreError;

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        Self::Corrupt(error.to_string())
    }
}
