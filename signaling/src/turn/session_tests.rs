//! The state machine by tables: each refusal by its code, permissions and channels by their times.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::allocation::{BOUND_FOR, LIFETIMES, MOST, PERMITTED_FOR};
use super::frames::Frame;
use super::nonce::GOOD_FOR;
use super::server::OF_A_USER;
use super::session::{Session, Step};
use super::stun::{
    CHANNEL_NUMBER, Class, EVEN_PORT, LIFETIME, MESSAGE_INTEGRITY, Message, NONCE,
    REALM as REALM_KIND, REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS, method,
};
use super::testing::{Answer, Client, answer, send, unsigned, value_of};
use super::users::{Member, Users};
use super::{Peers, Refusal, Turn};

const PEER: &str = "192.0.2.1:10000";
const OTHER_PORT: &str = "192.0.2.1:10001";
const PEER_V6: &str = "[2001:db8:5::1]:10000";
const UDP: (u16, &[u8]) = (REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A server, with one participant who connects.
struct Bench {
    users: Users,
    turn: Turn,
    session: Session,
    client: Client,
    now: Instant,
    ana: Member,
    others: Vec<Member>,
}

impl Bench {
    fn with_peers(peers: &[&str]) -> Self {
        let (users, now) = (Users::default(), Instant::now());
        let peers = Peers::new(peers.iter().map(|it| addr(it)));
        let turn = Turn::new(now, users.clone(), peers);
        let ana = users.admit("pa_ana");
        let session = Session::new(now, turn.clone(), addr("198.51.100.7:4000"));
        let client = Client::new(&users.credentials("pa_ana"), b"");
        let mut bench = Self {
            users,
            turn,
            session,
            client,
            now,
            ana,
            others: Vec::new(),
        };
        bench.learn_nonce();
        bench
    }

    fn new() -> Self {
        Self::with_peers(&[PEER, OTHER_PORT])
    }

    fn allocated() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.ask(&bench.client.allocate()), Answer::Success);
        bench
    }

    /// Hears the nonce as a client does: from the refusal of a request without credentials.
    fn learn_nonce(&mut self) {
        let out = self.exchange(&unsigned(method::ALLOCATE, &[UDP]));
        assert_eq!(answer(&out), Answer::Error(401));
        assert_eq!(value_of(&out, REALM_KIND), Some(&b"tertulia"[..]));
        self.client.nonce = value_of(&out, NONCE).expect("a nonce").to_vec();
    }

    fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let step = self
            .session
            .handle(self.now, Frame::Message(message), &mut out);
        assert_eq!(step, Ok(Step::Done));
        out
    }

    fn ask(&mut self, message: &[u8]) -> Answer {
        let out = self.exchange(message);
        let answered = Message::read(&out).expect("one message");
        // 441 is told to another user than ours.
        if !matches!(answer(&out), Answer::Error(401 | 438 | 441)) && answered.is_signed() {
            assert!(answered.is_signed_by(&self.client.key));
        }
        answer(&out)
    }

    fn step<'a>(&mut self, frame: Frame<'a>) -> Step<'a> {
        let mut out = Vec::new();
        let step = self.session.handle(self.now, frame, &mut out);
        assert!(out.is_empty(), "datagrams have no answers");
        step.expect("goes on")
    }

    fn reaches(&mut self, peer: &str) -> bool {
        let message = send(addr(peer), b"datagram");
        match self.step(Frame::Message(&message)) {
            Step::Done => false,
            Step::Datagram { bytes, .. } => bytes == b"datagram",
        }
    }

    fn refused(&self, code: &str) -> u64 {
        let counts = serde_json::to_value(self.turn.counts()).unwrap();
        counts["refused"][code].as_u64().unwrap()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn an_allocation_is_answered_with_everything_browsers_want() {
    let mut bench = Bench::new();
    let out = bench.exchange(&bench.client.allocate());
    let message = Message::read(&out).unwrap();
    assert_eq!(
        (message.class, message.method),
        (Class::Success, method::ALLOCATE)
    );
    assert!(message.is_signed_by(&bench.client.key));
    assert_eq!(message.lifetime, Some(600));
    for kind in [XOR_RELAYED_ADDRESS, XOR_MAPPED_ADDRESS] {
        assert_eq!(value_of(&out, kind).map(<[u8]>::len), Some(8), "{kind:#x}");
    }
    let relayed = bench.session.relayed().expect("allocated");
    assert!(relayed.is_ipv4());
    assert_eq!(bench.ask(&bench.client.refresh(0)), Answer::Success);
    assert_eq!(bench.session.relayed(), None);
    assert_eq!(bench.ask(&bench.client.allocate()), Answer::Success);
    assert_ne!(bench.session.relayed(), Some(relayed), "another one");
}

#[test]
fn each_refusal_has_its_code() {
    let allocate = |bench: &Bench, attributes: &[(u16, &[u8])]| {
        bench.client.request(method::ALLOCATE, attributes)
    };
    type Case = (&'static str, fn(&mut Bench) -> Vec<u8>, bool, u16);
    let cases: &[Case] = &[
        (
            "no credentials",
            |_| unsigned(method::REFRESH, &[]),
            true,
            401,
        ),
        (
            "another's password",
            |bench| {
                let credentials = bench.users.credentials("pa_ben");
                let mut client = Client::new(&credentials, &bench.client.nonce);
                client.username = "pa_ana".into();
                client.allocate()
            },
            false,
            401,
        ),
        (
            "nobody who is there",
            |bench| {
                let credentials = bench.users.credentials("pa_ben");
                Client::new(&credentials, &bench.client.nonce).allocate()
            },
            false,
            401,
        ),
        (
            "another realm",
            |bench| {
                bench.client.realm = "example.org".into();
                bench.client.allocate()
            },
            false,
            401,
        ),
        (
            "a nonce of nobody",
            |bench| {
                bench.client.nonce = b"invented".to_vec();
                bench.client.allocate()
            },
            false,
            438,
        ),
        (
            "an old nonce",
            |bench| {
                bench.pass(GOOD_FOR);
                bench.client.allocate()
            },
            false,
            438,
        ),
        (
            "signed without a name",
            |_| unsigned(method::ALLOCATE, &[UDP, (MESSAGE_INTEGRITY, &[0; 20])]),
            false,
            400,
        ),
        (
            "an attribute nobody knows",
            |bench| {
                bench
                    .client
                    .request(method::ALLOCATE, &[UDP, (0x7001, b"x")])
            },
            false,
            420,
        ),
        (
            "a method nobody knows",
            |bench| bench.client.request(0x00d, &[]),
            true,
            400,
        ),
        (
            "a second allocation",
            |bench| bench.client.allocate(),
            true,
            437,
        ),
        (
            "no allocation",
            |bench| bench.client.refresh(600),
            false,
            437,
        ),
        (
            "no allocation to permit in",
            |bench| bench.client.permit(&[addr(PEER)]),
            false,
            437,
        ),
        (
            "another user",
            |bench| {
                bench.others.push(bench.users.admit("pa_ben"));
                let credentials = bench.users.credentials("pa_ben");
                Client::new(&credentials, &bench.client.nonce).refresh(600)
            },
            true,
            441,
        ),
        (
            "a peer that is not this server",
            |bench| bench.client.permit(&[addr("192.0.2.2:10000")]),
            true,
            403,
        ),
        (
            "one such peer among others",
            |bench| bench.client.permit(&[addr(PEER), addr("127.0.0.1:10000")]),
            true,
            403,
        ),
        (
            "loopback written as IPv6",
            |bench| bench.client.permit(&[addr("[::ffff:127.0.0.1]:10000")]),
            true,
            403,
        ),
        (
            "a channel to another port",
            |bench| bench.client.bind(0x4000, addr("192.0.2.1:22")),
            true,
            403,
        ),
        (
            "a peer of another family",
            |bench| bench.client.permit(&[addr(PEER_V6)]),
            true,
            443,
        ),
        (
            "a channel to another family",
            |bench| bench.client.bind(0x4000, addr(PEER_V6)),
            true,
            443,
        ),
        (
            "a refresh for another family",
            |bench| {
                let family = (REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0][..]);
                bench.client.request(method::REFRESH, &[family])
            },
            true,
            443,
        ),
        (
            "permissions of nobody",
            |bench| bench.client.permit(&[]),
            true,
            400,
        ),
        (
            "a channel below the first",
            |bench| bench.client.bind(0x3fff, addr(PEER)),
            true,
            400,
        ),
        (
            "a channel beyond the last",
            |bench| bench.client.bind(0x5000, addr(PEER)),
            true,
            400,
        ),
        (
            "a channel without a peer",
            |bench| {
                let number = (CHANNEL_NUMBER, &[0x40, 0, 0, 0][..]);
                bench.client.request(method::CHANNEL_BIND, &[number])
            },
            true,
            400,
        ),
        (
            "a peer that is no address",
            |bench| {
                let peer = (XOR_PEER_ADDRESS, &[0, 9, 1, 2, 3, 4, 5, 6][..]);
                bench.client.request(method::CREATE_PERMISSION, &[peer])
            },
            true,
            400,
        ),
    ];
    for (what, message, is_allocated, code) in cases {
        let mut bench = match is_allocated {
            true => Bench::allocated(),
            false => Bench::new(),
        };
        let message = message(&mut bench);
        assert_eq!(bench.ask(&message), Answer::Error(*code), "{what}");
        assert!(!bench.reaches(PEER), "{what}: nothing is permitted");
    }
    for (attributes, code) in [
        (&[][..], 400),
        (&[(REQUESTED_TRANSPORT, &[17][..])], 400),
        (&[(REQUESTED_TRANSPORT, &[6, 0, 0, 0])], 442),
        (&[UDP, (EVEN_PORT, &[0x80])], 508),
        (&[UDP, (RESERVATION_TOKEN, &[1; 8])], 508),
        (&[UDP, (REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])], 440),
        (&[UDP, (REQUESTED_ADDRESS_FAMILY, &[9, 0, 0, 0])], 440),
        (&[UDP, (LIFETIME, &[1])], 400),
    ] {
        let mut bench = Bench::new();
        let message = allocate(&bench, attributes);
        assert_eq!(bench.ask(&message), Answer::Error(code), "{attributes:?}");
        assert_eq!(bench.session.relayed(), None);
    }
}

