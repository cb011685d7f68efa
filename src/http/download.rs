//! Downloads: what somebody uploaded, as a file.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 5987 lets stand as it is.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// A browser must neither show what somebody uploaded as a page of ours, nor guess that it is one.
pub fn download(filename: &str, mime: &str, content: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, mime))
        .insert_header((CONTENT_DISPOSITION, disposition(filename)))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("content-security-policy", "sandbox; default-src 'none'"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(content)
}

/// `Content-Disposition` with the name for old readers and for those who know more than ASCII.
fn disposition(filename: &str) -> String {
    let plain: String = filename
        .chars()
        .map(|letter| if letter == ' ' || letter.is_ascii_alphanumeric() || "._-()".contains(letter) { letter } else { '_' })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(filename, NAME))
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn names_cannot_break_out_of_their_header() {
        assert_eq!(disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        assert_eq!(disposition("é\"; x=\"1"), "attachment; filename=\"___ x__1\"; filename*=UTF-8''%C3%A9%22%3B%20x%3D%221");
    }
}
