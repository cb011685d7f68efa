//! Our own count of a conversation and of the response that runs, for holds and for what is charged when no usage is reported.

use crate::{
    dialect::{
        realtime::{Input, Part, Sound},
        tokens,
    },
    domain::{Timestamp, pricing::Quantities},
};

/// Text waits to be counted up to this size.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// What the next response will be given. Reported usage replaces our count whenever there is some.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Formats of the session, as the upstream last said.
    pub sound: Sound,
    text_tokens: u64,
    sound_tokens: u64,
    /// Since the last response began: it may not be part of that response's report.
    fresh_text_tokens: u64,
    fresh_sound_bytes: u64,
}

impl Conversation {
    /// Adds what a caller sent; `text_tokens` is the count of its text.
    pub fn add(&mut self, input: &Input, text_tokens: u64) {
        self.fresh_text_tokens = self.fresh_text_tokens.saturating_add(text_tokens).saturating_add(input.tokens);
        self.fresh_sound_bytes = self.fresh_sound_bytes.saturating_add(input.sound_bytes);
    }

    /// A response begins with everything so far.
    pub fn response_begins(&mut self) {
        self.text_tokens = self.text_tokens.saturating_add(std::mem::take(&mut self.fresh_text_tokens));
        let sound = self.sound.input.input_tokens(std::mem::take(&mut self.fresh_sound_bytes));
        self.sound_tokens = self.sound_tokens.saturating_add(sound);
    }

    /// What was said belongs to the conversation from now on.
    pub fn response_ended(&mut self, used: &Quantities) {
        let sound = used.audio_input_tokens.saturating_add(used.audio_output_tokens);
        self.sound_tokens = sound;
        self.text_tokens = used.tokens().saturating_sub(sound);
    }

    pub fn tokens(&self) -> u64 {
        let Quantities { input_tokens, audio_input_tokens, .. } = self.input();
        input_tokens.saturating_add(audio_input_tokens)
    }

    /// As the input of a response.
    pub fn input(&self) -> Quantities {
        Quantities {
            input_tokens: self.text_tokens.saturating_add(self.fresh_text_tokens),
            audio_input_tokens: self.sound_tokens.saturating_add(self.sound.input.input_tokens(self.fresh_sound_bytes)),
            ..Quantities::default()
        }
    }
}

/// A response that runs, and what was delivered of it.
#[derive(Debug)]
pub struct Running {
    pub id: Option<String>,
    pub started_at: Timestamp,
    pub first_byte_at: Option<Timestamp>,
    uncounted: String,
    text_tokens: u64,
    sound_bytes: u64,
}

impl Running {
    pub fn new(id: Option<String>, started_at: Timestamp) -> Self {
        Self { id, started_at, first_byte_at: None, uncounted: String::new(), text_tokens: 0, sound_bytes: 0 }
    }

    pub fn add(&mut self, part: Part, now: Timestamp) {
        self.first_byte_at.get_or_insert(now);
        match part {
            Part::Sound(bytes) => self.sound_bytes = self.sound_bytes.saturating_add(bytes),
            Part::Text(text) => {
                self.uncounted.push_str(&text);
                if self.uncounted.len() > TEXT_BYTES_MAX {
                    self.text_tokens += tokens::count(&std::mem::take(&mut self.uncounted));
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.uncounted.is_empty() && self.text_tokens == 0 && self.sound_bytes == 0
    }

    /// Our count of what was delivered.
    pub fn produced(&self, sound: Sound) -> Quantities {
        Quantities {
            output_tokens: self.text_tokens + tokens::count(&self.uncounted),
            audio_output_tokens: sound.output.output_tokens(self.sound_bytes),
            ..Quantities::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_the_count_but_not_what_came_since() {
        let mut conversation = Conversation::default();
        conversation.add(&Input { sound_bytes: 48_000, ..Input::default() }, 7);
        assert_eq!(conversation.tokens(), 17);
        conversation.response_begins();
        conversation.add(&Input { sound_bytes: 96_000, ..Input::default() }, 1);
        conversation.response_ended(&Quantities {
            input_tokens: 5,
            audio_input_tokens: 9,
            audio_output_tokens: 40,
            ..Quantities::default()
        });
        let input = conversation.input();
        assert_eq!((input.input_tokens, input.audio_input_tokens), (6, 69));
    }

    #[test]
    fn what_was_delivered_is_counted_by_its_kind() {
        let mut running = Running::new(None, 0);
        assert!(running.is_empty());
        running.add(Part::Text("hello world".to_owned()), 3);
        running.add(Part::Sound(48_000), 4);
        let produced = running.produced(Sound::default());
        assert_eq!((produced.output_tokens, produced.audio_output_tokens, running.first_byte_at), (2, 20, Some(3)));
    }
}
