//! The members of a request, each as it was written: what is understood is taken out, and what is left must be harmless.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    domain::{Micros, SECOND, Timestamp, api_key::BudgetPeriod, decimal},
    http::error::ApiError,
};

/// Fields that change nothing about what a key may do, whatever they say.
const HARMLESS: [&str; 7] = ["soft_budget", "tags", "send_invite_email", "created_by", "updated_by", "rpm_limit_type", "tpm_limit_type"];

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Longest duration that is understood.
const DURATION_SECONDS_MAX: i64 = 100 * 366 * DAY;

/// A field that may be missing (`None`), null (`Some(None)`) or there.
pub type Given<T> = Option<Option<T>>;

#[derive(Deserialize)]
#[serde(transparent)]
pub struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// Takes a field out.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Given<T>, ApiError> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str::<Option<T>>(raw.get()).map(Some).map_err(|error| {
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or_default();
            invalid(name, format!("{name}: {why}"))
        })
    }

    /// An amount of credits. An empty text counts as null, as LiteLLM has it.
    pub fn take_micros(&mut self, name: &str) -> Result<Given<Micros>, ApiError> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        let text = raw.get().trim_matches('"');
        if text == "null" || text.is_empty() {
            return Ok(Some(None));
        }
        let micros = decimal::micros(text).map_err(|error| invalid(name, format!("{name}: {error}")))?;
        if micros < 0 {
            return Err(invalid(name, format!("{name} is {text}; it must not be negative")));
        }
        Ok(Some(Some(micros)))
    }

    /// Takes a text; empty ones count as null.
    pub fn take_text(&mut self, name: &str) -> Result<Given<String>, ApiError> {
        Ok(self.take::<String>(name)?.map(|text| text.filter(|text| !text.is_empty())))
    }

    /// Refuses the first field left over that asks for something.
    pub fn finish(self) -> Result<(), ApiError> {
        let wish = self.0.iter().find(|(name, raw)| !HARMLESS.contains(&name.as_str()) && !asks_for_nothing(raw.get()));
        match wish {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
                let why = format!("{name} is not supported by this gateway; leave it out (docs/compatibility.md lists what is)");
                Err(invalid(&name, why))
            }
        }
    }
}

pub fn invalid(name: &str, message: String) -> ApiError {
    ApiError::invalid(message, Some(name.to_owned().into()))
}

fn asks_for_nothing(raw: &str) -> bool {
    let compact: String = raw.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    ["null", "false", "0", "0.0", "\"\"", "[]", "{}"].contains(&compact.as_str())
}

/// Which of our periods a budget's duration is. LiteLLM renews daily budgets at midnight and those of 30 days on the first of the
/// month, both in UTC, and so do ours.
pub fn period(text: &str) -> Result<BudgetPeriod, ApiError> {
    match text {
        "1d" | "24h" | "daily" => Ok(BudgetPeriod::Day),
        "30d" | "1mo" | "monthly" => Ok(BudgetPeriod::Month),
        _ => {
            let shown: String = text.chars().filter(|letter| !letter.is_control()).take(20).collect();
            let why = format!(
                "budget_duration '{shown}' has no counterpart here; use 1d (the UTC day), 30d or 1mo (the calendar month), or leave it out for a budget that is never renewed"
            );
            Err(invalid("budget_duration", why))
        }
    }
}

/// How we write a period.
pub fn duration_of(period: BudgetPeriod) -> Option<&'static str> {
    match period {
        BudgetPeriod::Day => Some("1d"),
        BudgetPeriod::Month => Some("30d"),
        BudgetPeriod::Total => None,
    }
}

/// When a period's budget is renewed next.
pub fn renewed_at(period: BudgetPeriod, now: Timestamp) -> Option<Timestamp> {
    let start = period.started_at(now);
    match period {
        BudgetPeriod::Day => Some(start + DAY * SECOND),
        // No month has 32 days, and the 32nd day always lies in the next one.
        BudgetPeriod::Month => Some(period.started_at(start + 32 * DAY * SECOND)),
        BudgetPeriod::Total => None,
    }
}

