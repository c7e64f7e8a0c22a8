//! Datagrams in a ring of bytes: two bytes of length, then the datagram.

use rtrb::{Consumer, Producer};

/// Bytes of the length before a datagram.
pub(super) const PREFIX: usize = 2;

/// Writes a datagram; false if there is no room for it.
pub(super) fn push(ring: &mut Producer<u8>, datagram: &[u8]) -> bool {
    let Ok(len) = u16::try_from(datagram.len()) else {
        return false;
    };
    // Its reader sees the length first, and must find the datagram behind it: both are committed at once.
    let Ok(mut chunk) = ring.write_chunk(PREFIX + datagram.len()) else {
        return false;
    };
    let (first, second) = chunk.as_mut_slices();
    let prefix = len.to_be_bytes();
    let mut bytes = prefix.iter().chain(datagram);
    if first.len() >= PREFIX + datagram.len() {
        first[..PREFIX].copy_from_slice(&prefix);
        first[PREFIX..].copy_from_slice(datagram);
    } else {
        for (to, from) in first.iter_mut().chain(second).zip(&mut bytes) {
            *to = *from;
        }
    }
    chunk.commit_all();
    true
}

/// Appends the next datagram to `out`; its length, or none if there is none.
pub(super) fn pop(ring: &mut Consumer<u8>, out: &mut Vec<u8>) -> Option<usize> {
    // Not committed: it is read again with what follows.
    let prefix = ring.read_chunk(PREFIX).ok()?;
    let (first, second) = prefix.as_slices();
    let mut bytes = first.iter().chain(second);
    let len = usize::from(u16::from_be_bytes([*bytes.next()?, *bytes.next()?]));
    let chunk = ring.read_chunk(PREFIX + len).ok()?;
    let (first, second) = chunk.as_slices();
    let skipped = PREFIX.min(first.len());
    out.extend_from_slice(&first[skipped..]);
    out.extend_from_slice(&second[PREFIX - skipped..]);
    chunk.commit_all();
    Some(len)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use rtrb::RingBuffer;

    use super::*;

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in(
            steps in prop::collection::vec((any::<bool>(), 0usize..70), 1..400),
        ) {
            let (mut producer, mut consumer) = RingBuffer::new(200);
            let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
            for (number, (pushes, len)) in steps.into_iter().enumerate() {
                if pushes {
                    let datagram = vec![number as u8; len];
                    let used: usize = waiting.iter().map(|datagram| PREFIX + datagram.len()).sum();
                    let fits = used + PREFIX + len <= 200;
                    prop_assert_eq!(push(&mut producer, &datagram), fits);
                    if fits {
                        waiting.push_back(datagram);
                    }
                } else {
                    let mut out = vec![9];
                    let len = pop(&mut consumer, &mut out);
                    let expected = waiting.pop_front();
                    prop_assert_eq!(len, expected.as_ref().map(Vec::len));
                    prop_assert_eq!(&out[1..], &expected.unwrap_or_default()[..]);
                }
            }
        }
    }
}