#[test]
fn a_foreign_peer_is_refused_in_whatever_form_it_is_written() {
    let peers = [PEER, OTHER_PORT, PEER_V6];
    let forbidden = Answer::Error(403);
    let mismatch = Answer::Error(443);
    for (peer, expected) in [
        // The machine's own, private networks, what clouds tell their machines, and strangers.
        ("127.0.0.1:10000", &forbidden),
        ("10.0.0.1:10000", &forbidden),
        ("192.168.1.1:10000", &forbidden),
        ("169.254.169.254:80", &forbidden),
        ("8.8.8.8:53", &forbidden),
        // Nowhere, and everywhere.
        ("0.0.0.0:10000", &forbidden),
        ("255.255.255.255:10000", &forbidden),
        ("224.0.0.1:10000", &forbidden),
        // IPv4 in IPv6: that is canonical. One of ours is one of ours.
        ("[::ffff:127.0.0.1]:10000", &forbidden),
        ("[::ffff:10.0.0.1]:10000", &forbidden),
        ("[::ffff:0.0.0.0]:10000", &forbidden),
        ("[::ffff:192.0.2.1]:10000", &Answer::Success),
        // IPv4-compatible, translated (RFC 6052, RFC 8215), 6to4 and Teredo: these are of IPv6.
        ("[::127.0.0.1]:10000", &mismatch),
        ("[::192.0.2.1]:10000", &mismatch),
        ("[64:ff9b::192.0.2.1]:10000", &mismatch),
        ("[64:ff9b:1::192.0.2.1]:10000", &mismatch),
        ("[2002:c000:201::1]:10000", &mismatch),
        ("[2001:0:c000:201::1]:10000", &mismatch),
        ("[::1]:10000", &mismatch),
    ] {
        let mut bench = Bench::with_peers(&peers);
        assert_eq!(bench.ask(&bench.client.allocate()), Answer::Success);
        let peer = addr(peer);
        assert_eq!(
            &bench.ask(&bench.client.permit(&[peer])),
            expected,
            "{peer}"
        );
        assert_eq!(
            &bench.ask(&bench.client.bind(0x4000, peer)),
            expected,
            "{peer}"
        );
        let is_ours = *expected == Answer::Success;
        assert_eq!(bench.reaches(&peer.to_string()), is_ours, "{peer}");
    }
    // With an allocation of IPv6.
    let six = (REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0][..]);
    for (peer, expected) in [
        ("[::1]:10000", &forbidden),
        ("[::]:10000", &forbidden),
        ("[::127.0.0.1]:10000", &forbidden),
        ("[::192.0.2.1]:10000", &forbidden),
        ("[64:ff9b::192.0.2.1]:10000", &forbidden),
        ("[2002:c000:201::1]:10000", &forbidden),
        ("[fe80::1]:10000", &forbidden),
        ("[fd00::1]:10000", &forbidden),
        ("[ff02::1]:10000", &forbidden),
        ("[2001:db8:5::2]:10000", &forbidden),
        ("[::ffff:127.0.0.1]:10000", &mismatch),
        ("[::ffff:192.0.2.1]:10000", &mismatch),
        (PEER_V6, &Answer::Success),
    ] {
        let mut bench = Bench::with_peers(&peers);
        let allocate = bench.client.request(method::ALLOCATE, &[UDP, six]);
        assert_eq!(bench.ask(&allocate), Answer::Success);
        let peer = addr(peer);
        assert_eq!(
            &bench.ask(&bench.client.permit(&[peer])),
            expected,
            "{peer}"
        );
        assert_eq!(
            &bench.ask(&bench.client.bind(0x4000, peer)),
            expected,
            "{peer}"
        );
        let is_ours = *expected == Answer::Success;
        assert_eq!(bench.reaches(&peer.to_string()), is_ours, "{peer}");
    }
    // A permission is for an address, whatever the port; a channel and a datagram are for a port.
    for other in ["192.0.2.1:0", "192.0.2.1:22", "192.0.2.1:443"] {
        let mut bench = Bench::allocated();
        assert_eq!(
            bench.ask(&bench.client.permit(&[addr(other)])),
            Answer::Success
        );
        assert_eq!(
            bench.ask(&bench.client.bind(0x4000, addr(other))),
            forbidden
        );
        assert!(!bench.reaches(other), "{other}");
    }
}

