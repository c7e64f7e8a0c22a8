//! What clients of one server say in rooms: from their WebSockets to the real worker.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling_fuzz::room(bytes));
