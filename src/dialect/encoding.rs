//! Base64, as it comes and as it is written.

/// Standard base64 of data in either alphabet, padded; `None` when it is no base64.
pub(crate) fn standard_base64(data: &str) -> Option<String> {
    let mut standard = Vec::with_capacity(data.len() + 2);
    let mut padded = false;
    for byte in data.bytes() {
        match byte {
            b'\n' | b'\r' => continue,
            b'=' => padded = true,
            _ if padded => return None,
            b'-' => standard.push(b'+'),
            b'_' => standard.push(b'/'),
            b'+' | b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => standard.push(byte),
            _ => return None,
        }
    }
    let padding = match standard.len() % 4 {
        0 => 0,
        1 => return None,
        rest => 4 - rest,
    };
    standard.extend(std::iter::repeat_n(b'=', padding));
    String::from_utf8(standard).ok()
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_base64_is_told() {
        for data in ["a", "ab$d", "ab=c", "a b c d", "a b=", "abcde", "é"] {
            assert_eq!(standard_base64(data), None, "{data}");
        }
        assert_eq!(standard_base64("aGk\n="), Some("aGk=".to_owned()));
    }

    proptest! {
        #[test]
        fn every_alphabet_becomes_the_standard_one(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                prop_assert_eq!(standard_base64(&engine.encode(&bytes)), Some(STANDARD.encode(&bytes)));
            }
        }
    }
}
