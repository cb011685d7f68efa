//! What a file is: by its first bytes where they tell, else by what its sender says.

const UNKNOWN: &str = "application/octet-stream";

/// Types that always show in the first bytes: a file that says it is one of them and does not look like it is none.
const ALWAYS_SHOWN: [&str; 6] = ["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/zip"];

/// A type without parameters, safe to be written anywhere.
pub fn of(content: &[u8], said: Option<&str>, filename: &str) -> String {
    let seen = infer::get(content).map(|kind| kind.mime_type());
    let said = said.and_then(plain).filter(|said| said != UNKNOWN);
    match (seen, said) {
        // Office documents are archives; their senders know better which.
        (Some("application/zip"), Some(said)) if !ALWAYS_SHOWN.contains(&said.as_str()) => said,
        // Markup is found by words that other texts may hold.
        (Some(seen), Some(said)) if seen.starts_with("text/") && !ALWAYS_SHOWN.contains(&said.as_str()) => said,
        (Some(seen), _) => seen.to_owned(),
        (None, Some(said)) if !ALWAYS_SHOWN.contains(&said.as_str()) => said,
        (None, _) => by_name(content, filename).to_owned(),
    }
}

/// `type/subtype` in lower case, without parameters. `None` for anything else.
fn plain(said: &str) -> Option<String> {
    let kind = said.split(';').next()?.trim().to_ascii_lowercase();
    let (group, name) = kind.split_once('/')?;
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte));
    (kind.len() <= 127 && is_token(group) && is_token(name)).then_some(kind)
}

fn by_name(content: &[u8], filename: &str) -> &'static str {
    if std::str::from_utf8(content).is_err() {
        return UNKNOWN;
    }
    let extension = filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("md" | "markdown") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("jsonl") => "application/jsonl",
        Some("xml") => "application/xml",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn bytes_count_more_than_words() {
        for (content, said, name, expected) in [
            (PNG, None, "x", "image/png"),
            (PNG, Some("application/pdf"), "x.pdf", "image/png"),
            (&b"%PDF-1.7 x"[..], Some("application/octet-stream"), "x", "application/pdf"),
            (b"not a picture", Some("image/png"), "x.png", "text/plain"),
            (
                b"PK\x03\x04rest",
                Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
                "x.docx",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ),
            (b"a,b\n", Some("Text/CSV; charset=utf-8"), "x", "text/csv"),
            (b"{}\n", None, "x.JSONL", "application/jsonl"),
            (b"words", Some("bad type"), "x", "text/plain"),
            (b"words", Some("text/\"quoted\""), "x.md", "text/markdown"),
            (b"\xff\xfe\x00\x01", None, "x.txt", UNKNOWN),
            (b"\xff\xfe\x00\x01", Some("audio/x-own"), "x", "audio/x-own"),
        ] {
            assert_eq!(of(content, said, name), expected, "{name} {said:?}");
        }
    }
}
