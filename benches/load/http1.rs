//! Just enough HTTP/1.1 for both ends of a bench: heads, and bodies by length or in chunks. Cheap on purpose, for the load
//! shares its cores with what it measures. Absent: everything a peer on loopback that we start ourselves does not do.

use std::io;

/// How the body of a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(usize),
    Chunked,
}

/// Bytes up to and with the blank line that ends a head.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of header `name`, without the spaces around it.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

/// A message that states neither way has no body.
pub fn framing(head: &[u8]) -> io::Result<Framing> {
    if let Some(coding) = header(head, "transfer-encoding") {
        return if coding.eq_ignore_ascii_case("chunked") { Ok(Framing::Chunked) } else { Err(bad("unknown transfer-encoding")) };
    }
    let length = header(head, "content-length").unwrap_or("0");
    length.parse().map(Framing::Length).map_err(|_| bad("content-length is not a number"))
}

/// The status of an answer's head: `HTTP/1.1 200 OK`.
pub fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| bad("no status line"))
}

/// Takes a body out of the bytes of a connection, in whatever pieces they come.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes of the whole body that are still to come.
    Plain(usize),
    ChunkSize,
    /// Bytes of this chunk that are still to come.
    Chunk(usize),
    ChunkEnd,
    Trailer,
    Done,
}

impl BodyReader {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Plain(length),
            Framing::Chunked => State::ChunkSize,
        };
        Self { state }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the body's bytes to `body`; returns how many bytes of `input` are used up. The rest must be offered again,
    /// with what comes after it.
    pub fn feed(&mut self, input: &[u8], body: &mut Vec<u8>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            match self.state {
                State::Done => return Ok(used),
                State::Plain(missing) => {
                    let taken = missing.min(rest.len());
                    body.extend_from_slice(&rest[..taken]);
                    self.state = if taken == missing { State::Done } else { State::Plain(missing - taken) };
                    return Ok(used + taken);
                }
                State::Chunk(missing) => {
                    let taken = missing.min(rest.len());
                    body.extend_from_slice(&rest[..taken]);
                    used += taken;
                    if taken < missing {
                        self.state = State::Chunk(missing - taken);
                        return Ok(used);
                    }
                    self.state = State::ChunkEnd;
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    let Some(length) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(used) };
                    self.state = self.after_line(&rest[..length])?;
                    used += length + 2;
                }
            }
        }
    }

    fn after_line(&self, line: &[u8]) -> io::Result<State> {
        match self.state {
            State::ChunkSize => {
                let digits = line.split(|byte| *byte == b';').next().and_then(|digits| std::str::from_utf8(digits).ok());
                let size = digits.and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
                size.map(|size| if size == 0 { State::Trailer } else { State::Chunk(size) }).ok_or_else(|| bad("no chunk size"))
            }
            State::ChunkEnd if line.is_empty() => Ok(State::ChunkSize),
            State::ChunkEnd => Err(bad("a chunk is longer than it says")),
            _ => Ok(if line.is_empty() { State::Done } else { State::Trailer }),
        }
    }
}

pub fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
