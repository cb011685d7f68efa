#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{peek_at_answer};

fuzz_target!(|data: &[u8]| peek_at_answer(data));
