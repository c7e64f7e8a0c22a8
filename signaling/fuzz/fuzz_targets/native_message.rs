//! Each byte string is a message or refused, and a message survives being written and read. The golden files make a
//! good corpus: `cargo fuzz run native_message ../golden/native/client`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_signaling::protocol::native::decode;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(frame) = decode(text) {
        assert_eq!(decode(&frame.write()), Ok(frame));
    }
});
