//! Media as OpenAI writes them: `data:` URLs and bare base64.

use std::borrow::Cow;

use crate::dialect::canonical::Source;

/// What an URL points to: the bytes themselves when it is a base64 `data:` URL.
pub(in crate::dialect) fn source_of_url(url: &str) -> Source {
    match parse_data_url(url) {
        Some((mime, data)) => Source::Base64 { mime: mime.to_owned(), data: standard_base64(data).into_owned() },
        None => Source::Url { url: url.to_owned(), mime: None },
    }
}

/// The type and the data of a base64 `data:` URL.
pub(in crate::dialect) fn parse_data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let kind = head.strip_suffix(";base64")?;
    let mime = kind.split(';').next().filter(|mime| !mime.is_empty()).unwrap_or("application/octet-stream");
    Some((mime, data))
}

pub(in crate::dialect) fn data_url(mime: &str, data: &str) -> String {
    format!("data:{mime};base64,{data}")
}

/// Base64 in the standard alphabet with its padding and without white space; borrowed when it is that already.
pub(in crate::dialect) fn standard_base64(data: &str) -> Cow<'_, str> {
    let odd = |byte: u8| matches!(byte, b'-' | b'_') || byte.is_ascii_whitespace();
    if data.len().is_multiple_of(4) && !data.bytes().any(odd) {
        return Cow::Borrowed(data);
    }
    let mut standard: String = data
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .map(|character| match character {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    Cow::Owned(standard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_are_taken_apart() {
        assert_eq!(parse_data_url("data:image/png;base64,QUI="), Some(("image/png", "QUI=")));
        assert_eq!(parse_data_url("data:text/plain;charset=utf-8;base64,QUI="), Some(("text/plain", "QUI=")));
        assert_eq!(parse_data_url("data:;base64,QUI="), Some(("application/octet-stream", "QUI=")));
        for other in ["https://example.com/a.png", "data:text/plain,hello", "data:", "data:image/png;base64", ""] {
            assert_eq!(parse_data_url(other), None, "{other}");
        }
        assert_eq!(source_of_url("https://a/b"), Source::Url { url: "https://a/b".to_owned(), mime: None });
    }

    #[test]
    fn every_alphabet_becomes_the_standard_one() {
        for (written, standard) in [("QUI=", "QUI="), ("QUI", "QUI="), ("_-8", "/+8="), ("QU\nI=", "QUI="), ("", "")] {
            assert_eq!(standard_base64(written), standard);
        }
    }
}
