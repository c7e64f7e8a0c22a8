//! STUN messages (RFC 8489) with the attributes of TURN (RFC 8656).
//!
//! The reader borrows, so that media in an indication is not copied, and cannot panic. It decides nothing: an attribute
//! of a wrong length makes the message a bad one, and the session answers that after it knows whose message it is.
//!
//! FINGERPRINT is neither checked nor written. It tells STUN from other protocols in datagrams, and a TURN connection
//! carries nothing else.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::peers::canonical;

/// Bytes of a header.
pub(super) const HEADER: usize = 20;
const ATTRIBUTE_HEADER: usize = 4;
pub(super) const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// HMAC-SHA1.
const INTEGRITY: usize = 20;
/// Attributes from here on may be ignored (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;
/// Unknown attributes that an answer names, at most.
const UNKNOWN: usize = 8;

pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(super) const CHANNEL_NUMBER: u16 = 0x000c;
pub(super) const LIFETIME: u16 = 0x000d;
pub(super) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(super) const DATA: u16 = 0x0013;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub(super) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub(super) const EVEN_PORT: u16 = 0x0018;
pub(super) const REQUESTED_TRANSPORT: u16 = 0x0019;
pub(super) const DONT_FRAGMENT: u16 = 0x001a;
pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const RESERVATION_TOKEN: u16 = 0x0022;

/// Methods, in the bits of a message's type that tell no class.
pub(super) mod method {
    pub(in crate::turn) const BINDING: u16 = 0x001;
    pub(in crate::turn) const ALLOCATE: u16 = 0x003;
    pub(in crate::turn) const REFRESH: u16 = 0x004;
    pub(in crate::turn) const SEND: u16 = 0x006;
    pub(in crate::turn) const DATA: u16 = 0x007;
    pub(in crate::turn) const CREATE_PERMISSION: u16 = 0x008;
    pub(in crate::turn) const CHANNEL_BIND: u16 = 0x009;
}

/// The class of a message, in the bits of its type that tell no method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Request = 0x000,
    Indication = 0x010,
    Success = 0x100,
    Error = 0x110,
}

/// The number by which a client knows the answer to a request.
pub(super) type Transaction = [u8; 12];

/// The key of a user's messages.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha1>);

/// A message whose attributes are well-formed. Nothing of it is authenticated.
#[derive(Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    pub(super) class: Class,
    pub(super) method: u16,
    pub(super) transaction: Transaction,
    pub(super) username: Option<&'a [u8]>,
    pub(super) realm: Option<&'a [u8]>,
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) lifetime: Option<u32>,
    pub(super) channel: Option<u16>,
    /// The first peer.
    pub(super) peer: Option<SocketAddr>,
    pub(super) data: Option<&'a [u8]>,
    /// The number of a transport protocol.
    pub(super) transport: Option<u8>,
    pub(super) family: Option<Family>,
    /// A wish about the port of the relayed address.
    pub(super) wants_port: bool,
    /// An attribute has a value that cannot be.
    pub(super) is_bad: bool,
    /// Attributes that may not be ignored and are not known.
    pub(super) unknown: Vec<u16>,
    /// MESSAGE-INTEGRITY, and its place.
    integrity: Option<(&'a [u8], usize)>,
}

/// An address family, or one that there is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
    Other,
}

impl Key {
    /// A key of bytes: for long-term credentials a digest, for short-term ones the password.
    pub(super) fn new(key: &[u8]) -> Self {
        // Any length does for HMAC.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key")))
    }
}

