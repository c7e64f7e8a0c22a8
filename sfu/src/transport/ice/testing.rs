//! The other end of ICE in tests: checks made and answers read by an independent implementation.

use std::net::SocketAddr;

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::transport::IceCredentials;

/// A connectivity check; public fields to make wrong ones.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) username: String,
    pub(crate) password: Option<String>,
    pub(crate) nominate: bool,
    pub(crate) controlled: bool,
    pub(crate) extra: Option<u16>,
}

impl Check {
    /// A client's check of a server whose credentials are `server`.
    pub(crate) fn new(server: &IceCredentials, client: &IceCredentials) -> Self {
        Self {
            username: format!("{}:{}", server.ufrag, client.ufrag),
            password: Some(server.pwd.clone()),
            nominate: true,
            controlled: false,
            extra: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let provider = rtc_crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.transaction_id.0 = *b"transaction!";
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]);
        let role = if self.controlled {
            ATTR_ICE_CONTROLLED
        } else {
            ATTR_ICE_CONTROLLING
        };
        message.add(role, &[1, 2, 3, 4, 5, 6, 7, 8]);
        if let Some(kind) = self.extra {
            message.add(rtc_stun::attributes::AttrType(kind), &[1, 2, 3]);
        }
        if self.nominate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        if let Some(password) = &self.password {
            MessageIntegrity::new_short_term_integrity_with_provider(
                password.clone(),
                provider.crypto(),
            )
            .add_to(&mut message)
            .unwrap();
        }
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }
}

/// An answer whose integrity and fingerprint hold.
pub(crate) fn read_answer(datagram: &[u8], server: &IceCredentials) -> Message {
    let provider = rtc_crypto::default_provider().unwrap();
    let mut message = Message::new();
    message.unmarshal_binary(datagram).unwrap();
    FINGERPRINT.check(&message).unwrap();
    MessageIntegrity::check(&mut message, server.pwd.as_bytes(), provider.crypto()).unwrap();
    assert_eq!(message.transaction_id.0, *b"transaction!");
    message
}

/// The address an answer tells.
pub(crate) fn mapped_address(message: &Message) -> SocketAddr {
    let mut address = XorMappedAddress::default();
    address.get_from(message).unwrap();
    SocketAddr::new(address.ip, address.port)
}

/// A client's answer to a check of the server, well-formed and rightly signed, as seen from `at`; empty if the datagram
/// is no check.
pub(crate) fn answer(datagram: &[u8], at: SocketAddr, client: &IceCredentials) -> Vec<u8> {
    let provider = rtc_crypto::default_provider().unwrap();
    let mut check = Message::new();
    check.unmarshal_binary(datagram).unwrap();
    if check.typ != BINDING_REQUEST {
        return Vec::new();
    }
    FINGERPRINT.check(&check).unwrap();
    MessageIntegrity::check(&mut check, client.pwd.as_bytes(), provider.crypto()).unwrap();
    assert!(check.contains(rtc_stun::attributes::ATTR_ICE_CONTROLLED));
    let username = check.get(ATTR_USERNAME).unwrap();
    assert!(username.starts_with(format!("{}:", client.ufrag).as_bytes()));
    let mut answer = Message::new();
    answer.set_type(BINDING_SUCCESS);
    answer.transaction_id = check.transaction_id;
    answer.write_header();
    let (ip, port) = (at.ip(), at.port());
    XorMappedAddress { ip, port }.add_to(&mut answer).unwrap();
    MessageIntegrity::new_short_term_integrity_with_provider(client.pwd.clone(), provider.crypto())
        .add_to(&mut answer)
        .unwrap();
    FINGERPRINT.add_to(&mut answer).unwrap();
    answer.raw
}
