//! STUN binding messages (RFC 8489), as much as an ICE-lite agent needs.
//!
//! This reader borrows, cannot panic, and leaves every decision until the integrity of the whole message is known.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use rtc_stun::fingerprint::fingerprint_value;

use crate::drops::DropReason;

/// The server's user fragment in a binding request's USERNAME (RFC 8445 section 7.2.2), by which the first datagram
/// from an unknown address is demultiplexed. Nothing is verified yet.
pub(crate) fn stun_local_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    let username = attributes(datagram, BINDING_REQUEST)?
        .find(|(kind, ..)| *kind == USERNAME)?
        .1;
    let end = username.iter().position(|byte| *byte == b':')?;
    username.get(..end)
}

/// A binding request, not yet authenticated.
pub(super) struct BindingRequest<'a> {
    datagram: &'a [u8],
    transaction: &'a [u8],
    pub(super) username: &'a [u8],
    integrity: &'a [u8],
    integrity_at: usize,
    /// The client nominates this path.
    pub(super) use_candidate: bool,
    /// The client claims to be controlled, which against ICE-lite it cannot be.
    pub(super) controlled: bool,
    /// An attribute that may not be ignored and that we do not know.
    pub(super) unknown: Option<u16>,
}

pub(super) const HEADER: usize = 20;
const ATTRIBUTE_HEADER: usize = 4;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
pub(super) const BINDING_REQUEST: u16 = 0x0001;
pub(super) const BINDING_SUCCESS: u16 = 0x0101;
pub(super) const BINDING_ERROR: u16 = 0x0111;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;

/// HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_LEN: usize = 4;
/// Attributes from here on may be ignored (RFC 8489 section 14).
pub(super) const COMPREHENSION_OPTIONAL: u16 = 0x8000;