#[test]
fn unknown_attributes_are_named() {
    let mut bench = Bench::new();
    let attributes = [UDP, (0x7001, &b"x"[..]), (0x9001, b"may be ignored")];
    let message = bench.client.request(method::ALLOCATE, &attributes);
    let out = bench.exchange(&message);
    assert_eq!(value_of(&out, UNKNOWN_ATTRIBUTES), Some(&[0x70, 1][..]));
}

#[test]
fn a_user_has_so_many_allocations_and_no_more() {
    let mut bench = Bench::new();
    let mut sessions = Vec::new();
    for port in 0..=OF_A_USER as u16 {
        let client = SocketAddr::from(([198, 51, 100, 8], 5_000 + port));
        bench.session = Session::new(bench.now, bench.turn.clone(), client);
        bench.learn_nonce();
        let expected = match usize::from(port) < OF_A_USER {
            true => Answer::Success,
            false => Answer::Error(486),
        };
        assert_eq!(bench.ask(&bench.client.allocate()), expected, "{port}");
        let next = Session::new(bench.now, bench.turn.clone(), client);
        sessions.push(std::mem::replace(&mut bench.session, next));
    }
    bench.session = sessions.pop().unwrap();
    sessions.pop();
    assert_eq!(bench.ask(&bench.client.allocate()), Answer::Success);
    assert_eq!(bench.refused("quota"), 1);
}

