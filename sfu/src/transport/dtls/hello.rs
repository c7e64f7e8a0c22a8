//! The first ClientHello, held until it is whole: half a one builds nothing.

use super::record::{Content, Fragment, fragments, records};

/// Datagrams held until they contain a whole ClientHello.
#[derive(Default)]
pub(super) struct HelloBuffer {
    datagrams: Vec<Vec<u8>>,
}

/// A hello with post-quantum key shares takes two; three times over if they are sent again.
const MAX_DATAGRAMS: usize = 6;
const CLIENT_HELLO: u8 = 1;

impl HelloBuffer {
    /// Adds a datagram. The datagrams held, once the hello is whole.
    pub(super) fn push(&mut self, datagram: &[u8]) -> Option<Vec<Vec<u8>>> {
        pieces(datagram).next()?;
        if self.datagrams.len() == MAX_DATAGRAMS {
            self.datagrams.clear();
        }
        self.datagrams.push(datagram.to_vec());
        self.is_whole().then(|| std::mem::take(&mut self.datagrams))
    }

    fn is_whole(&self) -> bool {
        let mut have = 0;
        loop {
            let mut pieces = self.datagrams.iter().flat_map(|datagram| pieces(datagram));
            let next =
                pieces.find(|piece| piece.offset <= have && piece.offset + piece.body.len() > have);
            let Some(next) = next else { return false };
            have = next.offset + next.body.len();
            if have == next.length {
                return true;
            }
        }
    }
}

/// The random number of the ClientHello that begins in a datagram (RFC 5246 section 7.4.1.2): it tells
/// one association of a client from another. One that is sent again keeps it.
pub(super) fn client_random(datagram: &[u8]) -> Option<[u8; 32]> {
    let first = pieces(datagram).find(|piece| piece.offset == 0)?;
    // Version first.
    first.body.get(2..)?.first_chunk().copied()
}

/// Fragments of a first ClientHello.
fn pieces(datagram: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    records(datagram)
        .flatten()
        .filter(|record| record.content == Content::Handshake && record.epoch == 0)
        .flat_map(|record| fragments(record.body).flatten())
        .filter(|piece| piece.message_type == CLIENT_HELLO && piece.sequence == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(profiles: &[u16]) -> Vec<u8> {
        let mut hello = vec![0xfe, 0xfd];
        hello.extend([7; 32]);
        hello.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        let list: Vec<u8> = profiles.iter().flat_map(|p| p.to_be_bytes()).collect();
        let len = list.len() as u8;
        extensions.extend([0, 14, 0, len + 3, 0, len]);
        extensions.extend(list);
        extensions.push(0);
        hello.extend((extensions.len() as u16).to_be_bytes());
        hello.extend(extensions);
        hello
    }

    fn datagram(message: &[u8], from: usize, to: usize) -> Vec<u8> {
        let number = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend((12 + to - from).to_be_bytes()[6..].to_vec());
        datagram.push(CLIENT_HELLO);
        datagram.extend(number(message.len()));
        datagram.extend([0, 0]);
        datagram.extend(number(from));
        datagram.extend(number(to - from));
        datagram.extend(&message[from..to]);
        datagram
    }

    #[test]
    fn the_random_number_is_in_the_piece_that_comes_first() {
        let hello = hello(&[1]);
        let end = hello.len();
        for (from, to, found) in [
            (0, end, true),
            (0, 34, true),
            (0, 33, false),
            (1, end, false),
            (34, end, false),
        ] {
            let random = client_random(&datagram(&hello, from, to));
            assert_eq!(random, found.then_some([7; 32]), "{from}..{to}");
        }
        let mut sealed = datagram(&hello, 0, end);
        sealed[4] = 1;
        assert_eq!(client_random(&sealed), None);
    }

    #[test]
    fn a_hello_in_one_datagram_is_whole() {
        let hello = hello(&[1, 8, 7]);
        let datagram = datagram(&hello, 0, hello.len());
        let held = HelloBuffer::default().push(&datagram);
        assert_eq!(held, Some(vec![datagram]));
    }

    #[test]
    fn a_fragmented_hello_is_held_until_it_is_whole() {
        let hello = hello(&[1, 7]);
        let mut buffer = HelloBuffer::default();
        let end = hello.len();
        let parts = [(30, 50), (50, end), (50, end), (0, 31)];
        for (at, (from, to)) in parts.into_iter().enumerate() {
            let result = buffer.push(&datagram(&hello, from, to));
            assert_eq!(result.is_some(), at == 3);
            assert!(result.is_none_or(|held| held.len() == 4));
        }
    }

    #[test]
    fn what_is_no_hello_is_not_held() {
        let mut buffer = HelloBuffer::default();
        assert!(
            buffer
                .push(&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9])
                .is_none()
        );
        assert!(buffer.datagrams.is_empty());
        let hello = hello(&[1]);
        for _ in 0..100 {
            assert!(buffer.push(&datagram(&hello, 0, 20)).is_none());
            assert!(buffer.datagrams.len() <= MAX_DATAGRAMS);
        }
    }

    proptest! {
        #[test]
        fn anything_may_arrive(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..90, change: u8) {
            let mut buffer = HelloBuffer::default();
            let _ = buffer.push(&bytes);
            let _ = client_random(&bytes);
            let hello = hello(&[1, 7]);
            let mut datagram = datagram(&hello, 0, hello.len());
            let at = at % datagram.len();
            datagram[at] ^= change;
            let _ = buffer.push(&datagram);
        }
    }
}
