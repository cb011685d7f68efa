//! What may be attached: pictures and PDF by their first bytes, and plain texts. Nothing that runs, nothing that unpacks, no markup.
//!
//! What the sender says counts for nothing, except that a file which says it is a picture must be one. Names get an extension that
//! fits, so that nothing is saved as what it is not.

/// Types that show in the first bytes, with their extensions.
const BINARY: [(&str, &[&str]); 7] = [
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/avif", &["avif"]),
    ("image/heif", &["heic", "heif"]),
    ("application/pdf", &["pdf"]),
];

/// Texts are told apart by their names only; the first is for all others.
const TEXT: [(&str, &[&str]); 6] = [
    ("text/plain", &["txt", "log"]),
    ("text/csv", &["csv"]),
    ("text/tab-separated-values", &["tsv"]),
    ("text/markdown", &["md"]),
    ("application/json", &["json"]),
    ("application/jsonl", &["jsonl", "ndjson"]),
];

const FILENAME_CHARS_MAX: usize = 255;

/// The type of a file and a name that fits it, or why it is not taken.
pub fn recognise(content: &[u8], said: Option<&str>, filename: &str) -> Result<(&'static str, String), String> {
    let filename: String = filename.chars().filter(|letter| !is_invisible(*letter)).collect();
    let seen = infer::get(content).map(|kind| kind.mime_type());
    if let Some((mime, extensions)) = BINARY.iter().find(|(mime, _)| seen == Some(mime)) {
        return Ok((mime, fitted(&filename, extensions)));
    }
    let extension = filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    let said = said.and_then(|said| said.split(';').next()).map(|said| said.trim().to_ascii_lowercase()).unwrap_or_default();
    if let Some((mime, _)) = BINARY.iter().find(|(mime, extensions)| *mime == said || extensions.contains(&extension.as_str())) {
        return Err(format!("the file says it is {mime}, and its content is something else"));
    }
    if !is_plain_text(content) {
        return Err("only pictures (PNG, JPEG, GIF, WebP, AVIF, HEIC), PDF and plain text in UTF-8 (text, logs, CSV, JSON, Markdown; \
            no HTML, SVG or XML) can be attached"
            .to_owned());
    }
    let (mime, extensions) = TEXT.iter().find(|(_, extensions)| extensions.contains(&extension.as_str())).unwrap_or(&TEXT[0]);
    Ok((mime, fitted(&filename, extensions)))
}

/// UTF-8 without control characters beyond those of logs, and without markup that a browser could take for a page.
fn is_plain_text(content: &[u8]) -> bool {
    let is_unfit = |byte: &u8| (*byte < b' ' && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)) || *byte == 0x7f;
    if content.iter().any(is_unfit) {
        return false;
    }
    let is_blank = |letter: char| letter.is_whitespace() || is_invisible(letter);
    std::str::from_utf8(content).is_ok_and(|text| !text.trim_start_matches(is_blank).starts_with('<'))
}

/// Marks that change the direction of what follows, or show nothing: they make `exe.png` of `gnp.exe`.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn fitted(filename: &str, extensions: &[&str]) -> String {
    let extension = filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    if extension.is_some_and(|extension| extensions.contains(&extension.as_str())) {
        return filename.to_owned();
    }
    let own = extensions.first().copied().unwrap_or_default();
    let stem: String = filename.chars().take(FILENAME_CHARS_MAX - own.len() - 1).collect();
    format!("{}.{own}", if stem.is_empty() { "file" } else { &stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1";

    #[test]
    fn what_may_be_attached() {
        for (content, said, name, mime, expected) in [
            (PNG, "image/png", "a.png", "image/png", "a.png"),
            (PNG, "text/html", "a.PNG", "image/png", "a.PNG"),
            (PNG, "", "a.html", "image/png", "a.html.png"),
            (b"\xff\xd8\xff\xe0 jpeg", "image/png", "a.png", "image/jpeg", "a.png.jpg"),
            (HEIC, "", "IMG_1.HEIC", "image/heif", "IMG_1.HEIC"),
            (b"%PDF-1.7 x", "", "report", "application/pdf", "report.pdf"),
            (b"words", "text/plain", "a.txt", "text/plain", "a.txt"),
            (b"\x1b[31mERROR\x1b[0m\n", "", "server.log", "text/plain", "server.log"),
            ("\u{feff}a;b\n\u{e9};1".as_bytes(), "", "a.csv", "text/csv", "a.csv"),
            (b"{}", "text/html", "a.json", "application/json", "a.json"),
            (b"#!/bin/sh\nrm", "", "run.sh", "text/plain", "run.sh.txt"),
            (b"BMW has text that begins like a picture", "", "a", "text/plain", "a.txt"),
            (b"plain", "", "gnp.\u{202e}exe", "text/plain", "gnp.exe.txt"),
            (b"x", "", "\u{202e}", "text/plain", "file.txt"),
        ] {
            assert_eq!(recognise(content, Some(said), name), Ok((mime, expected.to_owned())), "{name} {said}");
        }
        let long = recognise(b"x", None, &"e".repeat(255)).unwrap().1;
        assert!(long.chars().count() == 255 && long.ends_with("e.txt"));
    }

    #[test]
    fn what_may_not() {
        let html = b"<!doctype html><script>alert(1)</script>";
        for (content, said, name) in [
            (&html[..], "image/png", "a.png"),
            (html, "text/plain", "a.txt"),
            (b" \n\xef\xbb\xbf<svg onload=alert(1)>", "image/svg+xml", "a.svg"),
            (b"\xef\xbb\xbf <html>", "", "a.txt"),
            (b"<?xml version=\"1.0\"?><x/>", "", "a.xml"),
            (b"words", "image/jpeg", "a"),
            (b"words", "", "a.pdf"),
            (b"MZ\x90\0\x03\0", "application/octet-stream", "a.exe"),
            (b"\x7fELF\x02\x01\x01\0", "text/plain", "a.txt"),
            (b"PK\x03\x04rest", "application/zip", "a.zip"),
            (b"\xff\xfea\0b\0", "text/plain", "utf16.txt"),
            (b"a\0b", "text/plain", "a.txt"),
        ] {
            assert!(recognise(content, Some(said), name).is_err(), "{name} {said}");
        }
    }
}
