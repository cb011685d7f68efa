#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate_fuzz::{meter};

fuzz_target!(|data: &[u8]| meter(data));
