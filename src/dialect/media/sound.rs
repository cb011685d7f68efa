//! How long a recording plays: exactly for uncompressed WAV, by its size for everything else.

/// Bytes a second of what people upload: 64 kbit/s, between a voice note and music.
const USUAL_BYTES_PER_SECOND: u64 = 8_000;
/// The thriftiest coding of speech in use, about 8 kbit/s.
const LEAST_BYTES_PER_SECOND: u64 = 1_000;

/// Playing time in whole seconds, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Playtime {
    pub seconds: u64,
    /// Surely not more.
    pub seconds_max: u64,
    pub is_exact: bool,
}

pub(super) fn playtime(recording: &[u8]) -> Playtime {
    if let Some(seconds) = wav_seconds(recording) {
        return Playtime { seconds, seconds_max: seconds, is_exact: true };
    }
    let bytes = recording.len() as u64;
    Playtime { seconds: bytes.div_ceil(USUAL_BYTES_PER_SECOND), seconds_max: bytes.div_ceil(LEAST_BYTES_PER_SECOND), is_exact: false }
}

/// Formats whose size says how long they play: PCM, floating point, and the extensible form of both.
const UNCOMPRESSED: [u16; 3] = [1, 3, 0xfffe];

fn wav_seconds(recording: &[u8]) -> Option<u64> {
    if recording.get(..4)? != b"RIFF" || recording.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut at = 12usize;
    let mut bytes_per_second = None;
    loop {
        let (name, size) = (recording.get(at..at + 4)?, number32(recording, at + 4)?);
        let start = at + 8;
        let there = (recording.len() - start.min(recording.len())) as u64;
        match name {
            b"fmt " => bytes_per_second = Some(bytes_of_a_second(recording, start)?),
            b"data" => {
                // Recorders that stream write 0 or the largest number, and mean the rest.
                let bytes = if size == 0 { there } else { u64::from(size).min(there) };
                return Some(bytes.div_ceil(bytes_per_second?));
            }
            _ => {}
        }
        let size = usize::try_from(size).ok()?;
        // Chunks are padded to an even length.
        at = start.checked_add(size)?.checked_add(size % 2)?;
    }
}

/// From what decoders go by; the header's own byte rate could say anything.
fn bytes_of_a_second(recording: &[u8], at: usize) -> Option<u64> {
    let (format, channels) = (number16(recording, at)?, number16(recording, at + 2)?);
    let (rate, bits) = (number32(recording, at + 4)?, number16(recording, at + 14)?);
    let bytes = u64::from(channels) * u64::from(rate) * u64::from(bits.div_ceil(8));
    (UNCOMPRESSED.contains(&format) && bytes > 0).then_some(bytes)
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wav(format: u16, rate: u32, data_size: u32, data: usize) -> Vec<u8> {
        let mut wav = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        wav.extend_from_slice(&format.to_le_bytes());
        wav.extend_from_slice(&2u16.to_le_bytes());
        wav.extend_from_slice(&rate.to_le_bytes());
        wav.extend_from_slice(&u32::MAX.to_le_bytes());
        wav.extend_from_slice(&[4, 0, 16, 0]);
        wav.extend_from_slice(b"data");
        wav.extend_from_slice(&data_size.to_le_bytes());
        wav.resize(wav.len() + data, 0);
        wav
    }

    #[test]
    fn wav_is_exact() {
        let seconds = |size, data| playtime(&wav(1, 100, size, data));
        let exact = |seconds| Playtime { seconds, seconds_max: seconds, is_exact: true };
        assert_eq!(seconds(4_000, 4_000), exact(10));
        assert_eq!(seconds(4_001, 4_400), exact(11));
        assert_eq!(seconds(0, 4_000), exact(10));
        assert_eq!(seconds(u32::MAX, 4_000), exact(10));
    }

    #[test]
    fn everything_else_is_guessed_by_its_size() {
        assert_eq!(playtime(&[1; 16_001]), Playtime { seconds: 3, seconds_max: 17, is_exact: false });
        for odd in [wav(0x55, 100, 400, 400), wav(1, 0, 400, 400), wav(1, 100, 400, 0)[..50].to_vec(), b"RIFF".to_vec()] {
            assert!(!playtime(&odd).is_exact);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), from_wav in any::<bool>()) {
            let mut recording = if from_wav { wav(1, 100, 400, 10) } else { b"RIFF\0\0\0\0WAVE".to_vec() };
            recording.truncate(20 + bytes.len());
            recording.extend_from_slice(&bytes);
            playtime(&recording);
        }
    }
}
