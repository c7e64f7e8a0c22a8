//! The other side: the messages of a client, which `tertulia check` is.
//!
//! No I/O here, and no clock. One request is under way at a time. Indications come in between.

use std::net::SocketAddr;

use super::stun::{
    Class, DATA, ERROR_CODE, Key, LIFETIME, Message, NONCE, REALM, REQUESTED_TRANSPORT,
    Transaction, USERNAME, Writer, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
    method,
};
use super::users::{Credentials, long_term_key};

/// A client of one allocation.
pub(crate) struct Client {
    credentials: Credentials,
    /// None before the server has told its realm.
    known: Option<Known>,
    /// The transaction of the request under way.
    transaction: Transaction,
    method: u16,
}

/// The things that a server tells those who ask.
struct Known {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Key,
}

/// A message that came, as far as the client needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard<'a> {
    /// The allocation is there.
    Allocated {
        relayed: SocketAddr,
        /// The address that the server saw; none if it tells none.
        mapped: Option<SocketAddr>,
    },
    /// Another request is granted.
    Granted,
    /// The request is to be made again: the client now knows the nonce.
    Again,
    /// The request is refused with this code.
    Refused(u16),
    /// An answer to the request that cannot be: it is signed by nobody who knows the password, or tells no address.
    Wrong,
    /// A datagram of a peer.
    Data { peer: SocketAddr, bytes: &'a [u8] },
    /// Nothing that concerns the client.
    Other,
}

/// UDP among transport protocols.
const UDP: [u8; 4] = [17, 0, 0, 0];

