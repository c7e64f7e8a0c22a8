//! The bound on continuation frames (RFC 6455 section 5.4). Messages are counted when they are whole; one that never
//! ends would cost as many frames as fit through the network.

use std::io;

use tokio::time::Instant;

use super::rate::{Allowance, RateLimit};
use crate::watched::Watch;

/// Ends a connection with [`TooManyFragments`] once its client continues messages too often.
pub(super) struct FragmentWatch {
    frames: Frames,
    limit: RateLimit,
}

#[derive(Debug, thiserror::Error)]
#[error("too many continuation frames")]
pub(super) struct TooManyFragments;

/// Continuation frames for each message that a client may send. A message of the largest size comes in some hundreds
/// from clients and proxies that cut at a few KB.
const FOR_EACH_MESSAGE: u32 = 10;

impl FragmentWatch {
    pub(super) fn new(now: Instant, messages_per_second: u32, burst: u32) -> Self {
        let frames = |messages: u32| messages.saturating_mul(FOR_EACH_MESSAGE);
        Self {
            frames: Frames::default(),
            limit: RateLimit::new(now, frames(messages_per_second), frames(burst)),
        }
    }
}

impl Watch for FragmentWatch {
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let continued = self.frames.read(bytes);
        let now = Instant::now();
        for _ in 0..continued {
            if self.limit.take(now) != Allowance::Granted {
                return Err(io::Error::other(TooManyFragments));
            }
        }
        Ok(())
    }
}

/// Finds frames in the bytes of a connection (RFC 6455 section 5.2). Whether they are right is others' to say.
#[derive(Default)]
struct Frames {
    /// The head of the frame that begins.
    head: Vec<u8>,
    /// Payload bytes of the present frame that are not read yet.
    payload: u64,
}

impl Frames {
    /// Reads bytes, and returns the number of continuation frames that begin in them.
    fn read(&mut self, mut bytes: &[u8]) -> usize {
        let mut continued = 0;
        loop {
            let skipped = usize::try_from(self.payload).map_or(bytes.len(), |n| n.min(bytes.len()));
            self.payload -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((&first, rest)) = bytes.split_first() else {
                return continued;
            };
            bytes = rest;
            self.head.push(first);
            if let Some(payload) = payload_len(&self.head) {
                continued += usize::from(self.head[0] & 0x0f == 0);
                self.head.clear();
                self.payload = payload;
            }
        }
    }
}

/// The length of a frame's payload, once its head is whole.
fn payload_len(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if head.len() < 2 + extended + mask {
        return None;
    }
    Some(match head.get(2..2 + extended)? {
        [] => u64::from(second & 0x7f),
        bytes => bytes
            .iter()
            .fold(0, |len, byte| len << 8 | u64::from(*byte)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    fn frame(is_continuation: bool, len: usize, masked: bool) -> Vec<u8> {
        let data = if is_continuation {
            Data::Continue
        } else {
            Data::Binary
        };
        let mut frame = Frame::message(vec![0; len], OpCode::Data(data), true);
        if masked {
            frame.header_mut().mask = Some([1, 2, 3, 4]);
        }
        let mut bytes = Vec::new();
        frame.format(&mut bytes).expect("a frame");
        bytes
    }

    proptest! {
        #[test]
        fn continuation_frames_are_found_however_they_are_cut(
            frames in prop::collection::vec((any::<bool>(), prop_oneof![0..130usize, 65_530..65_540usize], any::<bool>()), 0..12),
            cuts in prop::collection::vec(1..3_000usize, 1..8),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|&(is, len, masked)| frame(is, len, masked)).collect();
            let mut counter = Frames::default();
            let (mut rest, mut found) = (&bytes[..], 0);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                found += counter.read(now);
                rest = later;
            }
            prop_assert_eq!(found, frames.iter().filter(|(is, ..)| *is).count());
            prop_assert!(counter.head.is_empty());
        }
    }
}
