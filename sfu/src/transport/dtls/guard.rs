//! The guard of `dimpl`: it decides which datagrams are let through.
//!
//! Datagrams come from addresses that STUN verified, yet their senders can be forged and a client can be malicious.
//! `dimpl` 0.9 withstands most of that: it puts messages together in a loop over a queue of bounded length, drops what
//! is sealed before it has keys and whatever does not open later, and heeds a ChangeCipherSpec only where the handshake
//! expects one. Its gaps are closed here:
//!
//! - It hands out plain application data of epoch 0, also beside an association that is connected.
//! - It keeps a handshake record in which it finds no message, or one that is numbered beyond the handshake's end, and
//!   refuses to complete the handshake because of it.
//! - It panics if a client's certificate is longer than the buffer for its output.

use super::record::{Content, fragments, records};

/// Longest datagram. No path carries more than a jumbo-free Ethernet; a longer one was made locally.
pub(super) const MAX_DATAGRAM: usize = 2_048;
/// A client certificate chain has at most a few KiB; ours and browsers' have half a one.
pub(super) const MAX_MESSAGE: usize = 16 * 1024;
/// ClientHello, Certificate, ClientKeyExchange, CertificateVerify: 0 to 3. Finished comes sealed.
const MAX_SEQUENCE: u16 = 3;

/// Whether a datagram may be given to `dimpl`.
pub(super) fn admits(datagram: &[u8]) -> bool {
    if datagram.is_empty() || datagram.len() > MAX_DATAGRAM {
        return false;
    }
    records(datagram).all(|record| {
        record.is_some_and(|record| match (record.content, record.epoch) {
            (Content::Handshake, 0) => admits_plain_handshake(record.body),
            (Content::ApplicationData, 0) => false,
            _ => true,
        })
    })
}

fn admits_plain_handshake(body: &[u8]) -> bool {
    !body.is_empty()
        && fragments(body).all(|fragment| {
            fragment.is_some_and(|fragment| {
                fragment.length <= MAX_MESSAGE && fragment.sequence <= MAX_SEQUENCE
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut record = vec![content, 0xfe, 0xfd];
        record.extend(epoch.to_be_bytes());
        record.extend([0; 6]);
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    fn fragment(sequence: u8, length: usize, offset: usize, body: &[u8]) -> Vec<u8> {
        let number = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        let mut fragment = vec![1];
        fragment.extend(number(length));
        fragment.extend([0, sequence]);
        fragment.extend(number(offset));
        fragment.extend(number(body.len()));
        fragment.extend(body);
        fragment
    }

    #[test]
    fn what_a_client_sends_passes() {
        let hello = record(22, 0, &fragment(0, 4, 0, b"helo"));
        let half = record(22, 0, &fragment(0, 8, 4, b"half"));
        let end = [record(20, 0, &[1]), record(22, 1, &[7; 60])].concat();
        for datagram in [hello, half, end] {
            assert!(admits(&datagram));
        }
        assert!(admits(&record(23, 1, &[7; 1_100])));
        assert!(admits(&record(21, 1, &[7; 26])));
        assert!(admits(&record(21, 0, &[2, 40])));
    }

    #[test]
    fn what_only_a_forger_sends_does_not() {
        let empty: &[u8] = &[];
        for (what, datagram) in [
            ("nothing", empty.to_vec()),
            ("half a header", vec![22, 0xfe, 0xfd, 0]),
            (
                "a body cut short",
                record(22, 0, &fragment(0, 4, 0, b"helo"))[..20].to_vec(),
            ),
            ("trailing bytes", [record(20, 0, &[1]), vec![0]].concat()),
            ("another protocol", record(25, 0, &[1])),
            ("plain data", record(23, 0, b"data")),
            ("an empty handshake", record(22, 0, &[])),
            ("an empty fragment", record(22, 0, &fragment(0, 9, 0, &[]))),
            (
                "a fragment outside its message",
                record(22, 0, &fragment(0, 4, 2, b"helo")),
            ),
            (
                "a huge message",
                record(22, 0, &fragment(0, 16_777_215, 0, b"helo")),
            ),
            (
                "a later message",
                record(22, 0, &fragment(4, 4, 0, b"helo")),
            ),
            ("a long datagram", record(23, 1, &[7; 2_100])),
        ] {
            assert!(!admits(&datagram), "{what}");
        }
    }
}
