//! A client of TURN for tests, which makes its messages by hand.

use std::net::SocketAddr;

use super::stun::{
    CHANNEL_NUMBER, Class, DATA, ERROR_CODE, Key, LIFETIME, Message, NONCE, REALM,
    REQUESTED_TRANSPORT, Transaction, USERNAME, Writer, XOR_PEER_ADDRESS, method,
};
use super::users::{Credentials, REALM as OUR_REALM, long_term_key};

/// Credentials and the nonce that the server has told.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) username: String,
    pub(super) realm: String,
    pub(super) nonce: Vec<u8>,
    pub(super) key: Key,
}

/// The transaction of all requests in tests.
pub(super) const TRANSACTION: Transaction = *b"transaction1";

/// An answer, as a test looks at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Success,
    Error(u16),
}

impl Client {
    pub(super) fn new(Credentials { username, password }: &Credentials, nonce: &[u8]) -> Self {
        Self {
            key: long_term_key(username, OUR_REALM, password),
            username: username.clone(),
            realm: OUR_REALM.to_owned(),
            nonce: nonce.to_vec(),
        }
    }

    /// A signed request with attributes.
    pub(super) fn request(&self, method: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        self.signed(method, |writer| {
            for (kind, value) in attributes {
                writer.attribute(*kind, value);
            }
        })
    }

    pub(super) fn signed(&self, method: u16, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Class::Request, method, &TRANSACTION);
        fill(&mut writer);
        writer.attribute(USERNAME, self.username.as_bytes());
        writer.attribute(REALM, self.realm.as_bytes());
        writer.attribute(NONCE, &self.nonce);
        writer.finish(Some(&self.key));
        out
    }

    pub(super) fn allocate(&self) -> Vec<u8> {
        self.request(method::ALLOCATE, &[(REQUESTED_TRANSPORT, &[17, 0, 0, 0])])
    }

    pub(super) fn refresh(&self, lifetime: u32) -> Vec<u8> {
        self.request(method::REFRESH, &[(LIFETIME, &lifetime.to_be_bytes())])
    }

    pub(super) fn permit(&self, peers: &[SocketAddr]) -> Vec<u8> {
        self.signed(method::CREATE_PERMISSION, |writer| {
            for peer in peers {
                writer.exact_address(XOR_PEER_ADDRESS, *peer);
            }
        })
    }

    pub(super) fn bind(&self, channel: u16, peer: SocketAddr) -> Vec<u8> {
        self.signed(method::CHANNEL_BIND, |writer| {
            let [high, low] = channel.to_be_bytes();
            writer.attribute(CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.exact_address(XOR_PEER_ADDRESS, peer);
        })
    }
}

/// A request that is not signed.
pub(super) fn unsigned(method: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Class::Request, method, &TRANSACTION);
    for (kind, value) in attributes {
        writer.attribute(*kind, value);
    }
    writer.finish(None);
    out
}

/// A Send indication.
pub(super) fn send(peer: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Class::Indication, method::SEND, &TRANSACTION);
    writer.exact_address(XOR_PEER_ADDRESS, peer);
    writer.attribute(DATA, datagram);
    writer.finish(None);
    out
}

/// The value of an attribute.
pub(super) fn value_of(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut at = 20;
    loop {
        let head = bytes.get(at..at + 4)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if kind == wanted {
            return bytes.get(at + 4..at + 4 + len);
        }
        at += 4 + len.next_multiple_of(4);
    }
}

/// Reads the one answer in a buffer.
pub(super) fn answer(bytes: &[u8]) -> Answer {
    let message = Message::read(bytes).expect("one message");
    assert_eq!(message.transaction, TRANSACTION);
    match message.class {
        Class::Success => Answer::Success,
        Class::Error => {
            let code = value_of(bytes, ERROR_CODE).expect("a code");
            Answer::Error(u16::from(code[2]) * 100 + u16::from(code[3]))
        }
        class => panic!("{class:?} is no answer"),
    }
}
