//! Messages of clients of one server in their rooms: from their WebSockets to the real worker.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tertulia_signaling_fuzz::room(bytes));