/// Seconds of a duration such as `30s`, `10m`, `24h`, `30d`, `2w` or `1mo` (30 days); `field` names it in the refusal.
pub fn seconds(field: &str, text: &str) -> Result<i64, ApiError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        "d" => Some(DAY),
        "w" => Some(7 * DAY),
        "mo" => Some(30 * DAY),
        _ => None,
    };
    let seconds = unit.zip(count.parse::<i64>().ok()).and_then(|(unit, count)| unit.checked_mul(count));
    seconds.filter(|seconds| (0..=DURATION_SECONDS_MAX).contains(seconds)).ok_or_else(|| {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(20).collect();
        invalid(field, format!("{field} '{shown}' is not a duration; write it like 30s, 10m, 24h, 30d, 2w or 1mo"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn money_is_read_as_it_is_written() {
        for (text, expected) in [
            ("0.1", Some(100_000)),
            ("10", Some(10_000_000)),
            ("\"2.5\"", Some(2_500_000)),
            ("1e-6", Some(1)),
            ("null", None),
            ("\"\"", None),
        ] {
            assert_eq!(fields(&format!("{{\"max_budget\":{text}}}")).take_micros("max_budget").unwrap(), Some(expected), "{text}");
        }
        assert_eq!(fields("{}").take_micros("max_budget").unwrap(), None);
        for bad in ["-1", "0.0000001", "\"ten\"", "true", "[1]", "{}"] {
            let error = fields(&format!("{{\"max_budget\":{bad}}}")).take_micros("max_budget").unwrap_err();
            assert_eq!(error.param.as_deref(), Some("max_budget"), "{bad}");
        }
    }

    #[test]
    fn only_wishes_that_cannot_be_met_are_refused() {
        for harmless in [
            "{}",
            r#"{"team_id":null,"aliases":{},"guardrails":[ ],"spend":0,"auto_rotate":false,"budget_id":""}"#,
            r#"{"tags":["a"],"soft_budget":5}"#,
        ] {
            assert!(fields(harmless).finish().is_ok(), "{harmless}");
        }
        for (wish, name) in [(r#"{"team_id":"t"}"#, "team_id"), (r#"{"spend":1.5}"#, "spend"), (r#"{"colour":true}"#, "colour")] {
            let error = fields(wish).finish().unwrap_err();
            assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(name)));
        }
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let error = fields(r#"{"rpm_limit":"many"}"#).take::<u32>("rpm_limit").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("rpm_limit"));
        assert!(error.message.contains("invalid type") && !error.message.contains("line"), "{}", error.message);
    }

    #[test]
    fn periods_and_durations() {
        for (text, expected) in
            [("1d", BudgetPeriod::Day), ("24h", BudgetPeriod::Day), ("30d", BudgetPeriod::Month), ("1mo", BudgetPeriod::Month)]
        {
            assert_eq!(period(text).unwrap(), expected, "{text}");
        }
        assert!(period("7d").unwrap_err().message.contains("7d"));
        for (text, expected) in
            [("30s", 30), ("2m", 120), ("24h", 86_400), ("30d", 2_592_000), ("1w", 604_800), ("1mo", 2_592_000), ("0s", 0)]
        {
            assert_eq!(seconds("duration", text).unwrap(), expected, "{text}");
        }
        for bad in ["", "d", "30", "-1d", "1y", "99999999999999999999d", "9999999d", "1 d"] {
            assert!(seconds("duration", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn budgets_are_renewed_with_their_period() {
        let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let now = micros("2026-01-31T12:00:00Z");
        assert_eq!(renewed_at(BudgetPeriod::Day, now), Some(micros("2026-02-01T00:00:00Z")));
        assert_eq!(renewed_at(BudgetPeriod::Month, now), Some(micros("2026-02-01T00:00:00Z")));
        assert_eq!(renewed_at(BudgetPeriod::Total, now), None);
    }
}
