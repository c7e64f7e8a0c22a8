//! Connections of one client that are cut, doubled and replayed: each message comes once and in order, both ways.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling_fuzz::session(bytes));
