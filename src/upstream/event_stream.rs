//! Amazon's binary event streams (`application/vnd.amazon.eventstream`), turned into server-sent events: everything behind this sees one
//! kind of stream.
//!
//! | message | becomes |
//! |---|---|
//! | `:message-type: event` | `event: <:event-type>`, `data: <payload>` |
//! | `exception` | `event: exception:<:exception-type>`, `data: <payload>` |
//! | `error` | `event: exception:<:error-code>`, `data: {"message": <:error-message>}` |

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::{Bytes, BytesMut};

use super::Failure;

/// The content type of these streams, without parameters.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// The largest message that is taken; Amazon's own limit is a bit higher.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Cuts messages out of a byte stream; checksums are verified.
#[derive(Debug, Default)]
pub struct EventStreamDecoder {
    buffer: BytesMut,
}

impl EventStreamDecoder {
    /// Takes a chunk and answers with the events that are complete now; empty when there are none. An error is the end of the stream.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Bytes, Failure> {
        self.buffer.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(length) = announced(&self.buffer)?
            && self.buffer.len() >= length
        {
            let message = self.buffer.split_to(length).freeze();
            write(&read_message_from(message).map_err(|error| garbage(error.to_string()))?, &mut events)?;
        }
        Ok(events.into())
    }

    /// Whether the stream may end now: not inside a message.
    pub fn is_between_messages(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Length of the message that these bytes begin with, once its prelude is there: two numbers and their checksum. Without the checksum
/// damage would make us wait for a message that never ends.
fn announced(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some((numbers, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let Some(checksum) = rest.first_chunk::<4>() else { return Ok(None) };
    if crc32fast::hash(numbers) != u32::from_be_bytes(*checksum) {
        return Err(garbage("the checksum of a message's prelude is wrong".to_owned()));
    }
    let [a, b, c, d, ..] = *numbers;
    match usize::try_from(u32::from_be_bytes([a, b, c, d])) {
        Ok(length) if length <= MESSAGE_BYTES_MAX => Ok(Some(length)),
        _ => Err(garbage(format!("a message is longer than {MESSAGE_BYTES_MAX} bytes"))),
    }
}

fn garbage(why: String) -> Failure {
    Failure::Garbage(format!("the event stream is broken: {why}"))
}

fn write(message: &Message, out: &mut Vec<u8>) -> Result<(), Failure> {
    let text = |name: &str| {
        let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
        header.value().as_string().ok().map(|value| value.as_str())
    };
    match text(":message-type") {
        Some("event") => write_event("", text(":event-type").unwrap_or_default(), message.payload(), out),
        Some("exception") => write_event("exception:", text(":exception-type").unwrap_or_default(), message.payload(), out),
        Some("error") => {
            let says = serde_json::json!({ "message": text(":error-message") }).to_string();
            write_event("exception:", text(":error-code").unwrap_or_default(), says.as_bytes(), out);
        }
        other => return Err(garbage(format!("a message of the type {other:?} is not known"))),
    }
    Ok(())
}

fn write_event(prefix: &str, name: &str, payload: &[u8], out: &mut Vec<u8>) {
    // A line break would end the line; in JSON it can only stand where a space can.
    let one_line = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(prefix.as_bytes());
    out.extend(name.as_bytes().iter().map(one_line));
    out.extend_from_slice(b"\ndata: ");
    out.extend(payload.iter().map(one_line));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn message(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let headers = headers.iter().map(|(name, value)| Header::new((*name).to_owned(), HeaderValue::String((*value).to_owned().into())));
        let message = Message::new_from_parts(headers.collect(), payload.as_bytes().to_vec());
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    fn event(name: &str, payload: &str) -> Vec<u8> {
        message(&[(":message-type", "event"), (":event-type", name), (":content-type", "application/json")], payload)
    }

    fn stream() -> (Vec<u8>, String) {
        let bytes = [
            event("messageStart", r#"{"role":"assistant"}"#),
            event("contentBlockDelta", "{\"delta\":\n{\"text\":\"Zażółć\"}}"),
            event("messageStop", "{}"),
            message(&[(":message-type", "exception"), (":exception-type", "throttlingException")], r#"{"message":"slow"}"#),
            message(&[(":message-type", "error"), (":error-code", "Internal"), (":error-message", "oh \"no\"")], ""),
        ];
        let text = "event: messageStart\ndata: {\"role\":\"assistant\"}\n\n\
                    event: contentBlockDelta\ndata: {\"delta\": {\"text\":\"Zażółć\"}}\n\n\
                    event: messageStop\ndata: {}\n\n\
                    event: exception:throttlingException\ndata: {\"message\":\"slow\"}\n\n\
                    event: exception:Internal\ndata: {\"message\":\"oh \\\"no\\\"\"}\n\n";
        (bytes.concat(), text.to_owned())
    }

    proptest! {
        #[test]
        fn chunk_boundaries_do_not_matter(sizes in prop::collection::vec(1..60_usize, 1..40)) {
            let (bytes, expected) = stream();
            let mut decoder = EventStreamDecoder::default();
            let mut text = Vec::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                let (chunk, after) = rest.split_at((*size).min(rest.len()));
                text.extend_from_slice(&decoder.push(chunk).unwrap());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(decoder.is_between_messages());
            prop_assert_eq!(String::from_utf8(text).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventStreamDecoder::default().push(&bytes);
        }
    }

    #[test]
    fn damage_is_found() {
        let whole = event("messageStop", "{}");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let mut decoder = EventStreamDecoder::default();
            let outcome = decoder.push(&damaged);
            assert!(outcome.is_err(), "byte {at}");
        }
        let mut cut = EventStreamDecoder::default();
        assert_eq!(cut.push(&whole[..whole.len() - 1]), Ok(Bytes::new()));
        assert!(!cut.is_between_messages());
        let mut huge = [u32::MAX.to_be_bytes(), [0; 4]].concat();
        huge.extend_from_slice(&crc32fast::hash(&huge).to_be_bytes());
        assert!(EventStreamDecoder::default().push(&huge).unwrap_err().to_string().contains("longer than"));
        let strange = message(&[(":message-type", "party")], "{}");
        assert!(EventStreamDecoder::default().push(&strange).is_err());
        assert!(EventStreamDecoder::default().push(&message(&[], "{}")).is_err());
    }
}
