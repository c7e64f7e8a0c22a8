//! First bytes of a connection: one protocol, however the bytes are cut, and no byte lost.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::front(bytes));
