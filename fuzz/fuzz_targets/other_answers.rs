#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::read_other_answer;

fuzz_target!(|data: &[u8]| read_other_answer(data));
