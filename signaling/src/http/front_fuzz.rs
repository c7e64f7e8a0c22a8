//! An entry point for fuzzing: the protocols of a listener, told apart by bytes that come in any pieces.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::front::Protocol;
use super::ice_tcp::IceTcp;
use super::over_tcp::{TELLING, tell_apart, tell_turn};
use super::rewound::Rewound;
use super::turn::TurnFront;
use crate::turn::begins_message;

/// A connection whose bytes come in pieces. Before each piece there is nothing for a while.
struct Pieces<'a> {
    bytes: &'a [u8],
    /// Lengths of the pieces, by turns.
    lengths: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    has_waited: bool,
}

/// Lengths of the pieces at most; what is told apart takes eight bytes.
const LENGTHS: usize = 4;

/// Tells protocols apart. The first [`LENGTHS`] bytes are the lengths of the pieces in which the others come. See
/// [`testing`](crate::testing).
pub(crate) fn front(bytes: &[u8]) {
    let Some((lengths, bytes)) = bytes.split_first_chunk::<LENGTHS>() else {
        return;
    };
    let pieces = || Pieces {
        bytes,
        lengths: lengths.iter().cycle(),
        has_waited: false,
    };
    // Whatever has come when the server looks.
    let protocol = Protocol::of(bytes);
    for len in 1..=bytes.len().min(TELLING) {
        assert_eq!(Protocol::of(&bytes[..len]), protocol);
    }
    let first = bytes.first();
    let is_media = first.is_some_and(|first| IceTcp::begins_with(*first));
    assert_eq!(is_media, protocol == Some(Protocol::Media));

    // In the clear: TURN or ICE-TCP.
    let (mut stream, mut read) = (pieces(), Vec::new());
    let is_turn = run(tell_apart(&mut stream, &mut read));
    assert_eq!(is_turn, begins_message(bytes).unwrap_or(false));
    assert!(read.len() <= TELLING, "no more is read than tells");
    read.extend(stream.bytes);
    assert_eq!(read, bytes);

    // In TLS: TURN or HTTP.
    let mut stream = pieces();
    let (read, is_turn) = run(tell_turn(&mut stream));
    assert_eq!(
        is_turn,
        first.is_some_and(|first| TurnFront::begins_with(*first))
    );
    assert!(!is_turn || is_media, "TURN in TLS is media in the clear");
    let (mut rewound, mut all) = (Rewound::new(read, stream), Vec::new());
    run(rewound.read_to_end(&mut all)).expect("bytes");
    assert_eq!(all, bytes);
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            return Poll::Pending;
        }
        let len = self.lengths.next().copied().unwrap_or_default();
        let len = usize::from(len) + 1;
        let len = len.min(self.bytes.len()).min(buffer.remaining());
        let (piece, after) = self.bytes.split_at(len);
        buffer.put_slice(piece);
        self.bytes = after;
        Poll::Ready(Ok(()))
    }
}

/// Asks until it is done: a piece comes whenever one is asked for.
fn run<T>(task: impl Future<Output = T>) -> T {
    let (mut task, mut context) = (pin!(task), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(done) = task.as_mut().poll(&mut context) {
            return done;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First bytes of all protocols.
    fn beginning() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            Just(b"\x00\x03\x00\x00\x21\x12\xa4\x42transaction1".to_vec()),
            Just(b"\x00\x14\x00\x01\x00\x00\x21\x12\xa4\x42transaction1".to_vec()),
            Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn protocols_are_told_apart_however_the_bytes_are_cut(
            lengths in any::<[u8; LENGTHS]>(),
            beginning in beginning(),
            end in 0usize..40,
        ) {
            let end = end.min(beginning.len());
            front(&[&lengths, &beginning[..end]].concat());
        }
    }
}
