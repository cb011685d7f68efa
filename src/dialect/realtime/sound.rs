//! How many tokens a recording has, by its length.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of one second of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    bytes_per_second: u64,
}

impl Format {
    /// 16-bit samples, 24 000 a second, one channel: what sessions begin with.
    pub const PCM16: Self = Self { bytes_per_second: 48_000 };
    /// µ-law and A-law: 8-bit samples, 8 000 a second.
    pub const G711: Self = Self { bytes_per_second: 8_000 };

    fn named(name: &str) -> Option<Self> {
        match name {
            "pcm16" | "audio/pcm" => Some(Self::PCM16),
            "g711_ulaw" | "g711_alaw" | "audio/pcmu" | "audio/pcma" => Some(Self::G711),
            _ => None,
        }
    }

    /// A token is 100 ms of what is heard (OpenAI's guide to the costs of realtime), rounded up.
    pub fn input_tokens(self, bytes: u64) -> u64 {
        bytes.saturating_mul(10).div_ceil(self.bytes_per_second)
    }

    /// A token is 50 ms of what is spoken (the same source), rounded up.
    pub fn output_tokens(self, bytes: u64) -> u64 {
        bytes.saturating_mul(20).div_ceil(self.bytes_per_second)
    }
}

/// The formats of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    pub input: Format,
    pub output: Format,
}

impl Default for Sound {
    fn default() -> Self {
        Self { input: Format::PCM16, output: Format::PCM16 }
    }
}

impl Sound {
    /// Takes over what a session says of its formats, in the words of today's API or of the beta; the rest stays.
    pub fn learn(&mut self, session: &str) {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Session {
            audio: Option<Audio>,
            input_audio_format: Option<String>,
            output_audio_format: Option<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Audio {
            input: Option<Side>,
            output: Option<Side>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Side {
            format: Option<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "type")]
            name: String,
        }
        // A shape that is not known says nothing about formats.
        let Ok(session) = serde_json::from_str::<Session>(session) else { return };
        let Audio { input, output } = session.audio.unwrap_or_default();
        let named = |side: Option<Side>, beta: Option<String>| {
            let name = side.and_then(|side| side.format).map(|format| format.name).or(beta);
            name.as_deref().and_then(Format::named)
        };
        self.input = named(input, session.input_audio_format).unwrap_or(self.input);
        self.output = named(output, session.output_audio_format).unwrap_or(self.output);
    }
}

/// Bytes that a base64 text of this length stands for.
pub(super) fn decoded_bytes(base64: &RawValue) -> u64 {
    // Two of the characters are quotes.
    (base64.get().len() as u64).saturating_sub(2) / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_sound_has_ten_tokens_in_and_twenty_out() {
        assert_eq!((Format::PCM16.input_tokens(48_000), Format::PCM16.output_tokens(48_000)), (10, 20));
        assert_eq!((Format::G711.input_tokens(8_000), Format::G711.output_tokens(4_000)), (10, 10));
        assert_eq!((Format::PCM16.input_tokens(1), Format::PCM16.input_tokens(0)), (1, 0));
    }

    #[test]
    fn formats_are_learnt_in_both_wordings() {
        let mut sound = Sound::default();
        sound.learn(r#"{"audio":{"input":{"format":{"type":"audio/pcmu"}},"output":{"format":{"type":"audio/pcm","rate":24000}}}}"#);
        assert_eq!((sound.input, sound.output), (Format::G711, Format::PCM16));
        sound.learn(r#"{"input_audio_format":"pcm16","output_audio_format":"g711_alaw"}"#);
        assert_eq!((sound.input, sound.output), (Format::PCM16, Format::G711));
        sound.learn(r#"{"audio":7}"#);
        assert_eq!(sound.output, Format::G711);
    }
}
