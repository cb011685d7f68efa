//! `anthropic-version`, and what differs between the versions.

use crate::dialect::Invalid;

/// The first version that refuses sampling parameters.
const OCTOBER_2026: &str = "2026-10-21";

/// Rules of a version. Versions are dates; a date between two of them follows the earlier one's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// `2023-06-01`, also when no version is sent.
    June2023,
    /// `2026-10-21`: `temperature`, `top_p` and `top_k` are refused even at their defaults, so are documents in assistant messages and
    /// citations on texts in user messages.
    October2026,
}

impl Version {
    /// Reads the header. Only a malformed one is refused.
    pub fn of(header: Option<&str>) -> Result<Self, Invalid> {
        let Some(text) = header else { return Ok(Self::June2023) };
        if !is_date(text) {
            return Err(Invalid::field("anthropic-version", "must be a date such as 2023-06-01"));
        }
        // Dates in this form sort as texts.
        Ok(if text < OCTOBER_2026 { Self::June2023 } else { Self::October2026 })
    }
}

fn is_date(text: &str) -> bool {
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten();
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let in_range = |part: Option<&str>, digits: usize, most: u32| {
        part.filter(|part| part.len() == digits).and_then(number).is_some_and(|number| (1..=most).contains(&number))
    };
    in_range(year, 4, 9_999) && in_range(month, 2, 12) && in_range(day, 2, 31) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_date() {
        assert_eq!(Version::of(None), Ok(Version::June2023));
        for (text, version) in [
            ("2023-01-01", Version::June2023),
            ("2023-06-01", Version::June2023),
            ("2026-10-20", Version::June2023),
            ("2026-10-21", Version::October2026),
            ("2027-02-01", Version::October2026),
        ] {
            assert_eq!(Version::of(Some(text)), Ok(version), "{text}");
        }
        for text in ["", "latest", "2023-6-1", "2023-13-01", "2023-06-32", "2023-06-01-beta", "20230601", "٢٠٢٣-06-01", "+023-06-01"] {
            assert_eq!(Version::of(Some(text)).expect_err("refused").param.as_deref(), Some("anthropic-version"), "{text}");
        }
    }
}