impl<'a> Message<'a> {
    /// Reads a message that takes all of `bytes`; none if it is no message.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if kind & 0xc000 != 0 || header[4..8] != MAGIC_COOKIE || HEADER + length != bytes.len() {
            return None;
        }
        let mut message = Self {
            bytes,
            class: match kind & 0x0110 {
                0x000 => Class::Request,
                0x010 => Class::Indication,
                0x100 => Class::Success,
                _ => Class::Error,
            },
            method: kind & !0x0110,
            transaction: *header.last_chunk()?,
            username: None,
            realm: None,
            nonce: None,
            lifetime: None,
            channel: None,
            peer: None,
            data: None,
            transport: None,
            family: None,
            wants_port: false,
            is_bad: false,
            unknown: Vec::new(),
            integrity: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value) = attribute(bytes, at)?;
            // What follows MESSAGE-INTEGRITY is not signed (RFC 8489 section 14.5).
            if message.integrity.is_none() {
                message.take(kind, value, at);
            }
            at += ATTRIBUTE_HEADER + value.len().next_multiple_of(4);
        }
        Some(message)
    }

    /// Takes an attribute. The first of a kind counts (RFC 8489 section 14).
    fn take(&mut self, kind: u16, value: &'a [u8], at: usize) {
        let is_bad = &mut self.is_bad;
        match kind {
            USERNAME => keep(&mut self.username, Some(value), is_bad),
            REALM => keep(&mut self.realm, Some(value), is_bad),
            NONCE => keep(&mut self.nonce, Some(value), is_bad),
            DATA => keep(&mut self.data, Some(value), is_bad),
            LIFETIME => {
                let lifetime = value.try_into().ok().map(u32::from_be_bytes);
                keep(&mut self.lifetime, lifetime, is_bad);
            }
            // Two bytes, and two that are reserved (RFC 8656 section 18.1).
            CHANNEL_NUMBER => {
                let channel = value.first_chunk().filter(|_| value.len() == 4);
                let channel = channel.map(|bytes| u16::from_be_bytes(*bytes));
                keep(&mut self.channel, channel, is_bad);
            }
            XOR_PEER_ADDRESS => {
                keep(&mut self.peer, address(value, &self.transaction), is_bad);
            }
            REQUESTED_TRANSPORT => {
                let transport = value.first().filter(|_| value.len() == 4);
                keep(&mut self.transport, transport.copied(), is_bad);
            }
            REQUESTED_ADDRESS_FAMILY => {
                let family = value.first().filter(|_| value.len() == 4);
                let family = family.map(|family| match family {
                    1 => Family::V4,
                    2 => Family::V6,
                    _ => Family::Other,
                });
                keep(&mut self.family, family, is_bad);
            }
            EVEN_PORT | RESERVATION_TOKEN => self.wants_port = true,
            MESSAGE_INTEGRITY => self.integrity = Some((value, at)),
            // There are no packets to be fragmented, and no need of what only answers have.
            DONT_FRAGMENT
            | MESSAGE_INTEGRITY_SHA256
            | MAPPED_ADDRESS
            | XOR_MAPPED_ADDRESS
            | XOR_RELAYED_ADDRESS
            | ERROR_CODE => {}
            kind if kind < COMPREHENSION_OPTIONAL && self.unknown.len() < UNKNOWN => {
                self.unknown.push(kind);
            }
            _ => {}
        }
    }

    /// All peers in front of MESSAGE-INTEGRITY; an item is none where the address cannot be.
    pub(super) fn peers(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        self.attributes()
            .filter(|(kind, _)| *kind == XOR_PEER_ADDRESS)
            .map(|(_, value)| address(value, &self.transaction))
    }

    /// The value of the first attribute of a kind, in front of MESSAGE-INTEGRITY.
    pub(super) fn value_of(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut attributes = self.attributes();
        attributes.find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    /// The address in the first attribute of a kind, in front of MESSAGE-INTEGRITY.
    pub(super) fn address_of(&self, wanted: u16) -> Option<SocketAddr> {
        address(self.value_of(wanted)?, &self.transaction)
    }

    /// Kinds and values in front of MESSAGE-INTEGRITY.
    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let end = self.integrity.map_or(bytes.len(), |(_, at)| at);
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let found = attribute(bytes.get(..end)?, at)?;
            at += ATTRIBUTE_HEADER + found.1.len().next_multiple_of(4);
            Some(found)
        })
    }

    /// Whether there is MESSAGE-INTEGRITY, right or not.
    pub(super) fn is_signed(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY is by this key (RFC 8489 section 14.5). The time it takes tells nothing.
    pub(super) fn is_signed_by(&self, key: &Key) -> bool {
        let Some((integrity, at)) = self.integrity else {
            return false;
        };
        let Some((kind, rest)) = self
            .bytes
            .get(..at)
            .and_then(|it| it.split_first_chunk::<2>())
        else {
            return false;
        };
        // The length counts as if the message ended with this attribute.
        let length = at + ATTRIBUTE_HEADER + INTEGRITY - HEADER;
        let mut mac = key.0.clone();
        mac.update(kind);
        mac.update(&(length as u16).to_be_bytes());
        mac.update(rest.get(2..).unwrap_or_default());
        mac.verify_slice(integrity).is_ok()
    }
}

