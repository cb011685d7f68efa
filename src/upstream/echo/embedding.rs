//! Vectors for `pixgate/echo-embedding`: equal texts have equal vectors of length 1, in floats or base64 as asked.

use std::borrow::Cow;

use base64::Engine;
use bytes::Bytes;
use serde::Deserialize;

use super::{Failure, refused};
use crate::dialect::{json::push_string, openai::Request};

const DIMENSIONS: usize = 64;
/// Numbers in one answer: some 12 MB of JSON.
const NUMBERS_MAX: usize = 1_000_000;

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, default)]
    encoding_format: Option<Cow<'a, str>>,
    #[serde(default)]
    dimensions: Option<usize>,
}

/// The answer to a call with this body. A token count of `None` leaves usage out.
pub(super) fn answer(request: &Request<'_>, body: &[u8], tokens: Option<u64>) -> Result<Bytes, Failure> {
    let format: Format<'_> = serde_json::from_slice(body)
        .map_err(|_| refused(400, "'encoding_format' must be a string and 'dimensions' a whole number".to_owned()))?;
    let dimensions = format.dimensions.unwrap_or(DIMENSIONS);
    if dimensions == 0 || dimensions.saturating_mul(request.rows()) > NUMBERS_MAX {
        return Err(refused(400, format!("'dimensions' must be at least 1, and at most {NUMBERS_MAX} for all inputs together")));
    }
    let base64 = match format.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(refused(400, "'encoding_format' must be float or base64".to_owned())),
    };
    let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
    for row in 0..request.rows() {
        // Texts given as tokens are told apart by their position only.
        let position = row.to_string();
        let text = request.texts().get(row).map_or(&*position, |text| text);
        out.extend_from_slice(if row > 0 { b"," } else { b"" });
        out.extend_from_slice(format!("{{\"object\":\"embedding\",\"index\":{row},\"embedding\":").as_bytes());
        push_vector(&mut out, &vector(text, dimensions), base64);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"model\":");
    push_string(&mut out, &request.model);
    if let Some(tokens) = tokens {
        out.extend_from_slice(format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#).as_bytes());
    }
    out.push(b'}');
    Ok(Bytes::from(out))
}

/// FNV-1a over the text seeds xorshift; enough to look like an embedding.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The upper 16 bits, centred on zero; never exactly zero.
        f32::from((state >> 48) as u16) - 32_767.5
    };
    let mut vector: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn push_vector(out: &mut Vec<u8>, vector: &[f32], base64: bool) {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        push_string(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
        return;
    }
    out.push(b'[');
    for (position, value) in vector.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b"," } else { b"" });
        out.extend_from_slice(value.to_string().as_bytes());
    }
    out.push(b']');
}
