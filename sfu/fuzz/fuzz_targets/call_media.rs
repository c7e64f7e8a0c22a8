//! Media and its repair in a call of the real worker: packets of publishers, retransmissions, and what viewers are sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::testing::fuzz::{Operation as O, call};

fuzz_target!(|data: &[u8]| call(data, &[O::Rtp, O::Burst, O::Time, O::Command, O::Rtcp]));
