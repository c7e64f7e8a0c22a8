//! Entry points for fuzzing private parsers: bytes in, no panic.

/// Finds frames of ICE-TCP in bytes that come in pieces.
///
/// # Panics
///
/// If the pieces hold other frames than the whole does, or more is kept than a frame and a piece.
pub fn frames(bytes: &[u8]) {
    crate::http::fuzz_frames(bytes);
}

/// Tells protocols apart by the first bytes of a connection, which come in pieces.
///
/// # Panics
///
/// If it depends on the pieces which protocol it is, or a byte is lost.
pub fn front(bytes: &[u8]) {
    crate::http::fuzz_front(bytes);
}

/// Reads the header of a proxy (PROXY protocol).
///
/// # Panics
///
/// If a header is found in pieces that is not found in the whole, or the other way round, or one beyond its bound.
pub fn proxy_header(bytes: &[u8]) {
    crate::http::fuzz_proxy_header(bytes);
}

/// Reads the body of a request over HTTP, as a page sends it that is closed.
///
/// # Panics
///
/// If a body has more messages than there may be, or a session's token is read and written otherwise.
pub fn closing(bytes: &[u8]) {
    crate::protocol::native::fuzz_body(bytes);
}

/// Explains claims of an access token that cannot be read.
///
/// # Panics
///
/// If the claim that is named is not the one because of which the token cannot be read.
pub fn token_shape(bytes: &[u8]) {
    crate::access::fuzz_shape(bytes);
}

/// Handles what a participant sends over one connection of TURN after another.
///
/// # Panics
///
/// If a datagram goes anywhere but to a permitted peer, or something is kept.
pub fn turn(bytes: &[u8]) {
    crate::turn::fuzz::connection(bytes);
}
