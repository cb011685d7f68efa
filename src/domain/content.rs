//! Whose requests and answers are kept, beside what their charge needs.

use serde::Deserialize;

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepContent {
    /// Nothing, of nobody.
    #[default]
    Off,
    /// Of accounts whose owner turned it on.
    OptIn,
    /// Of every account whose owner did not turn it off.
    OptOut,
}

impl KeepContent {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OptIn => "opt_in",
            Self::OptOut => "opt_out",
        }
    }

    /// Whether the content of an account is kept whose owner chose this; `None`: nothing was chosen.
    pub fn applies(self, chosen: Option<bool>) -> bool {
        match self {
            Self::Off => false,
            Self::OptIn => chosen == Some(true),
            Self::OptOut => chosen != Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeepContent::{Off, OptIn, OptOut};

    #[test]
    fn both_sides_count() {
        let choices = [None, Some(true), Some(false)];
        for (setting, kept) in [(Off, [false; 3]), (OptIn, [false, true, false]), (OptOut, [true, true, false])] {
            assert_eq!(choices.map(|chosen| setting.applies(chosen)), kept, "{setting:?}");
        }
    }
}
