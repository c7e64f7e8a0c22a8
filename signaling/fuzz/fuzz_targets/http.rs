//! Bytes on a connection of the whole server: HTTP, and WebSocket behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling_fuzz::connection(bytes));
