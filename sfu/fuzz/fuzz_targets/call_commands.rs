//! Offers after others, and the control plane's other calls, in a call of the real worker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::testing::fuzz::{Operation as O, call};

fuzz_target!(|data: &[u8]| call(data, &[O::Command, O::Burst, O::Time]));