/// Keeps the first value of an attribute. A value that could not be read is a bad one.
fn keep<T>(field: &mut Option<T>, value: Option<T>, is_bad: &mut bool) {
    *is_bad |= value.is_none();
    if field.is_none() {
        *field = value;
    }
}

/// Kind and value of the attribute at a place; none if it does not fit in.
fn attribute(bytes: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let rest = bytes.get(at..)?;
    let header = rest.first_chunk::<ATTRIBUTE_HEADER>()?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    rest.get(..ATTRIBUTE_HEADER + len.next_multiple_of(4))?;
    Some((kind, rest.get(ATTRIBUTE_HEADER..ATTRIBUTE_HEADER + len)?))
}

/// Reads an XOR-ed address (RFC 8489 section 14.2).
fn address(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let (head, ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ 0x2112;
    let mask = MAGIC_COOKIE.iter().chain(transaction);
    let mut plain = [0; 16];
    for ((to, from), mask) in plain.iter_mut().zip(ip).zip(mask) {
        *to = from ^ mask;
    }
    let ip = match (head[1], ip.len()) {
        (1, 4) => IpAddr::from(*plain.first_chunk::<4>()?),
        (2, 16) => IpAddr::from(plain),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether a connection that begins with these 8 bytes is one of TURN; none before there are as many. Requests begin
/// with two zero bits, and ChannelData cannot come first.
pub(crate) fn begins_message(bytes: &[u8]) -> Option<bool> {
    let head = bytes.first_chunk::<8>()?;
    Some(head[0] < 0x40 && head[4..] == MAGIC_COOKIE)
}

/// Whether a datagram to a peer is a STUN check.
pub(crate) fn is_binding_request(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && datagram[..2] == [0, 1] && datagram[4..8] == MAGIC_COOKIE
}

/// Writes a message behind what is in a buffer.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    transaction: Transaction,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        out: &'a mut Vec<u8>,
        class: Class,
        method: u16,
        transaction: &Transaction,
    ) -> Self {
        let at = out.len();
        out.extend((method | class as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(MAGIC_COOKIE);
        out.extend(transaction);
        let transaction = *transaction;
        Self {
            out,
            at,
            transaction,
        }
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.out.extend(kind.to_be_bytes());
        self.out.extend((value.len() as u16).to_be_bytes());
        self.out.extend(value);
        let padding = value.len().next_multiple_of(4) - value.len();
        self.out.extend(std::iter::repeat_n(0, padding));
    }

    /// Writes an XOR-ed address (RFC 8489 section 14.2), of IPv4 where it is one in IPv6.
    pub(super) fn address(&mut self, kind: u16, address: SocketAddr) {
        self.exact_address(kind, canonical(address));
    }

    /// Writes an XOR-ed address in the form that it has.
    pub(super) fn exact_address(&mut self, kind: u16, address: SocketAddr) {
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&(address.port() ^ 0x2112).to_be_bytes());
        let len = match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&ip.octets());
                20
            }
        };
        let mask = MAGIC_COOKIE.iter().chain(&self.transaction);
        for (byte, mask) in value[4..len].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        self.attribute(kind, &value[..len]);
    }

    /// Writes ERROR-CODE (RFC 8489 section 14.8).
    pub(super) fn error(&mut self, code: u16, reason: &str) {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.attribute(ERROR_CODE, &value);
    }

    /// Ends the message, signed if there is a key.
    pub(super) fn finish(mut self, key: Option<&Key>) {
        if let Some(key) = key {
            self.set_length(ATTRIBUTE_HEADER + INTEGRITY);
            let mut mac = key.0.clone();
            mac.update(&self.out[self.at..]);
            let integrity = mac.finalize().into_bytes();
            self.attribute(MESSAGE_INTEGRITY, &integrity);
        }
        self.set_length(0);
    }

    /// MESSAGE-INTEGRITY covers a length that counts it already.
    fn set_length(&mut self, next: usize) {
        let length = (self.out.len() - self.at - HEADER + next) as u16;
        self.out[self.at + 2..self.at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a datagram of a peer as a Data indication (RFC 8656 section 11.6), which `pop` appends; false, and nothing, if
/// there is none. The datagram is not copied again.
pub(super) fn append_data(
    out: &mut Vec<u8>,
    peer: SocketAddr,
    pop: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
) -> bool {
    let at = out.len();
    // Nobody answers an indication, so that its number need not be another each time.
    let mut writer = Writer::new(out, Class::Indication, method::DATA, &[0; 12]);
    writer.address(XOR_PEER_ADDRESS, peer);
    writer.attribute(DATA, &[]);
    let data_at = out.len();
    let Some(len) = pop(out) else {
        out.truncate(at);
        return false;
    };
    out.resize(data_at + len.next_multiple_of(4), 0);
    out[data_at - 2..data_at].copy_from_slice(&(len as u16).to_be_bytes());
    let length = (out.len() - at - HEADER) as u16;
    out[at + 2..at + 4].copy_from_slice(&length.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::users::long_term_key;
    use super::*;

    /// Bytes written as hexadecimal digits.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|it| it.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect()
    }

    const TRANSACTION: &str = "b7e7a701bc34d686fa87dfae";

    /// RFC 5769 section 2.1.
    const REQUEST: &str = "000100582112a442 b7e7a701bc34d686fa87dfae
        80220010 5354554e207465737420636c69656e74
        00240004 6e0001ff
        80290008 932ff9b151263b36
        00060009 6576746a3a68367659202020
        00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
        80280004 e57a3bcf";
    /// RFC 5769 section 2.2.
    const ANSWER_V4: &str = "0101003c2112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220
        00200008 0001a147e112a643
        00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
        80280004 c07d4c96";
    /// RFC 5769 section 2.3.
    const ANSWER_V6: &str = "010100482112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220
        00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
        00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
        80280004 c8fb0b4c";
    /// RFC 5769 section 2.4.
    const LONG_TERM: &str = "000100602112a442 78ad3433c6ad72c029da412e
        00060012 e3839ee38388e383aae38383e382af e382b9 0000
        0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
        0014000b 6578616d706c652e6f726700
        00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

    #[test]
    fn the_vectors_of_rfc_5769_are_signed_by_their_passwords_alone() {
        let short = Key::new(b"VOkJxbRl1RmTxUk/WvJxBt");
        let username = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
        let long = long_term_key(username, "example.org", "TheMatrIX");
        for (vector, key, other) in [
            (REQUEST, &short, &long),
            (ANSWER_V4, &short, &long),
            (ANSWER_V6, &short, &long),
            (LONG_TERM, &long, &short),
        ] {
            let bytes = hex(vector);
            let message = Message::read(&bytes).expect("well-formed");
            assert!(message.is_signed_by(key) && !message.is_signed_by(other));
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let signed = Message::read(&changed).is_some_and(|it| it.is_signed_by(key));
                // The FINGERPRINT behind the signature is not covered, and neither is the length, which it fits.
                let end = message.integrity.unwrap().1 + ATTRIBUTE_HEADER + INTEGRITY;
                assert_eq!(signed, at >= end && !matches!(at - end, 2 | 3), "byte {at}");
            }
        }
        let bytes = hex(LONG_TERM);
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.username, Some(username.as_bytes()));
        assert_eq!(message.realm, Some(&b"example.org"[..]));
        assert_eq!(message.nonce, Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
        assert_eq!((message.class, message.method), (Class::Request, 1));
    }

    #[test]
    fn addresses_are_those_of_rfc_5769() {
        let transaction: Transaction = hex(TRANSACTION).try_into().unwrap();
        for (value, address) in [
            ("0001a147e112a643", "192.0.2.1:32853"),
            (
                "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
                "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            ),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(super::address(&hex(value), &transaction), Some(address));
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, Class::Success, 1, &transaction);
            writer.address(XOR_MAPPED_ADDRESS, address);
            assert_eq!(out[HEADER + ATTRIBUTE_HEADER..], hex(value));
        }
        for value in ["", "0001a147", "0001a147e112a64300", "0003a147e112a643"] {
            assert_eq!(super::address(&hex(value), &transaction), None, "{value}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_bad_or_no_message() {
        let with = |kind, value: &[u8]| {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, Class::Request, method::ALLOCATE, &[1; 12]);
            writer.attribute(kind, value);
            writer.finish(None);
            out
        };
        for (kind, good) in [
            (LIFETIME, &[0, 0, 2, 88][..]),
            (CHANNEL_NUMBER, &[0x40, 0, 0, 0]),
            (REQUESTED_TRANSPORT, &[17, 0, 0, 0]),
            (REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]),
        ] {
            assert!(!Message::read(&with(kind, good)).unwrap().is_bad);
            for len in [0, 1, 3, 5, 8] {
                assert!(Message::read(&with(kind, &vec![1; len])).unwrap().is_bad);
            }
        }
        let whole = with(USERNAME, b"ana");
        assert!(Message::read(&whole).is_some());
        for len in 0..whole.len() {
            assert!(Message::read(&whole[..len]).is_none(), "{len}");
        }
        // An attribute that is longer than the message.
        let mut longer = whole.clone();
        longer[HEADER + 3] = 5;
        assert!(Message::read(&longer).is_none());
        let mut foreign = whole;
        foreign[4] = 0;
        assert!(Message::read(&foreign).is_none());
    }

    #[test]
    fn attributes_nobody_knows_are_named_and_not_without_end() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Class::Request, method::ALLOCATE, &[1; 12]);
        for kind in 0x7000..0x7020 {
            writer.attribute(kind, b"");
        }
        writer.attribute(0x8123, b"may be ignored");
        writer.finish(None);
        let unknown = Message::read(&out).unwrap().unknown;
        assert_eq!(unknown, (0x7000..0x7008).collect::<Vec<u16>>());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = vec![0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            framed.extend([7; 12]);
            framed.extend(&bytes);
            framed[2..4].copy_from_slice(&(bytes.len() as u16).to_be_bytes());
            for bytes in [&bytes, &framed] {
                if let Some(message) = Message::read(bytes) {
                    let _ = (message.peers().count(), message.is_signed_by(&Key::new(b"k")));
                }
                let _ = (begins_message(bytes), is_binding_request(bytes));
            }
        }

        #[test]
        fn a_data_indication_has_its_peer_and_its_datagram(
            datagram in prop::collection::vec(any::<u8>(), 0..1_500),
            ip in any::<Result<[u8; 4], u128>>(),
            port in any::<u16>(),
        ) {
            let ip = ip.map_or_else(|ip| IpAddr::V6(ip.into()), IpAddr::from);
            let peer = SocketAddr::new(ip, port);
            let mut out = vec![9; 3];
            prop_assert!(!append_data(&mut out, peer, |_| None));
            prop_assert_eq!(&out, &[9; 3]);
            append_data(&mut out, peer, |out| {
                out.extend(&datagram);
                Some(datagram.len())
            });
            let message = Message::read(&out[3..]).unwrap();
            prop_assert_eq!((message.class, message.method), (Class::Indication, method::DATA));
            let canonical = SocketAddr::new(peer.ip().to_canonical(), port);
            prop_assert_eq!(message.peer, Some(canonical));
            prop_assert_eq!(message.data, Some(&datagram[..]));
        }
    }
}
