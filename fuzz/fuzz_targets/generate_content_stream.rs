#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{Endpoint, read_stream};

fuzz_target!(|data: &[u8]| read_stream(Endpoint::GenerateContent, data));
