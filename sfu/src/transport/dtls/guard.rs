//! The guard of `rtc-dtls`: it decides which records are let through.
//!
//! Datagrams come from addresses that STUN verified, yet their senders can be forged and a client can be malicious.
//! `rtc-dtls` 0.21 withstands neither on its own. It reassembles handshake fragments by recursion, and 30,000 fragments
//! of one byte overflow the stack, which ends the process. It counts only the bytes in fragments, so that empty ones
//! pile up, as do records of the next epoch. A plain ChangeCipherSpec in a later epoch makes it discard everything that
//! follows.

use super::record::{Content, fragments, records};

/// Budgets of one association. They bound what `rtc-dtls` holds for it, over its whole life.
pub(super) struct Guard {
    fragments: u32,
    handshake_bytes: usize,
    sealed_handshakes: u32,
    early: u32,
}

/// Longest datagram. No path carries more than a jumbo-free Ethernet; a longer one was made locally.
pub(super) const MAX_DATAGRAM: usize = 2_048;
/// A client certificate chain has at most a few KiB; ours and browsers' have half a one.
const MAX_MESSAGE: usize = 16 * 1024;
/// ClientHello twice, Certificate, ClientKeyExchange, CertificateVerify, Finished: 0 to 5.
const MAX_SEQUENCE: u16 = 7;
/// Handshake fragments: five messages of a few fragments, sent eight times over. It also bounds the depth of
/// reassembly.
const FRAGMENTS: u32 = 512;
/// Handshake bytes: eight times those of a handshake with the largest certificate.
const HANDSHAKE_BYTES: usize = 128 * 1024;
/// Finished, once for each retransmission of ours.
const SEALED_HANDSHAKES: u32 = 16;
/// Finished is 12 + 12 bytes; nonce and tag at most 40.
const MAX_SEALED_HANDSHAKE: usize = 256;
/// Datagrams that may overtake the handshake's end: Finished and the first SCTP packets.
const EARLY: u32 = 64;
const ALERT_WARNING: u8 = 1;

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            fragments: FRAGMENTS,
            handshake_bytes: HANDSHAKE_BYTES,
            sealed_handshakes: SEALED_HANDSHAKES,
            early: EARLY,
        }
    }

    /// Whether a datagram may be given to `rtc-dtls`.
    pub(super) fn admits(&mut self, datagram: &[u8], handshaking: bool) -> bool {
        if datagram.is_empty() || datagram.len() > MAX_DATAGRAM {
            return false;
        }
        records(datagram).all(|record| {
            let Some(record) = record else { return false };
            match (record.content, record.epoch) {
                (Content::Handshake, 0) => self.admits_plain_handshake(record.body),
                (Content::Handshake, _) => {
                    record.body.len() <= MAX_SEALED_HANDSHAKE && spend(&mut self.sealed_handshakes)
                }
                // Ends the plain epoch; there is no renegotiation to end another.
                (Content::ChangeCipherSpec, epoch) => epoch == 0,
                // No client sends data or a goodbye before keys exist: a forger would end a handshake with that.
                (Content::ApplicationData, 0) => false,
                (Content::Alert, 0) => record.body.first() != Some(&ALERT_WARNING),
                (Content::ApplicationData | Content::Alert, _) => {
                    !handshaking || spend(&mut self.early)
                }
            }
        })
    }

    fn admits_plain_handshake(&mut self, body: &[u8]) -> bool {
        let Some(left) = self.handshake_bytes.checked_sub(body.len()) else {
            return false;
        };
        self.handshake_bytes = left;
        !body.is_empty()
            && fragments(body).all(|fragment| {
                fragment.is_some_and(|fragment| {
                    fragment.length <= MAX_MESSAGE
                        && fragment.sequence <= MAX_SEQUENCE
                        && spend(&mut self.fragments)
                })
            })
    }
}

fn spend(budget: &mut u32) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
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
        let mut guard = Guard::new();
        let hello = record(22, 0, &fragment(0, 4, 0, b"helo"));
        let half = record(22, 0, &fragment(0, 8, 4, b"half"));
        let end = [record(20, 0, &[1]), record(22, 1, &[7; 60])].concat();
        for datagram in [hello, half, end] {
            assert!(guard.admits(&datagram, true));
        }
        assert!(guard.admits(&record(23, 1, &[7; 1_100]), false));
        assert!(guard.admits(&record(21, 1, &[7; 26]), false));
        assert!(guard.admits(&record(21, 0, &[2, 40]), true));
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
            ("a later epoch's end", record(20, 1, &[1])),
            ("plain data", record(23, 0, b"data")),
            ("plain goodbye", record(21, 0, &[1, 0])),
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
                record(22, 0, &fragment(8, 4, 0, b"helo")),
            ),
            ("a large sealed handshake", record(22, 1, &[7; 300])),
            ("a long datagram", record(23, 1, &[7; 2_100])),
        ] {
            assert!(!Guard::new().admits(&datagram, true), "{what}");
        }
    }

    #[test]
    fn budgets_end() {
        let piece = record(22, 0, &fragment(0, 9, 0, b"x"));
        let mut guard = Guard::new();
        let admitted = (0..2_000).filter(|_| guard.admits(&piece, true)).count();
        assert_eq!(admitted, 512);

        let piece = record(22, 0, &fragment(0, 1_500, 0, &[0; 1_500]));
        let mut guard = Guard::new();
        let admitted = (0..2_000).filter(|_| guard.admits(&piece, true)).count();
        assert_eq!(admitted, 128 * 1024 / 1_512);

        let mut guard = Guard::new();
        let sealed = record(22, 1, &[7; 60]);
        let admitted = (0..2_000).filter(|_| guard.admits(&sealed, false)).count();
        assert_eq!(admitted, 16);

        let mut guard = Guard::new();
        let early = record(23, 1, &[7; 60]);
        let admitted = (0..2_000).filter(|_| guard.admits(&early, true)).count();
        assert_eq!(admitted, 64);
        assert!((0..2_000).all(|_| guard.admits(&early, false)));
    }
}
