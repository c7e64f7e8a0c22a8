//! ICE's connectivity check as its client makes it (RFC 8445 section 7.2, RFC 8489), and its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

const HEADER: usize = 20;
const ATTRIBUTE_HEADER: usize = 4;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;

/// HMAC-SHA1.
const INTEGRITY_BYTES: usize = 20;
/// RFC 8489 section 14.7: "STUN" in ASCII.
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// A peer-reflexive candidate of the first component (RFC 8445 section 5.1.2.1).
const OWN_PRIORITY: u32 = (110 << 24) | (0xffff << 8) | 255;

/// A check, whose repetitions are the same bytes.
#[derive(Debug)]
pub(super) struct Check {
    transaction: [u8; 12],
    password: Vec<u8>,
    bytes: Vec<u8>,
}

/// A message that came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// The server's answer, with the address that it saw.
    Success(SocketAddr),
    /// An answer to the check that the server has not made.
    Foreign,
    /// Another message: a check of the server's own, DTLS, or nonsense.
    Other,
}

impl Check {
    /// A check by the password of the server.
    pub(super) fn new(server_ufrag: &str, own_ufrag: &str, server_password: &str) -> Self {
        let transaction: [u8; 12] = rand::random();
        let password = server_password.as_bytes().to_vec();
        let mut bytes = Vec::with_capacity(160);
        bytes.extend(BINDING_REQUEST.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE);
        bytes.extend(transaction);
        let username = format!("{server_ufrag}:{own_ufrag}");
        attribute(&mut bytes, USERNAME, username.as_bytes());
        attribute(&mut bytes, PRIORITY, &OWN_PRIORITY.to_be_bytes());
        attribute(&mut bytes, ICE_CONTROLLING, &rand::random::<[u8; 8]>());
        // Both cover a length that counts them already.
        set_length(&mut bytes, ATTRIBUTE_HEADER + INTEGRITY_BYTES);
        let integrity = signing(&password, &bytes).map(|it| it.finalize().into_bytes());
        attribute(
            &mut bytes,
            MESSAGE_INTEGRITY,
            &integrity.unwrap_or_default(),
        );
        set_length(&mut bytes, ATTRIBUTE_HEADER + 4);
        let fingerprint = fingerprint(&bytes);
        attribute(&mut bytes, FINGERPRINT, &fingerprint.to_be_bytes());
        Self {
            transaction,
            password,
            bytes,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a message that came back. Never panics.
    pub(super) fn read(&self, message: &[u8]) -> Reply {
        read(message, &self.transaction, &self.password)
    }
}

fn read(message: &[u8], transaction: &[u8; 12], password: &[u8]) -> Reply {
    let Some(header) = message.first_chunk::<HEADER>() else {
        return Reply::Other;
    };
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if !matches!(kind, BINDING_SUCCESS | BINDING_ERROR)
        || header[4..8] != MAGIC_COOKIE
        || header[8..] != *transaction
        || HEADER + length != message.len()
    {
        return Reply::Other;
    }
    let mut mapped = None;
    let mut at = HEADER;
    while let Some((kind, value)) = attribute_at(message, at) {
        match kind {
            MESSAGE_INTEGRITY => {
                let signed = is_signed(message, at, value, password);
                // What follows is not signed.
                return match mapped.filter(|_| signed) {
                    Some(mapped) => Reply::Success(mapped),
                    None => Reply::Foreign,
                };
            }
            XOR_MAPPED_ADDRESS => mapped = address(value, transaction),
            _ => {}
        }
        at += ATTRIBUTE_HEADER + value.len().next_multiple_of(4);
    }
    Reply::Foreign
}

fn attribute_at(message: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let rest = message.get(at..)?;
    let header = rest.first_chunk::<ATTRIBUTE_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let value = rest.get(ATTRIBUTE_HEADER..ATTRIBUTE_HEADER + length)?;
    Some((u16::from_be_bytes([header[0], header[1]]), value))
}

/// Whether the MESSAGE-INTEGRITY at `at` is of the password (RFC 8489 section 14.5).
fn is_signed(message: &[u8], at: usize, integrity: &[u8], password: &[u8]) -> bool {
    let Some(signed) = message.get(..at) else {
        return false;
    };
    let mut signed = signed.to_vec();
    set_length(&mut signed, ATTRIBUTE_HEADER + INTEGRITY_BYTES);
    signing(password, &signed).is_some_and(|it| it.verify_slice(integrity).is_ok())
}

/// HMAC-SHA1 of a message. HMAC takes a password of any length.
fn signing(password: &[u8], message: &[u8]) -> Option<Hmac<Sha1>> {
    let mut signing = Hmac::new_from_slice(password).ok()?;
    signing.update(message);
    Some(signing)
}

/// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
fn address(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let (header, masked) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([header[2] ^ MAGIC_COOKIE[0], header[3] ^ MAGIC_COOKIE[1]]);
    let mask = MAGIC_COOKIE.iter().chain(transaction);
    let bytes: Vec<u8> = masked
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip = match (header[1], masked.len()) {
        (1, 4) => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        (2, 16) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sets the length to that of the message with `next` more bytes.
fn set_length(message: &mut [u8], next: usize) {
    let length = u16::try_from(message.len() + next - HEADER).unwrap_or(u16::MAX);
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// RFC 8489 section 14.7: CRC-32 of ISO 3309, here bit by bit, as few bytes are covered.
fn fingerprint(message: &[u8]) -> u32 {
    let crc = message.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xedb8_8320,
            _ => crc >> 1,
        })
    });
    !crc ^ FINGERPRINT_XOR
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
    const TRANSACTION: [u8; 12] = [
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    ];
    /// RFC 5769 section 2.2, and its address.
    const IPV4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
        002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
    /// RFC 5769 section 2.3.
    const IPV6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
        002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41\
        80280004c8fb0b4c";

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn the_answers_of_rfc_5769_are_read() {
        for (answer, mapped) in [
            (IPV4, "192.0.2.1:32853"),
            (IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let answer = bytes(answer);
            let mapped = mapped.parse().expect("an address");
            assert_eq!(
                read(&answer, &TRANSACTION, PASSWORD),
                Reply::Success(mapped)
            );
            let covered = &answer[..answer.len() - 8];
            assert_eq!(
                fingerprint(covered).to_be_bytes(),
                answer[answer.len() - 4..]
            );
            assert_eq!(read(&answer, &TRANSACTION, b"another"), Reply::Foreign);
            assert_eq!(read(&answer, &[7; 12], PASSWORD), Reply::Other);
            for end in 0..answer.len() {
                assert_eq!(read(&answer[..end], &TRANSACTION, PASSWORD), Reply::Other);
            }
        }
    }

    #[test]
    fn a_check_is_signed_and_complete() {
        let check = Check::new("server", "own", "password");
        let kinds: Vec<u16> = std::iter::successors(Some(HEADER), |at| {
            let (_, value) = attribute_at(check.bytes(), *at)?;
            Some(at + ATTRIBUTE_HEADER + value.len().next_multiple_of(4))
        })
        .filter_map(|at| attribute_at(check.bytes(), at).map(|(kind, _)| kind))
        .collect();
        let expected = [
            USERNAME,
            PRIORITY,
            ICE_CONTROLLING,
            MESSAGE_INTEGRITY,
            FINGERPRINT,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(check.bytes().len() % 4, 0);
        // A server's own check is none of its answers.
        assert_eq!(check.read(check.bytes()), Reply::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(at in 0..80_usize, junk: Vec<u8>, start in 0..80_usize) {
            let answer = bytes(IPV6);
            let mut changed = answer.clone();
            for (place, byte) in changed.iter_mut().skip(at).zip(&junk) {
                *place = *byte;
            }
            let success = matches!(read(&changed, &TRANSACTION, PASSWORD), Reply::Success(_));
            // FINGERPRINT alone is not signed.
            prop_assert!(!success || changed[..answer.len() - 8] == answer[..answer.len() - 8]);
            let _ = read(&junk, &TRANSACTION, PASSWORD);
            let _ = address(answer.get(start..).unwrap_or_default(), &TRANSACTION);
        }
    }
}
