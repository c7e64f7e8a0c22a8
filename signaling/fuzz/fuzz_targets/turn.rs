//! A participant's connections of TURN: bytes, signed requests, datagrams and time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::turn(bytes));
