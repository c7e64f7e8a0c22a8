//! An entry point for fuzzing: the whole of TURN but its I/O.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::frames::Frames;
use super::peers::Peers;
use super::server::Turn;
use super::session::{Session, Step};
use super::stun::{
    Class, DATA, NONCE, REALM, USERNAME, Writer, XOR_PEER_ADDRESS, append_data, method,
};
use super::users::{self, Users, long_term_key};

const PEERS: [&str; 3] = ["192.0.2.1:10000", "192.0.2.1:10001", "[2001:db8::1]:10000"];
/// Addresses that a client names: the peers, one of them in another form, and others.
const NAMED: [&str; 7] = [
    PEERS[0],
    PEERS[1],
    PEERS[2],
    "[::ffff:192.0.2.1]:10000",
    "127.0.0.1:10000",
    "192.0.2.1:22",
    "[::ffff:127.0.0.1]:10000",
];
const STEPS: usize = 64;

/// Handles what a participant sends over one connection after another. Each step is a byte, a length in two bytes, and a
/// text of that length. By the byte, the text is: 0: bytes as they are; 1: a request signed by the participant, first a
/// method, then attributes of a type in two bytes, a length and a value, where a type of 0 is a peer by its number; 2: the
/// number of a peer, and a datagram in a Send indication; 3: tens of seconds that pass.
///
/// # Panics
///
/// If a datagram goes anywhere but to a peer, or something is kept.
pub(crate) fn connection(bytes: &[u8]) {
    let (users, mut now) = (Users::default(), Instant::now());
    let peers = PEERS.map(parsed);
    let turn = Turn::new(now, users.clone(), Peers::new(peers));
    let client = SocketAddr::from(([198, 51, 100, 7], 4_000));
    let _ana = users.admit("pa_ana");
    let credentials = users.credentials("pa_ana");
    let key = long_term_key("pa_ana", users::REALM, &credentials.password);
    let mut session = Session::new(now, turn.clone(), client);
    let mut frames = Frames::default();
    for (kind, text) in steps(bytes).take(STEPS) {
        let buffer = frames.buffer();
        match kind % 4 {
            0 => buffer.extend(text),
            1 => {
                let Some((asked, mut attributes)) = text.split_first() else {
                    continue;
                };
                let asked = u16::from(asked & 0x0f);
                let mut writer = Writer::new(buffer, Class::Request, asked, &[7; 12]);
                while let Some((&[high, low, len], rest)) = attributes.split_first_chunk() {
                    let value;
                    (value, attributes) = rest.split_at(rest.len().min(len.into()));
                    match u16::from_be_bytes([high, low]) {
                        0 => writer.exact_address(XOR_PEER_ADDRESS, named(value.first())),
                        kind => writer.attribute(kind, value),
                    }
                }
                writer.attribute(USERNAME, credentials.username.as_bytes());
                writer.attribute(REALM, users::REALM.as_bytes());
                writer.attribute(NONCE, turn.nonces().make(now, client).as_bytes());
                writer.finish(Some(&key));
            }
            2 => {
                let mut writer = Writer::new(buffer, Class::Indication, method::SEND, &[7; 12]);
                writer.exact_address(XOR_PEER_ADDRESS, named(text.first()));
                writer.attribute(DATA, text.get(1..).unwrap_or_default());
                writer.finish(None);
            }
            _ => {
                let tens = text.first().copied().unwrap_or_default();
                now += Duration::from_secs(10) * u32::from(tens);
            }
        }
        if !take_all(&mut session, &mut frames, now, &peers) {
            session = Session::new(now, turn.clone(), client);
            frames = Frames::default();
        }
        let allocations = usize::from(session.relayed().is_some());
        assert_eq!(turn.counts().allocations(), allocations);
    }
    drop(session);
    assert_eq!(turn.counts().allocations(), 0);
}

/// Handles the whole frames; false if the connection ends.
fn take_all(
    session: &mut Session,
    frames: &mut Frames,
    now: Instant,
    peers: &[SocketAddr],
) -> bool {
    let mut out = Vec::new();
    if session.expire(now).is_err() {
        return false;
    }
    while let Ok(next) = frames.peek(session.longest()) {
        let Some((frame, len)) = next else {
            return true;
        };
        match session.handle(now, frame, &mut out) {
            Ok(Step::Done) => {}
            Ok(Step::Datagram { peer, bytes }) => {
                assert!(peers.contains(&peer), "{peer} is no peer");
                let relayed = session.relayed().expect("an allocation");
                assert_eq!(relayed.is_ipv4(), peer.is_ipv4());
                let echo = |out: &mut Vec<u8>| {
                    out.extend(bytes);
                    Some(bytes.len())
                };
                assert!(session.append(now, peer, &mut out, echo));
                assert!(append_data(&mut out, peer, echo));
            }
            Err(_) => return false,
        }
        assert!(out.len().is_multiple_of(4), "whole frames");
        out.clear();
        frames.take(len);
    }
    false
}

fn parsed(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn named(number: Option<&u8>) -> SocketAddr {
    let number = usize::from(number.copied().unwrap_or_default());
    parsed(NAMED[number % NAMED.len()])
}

fn steps(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[kind, l0, l1], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (step, after) = rest.split_at(len);
        bytes = after;
        Some((kind, step))
    })
}
