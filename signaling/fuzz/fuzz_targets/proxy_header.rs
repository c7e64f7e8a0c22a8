//! The header of a proxy before a connection: found or refused, however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::proxy_header(bytes));
