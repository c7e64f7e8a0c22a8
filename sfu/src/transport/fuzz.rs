//! Fuzzing of datagrams from a stranger, or from a malicious client: bytes in, no panic.
//!
//! A sequence is a run of steps: a byte of flags, a length in two bytes, and the datagram.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::dtls::{AssociationEvent, Associations};
use super::sctp::{DataChannel, DataMessage, Sctp};
use super::{Backend, Certificate, Fingerprint, Srtp};
use crate::cache::CacheShare;
use crate::demux::{Class, classify};
use crate::rtp::RtpHeader;
use crate::testing::epoch;

const HOME: ([u8; 4], u16) = ([127, 0, 0, 1], 1);
const AWAY: ([u8; 4], u16) = ([127, 0, 0, 1], 2);
/// Time that passes before a step, by two bits of its flags.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(9),
];

/// DTLS records from one or two verified addresses, of a client whose certificate nobody has.
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
        associations.handle(now, from.into(), datagram, &mut heard);
        while associations.poll_transmit().is_some() {}
        let due = associations.poll_timeout();
        assert!(due.is_none_or(|due| due < now + Duration::from_secs(61)));
    }
}

/// SCTP packets of a client: their chunks, in packets with the right checksum. Flags: 1 under the tag that we
/// gave it last, 2 the cookie instead, 32 something is sent to it.
pub(crate) fn sctp(bytes: &[u8]) {
    let mut sctp = Sctp::new(16 * 1024, &CacheShare::default());
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

/// A run of steps, each a byte of flags, a length in two bytes, and as much.
pub(crate) fn steps(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[flags, l0, l1], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (datagram, after) = rest.split_at_checked(len)?;
        bytes = after;
        Some((flags, datagram))
    })
}

/// A STUN message of these attributes, signed under the password (RFC 8489 sections 14.5 and 14.7).
pub(crate) fn signed(
    kind: u16,
    transaction: &[u8; 12],
    username: Option<&str>,
    attributes: &[u8],
    password: &str,
) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message.extend(transaction);
    if let Some(username) = username {
        attribute(&mut message, 0x0006, username.as_bytes());
    }
    message.extend(attributes);
    let key = ring::hmac::Key::new(
        ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        password.as_bytes(),
    );
    counted(&mut message, 24);
    let tag = ring::hmac::sign(&key, &message);
    attribute(&mut message, 0x0008, tag.as_ref());
    counted(&mut message, 8);
    let value = rtc_stun::fingerprint::fingerprint_value(&message);
    attribute(&mut message, 0x8028, &value.to_be_bytes());
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sets a length that exceeds the present one by `more`.
fn counted(message: &mut [u8], more: usize) {
    let len = (message.len() - 20 + more) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
}

/// Seals a packet as a client does. None if it is neither RTP nor RTCP.
pub(crate) fn sealed(srtp: &mut Srtp, packet: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; packet.len() + 64];
    let len = match classify(packet) {
        Class::Rtp => {
            let header = RtpHeader::parse(packet).ok()?;
            out[..packet.len()].copy_from_slice(packet);
            let head = packet.len() - header.payload(packet).len() - usize::from(padding(packet));
            srtp.seal_rtp(&mut out, head, packet.len())
        }
        Class::Rtcp => srtp.seal_rtcp(packet, &mut out),
        _ => return None,
    };
    out.truncate(len);
    Some(out)
}

fn padding(packet: &[u8]) -> u8 {
    match packet {
        [first, .., last] if first & 0x20 != 0 => *last,
        _ => 0,
    }
}
