//! Datagrams in a stream of bytes: two bytes of length before each (RFC 4571 section 2).

/// Bytes of the length before a datagram.
pub(super) const PREFIX: usize = 2;

/// The bytes of a client that are no whole frame yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
}

/// A frame is longer than any datagram of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLong;

impl Frames {
    /// The buffer into which further bytes are read. It holds at most one frame that is not whole, and what is read.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        &mut self.bytes
    }

    /// The next whole datagram, which is there until [`take`](Self::take); none before it is whole.
    ///
    /// # Errors
    ///
    /// [`TooLong`]: its length is beyond `longest`, whether it has come or not.
    pub(super) fn peek(&self, longest: usize) -> Result<Option<&[u8]>, TooLong> {
        let rest = &self.bytes[self.taken..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes(*prefix));
        if len > longest {
            return Err(TooLong);
        }
        Ok(rest.get(..len))
    }

    /// Takes the next whole datagram, if there is one.
    pub(super) fn take(&mut self) {
        if let Ok(Some(datagram)) = self.peek(usize::from(u16::MAX)) {
            self.taken += PREFIX + datagram.len();
        }
    }
}

/// Finds frames in bytes, of which the first says how long the pieces are that they come in. See
/// [`testing`](crate::testing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    const LONGEST: usize = 2_048;
    let Some((len, bytes)) = bytes.split_first() else {
        return;
    };
    let found = |piece_len: usize| {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in bytes.chunks(piece_len) {
            frames.buffer().extend_from_slice(piece);
            assert!(frames.bytes.len() <= PREFIX + LONGEST + piece.len());
            loop {
                match frames.peek(LONGEST) {
                    Ok(Some(datagram)) => found.push(datagram.to_vec()),
                    Ok(None) => break,
                    Err(TooLong) => return (found, true),
                }
                frames.take();
            }
        }
        (found, false)
    };
    assert_eq!(found(usize::from(*len) + 1), found(bytes.len().max(1)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn datagrams_are_found_however_they_are_cut(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1usize..200, 1..50),
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                stream.extend((datagram.len() as u16).to_be_bytes());
                stream.extend(datagram);
            }
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            let (mut rest, mut cuts) = (&stream[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(cuts.next().unwrap()));
                frames.buffer().extend_from_slice(piece);
                while let Ok(Some(datagram)) = frames.peek(2_048) {
                    found.push(datagram.to_vec());
                    frames.take();
                }
                rest = after;
            }
            prop_assert_eq!(found, datagrams);
        }
    }

    #[test]
    fn a_length_beyond_the_longest_is_refused_before_the_bytes_come() {
        let mut frames = Frames::default();
        frames.buffer().push(0x02);
        assert_eq!(frames.peek(600), Ok(None));
        frames.buffer().push(0x59);
        assert_eq!(frames.peek(601), Ok(None));
        assert_eq!(frames.peek(600), Err(TooLong));
        frames.take();
        assert_eq!(frames.peek(600), Err(TooLong), "nothing was whole");
    }
}
