//! Session descriptions of strangers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| tertulia_sfu::testing::fuzz::offer(text));
