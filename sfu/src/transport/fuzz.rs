//! Sequences of datagrams that a stranger, or a client who means ill, can send: bytes in, no panic.
//!
//! A sequence is a run of steps: a byte of flags, a length in two bytes, and the datagram.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::dtls::{AssociationEvent, Associations};
use super::sctp::{DataChannel, DataMessage, Sctp};
use super::{Backend, Certificate, Fingerprint};
use crate::testing::epoch;

const HOME: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const AWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);
/// Time that passes before a step, by two bits of its flags.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(9),
];

/// DTLS records from a verified address, or two, of a client whose certificate nobody has.
pub(crate) fn dtls(bytes: &[u8]) {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let generate = || Certificate::generate(Backend::default()).expect("a certificate");
    let certificate = CERTIFICATE.get_or_init(generate).clone();
    let mut associations = Associations::new(certificate, Fingerprint::sha256(b"nobody's"));
    let mut now = epoch();
    let mut heard = |event| {
        let connected = matches!(event, AssociationEvent::Connected(_));
        assert!(!connected, "nobody has the certificate");
    };
    for (flags, datagram) in steps(bytes) {
        now += PAUSES[usize::from(flags >> 1 & 3)];
        associations.handle_timeout(now, &mut heard);
        let from = if flags & 1 == 0 { HOME } else { AWAY };
        associations.handle(now, from, datagram, &mut heard);
        while associations.poll_transmit().is_some() {}
        let due = associations.poll_timeout();
        assert!(due.is_none_or(|due| due < now + Duration::from_secs(61)));
    }
}

/// SCTP packets of a client: their chunks, in packets with the right checksum. Flags: 1 under the tag that we
/// gave it last, 2 the cookie instead, 32 something is sent to it.
pub(crate) fn sctp(bytes: &[u8]) {
    let mut sctp = Sctp::new(16 * 1024);
    let mut now = epoch();
    let (mut tag, mut cookie) = (0, Vec::new());
    for (flags, chunks) in steps(bytes) {
        now += PAUSES[usize::from(flags >> 2 & 3)];
        sctp.handle_timeout(now);
        let tag_now = if flags & 1 == 0 { 0 } else { tag };
        let packet = match flags & 2 {
            0 => super::sctp::fuzz_packet(tag_now, chunks),
            _ => super::sctp::fuzz_cookie(tag, &cookie),
        };
        sctp.handle_packet(now, &packet);
        if flags & 32 != 0 {
            for channel in [DataChannel::Reliable, DataChannel::Unreliable] {
                let message = DataMessage {
                    payload: chunks,
                    named: chunks,
                    binary: true,
                };
                let _ = sctp.send(now, channel, message);
            }
        }
        while let Some(packet) = sctp.poll_transmit(now) {
            if let Some(answer) = super::sctp::fuzz_answer(&packet) {
                (tag, cookie) = answer;
            }
        }
        while sctp.poll_event().is_some() {}
        assert!(!sctp.has_panicked(), "rtc-sctp panicked");
    }
}

fn steps(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[flags, l0, l1], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (datagram, after) = rest.split_at_checked(len)?;
        bytes = after;
        Some((flags, datagram))
    })
}
