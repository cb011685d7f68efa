#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::read_realtime;

fuzz_target!(|data: &[u8]| read_realtime(data));
