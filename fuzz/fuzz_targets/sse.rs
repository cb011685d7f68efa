#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{decode_events};

fuzz_target!(|data: &[u8]| decode_events(data));
