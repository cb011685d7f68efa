//! Prefixed, sortable ids: `req_` + UUIDv7 as 32 hex digits. The prefix says what an id names, the order is that of creation.

use uuid::Uuid;

use super::Timestamp;

/// Makes an id of the given kind from the moment it is made and 74 random bits (in the low bits of `random`).
pub fn prefixed(prefix: &str, now: Timestamp, random: [u8; 10]) -> String {
    let millis = u64::try_from(now / 1_000).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    render(prefix, uuid)
}

/// The moment an id was made, in whole milliseconds. `None` for what is no id of this kind.
pub fn made_at(id: &str) -> Option<Timestamp> {
    let (_, hex) = id.rsplit_once('_')?;
    let moment = Uuid::try_parse(hex).ok().filter(|_| hex.len() == uuid::fmt::Simple::LENGTH)?.get_timestamp()?;
    let (seconds, nanos) = moment.to_unix();
    Timestamp::try_from(seconds).ok()?.checked_mul(super::SECOND)?.checked_add(Timestamp::from(nanos / 1_000))
}

fn render(prefix: &str, uuid: Uuid) -> String {
    let mut text = String::with_capacity(prefix.len() + 33);
    text.push_str(prefix);
    text.push('_');
    let mut buffer = [0u8; uuid::fmt::Simple::LENGTH];
    text.push_str(uuid.simple().encode_lower(&mut buffer));
    text
}

#[cfg(test)]
mod tests {
    use super::{made_at, prefixed};

    #[test]
    fn ids_sort_by_time_and_carry_their_prefix() {
        let earlier = prefixed("req", 1_700_000_000_000_000, [0xff; 10]);
        let later = prefixed("req", 1_700_000_000_001_000, [0; 10]);
        assert!(earlier < later);
        assert!(later.starts_with("req_"));
        assert_eq!(later.len(), 4 + 32);
        assert_eq!(made_at(&later), Some(1_700_000_000_001_000));
        for other in ["", "req", "req_1", "req_00000000000000000000000000000000"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }
}