#[test]
fn one_who_has_left_is_nobody() {
    let mut bench = Bench::allocated();
    let presence = bench.session.presence().expect("allocated");
    assert!(presence.has_changed().is_ok());
    bench.ana = bench.users.admit("pa_other");
    assert!(presence.has_changed().is_err(), "the connection is told");
    assert_eq!(bench.ask(&bench.client.refresh(600)), Answer::Error(401));
}

#[test]
fn the_family_is_one_of_the_peers() {
    for (peers, asked, expected) in [
        (&[PEER, PEER_V6][..], None, Some(true)),
        (&[PEER, PEER_V6], Some(1), Some(true)),
        (&[PEER, PEER_V6], Some(2), Some(false)),
        (&[PEER], None, Some(true)),
        (&[PEER_V6], None, Some(false)),
        (&[PEER_V6], Some(1), None),
    ] {
        let mut bench = Bench::with_peers(peers);
        let family = [asked.unwrap_or(0), 0, 0, 0];
        let mut attributes = vec![UDP];
        attributes.extend(asked.map(|_| (REQUESTED_ADDRESS_FAMILY, &family[..])));
        let message = bench.client.request(method::ALLOCATE, &attributes);
        bench.ask(&message);
        let is_v4 = bench.session.relayed().map(|it| it.is_ipv4());
        assert_eq!(is_v4, expected, "{peers:?} {asked:?}");
    }
}

