//! STUN messages and ChannelData in a stream of bytes (RFC 8656 sections 2.1 and 12.5), told apart by their first two
//! bits.

use super::stun::{HEADER, MAGIC_COOKIE};

/// Bytes in front of the datagram in ChannelData.
pub(super) const CHANNEL_HEADER: usize = 4;
/// The numbers that channels may have (RFC 8656 section 12).
pub(super) const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// The bytes of a client that are no whole frame yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
}

/// A unit of what a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'a> {
    /// Perhaps a STUN message. Its length and its cookie are right.
    Message(&'a [u8]),
    /// A datagram over a channel.
    Channel(u16, &'a [u8]),
}

/// The reason that a stream of bytes cannot be read on: where the next frame begins is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// These are no frames.
    Malformed,
    /// The frame is longer than what is allowed.
    TooLong,
}

impl Frames {
    /// The bytes that were read already.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: 0 }
    }

    /// The buffer into which further bytes are read. It holds at most one frame that is not whole, and what is read.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        &mut self.bytes
    }

    /// The next whole frame with its length, by which it is taken; none before it is whole.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: as soon as its head has come.
    pub(crate) fn peek(&self, longest: usize) -> Result<Option<(Frame<'_>, usize)>, Unreadable> {
        let rest = &self.bytes[self.taken..];
        let Some(head) = rest.first_chunk::<CHANNEL_HEADER>() else {
            return Ok(None);
        };
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let is_channel = CHANNELS.contains(&kind);
        let whole = match is_channel {
            // Padded, as the stream has no other bounds.
            true => CHANNEL_HEADER + len.next_multiple_of(4),
            false if kind & 0xc000 == 0 && len.is_multiple_of(4) => HEADER + len,
            false => return Err(Unreadable::Malformed),
        };
        if whole > longest {
            return Err(Unreadable::TooLong);
        }
        let cookie = rest.get(4..8).filter(|_| !is_channel);
        if cookie.is_some_and(|cookie| cookie != MAGIC_COOKIE) {
            return Err(Unreadable::Malformed);
        }
        Ok(rest.get(..whole).map(|frame| {
            let frame = match is_channel {
                true => Frame::Channel(kind, &frame[CHANNEL_HEADER..CHANNEL_HEADER + len]),
                false => Frame::Message(frame),
            };
            (frame, whole)
        }))
    }

    /// Takes a frame of this length.
    pub(crate) fn take(&mut self, len: usize) {
        self.taken = (self.taken + len).min(self.bytes.len());
    }
}

/// Appends a datagram as ChannelData, which `pop` appends; false, and nothing, if there is none.
pub(super) fn append_channel(
    out: &mut Vec<u8>,
    channel: u16,
    pop: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
) -> bool {
    let at = out.len();
    out.extend(channel.to_be_bytes());
    out.extend([0, 0]);
    let Some(len) = pop(out) else {
        out.truncate(at);
        return false;
    };
    out[at + 2..at + 4].copy_from_slice(&(len as u16).to_be_bytes());
    out.resize(at + CHANNEL_HEADER + len.next_multiple_of(4), 0);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::stun::{Class, DATA, Writer, method};
    use super::*;

    /// A frame that owns its bytes.
    #[derive(Clone, PartialEq, Debug)]
    enum Owned {
        Message(Vec<u8>),
        Channel(u16, Vec<u8>),
    }

    fn owned() -> impl Strategy<Value = Owned> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..120);
        prop_oneof![
            bytes().prop_map(|data| {
                let mut out = Vec::new();
                let mut writer = Writer::new(&mut out, Class::Indication, method::SEND, &[3; 12]);
                writer.attribute(DATA, &data);
                writer.finish(None);
                Owned::Message(out)
            }),
            (CHANNELS, bytes()).prop_map(|(channel, data)| Owned::Channel(channel, data)),
        ]
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            sent in prop::collection::vec(owned(), 0..20),
            cuts in prop::collection::vec(1usize..90, 1..40),
        ) {
            let mut stream = Vec::new();
            for frame in &sent {
                match frame {
                    Owned::Message(bytes) => stream.extend(bytes),
                    Owned::Channel(channel, data) => {
                        append_channel(&mut stream, *channel, |out| {
                            out.extend(data);
                            Some(data.len())
                        });
                    }
                }
                prop_assert!(stream.len().is_multiple_of(4));
            }
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            let (mut rest, mut cuts) = (&stream[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(cuts.next().unwrap()));
                frames.buffer().extend_from_slice(piece);
                while let Some((frame, len)) = frames.peek(2_048).unwrap() {
                    found.push(match frame {
                        Frame::Message(bytes) => Owned::Message(bytes.to_vec()),
                        Frame::Channel(channel, data) => Owned::Channel(channel, data.to_vec()),
                    });
                    frames.take(len);
                }
                rest = after;
            }
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn any_bytes_end_in_an_error_or_wait_for_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames::new(bytes);
            while let Ok(Some((_, len))) = frames.peek(200) {
                prop_assert!(len > 0 && len <= 200);
                frames.take(len);
            }
        }
    }

    #[test]
    fn what_cannot_be_a_frame_is_refused_by_its_head() {
        for (bytes, longest, expected) in [
            (&[0u8, 3, 0, 8][..], 28, Ok(None)),
            (&[0, 3, 0, 8], 27, Err(Unreadable::TooLong)),
            (&[0, 3, 0, 9], 100, Err(Unreadable::Malformed)),
            (
                &[0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x43],
                100,
                Err(Unreadable::Malformed),
            ),
            (&[0, 3, 0, 8, 0x21, 0x12, 0xa4], 100, Ok(None)),
            (&[0x40, 0, 0, 8], 12, Ok(None)),
            (&[0x40, 0, 0, 9], 12, Err(Unreadable::TooLong)),
            // Reserved channels, and other protocols.
            (&[0x50, 0, 0, 8], 100, Err(Unreadable::Malformed)),
            (b"POST", 100, Err(Unreadable::Malformed)),
            (b"GET ", 100, Err(Unreadable::TooLong)),
            (&[22, 3, 1, 2], 100, Err(Unreadable::Malformed)),
            (&[0x80, 0, 0, 8], 100, Err(Unreadable::Malformed)),
        ] {
            let frames = Frames::new(bytes.to_vec());
            assert_eq!(frames.peek(longest), expected, "{bytes:?}");
        }
    }
}
