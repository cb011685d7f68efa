#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{Endpoint, read_answer};

fuzz_target!(|data: &[u8]| read_answer(Endpoint::Messages, data));
