//! Forms with files (`multipart/form-data`): where their parts lie in a body that is there as a whole.

use std::ops::Range;

use memchr::memmem;

use crate::dialect::Invalid;

const PARTS_MAX: usize = 64;
const PART_HEADERS_BYTES_MAX: usize = 8 * 1024;
/// As RFC 2046 limits it.
const BOUNDARY_BYTES_MAX: usize = 70;

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    /// Where its content lies in the body.
    pub content: Range<usize>,
}

impl Part {
    pub fn bytes<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.content.clone()).unwrap_or_default()
    }

    pub fn text<'a>(&self, body: &'a [u8]) -> Result<&'a str, Invalid> {
        std::str::from_utf8(self.bytes(body)).map_err(|_| Invalid::field(&*self.name, "is not valid UTF-8"))
    }
}

/// The parts of a form, in their order. `content_type` is that of the body, with its boundary.
pub fn parts(content_type: Option<&str>, body: &[u8]) -> Result<Vec<Part>, Invalid> {
    let boundary = content_type.and_then(boundary).ok_or_else(|| {
        Invalid::body(
            "this route takes a form with files: send it as 'content-type: multipart/form-data' with a boundary of 1 to 70 characters",
        )
    })?;
    let delimiter = format!("--{boundary}");
    let next = format!("\r\n{delimiter}");
    let finder = memmem::Finder::new(next.as_bytes());
    let mut at = match body.starts_with(delimiter.as_bytes()) {
        true => delimiter.len(),
        // A preamble is allowed, and nobody writes one.
        false => finder.find(body).ok_or_else(|| broken("has no boundary"))? + next.len(),
    };
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let line_end = memmem::find(rest, b"\r\n").filter(|end| rest[..*end].trim_ascii().is_empty());
        let headers_at = at + line_end.ok_or_else(|| broken("goes on behind a boundary without a line break"))? + 2;
        if parts.len() == PARTS_MAX {
            return Err(broken(&format!("has more than {PARTS_MAX} parts")));
        }
        let headers = body.get(headers_at..).unwrap_or_default();
        let headers_end = end_of_headers(&headers[..headers.len().min(PART_HEADERS_BYTES_MAX)]);
        let (headers_end, content_offset) = headers_end.ok_or_else(|| broken("has a part whose headers do not end"))?;
        let content_at = headers_at + content_offset;
        // The line break before the boundary may be the one that ends the headers.
        let content = body.get(content_at - 2..).unwrap_or_default();
        let content_end = content_at - 2 + finder.find(content).ok_or_else(|| broken("ends inside a part"))?;
        let content = content_at..content_end.max(content_at);
        parts.push(read_part(&headers[..headers_end], content).ok_or_else(|| broken("has a part without a name"))?);
        at = content_end + next.len();
    }
}

fn broken(how: &str) -> Invalid {
    Invalid::body(format!("the multipart body {how}"))
}

/// Where the headers end, and where the content begins.
fn end_of_headers(headers: &[u8]) -> Option<(usize, usize)> {
    if headers.starts_with(b"\r\n") {
        return Some((0, 2));
    }
    memmem::find(headers, b"\r\n\r\n").map(|end| (end, end + 4))
}

fn read_part(headers: &[u8], content: Range<usize>) -> Option<Part> {
    let headers = String::from_utf8_lossy(headers);
    let value = |wanted: &str| {
        let fields = headers.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
    };
    let disposition = value("content-disposition")?;
    Some(Part {
        name: parameter(disposition, "name")?,
        file_name: parameter(disposition, "filename"),
        content_type: value("content-type").map(str::to_owned),
        content,
    })
}

fn boundary(content_type: &str) -> Option<String> {
    let kind = content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(content_type, "boundary").filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
}

/// A parameter of a header's value: `kind; name=value; other="quoted \" value"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, behind) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), behind)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind.trim_start().trim_start_matches(';');
    }
}

/// The value up to its closing quote, and what stands behind that.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: Option<&str> = Some("multipart/form-data; boundary=x1");

    fn texts(body: &str) -> Vec<(String, String)> {
        let parts = parts(KIND, body.as_bytes()).unwrap();
        parts.iter().map(|part| (part.name.clone(), part.text(body.as_bytes()).unwrap().to_owned())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn fields_and_files_are_found() {
        let body = "--x1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--x1\r\ncontent-type: audio/wav\r\n\
            content-disposition: form-data; name=file; filename=\"a \\\"b\\\".wav\"\r\n\r\n--x\r\n--y\r\n--x1--\r\nepilogue";
        assert_eq!(texts(body), pairs(&[("model", "m"), ("file", "--x\r\n--y")]));
        let file = &parts(KIND, body.as_bytes()).unwrap()[1];
        assert_eq!((file.file_name.as_deref(), file.content_type.as_deref()), (Some("a \"b\".wav"), Some("audio/wav")));
    }

    #[test]
    fn preambles_padding_and_empty_contents_are_fine() {
        let part = "content-disposition: form-data; name=\"a\"\r\n\r\n";
        assert_eq!(texts(&format!("hello\r\n--x1 \t\r\n{part}1\r\n--x1--")), pairs(&[("a", "1")]));
        assert_eq!(texts(&format!("--x1\r\n{part}\r\n--x1--")), pairs(&[("a", "")]));
        assert_eq!(texts(&format!("--x1\r\n{}--x1--", part)), pairs(&[("a", "")]));
        assert_eq!(texts("--x1--"), pairs(&[]));
    }

    #[test]
    fn broken_forms_are_refused() {
        let part = "content-disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
        let many = format!("--x1\r\n{part}").repeat(PARTS_MAX + 1) + "--x1--";
        let long = format!("--x1\r\nx: {}\r\n{part}--x1--", "y".repeat(PART_HEADERS_BYTES_MAX));
        for body in ["", "--x2--", "--x1", "--x1\r\n", "--x1\r\n\r\nno name\r\n--x1--", "--x1junk\r\n\r\n\r\n--x1--", &many, &long] {
            assert!(parts(KIND, body.as_bytes()).is_err(), "{body:.60}");
        }
        assert!(parts(KIND, format!("--x1\r\n{part}").as_bytes()).is_err(), "no end");
        for kind in [None, Some("application/json"), Some("multipart/form-data"), Some("multipart/form-data; boundary=\"\"")] {
            assert!(parts(kind, b"--x1--").is_err());
        }
        assert!(parts(Some("Multipart/Form-Data; charset=utf-8; Boundary=\"x1\""), b"--x1--").is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in "(--x1|\r\n|--|content-disposition: form-data; name=\"?a?|;|=|\"|é){0,24}") {
            if let Ok(parts) = parts(KIND, body.as_bytes()) {
                for part in parts {
                    prop_assert!(body.as_bytes().get(part.content).is_some());
                }
            }
        }

        #[test]
        fn any_content_comes_back(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let mut body = Vec::new();
            for content in &contents {
                body.extend_from_slice(b"--x1\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n");
                body.extend_from_slice(content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--x1--\r\n");
            let found = parts(KIND, &body).unwrap();
            let found: Vec<&[u8]> = found.iter().map(|part| part.bytes(&body)).collect();
            prop_assert_eq!(found, contents.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
