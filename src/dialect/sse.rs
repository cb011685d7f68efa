//! Server-sent events (WHATWG HTML, section 9.2) cut out of a byte stream, each with its exact bytes so that it can be forwarded as it came.

use bytes::{Buf, Bytes, BytesMut};

/// One event, or one block of comments (then `data` is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The exact bytes, including the blank line that ends the event.
    pub raw: Bytes,
    /// The data lines joined with `\n`; a slice of `raw` when there is only one.
    pub data: Bytes,
    /// Value of the `event` line.
    pub event: Option<Bytes>,
}

impl Event {
    /// OpenAI's end of a stream.
    pub fn is_done(&self) -> bool {
        self.data.trim_ascii() == b"[DONE]"
    }
}

/// An event grew beyond the limit. The decoder gives nothing more after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {limit_bytes} bytes")]
pub struct TooLong {
    pub limit_bytes: usize,
}

/// Bytes not yet given out: a slice of the last chunk as long as events end inside chunks, joined chunks otherwise.
#[derive(Debug)]
enum Buffer {
    Whole(Bytes),
    Joined(BytesMut),
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }

    fn append(&mut self, chunk: Bytes) {
        match self {
            _ if self.bytes().is_empty() => *self = Self::Whole(chunk),
            Self::Whole(rest) => {
                let mut joined = BytesMut::with_capacity((rest.len() + chunk.len()) * 2);
                joined.extend_from_slice(rest);
                joined.extend_from_slice(&chunk);
                *self = Self::Joined(joined);
            }
            Self::Joined(rest) => rest.extend_from_slice(&chunk),
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.split_to(length),
            Self::Joined(bytes) => bytes.split_to(length).freeze(),
        }
    }
}

/// Push chunks in, take events out. The events do not depend on where the chunks were cut.
///
/// A lone `\r` that ends a chunk is undecided until the next byte (it may be half of `\r\n`), so a stream that ends its lines
/// with `\r` alone is given out one event late.
#[derive(Debug)]
pub struct Decoder {
    limit_bytes: usize,
    buffer: Buffer,
    /// Start of the line being read and how far it was searched for its end.
    line_start: usize,
    searched: usize,
    at_start: bool,
    failed: bool,
}

