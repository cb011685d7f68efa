//! Answers on their way from one chat dialect to another, through the canonical form.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    ErrorBody,
    canonical::{Answer, BlockStart, StreamEvent},
    format::{CallerFormat, Charge, Garbage, Meter, Step, StreamReader, StreamWriter, UpstreamFormat, Whole, Writing},
    sse::Event,
    tokens,
};
use crate::domain::pricing::Quantities;

/// Delivered text is kept for counting up to this size, then counted and dropped (a millisecond), so that memory is bounded.
const UNCOUNTED_BYTES_MAX: usize = 32 * 1024;

/// Most that a stream may hold for an end that repeats its whole answer.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A whole answer that was read in one dialect and is written in another.
struct TranslatedWhole {
    answer: Answer,
    id: String,
    writing: Writing,
    caller: &'static dyn CallerFormat,
}

/// Reads an upstream's whole answer for a caller of another dialect.
pub fn whole(
    upstream: &'static dyn UpstreamFormat,
    caller: &'static dyn CallerFormat,
    body: &[u8],
    writing: &Writing,
) -> Result<Box<dyn Whole>, Garbage> {
    let answer = upstream.read_answer(body)?;
    Ok(Box::new(TranslatedWhole { answer, id: caller.answer_id(writing), writing: writing.clone(), caller }))
}

impl Whole for TranslatedWhole {
    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn usage(&self) -> Option<Quantities> {
        self.answer.usage
    }

    fn produced_tokens(&self) -> u64 {
        self.answer.produced_tokens()
    }

    fn finish(&self, charge: &Charge) -> (Bytes, Cow<'static, str>) {
        (self.caller.write_answer(&self.answer, &self.writing, charge), Cow::Borrowed("application/json"))
    }
}

/// Follows an upstream's stream and writes the caller's.
pub struct TranslatedStream {
    reader: Box<dyn StreamReader>,
    writer: Box<dyn StreamWriter>,
    /// Reused for every event.
    events: Vec<StreamEvent>,
    has_content: bool,
    ended: bool,
    uncounted: String,
    counted_tokens: u64,
    reported: Option<Quantities>,
}

impl TranslatedStream {
    pub fn new(reader: Box<dyn StreamReader>, writer: Box<dyn StreamWriter>) -> Self {
        Self {
            reader,
            writer,
            events: Vec::new(),
            has_content: false,
            ended: false,
            uncounted: String::new(),
            counted_tokens: 0,
            reported: None,
        }
    }

    fn count(&mut self, text: &str) {
        self.has_content = true;
        self.uncounted.push_str(text);
        if self.uncounted.len() > UNCOUNTED_BYTES_MAX {
            self.counted_tokens += tokens::count(&self.uncounted);
            self.uncounted.clear();
        }
    }

    /// Takes what was read; answers with what to do.
    fn take(&mut self, events: &[StreamEvent]) -> Step {
        let mut out = Vec::new();
        let mut usage = false;
        for event in events {
            match event {
                StreamEvent::Usage(quantities) => {
                    self.reported = Some(*quantities);
                    usage = true;
                }
                StreamEvent::Delta { text, .. } => self.count(text),
                StreamEvent::BlockStart { start: BlockStart::ToolCall { name, .. }, .. } => self.count(name),
                StreamEvent::Error { message } => return Step::Error { message: message.clone() },
                StreamEvent::End => self.ended = true,
                _ => {}
            }
            self.writer.write(event, &mut out);
        }
        if self.writer.held_bytes() > HELD_BYTES_MAX {
            return Step::Error { message: format!("the answer is longer than the {HELD_BYTES_MAX} bytes that its end can repeat") };
        }
        match (self.ended, out.is_empty(), usage) {
            // What came with the end goes out with the final events.
            (true, true, _) => Step::Done,
            (_, false, _) => Step::Forward(Bytes::from(out)),
            (_, true, true) => Step::Usage,
            (_, true, false) => Step::HoldBack,
        }
    }
}

impl Meter for TranslatedStream {
    fn on_event(&mut self, event: &Event) -> Step {
        if self.ended {
            return Step::Done;
        }
        let mut events = std::mem::take(&mut self.events);
        self.reader.read(event, &mut events);
        let step = self.take(&events);
        events.clear();
        self.events = events;
        step
    }

    fn has_content(&self) -> bool {
        self.has_content
    }

    fn is_complete(&self) -> bool {
        self.ended
    }

    fn answer_id(&self) -> Option<&str> {
        Some(self.writer.answer_id())
    }

    fn reported(&self) -> Option<Quantities> {
        self.reported
    }

    fn produced_tokens(&self) -> u64 {
        self.counted_tokens + tokens::count(&self.uncounted)
    }

    fn input_ended(&mut self) -> Bytes {
        if self.ended {
            return Bytes::new();
        }
        let mut events = Vec::new();
        self.reader.ended(&mut events);
        match self.take(&events) {
            Step::Forward(bytes) => bytes,
            _ => Bytes::new(),
        }
    }

    fn final_events(&mut self, charge: &Charge) -> Bytes {
        let mut out = Vec::with_capacity(1024);
        self.writer.finish(charge, &mut out);
        Bytes::from(out)
    }

    fn kept(&self) -> Option<Bytes> {
        self.writer.kept()
    }

    fn failure(&mut self, error: &ErrorBody<'_>) -> Bytes {
        let mut out = Vec::with_capacity(512);
        self.writer.fail(error, &mut out);
        Bytes::from(out)
    }
}