#[test]
fn datagrams_go_to_permitted_peers_alone_and_not_for_ever() {
    let mut bench = Bench::allocated();
    assert!(!bench.reaches(PEER), "not permitted yet");
    let permit = bench.client.permit(&[addr("192.0.2.1:1")]);
    assert_eq!(bench.ask(&permit), Answer::Success);
    assert!(bench.reaches(PEER) && bench.reaches(OTHER_PORT));
    assert!(bench.reaches("[::ffff:192.0.2.1]:10000"));
    assert!(!bench.reaches("192.0.2.1:10002"));
    assert!(!bench.reaches("192.0.2.2:10000"));
    assert!(!bench.reaches(PEER_V6));
    assert_eq!(bench.refused("peer"), 3);
    bench.pass(PERMITTED_FOR - Duration::from_secs(1));
    assert!(bench.reaches(PEER));
    bench.pass(Duration::from_secs(1));
    assert!(!bench.reaches(PEER), "the permission has ended");
    assert_eq!(bench.ask(&permit), Answer::Success);
    assert!(bench.reaches(PEER));
}

#[test]
fn a_channel_is_of_one_peer_and_of_its_time() {
    let mut bench = Bench::allocated();
    let peer = addr(PEER);
    let data = |bench: &mut Bench| match bench.step(Frame::Channel(0x4001, b"datagram")) {
        Step::Done => None,
        Step::Datagram { peer, .. } => Some(peer),
    };
    assert_eq!(data(&mut bench), None);
    let bind = bench.client.bind(0x4001, peer);
    assert_eq!(bench.ask(&bind), Answer::Success);
    assert_eq!(data(&mut bench), Some(peer));
    for (channel, other) in [(0x4001, OTHER_PORT), (0x4002, PEER)] {
        let taken = bench.client.bind(channel, addr(other));
        assert_eq!(bench.ask(&taken), Answer::Error(400), "{channel:#x}");
    }
    bench.pass(PERMITTED_FOR);
    assert_eq!(data(&mut bench), None, "the permission has ended");
    assert_eq!(bench.ask(&bind), Answer::Success, "bound for longer");
    assert_eq!(data(&mut bench), Some(peer));
    bench.ask(&bench.client.refresh(3_600));
    bench.pass(BOUND_FOR);
    let other = bench.client.bind(0x4001, addr(OTHER_PORT));
    assert_eq!(bench.ask(&other), Answer::Success, "free again");
    assert_eq!(data(&mut bench), Some(addr(OTHER_PORT)));
}

