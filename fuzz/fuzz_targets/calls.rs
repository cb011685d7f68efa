#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::read_call;

fuzz_target!(|data: &[u8]| read_call(data));
