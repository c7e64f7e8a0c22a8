//! The body of a request over HTTP, as a page sends it that is closed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::closing(bytes));
