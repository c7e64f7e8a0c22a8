//! DTLS datagrams of strangers: handshakes that begin, are repeated, and take each other's place.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tertulia_sfu::testing::fuzz::dtls(data));
