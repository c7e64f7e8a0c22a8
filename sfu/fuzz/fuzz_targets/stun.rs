//! Checks, answers and datagrams of a client whose user fragment and password are right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::testing::fuzz::{Operation as O, call};

fuzz_target!(|data: &[u8]| call(
    data,
    &[O::Check, O::Answers, O::Datagram, O::Time, O::Command]
));
