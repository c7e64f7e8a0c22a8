//! SRTP and SRTCP of a client, changed on the way, twice, and late.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::testing::fuzz::{Operation as O, call};

fuzz_target!(|data: &[u8]| call(data, &[O::Sealed, O::Datagram, O::Time]));
