//! Datagrams of strangers: demultiplexing and STUN.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tertulia_sfu::testing::fuzz::datagram(data));