impl Decoder {
    /// `limit_bytes` bounds one event, and with it the memory held here.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, buffer: Buffer::Whole(Bytes::new()), line_start: 0, searched: 0, at_start: true, failed: false }
    }

    /// Adds bytes. Take all events out before pushing again: only then is what is buffered bounded.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.failed && !chunk.is_empty() {
            self.buffer.append(chunk);
        }
    }

    /// The next whole event, `None` until more bytes come.
    pub fn next_event(&mut self) -> Option<Result<Event, TooLong>> {
        if self.failed {
            return None;
        }
        let end = self.find_end(false);
        let length = end.unwrap_or_else(|| self.buffer.bytes().len());
        if length > self.limit_bytes {
            self.failed = true;
            self.buffer = Buffer::Whole(Bytes::new());
            return Some(Err(TooLong { limit_bytes: self.limit_bytes }));
        }
        end.map(|end| Ok(self.give_out(end)))
    }

    /// What is left when the stream has ended: an event without its blank line. A stream that was cut leaves half an event here, so
    /// trust it only as far as its data makes sense (some servers omit the blank line after the last event).
    pub fn finish(&mut self) -> Option<Event> {
        let end = self.find_end(true).unwrap_or_else(|| self.buffer.bytes().len());
        (end > 0).then(|| self.give_out(end))
    }

    /// Position after the blank line that ends the first event in the buffer. A blank line is a line break at the start of a line.
    fn find_end(&mut self, ended: bool) -> Option<usize> {
        let bytes = self.buffer.bytes();
        // The byte order mark is no content: a blank line after it is one.
        if self.at_start && self.line_start == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            self.line_start = BYTE_ORDER_MARK.len();
            self.searched = self.searched.max(self.line_start);
        }
        loop {
            let Some(offset) = memchr::memchr2(b'\n', b'\r', bytes.get(self.searched..)?) else {
                self.searched = bytes.len();
                return None;
            };
            let line_end = self.searched + offset;
            let next_line = match (bytes[line_end], bytes.get(line_end + 1)) {
                (b'\r', Some(b'\n')) => line_end + 2,
                (b'\r', None) if !ended => {
                    self.searched = line_end;
                    return None;
                }
                _ => line_end + 1,
            };
            if line_end == self.line_start {
                return Some(next_line);
            }
            self.line_start = next_line;
            self.searched = next_line;
        }
    }

    fn give_out(&mut self, end: usize) -> Event {
        let raw = self.buffer.take(end);
        let marked = self.at_start && raw.starts_with(BYTE_ORDER_MARK);
        (self.line_start, self.searched, self.at_start) = (0, 0, false);
        parse(raw, if marked { BYTE_ORDER_MARK.len() } else { 0 })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn parse(raw: Bytes, start: usize) -> Event {
    let (mut data, mut event) = (None::<Bytes>, None);
    let mut at = start;
    while at < raw.len() {
        let line_end = memchr::memchr2(b'\n', b'\r', &raw[at..]).map_or(raw.len(), |offset| at + offset);
        let line = raw.slice(at..line_end);
        at = line_end + 1;
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        match &line[..colon] {
            b"data" => data = Some(data.map_or_else(|| value(&line, colon), |before| joined(&before, &value(&line, colon)))),
            b"event" => event = Some(value(&line, colon)),
            _ => {}
        }
    }
    Event { raw, data: data.unwrap_or_default(), event }
}

fn value(line: &Bytes, colon: usize) -> Bytes {
    let mut value = line.slice((colon + 1).min(line.len())..);
    if value.first() == Some(&b' ') {
        value.advance(1);
    }
    value
}

fn joined(before: &[u8], line: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(before.len() + 1 + line.len());
    data.extend_from_slice(before);
    data.extend_from_slice(b"\n");
    data.extend_from_slice(line);
    data.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = decoder.next_event() {
                events.push(event.expect("short"));
            }
        }
        events.extend(decoder.finish());
        events
    }

    fn data(input: &str) -> Vec<String> {
        decode(&[input.as_bytes()]).iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
    }

    #[test]
    fn reads_every_line_ending() {
        assert_eq!(data("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn joins_data_lines_and_keeps_names() {
        let events = decode(&[b"event: error\nid: 1\ndata: a\ndata\ndata:  b\n\n"]);
        assert_eq!(events.len(), 1);
        assert_eq!(&events[0].data[..], b"a\n\n b");
        assert_eq!(events[0].event.as_deref(), Some(&b"error"[..]));
    }

    #[test]
    fn comments_are_blocks_without_data() {
        let events = decode(&[b": ping\n\ndata: x\n\n"]);
        assert_eq!(events[0], Event { raw: Bytes::from_static(b": ping\n\n"), data: Bytes::new(), event: None });
        assert_eq!(&events[1].data[..], b"x");
    }

    #[test]
    fn a_byte_order_mark_is_skipped_but_forwarded() {
        let events = decode(&[b"\xef\xbb", b"\xbfdata: x\n\n"]);
        assert_eq!(&events[0].data[..], b"x");
        assert_eq!(&events[0].raw[..], b"\xef\xbb\xbfdata: x\n\n");
    }

    #[test]
    fn an_event_inside_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"data: first\n\ndata: second\n\ndata: th");
        let mut decoder = Decoder::new(100);
        decoder.push(chunk.clone());
        for _ in 0..2 {
            let event = decoder.next_event().expect("whole").expect("short");
            assert!(chunk.as_ptr_range().contains(&event.raw.as_ptr()));
            assert!(chunk.as_ptr_range().contains(&event.data.as_ptr()));
        }
        assert_eq!(decoder.next_event(), None);
    }

    #[test]
    fn a_cut_event_is_left_over() {
        let mut decoder = Decoder::new(100);
        decoder.push(Bytes::from_static(b"data: a\n\ndata: [DONE]\n"));
        assert!(decoder.next_event().is_some());
        assert_eq!(decoder.next_event(), None);
        assert!(decoder.finish().expect("left over").is_done());
        assert_eq!(decoder.finish(), None);
    }

    #[test]
    fn the_limit_is_final() {
        let mut decoder = Decoder::new(8);
        decoder.push(Bytes::from_static(b"data: 123456789"));
        assert_eq!(decoder.next_event(), Some(Err(TooLong { limit_bytes: 8 })));
        decoder.push(Bytes::from_static(b"\n\ndata: a\n\n"));
        assert_eq!(decoder.next_event(), None);
        assert_eq!(decoder.finish(), None);
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            lines in prop::collection::vec("(data: ?[a-z\u{e9}]{0,4}|event:x|: c|id|\u{feff}|)(\n|\r\n|\r)", 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let input = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
            let events = decode(&chunks);
            prop_assert_eq!(&events, &decode(&[&input]));
            let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
            prop_assert_eq!(raw, input);
        }
    }
}