impl Client {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            known: None,
            transaction: [0; 12],
            method: 0,
        }
    }

    pub(crate) fn allocate(&mut self) -> Vec<u8> {
        self.request(method::ALLOCATE, |writer| {
            writer.attribute(REQUESTED_TRANSPORT, &UDP);
        })
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> Vec<u8> {
        self.request(method::CREATE_PERMISSION, |writer| {
            writer.address(XOR_PEER_ADDRESS, peer);
        })
    }

    /// Ends the allocation.
    pub(crate) fn free(&mut self) -> Vec<u8> {
        self.request(method::REFRESH, |writer| {
            writer.attribute(LIFETIME, &0_u32.to_be_bytes());
        })
    }

    fn request(&mut self, method: u16, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        self.transaction = rand::random();
        self.method = method;
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, Class::Request, method, &self.transaction);
        fill(&mut writer);
        if let Some(known) = &self.known {
            writer.attribute(USERNAME, self.credentials.username.as_bytes());
            writer.attribute(REALM, &known.realm);
            writer.attribute(NONCE, &known.nonce);
        }
        writer.finish(self.known.as_ref().map(|known| &known.key));
        out
    }

    /// A datagram to a peer, as a Send indication.
    pub(crate) fn send(peer: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let transaction = rand::random();
        let mut writer = Writer::new(&mut out, Class::Indication, method::SEND, &transaction);
        writer.address(XOR_PEER_ADDRESS, peer);
        writer.attribute(DATA, datagram);
        writer.finish(None);
        out
    }

    /// Reads a message that came. Never panics.
    pub(crate) fn hear<'a>(&mut self, bytes: &'a [u8]) -> Heard<'a> {
        let Some(message) = Message::read(bytes) else {
            return Heard::Other;
        };
        if message.class == Class::Indication {
            return match (message.method, message.peer, message.data) {
                (method::DATA, Some(peer), Some(bytes)) => Heard::Data { peer, bytes },
                _ => Heard::Other,
            };
        }
        if message.transaction != self.transaction || message.method != self.method {
            return Heard::Other;
        }
        match message.class {
            Class::Error => self.refused(&message),
            Class::Success => self.granted(&message),
            _ => Heard::Other,
        }
    }

    fn granted<'a>(&self, message: &Message<'_>) -> Heard<'a> {
        let is_theirs = |known: &Known| message.is_signed_by(&known.key);
        if !self.known.as_ref().is_some_and(is_theirs) {
            return Heard::Wrong;
        }
        if self.method != method::ALLOCATE {
            return Heard::Granted;
        }
        match message.address_of(XOR_RELAYED_ADDRESS) {
            Some(relayed) => Heard::Allocated {
                relayed,
                mapped: message.address_of(XOR_MAPPED_ADDRESS),
            },
            None => Heard::Wrong,
        }
    }

    /// RFC 8489 section 9.2.5: once for the realm, and for each nonce that has become stale.
    fn refused<'a>(&mut self, message: &Message<'_>) -> Heard<'a> {
        let value = message.value_of(ERROR_CODE).unwrap_or_default();
        let &[_, _, hundreds, rest, ..] = value else {
            return Heard::Wrong;
        };
        let code = u16::from(hundreds & 7) * 100 + u16::from(rest);
        let is_first = code == 401 && self.known.is_none();
        if !is_first && code != 438 {
            return Heard::Refused(code);
        }
        let (Some(realm), Some(nonce)) = (message.realm, message.nonce) else {
            return Heard::Refused(code);
        };
        let Credentials { username, password } = &self.credentials;
        let key = long_term_key(username, realm, password);
        self.known = Some(Known {
            realm: realm.to_vec(),
            nonce: nonce.to_vec(),
            key,
        });
        Heard::Again
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::super::Peers;
    use super::super::frames::Frame;
    use super::super::server::Turn;
    use super::super::session::{Session, Step};
    use super::super::users::{Member, Users};
    use super::*;

    const PEER: &str = "192.0.2.1:10000";

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A session of this server's own TURN, with one participant.
    struct Bench {
        session: Session,
        credentials: Credentials,
        _ana: Member,
    }

    impl Bench {
        fn new() -> Self {
            let users = Users::default();
            let turn = Turn::new(Instant::now(), users.clone(), Peers::new([addr(PEER)]));
            Self {
                _ana: users.admit("pa_ana"),
                credentials: users.credentials("pa_ana"),
                session: Session::new(Instant::now(), turn, addr("198.51.100.7:4000")),
            }
        }

        fn answer(&mut self, request: &[u8]) -> Vec<u8> {
            let mut out = Vec::new();
            let handled = self
                .session
                .handle(Instant::now(), Frame::Message(request), &mut out);
            assert_eq!(handled, Ok(Step::Done));
            out
        }
    }

    #[test]
    fn a_client_allocates_and_is_permitted_its_peer_alone() {
        let mut bench = Bench::new();
        let mut client = Client::new(bench.credentials.clone());
        let asked = client.allocate();
        assert_eq!(client.hear(&bench.answer(&asked)), Heard::Again);
        let asked = client.allocate();
        let answer = bench.answer(&asked);
        let Heard::Allocated { relayed, mapped } = client.hear(&answer) else {
            panic!("{:?}", client.hear(&answer));
        };
        assert_eq!(bench.session.relayed(), Some(relayed));
        assert_eq!(mapped, Some(addr("198.51.100.7:4000")));
        for (peer, heard) in [
            (PEER, Heard::Granted),
            ("192.0.2.2:10000", Heard::Refused(403)),
        ] {
            let asked = client.permit(addr(peer));
            assert_eq!(client.hear(&bench.answer(&asked)), heard, "{peer}");
        }
        // The answer to an earlier request is none to this one.
        assert_eq!(client.hear(&answer), Heard::Other);
        let mut out = Vec::new();
        let sent = Client::send(addr(PEER), b"check");
        let handled = bench
            .session
            .handle(Instant::now(), Frame::Message(&sent), &mut out);
        let (peer, bytes) = (addr(PEER), &b"check"[..]);
        assert_eq!(handled, Ok(Step::Datagram { peer, bytes }));
        let pop = |out: &mut Vec<u8>| {
            out.extend(b"answer");
            Some(6)
        };
        bench.session.append(Instant::now(), peer, &mut out, pop);
        let bytes = &b"answer"[..];
        assert_eq!(client.hear(&out), Heard::Data { peer, bytes });
        let asked = client.free();
        assert_eq!(client.hear(&bench.answer(&asked)), Heard::Granted);
        assert_eq!(bench.session.relayed(), None);
    }

    #[test]
    fn a_wrong_password_is_refused_and_a_wrong_server_not_believed() {
        let mut bench = Bench::new();
        let mut client = Client::new(Credentials {
            password: "another".into(),
            ..bench.credentials.clone()
        });
        let asked = client.allocate();
        assert_eq!(client.hear(&bench.answer(&asked)), Heard::Again);
        let asked = client.allocate();
        assert_eq!(client.hear(&bench.answer(&asked)), Heard::Refused(401));

        let mut client = Client::new(bench.credentials.clone());
        let asked = client.allocate();
        client.hear(&bench.answer(&asked));
        let asked = client.allocate();
        let mut answer = bench.answer(&asked);
        let last = answer.len() - 1;
        answer[last] ^= 1;
        assert_eq!(client.hear(&answer), Heard::Wrong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_heard(at in 0..80_usize, junk: Vec<u8>) {
            let mut bench = Bench::new();
            let mut client = Client::new(bench.credentials.clone());
            let asked = client.allocate();
            let mut answer = bench.answer(&asked);
            for (place, byte) in answer.iter_mut().skip(at).zip(&junk) {
                *place = *byte;
            }
            let _ = client.hear(&answer);
            let _ = client.hear(&junk);
        }
    }
}
