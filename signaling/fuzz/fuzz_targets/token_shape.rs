//! Claims of an access token: the claim that is named as wrong is the one that is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling::testing::token_shape(bytes));
