#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{Endpoint, read_request};

fuzz_target!(|data: &[u8]| read_request(Endpoint::ChatCompletions, data));
