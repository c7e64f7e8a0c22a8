//! Feedback of viewers about what they are sent in a call of the real worker, true or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::testing::fuzz::{Operation as O, call};

fuzz_target!(|data: &[u8]| call(data, &[O::Rtcp, O::Feedback, O::Nack, O::Burst, O::Time]));