impl<'a> BindingRequest<'a> {
    /// Reads a binding request; the error is a code for metrics.
    pub(super) fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let mut username = None;
        let mut integrity = None;
        let mut fingerprint = None;
        let (mut use_candidate, mut controlled, mut unknown) = (false, false, None);
        let mut end = HEADER;
        for (kind, value, at) in
            attributes(datagram, BINDING_REQUEST).ok_or(DropReason::StunMalformed)?
        {
            end = at + ATTRIBUTE_HEADER + value.len().next_multiple_of(4);
            match kind {
                FINGERPRINT => fingerprint = Some((value, at)),
                // Attributes after MESSAGE-INTEGRITY are not signed (RFC 8489 section 14.5).
                _ if integrity.is_some() => {}
                MESSAGE_INTEGRITY => integrity = Some((value, at)),
                USERNAME => username = Some(value),
                USE_CANDIDATE => use_candidate = true,
                ICE_CONTROLLED => controlled = true,
                PRIORITY => {}
                kind if kind < COMPREHENSION_OPTIONAL => unknown = unknown.or(Some(kind)),
                _ => {}
            }
        }
        if end != datagram.len() {
            return Err(DropReason::StunMalformed);
        }
        let (fingerprint, at) = fingerprint.ok_or(DropReason::StunNoFingerprint)?;
        // FINGERPRINT must be the last attribute (RFC 8489 section 14.7).
        let covered = datagram.get(..at).ok_or(DropReason::StunMalformed)?;
        if at + ATTRIBUTE_HEADER + FINGERPRINT_LEN != end
            || fingerprint != fingerprint_value(covered).to_be_bytes()
        {
            return Err(DropReason::StunBadFingerprint);
        }
        let (integrity, integrity_at) = integrity.ok_or(DropReason::StunNoIntegrity)?;
        Ok(Self {
            datagram,
            transaction: datagram.get(8..HEADER).ok_or(DropReason::StunMalformed)?,
            username: username.ok_or(DropReason::StunNoUsername)?,
            integrity,
            integrity_at,
            use_candidate,
            controlled,
            unknown,
        })
    }

    /// MESSAGE-INTEGRITY by the short-term password in `key` (RFC 8489 section 14.5).
    pub(super) fn is_signed_by(&self, key: &hmac::Key) -> bool {
        is_signed_by(self.datagram, self.integrity_at, self.integrity, key)
    }

    /// The success response, telling `from` its own address.
    pub(super) fn success(&self, from: SocketAddr, key: &hmac::Key) -> Vec<u8> {
        let mut writer = Writer::new(BINDING_SUCCESS, self.transaction);
        writer.xor_address(from, self.transaction);
        writer.finish(key)
    }

    /// The role conflict of RFC 8445 section 7.3.1.1: we stay controlled, so the client must control.
    pub(super) fn role_conflict(&self, key: &hmac::Key) -> Vec<u8> {
        let mut writer = Writer::new(BINDING_ERROR, self.transaction);
        writer.attribute(ERROR_CODE, b"\0\0\x04\x57Role Conflict");
        writer.finish(key)
    }

    /// The refusal of RFC 8489 section 6.3.1.
    pub(super) fn unknown_attribute(&self, kind: u16, key: &hmac::Key) -> Vec<u8> {
        let mut writer = Writer::new(BINDING_ERROR, self.transaction);
        writer.attribute(ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
        writer.attribute(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
        writer.finish(key)
    }
}

/// Whether the MESSAGE-INTEGRITY found at `at` in a message is of the password in `key`
/// (RFC 8489 section 14.5).
pub(super) fn is_signed_by(message: &[u8], at: usize, integrity: &[u8], key: &hmac::Key) -> bool {
    let signed = message.get(..at);
    let Some((kind, rest)) = signed.and_then(|signed| signed.split_at_checked(2)) else {
        return false;
    };
    // The length counts as if the message ended with this attribute.
    let length = at + ATTRIBUTE_HEADER + INTEGRITY_LEN - HEADER;
    let mut context = hmac::Context::with_key(key);
    context.update(kind);
    context.update(&(length as u16).to_be_bytes());
    context.update(rest.get(2..).unwrap_or_default());
    rtc_crypto::constant_time_eq(context.sign().as_ref(), integrity)
}

/// Kind, value and offset of each attribute of a message of type `kind`; `None` if the header is of
/// something else. Stops where the attributes stop being well-formed.
pub(super) fn attributes(
    datagram: &[u8],
    kind: u16,
) -> Option<impl Iterator<Item = (u16, &[u8], usize)>> {
    let header = datagram.first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if u16::from_be_bytes([header[0], header[1]]) != kind
        || header[4..8] != MAGIC_COOKIE
        || HEADER + length != datagram.len()
    {
        return None;
    }
    let mut at = HEADER;
    Some(std::iter::from_fn(move || {
        let rest = datagram.get(at..)?;
        let header = rest.first_chunk::<ATTRIBUTE_HEADER>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let end = ATTRIBUTE_HEADER + len.next_multiple_of(4);
        rest.get(..end)?;
        let attribute = (
            kind,
            rest.get(ATTRIBUTE_HEADER..ATTRIBUTE_HEADER + len)?,
            at,
        );
        at += end;
        Some(attribute)
    }))
}

/// The XOR-MAPPED-ADDRESS (RFC 8489 section 14.2) of the success response to a transaction.
pub(super) fn mapped_address(datagram: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let mut attributes = attributes(datagram, BINDING_SUCCESS)?;
    if datagram.get(8..HEADER) != Some(transaction) {
        return None;
    }
    let (_, value, _) = attributes.find(|(kind, ..)| *kind == XOR_MAPPED_ADDRESS)?;
    let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ 0x2112;
    let mask = MAGIC_COOKIE.iter().chain(transaction);
    let plain = value.get(4..)?.iter().zip(mask);
    let plain: Vec<u8> = plain.map(|(byte, mask)| byte ^ mask).collect();
    let ip = match (value[1], value.len()) {
        (1, 8) => IpAddr::from(<[u8; 4]>::try_from(plain).ok()?),
        (2, 20) => IpAddr::from(<[u8; 16]>::try_from(plain).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// Writes a message, attribute by attribute.
pub(super) struct Writer(Vec<u8>);

/// Room for a response with an IPv6 address or an error, and for a request with a username of 32 bytes.
const CAPACITY: usize = 128;

impl Writer {
    pub(super) fn new(kind: u16, transaction: &[u8]) -> Self {
        let mut message = Vec::with_capacity(CAPACITY);
        message.extend(kind.to_be_bytes());
        message.extend([0, 0]);
        message.extend(MAGIC_COOKIE);
        message.extend(transaction);
        Self(message)
    }

    /// A Binding request without attributes.
    pub(super) fn request(transaction: &[u8]) -> Vec<u8> {
        Self::new(BINDING_REQUEST, transaction).0
    }

    /// The success response to such a request, telling `from` its own address.
    pub(super) fn mapped(from: SocketAddr, transaction: &[u8]) -> Vec<u8> {
        let mut writer = Self::new(BINDING_SUCCESS, transaction);
        writer.xor_address(from, transaction);
        writer.set_length(0);
        writer.0
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// RFC 8489 section 14.2. A dual-stack socket shows IPv4 clients as mapped IPv6 addresses,
    /// which they would not recognise.
    fn xor_address(&mut self, address: SocketAddr, transaction: &[u8]) {
        let mut value = [0; 20];
        let mask = MAGIC_COOKIE.iter().chain(transaction);
        let port = address.port() ^ 0x2112;
        value[2..4].copy_from_slice(&port.to_be_bytes());
        let len = match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..20].copy_from_slice(&ip.octets());
                20
            }
        };
        for (byte, mask) in value[4..len].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        self.attribute(XOR_MAPPED_ADDRESS, &value[..len]);
    }

    pub(super) fn finish(mut self, key: &hmac::Key) -> Vec<u8> {
        self.set_length(ATTRIBUTE_HEADER + INTEGRITY_LEN);
        let integrity = hmac::sign(key, &self.0);
        self.attribute(MESSAGE_INTEGRITY, integrity.as_ref());
        self.set_length(ATTRIBUTE_HEADER + FINGERPRINT_LEN);
        let fingerprint = fingerprint_value(&self.0);
        self.attribute(FINGERPRINT, &fingerprint.to_be_bytes());
        self.0
    }

    /// Both checks cover a length that already counts them.
    fn set_length(&mut self, next: usize) {
        let length = (self.0.len() - HEADER + next) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }
}