#[test]
fn datagrams_come_back_by_the_channel_or_as_indications() {
    let mut bench = Bench::allocated();
    let peer = addr(PEER);
    let append = |bench: &Bench| {
        let mut out = Vec::new();
        let appended = bench.session.append(bench.now, peer, &mut out, |out| {
            out.extend(b"hello");
            Some(5)
        });
        assert!(appended);
        out
    };
    assert_eq!(append(&bench), b"", "not permitted");
    bench.ask(&bench.client.permit(&[peer]));
    let out = append(&bench);
    // 36 bytes around it, and padding.
    assert_eq!(out.len(), 36 + 8);
    let message = Message::read(&out).unwrap();
    assert_eq!(
        (message.peer, message.data),
        (Some(peer), Some(&b"hello"[..]))
    );
    bench.ask(&bench.client.bind(0x4fff, peer));
    assert_eq!(append(&bench), b"\x4f\xff\x00\x05hello\0\0\0");
    let none = |_: &mut Vec<u8>| None;
    let mut out = Vec::new();
    assert!(!bench.session.append(bench.now, peer, &mut out, none));
    assert!(out.is_empty());
}

#[test]
fn an_allocation_ends_by_itself_and_the_connection_after_it() {
    let mut bench = Bench::new();
    let began = bench.now;
    assert_eq!(bench.session.expire(began), Ok(()));
    let deadline = bench.session.deadline();
    assert_eq!(bench.session.expire(deadline), Err(Refusal::Stalled));

    for (asked, expected) in [
        (None, LIFETIMES[0]),
        (Some(1), LIFETIMES[0]),
        (Some(1_000), Duration::from_secs(1_000)),
        (Some(u32::MAX), LIFETIMES[1]),
    ] {
        let mut bench = Bench::allocated();
        if let Some(seconds) = asked {
            bench.ask(&bench.client.refresh(seconds));
        }
        assert_eq!(bench.session.deadline() - bench.now, expected, "{asked:?}");
        bench.pass(expected);
        assert_eq!(bench.session.expire(bench.now), Ok(()));
        assert_eq!(bench.session.relayed(), None);
        assert_eq!(
            bench.session.expire(bench.session.deadline()),
            Err(Refusal::Stalled)
        );
    }
}

#[test]
fn permissions_have_a_bound() {
    let peers: Vec<String> = (0..=MOST)
        .map(|host| format!("192.0.2.{host}:10000"))
        .collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    let mut bench = Bench::with_peers(&peers);
    bench.ask(&bench.client.allocate());
    let all: Vec<SocketAddr> = peers.iter().map(|it| addr(it)).collect();
    assert_eq!(bench.ask(&bench.client.permit(&all)), Answer::Error(508));
    assert!(!bench.reaches(peers[0]), "all or nothing");
    assert_eq!(bench.ask(&bench.client.permit(&all[1..])), Answer::Success);
    assert!(bench.reaches(peers[1]));
    let bind = bench.client.bind(0x4000, all[0]);
    assert_eq!(bench.ask(&bind), Answer::Error(508), "one more to permit");
}

#[test]
fn guessing_ends_the_connection() {
    let mut bench = Bench::new();
    let guess = unsigned(method::ALLOCATE, &[UDP]);
    let mut out = Vec::new();
    let ended = (0..100).find_map(|_| {
        let frame = Frame::Message(&guess);
        bench.session.handle(bench.now, frame, &mut out).err()
    });
    assert_eq!(ended, Some(Refusal::TooManyAttempts));
    // With credentials it may go on for as long as it likes.
    let mut bench = Bench::allocated();
    for _ in 0..100 {
        assert_eq!(bench.ask(&bench.client.refresh(600)), Answer::Success);
    }
}

