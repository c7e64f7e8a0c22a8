//! Frames of ICE-TCP on a connection: the same datagrams, however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::frames(bytes));
