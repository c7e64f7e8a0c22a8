//! The server's checks of a client's address, and the answers to them.
//!
//! An answer carries no USERNAME (RFC 8445 section 7.3), so that the transaction id tells whose it is. Its first bytes
//! are a peer's tag, which is random and stays. The others are new in each check: only a receiver of the check knows
//! them.

use ring::hmac;

use super::super::IceCredentials;
use super::stun::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, HEADER, ICE_CONTROLLED, MESSAGE_INTEGRITY,
    PRIORITY, USERNAME, Writer, attributes, is_signed_by,
};
use crate::drops::DropReason;

/// A transaction id (RFC 8489 section 5).
pub(super) type Transaction = [u8; 12];

/// The client's end of the credentials: what our checks are signed with.
pub(super) struct Remote {
    /// `theirs:ours`
    username: Vec<u8>,
    key: hmac::Key,
}

/// A peer-reflexive candidate of the first component (RFC 8445 section 5.1.2.1).
const PRIORITY_VALUE: u32 = 0x6eff_ffff;

/// The tag in the transaction of a response: whose check it answers, if it answers one. Nothing is
/// verified yet.
pub(crate) fn stun_answer_tag(datagram: &[u8]) -> Option<u32> {
    let is_answer = matches!(kind(datagram), Some(BINDING_SUCCESS | BINDING_ERROR));
    let tag = datagram.get(8..12).filter(|_| is_answer)?;
    tag.first_chunk().map(|tag| u32::from_be_bytes(*tag))
}

impl Remote {
    pub(super) fn new(ours: &IceCredentials, remote: &IceCredentials) -> Self {
        Self {
            username: format!("{}:{}", remote.ufrag, ours.ufrag).into_bytes(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, remote.pwd.as_bytes()),
        }
    }

    /// A check. We are controlled, as ICE-lite is.
    pub(super) fn check(&self, transaction: &Transaction, tie_breaker: u64) -> Vec<u8> {
        let mut writer = Writer::new(BINDING_REQUEST, transaction);
        writer.attribute(USERNAME, &self.username);
        writer.attribute(PRIORITY, &PRIORITY_VALUE.to_be_bytes());
        writer.attribute(ICE_CONTROLLED, &tie_breaker.to_be_bytes());
        writer.finish(&self.key)
    }

    /// The transaction of a success response that the client signed; else the reason to drop it.
    pub(super) fn read_answer(&self, datagram: &[u8]) -> Result<Transaction, DropReason> {
        if kind(datagram) == Some(BINDING_ERROR) {
            return Err(DropReason::StunCheckRefused);
        }
        let mut attributes =
            attributes(datagram, BINDING_SUCCESS).ok_or(DropReason::StunMalformed)?;
        let integrity = attributes.find(|(kind, ..)| *kind == MESSAGE_INTEGRITY);
        let (_, integrity, at) = integrity.ok_or(DropReason::StunNoIntegrity)?;
        if !is_signed_by(datagram, at, integrity, &self.key) {
            return Err(DropReason::StunBadIntegrity);
        }
        let transaction = datagram.get(8..HEADER).and_then(|id| id.first_chunk());
        transaction.copied().ok_or(DropReason::StunMalformed)
    }
}

fn kind(datagram: &[u8]) -> Option<u16> {
    datagram.first_chunk().map(|kind| u16::from_be_bytes(*kind))
}
