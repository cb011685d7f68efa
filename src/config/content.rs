//! The section `[content]`.

use std::time::Duration;

use super::schema::{Kind, Shape, section};
use crate::domain::content::KeepContent;

impl Kind for KeepContent {
    const SHAPE: Shape = Shape::Text;
    const ACCEPTS: &'static str = "off, opt_in or opt_out";
    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

section! {
    /// `[content]`: requests and answers of model calls, kept encrypted for their owners.
    Content in "content" {
        /// Whose requests and answers are kept: `off` (nobody's), `opt_in` (of accounts whose owner turned it on), `opt_out` (of every account
        /// whose owner did not turn it off).
        keep: KeepContent = KeepContent::Off;
        /// Days for which they are kept.
        retention_days: u64 = 30, 1 to 3650;
        /// Longest request and longest answer that is kept whole, in bytes; of longer ones the beginning is kept, and marked as such.
        bytes_max: usize = 262_144, 1024 to 16_777_216;
    }
}

impl Content {
    /// `None` when nobody's content is kept.
    pub fn retention(&self) -> Option<Duration> {
        (self.keep != KeepContent::Off).then(|| Duration::from_secs(self.retention_days.saturating_mul(86_400)))
    }
}
