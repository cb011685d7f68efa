//! Prefixed, sortable ids: `req_` + UUIDv7 as 32 hex digits. The prefix says what an id names, the order is that of creation.

use uuid::Uuid;

use super::Timestamp;

/// Makes an id of the given kind from the moment it is made and 74 random bits (in the low bits of `random`).
pub fn prefixed(prefix: &str, now: Timestamp, random: [u8; 10]) -> String {
    let millis = u64::try_from(now / 1_000).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    render(prefix, uuid)
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
    use super::prefixed;

    #[test]
    fn ids_sort_by_time_and_carry_their_prefix() {
        let earlier = prefixed("req", 1_700_000_000_000_000, [0xff; 10]);
        let later = prefixed("req", 1_700_000_000_001_000, [0; 10]);
        assert!(earlier < later);
        assert!(later.starts_with("req_"));
        assert_eq!(later.len(), 4 + 32);
    }
}
