//! Support tickets: their states, who moves them, and what may stand in their texts.

use serde::{Deserialize, Serialize};

use super::api_key::LOCATOR_LENGTH;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TicketStatus {
    /// The staff is to answer.
    Open,
    /// The customer is to answer.
    Pending,
    /// The staff takes it for done.
    Solved,
    /// Done. A reply of the customer opens it again.
    Closed,
}

impl TicketStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Solved => "solved",
            Self::Closed => "closed",
        }
    }

    /// What a message that both sides see makes of it. What the staff has ended stays ended when the staff adds to it.
    pub fn after_reply(self, side: Side) -> Self {
        match (side, self) {
            (Side::Customer, _) => Self::Open,
            (Side::Support, Self::Open | Self::Pending) => Self::Pending,
            (Side::Support, ended) => ended,
        }
    }

    /// Whether customers may set it themselves: they close and reopen.
    pub fn is_for_customers(self) -> bool {
        matches!(self, Self::Open | Self::Closed)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    /// Given by the staff only.
    Urgent,
}

/// Who wrote something. Customers never learn who of the staff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Customer,
    Support,
}

/// Base62 characters behind the prefix of a key that make it one: a cut-off key is as good as a whole one to somebody who guesses the rest.
const KEY_TAIL_MIN: usize = LOCATOR_LENGTH + 10;

/// Cuts API keys in a text down to their public part: people paste them, and they must be kept nowhere.
pub fn without_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["px_live_", "px_test_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, key) = rest.split_at(at);
        let (prefix, behind) = key.split_at("px_live_".len());
        let length = behind.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(behind.len());
        let (tail, after) = behind.split_at(length);
        clean.push_str(before);
        clean.push_str(prefix);
        match tail.get(..LOCATOR_LENGTH) {
            Some(public) if length >= KEY_TAIL_MIN => {
                clean.push_str(public);
                clean.push('…');
            }
            _ => clean.push_str(tail),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::{Side::*, TicketStatus::*, *};

    #[test]
    fn replies_move_tickets() {
        for (before, customer, support) in [(Open, Open, Pending), (Pending, Open, Pending), (Solved, Open, Solved), (Closed, Open, Closed)]
        {
            assert_eq!((before.after_reply(Customer), before.after_reply(Support)), (customer, support), "{before:?}");
        }
        assert_eq!([Open, Pending, Solved, Closed].map(TicketStatus::is_for_customers), [true, false, false, true]);
    }

    #[test]
    fn pasted_keys_are_cut() {
        let secret = "s3cr3tPart0000000000000000000000CHKSUM";
        let key = format!("px_live_LOCATOR123{secret}");
        let clean = without_keys(&format!("my key {key}, and px_test_LOCATOR456{secret}\nboth fail"));
        assert_eq!(clean, "my key px_live_LOCATOR123…, and px_test_LOCATOR456…\nboth fail");
        for plain in ["", "px_live_", "keys begin with px_live_ or px_test_é", "px_live_LOCATOR123", "no key"] {
            assert_eq!(without_keys(plain), plain);
        }
        assert!(!without_keys(&key[..40]).contains("s3cr3t"));
    }
}
