//! SCTP packets of clients: associations that begin, carry channels, end and begin anew.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tertulia_sfu::testing::fuzz::sctp(data));
