//! The first ClientHello, read ahead of `rtc-dtls` for the SRTP profiles it lists.

use super::record::{Content, Fragment, fragments, records};
use crate::transport::srtp::Profile;

/// Datagrams held until they contain a whole ClientHello.
#[derive(Default)]
pub(super) struct HelloBuffer {
    datagrams: Vec<Vec<u8>>,
}

/// A hello with post-quantum key shares takes two; three times over if they are sent again.
const MAX_DATAGRAMS: usize = 6;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;
/// RFC 7714 section 14.2.
const AEAD_AES_128_GCM: [u8; 2] = [0, 7];

impl HelloBuffer {
    /// Adds a datagram. Once the hello is whole: the profile to choose and the datagrams held.
    pub(super) fn push(&mut self, datagram: &[u8]) -> Option<(Profile, Vec<Vec<u8>>)> {
        pieces(datagram).next()?;
        if self.datagrams.len() == MAX_DATAGRAMS {
            self.datagrams.clear();
        }
        self.datagrams.push(datagram.to_vec());
        let hello = self.assemble()?;
        let profile = choose_profile(&hello);
        Some((profile, std::mem::take(&mut self.datagrams)))
    }

    fn assemble(&self) -> Option<Vec<u8>> {
        let mut hello = Vec::new();
        loop {
            let next = self
                .datagrams
                .iter()
                .flat_map(|datagram| pieces(datagram))
                .find(|piece| {
                    piece.offset <= hello.len() && piece.offset + piece.body.len() > hello.len()
                })?;
            hello.extend(next.body.get(hello.len() - next.offset..)?);
            if hello.len() == next.length {
                return Some(hello);
            }
        }
    }
}

/// The random number of the ClientHello that begins in a datagram (RFC 5246 section 7.4.1.2): it tells
/// one association of a client from another. One that is sent again with a cookie keeps it.
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

/// AES-GCM where the client lists it; what every client has otherwise, also where there is no list:
/// then no profile is negotiated and the peer has data channels only.
fn choose_profile(hello: &[u8]) -> Profile {
    let profiles = use_srtp(hello).unwrap_or_default();
    if profiles
        .chunks_exact(2)
        .any(|profile| profile == AEAD_AES_128_GCM)
    {
        Profile::AeadAes128Gcm
    } else {
        Profile::Aes128CmSha1_80
    }
}

/// The profile list of the use_srtp extension (RFC 6347 section 4.2.1, RFC 5764 section 4.1.1).
fn use_srtp(hello: &[u8]) -> Option<&[u8]> {
    // Version and random.
    let rest = hello.get(34..)?;
    let (_session, rest) = split_vector::<1>(rest)?;
    let (_cookie, rest) = split_vector::<1>(rest)?;
    let (_suites, rest) = split_vector::<2>(rest)?;
    let (_compression, rest) = split_vector::<1>(rest)?;
    let (mut extensions, _) = split_vector::<2>(rest)?;
    loop {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (value, rest) = split_vector::<2>(rest)?;
        if u16::from_be_bytes(*kind) == USE_SRTP {
            return split_vector::<2>(value).map(|(profiles, _)| profiles);
        }
        extensions = rest;
    }
}

/// A TLS vector with a length of `N` bytes, and the bytes after it.
fn split_vector<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length
        .iter()
        .fold(0, |n, byte| (n << 8) | usize::from(*byte));
    rest.split_at_checked(length)
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
    fn gcm_is_chosen_where_it_is_listed() {
        for (profiles, chosen) in [
            (&[1, 8, 7][..], Profile::AeadAes128Gcm),
            (&[7, 1], Profile::AeadAes128Gcm),
            (&[1], Profile::Aes128CmSha1_80),
            (&[8, 1, 2], Profile::Aes128CmSha1_80),
            (&[], Profile::Aes128CmSha1_80),
        ] {
            let hello = hello(profiles);
            let datagram = datagram(&hello, 0, hello.len());
            let (profile, held) = HelloBuffer::default().push(&datagram).unwrap();
            assert_eq!(profile, chosen);
            assert_eq!(held, vec![datagram]);
        }
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
            if let Some((profile, held)) = result {
                assert_eq!((profile, held.len()), (Profile::AeadAes128Gcm, 4));
            }
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
            let _ = choose_profile(&bytes);
            let _ = client_random(&bytes);
            let hello = hello(&[1, 7]);
            let mut datagram = datagram(&hello, 0, hello.len());
            let at = at % datagram.len();
            datagram[at] ^= change;
            let _ = buffer.push(&datagram);
        }
    }
}