#[test]
fn a_binding_request_is_answered_to_anybody() {
    let mut bench = Bench::new();
    let out = bench.exchange(&unsigned(method::BINDING, &[]));
    assert_eq!(answer(&out), Answer::Success);
    assert!(value_of(&out, XOR_MAPPED_ADDRESS).is_some());
    assert_eq!(bench.session.relayed(), None);
}

/// Something that a client may do.
#[derive(Clone, Debug)]
enum Act {
    Allocate,
    Refresh(u32),
    Permit(Vec<usize>),
    Bind(u16, usize),
    Send(usize),
    Channel(u16),
    Wait(u64),
    Bytes(Vec<u8>),
}

const ADDRESSES: [&str; 6] = [
    PEER,
    OTHER_PORT,
    PEER_V6,
    "[::ffff:192.0.2.1]:10000",
    "127.0.0.1:10000",
    "192.0.2.1:22",
];

fn act() -> impl Strategy<Value = Act> {
    let peer = || 0..ADDRESSES.len();
    prop_oneof![
        Just(Act::Allocate),
        prop_oneof![Just(0), any::<u32>()].prop_map(Act::Refresh),
        prop::collection::vec(peer(), 0..4).prop_map(Act::Permit),
        (0x3fffu16..0x4004, peer()).prop_map(|(channel, peer)| Act::Bind(channel, peer)),
        peer().prop_map(Act::Send),
        (0x4000u16..0x4004).prop_map(Act::Channel),
        (0u64..700).prop_map(Act::Wait),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Act::Bytes),
    ]
}

proptest! {
    #[test]
    fn what_the_fuzz_target_asserts_holds(
        steps in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let mut bytes = Vec::new();
        for (kind, text) in &steps {
            bytes.extend([*kind, 0, text.len() as u8]);
            bytes.extend(text);
        }
        super::fuzz::connection(&bytes);
    }

    /// Whatever a client does, datagrams go to the peers of the list alone, and only while there is an allocation.
    #[test]
    fn nobody_is_reached_but_the_peers(acts in prop::collection::vec(act(), 0..60)) {
        let mut bench = Bench::with_peers(&[PEER, OTHER_PORT, PEER_V6]);
        for act in acts {
            let client = bench.client.clone();
            let message = match &act {
                Act::Allocate => client.allocate(),
                Act::Refresh(lifetime) => client.refresh(*lifetime),
                Act::Permit(peers) => {
                    client.permit(&peers.iter().map(|at| addr(ADDRESSES[*at])).collect::<Vec<_>>())
                }
                Act::Bind(channel, at) => client.bind(*channel, addr(ADDRESSES[*at])),
                Act::Send(at) => send(addr(ADDRESSES[*at]), b"datagram"),
                Act::Channel(_) => Vec::new(),
                Act::Wait(seconds) => {
                    bench.pass(Duration::from_secs(*seconds));
                    bench.learn_nonce();
                    continue;
                }
                Act::Bytes(bytes) => bytes.clone(),
            };
            let frame = match act {
                Act::Channel(channel) => Frame::Channel(channel, b"datagram"),
                _ => Frame::Message(&message),
            };
            let mut out = Vec::new();
            let step = bench.session.handle(bench.now, frame, &mut out);
            if let Ok(Step::Datagram { peer, .. }) = step {
                prop_assert!([PEER, OTHER_PORT, PEER_V6].map(addr).contains(&peer), "{peer}");
                let relayed = bench.session.relayed();
                prop_assert!(relayed.is_some_and(|it| it.is_ipv4() == peer.is_ipv4()));
            }
            let allocations = usize::from(bench.session.relayed().is_some());
            let counts = serde_json::to_value(bench.turn.counts()).unwrap();
            prop_assert_eq!(&counts["allocations"], allocations);
        }
    }
}
