//! What inputs have in common: times as text, fields that can be given as null, and bounds.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type, schema::Schema},
};

use super::ControlError;
use crate::domain::Timestamp;

/// A moment as people and programs write it: RFC 3339, UTC, for example `2026-01-31T12:00:00.5Z`. Other offsets are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond the calendar's years nothing can be written; the first or last moment says it best.
        let ends = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        write!(formatter, "{}", jiff::Timestamp::from_microsecond(self.0).unwrap_or(ends))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| format!("'{text}' is not a time; write it like 2026-01-31T12:00:00Z"))?;
        Ok(Self(moment.as_microsecond()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC"))
            .examples(["2026-01-31T12:00:00Z"])
            .into()
    }
}

impl ToSchema for Moment {}

/// Tells a field that is null from one that is missing: `#[serde(default, deserialize_with = "given")]` on an `Option<Option<T>>`.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Names meant for people: 1 to `max` characters, none of them a control character.
pub(super) fn check_text(param: &str, text: &str, max: usize) -> Result<(), ControlError> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > max || text.chars().any(char::is_control) {
        return Err(ControlError::invalid(param, format!("{param} must have 1 to {max} printable characters")));
    }
    Ok(())
}

/// Ids that others chose: 1 to `max` visible characters without spaces.
pub(super) fn check_id(param: &str, text: &str, max: usize) -> Result<(), ControlError> {
    let visible = text.chars().all(|character| !character.is_whitespace() && !character.is_control());
    if text.is_empty() || text.chars().count() > max || !visible {
        return Err(ControlError::invalid(param, format!("{param} must have 1 to {max} visible characters without spaces")));
    }
    Ok(())
}

/// A day as `2026-12-31`.
pub(super) fn check_date(param: &str, text: &str) -> Result<(), ControlError> {
    if is_date(text) {
        return Ok(());
    }
    Err(ControlError::invalid(param, format!("{param} must be a day like 2026-12-31")))
}

/// Whether this is a day of the calendar, written as `2026-12-31` and in no other way.
pub(super) fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok_and(|date| date.to_string() == text)
}

pub(super) fn check_range<T: PartialOrd + fmt::Display>(param: &str, value: T, least: T, most: T) -> Result<(), ControlError> {
    if value < least || value > most {
        return Err(ControlError::invalid(param, format!("{param} is {value}; it must be {least} to {most}")));
    }
    Ok(())
}

pub(super) fn check_future(param: &str, at: Option<Moment>, now: Timestamp) -> Result<(), ControlError> {
    match at {
        Some(at) if at.0 <= now => Err(ControlError::invalid(param, format!("{param} is {at}, which is not in the future"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339_in_utc() {
        let check = |text: &str, micros: Timestamp| assert_eq!(text.parse::<Moment>(), Ok(Moment(micros)), "{text}");
        check("1970-01-01T00:00:01Z", 1_000_000);
        check("1970-01-01T01:00:00.000001+01:00", 1);
        assert_eq!(Moment(1_800_000_000_000_001).to_string(), "2027-01-15T08:00:00.000001Z");
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00Z");
        assert!(Moment(Timestamp::MAX).to_string().starts_with("9999-12-30T"));
        for bad in ["", "tomorrow", "2026-01-31", "2026-01-31T12:00:00", "1700000000"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_written_in_one_way() {
        assert!(is_date("2026-12-31") && is_date("2028-02-29"));
        for bad in ["", "2026-02-29", "20261231", "2026-1-1", "2026-12-31T00:00:00Z", "31.12.2026", " 2026-12-31"] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn null_is_not_missing() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Patch {
            #[serde(default, deserialize_with = "given")]
            limit: Option<Option<u32>>,
        }
        let check = |text: &str, limit| assert_eq!(serde_json::from_str::<Patch>(text).unwrap(), Patch { limit }, "{text}");
        check("{}", None);
        check(r#"{"limit":null}"#, Some(None));
        check(r#"{"limit":7}"#, Some(Some(7)));
    }
}
