use super::dtls::testing::{Client, GCM, SHA1};
use super::ice::testing::{Check, answer, mapped_address, read_answer};
use super::srtp::testing::{RTP_HEADER, rtcp, rtp};
use super::*;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A browser and the server's transport for it, on a clock of their own.
struct World {
    start: Instant,
    now: Instant,
    client: Client,
    client_ice: IceCredentials,
    server_ice: IceCredentials,
    transport: Transport,
    events: Vec<TransportEvent>,
    /// The client answers checks, as every ICE agent does.
    answers: bool,
    /// Bytes sent to it, by address.
    sent: BTreeMap<Path, usize>,
    /// The address that its last handshake datagrams came from.
    from: Option<Path>,
}

const HOME: ([u8; 4], u16) = ([198, 51, 100, 1], 1_000);
const AWAY: ([u8; 4], u16) = ([203, 0, 113, 1], 2_000);

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.into(),
        pwd: format!("{ufrag}-password-of-some-length"),
    }
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Certificate::generate(Backend::default()).unwrap())
        .clone()
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut TransportConfig)) -> Self {
        let now = Instant::now();
        let client = Client::connect(now, &[SHA1, GCM]);
        let (client_ice, server_ice) = (credentials("clnt"), credentials("serverfragment16"));
        let mut config = TransportConfig {
            ice: server_ice.clone(),
            remote_ice: client_ice.clone(),
            remote_fingerprint: client.fingerprint(),
            certificate: certificate(),
            connect_timeout: Duration::from_secs(20),
            max_data_message: 16 * 1024,
            caches: CacheShare::default(),
            stun_tag: 7,
            seed: [1; 32],
        };
        change(&mut config);
        Self {
            start: now,
            now,
            client,
            client_ice,
            server_ice,
            transport: Transport::new(now, config),
            events: Vec::new(),
            answers: true,
            sent: BTreeMap::new(),
            from: None,
        }
    }

    fn connected() -> Self {
        let mut world = Self::new();
        assert_eq!(world.check(HOME, true), StunOutcome::Bound);
        world.exchange(HOME);
        assert!(world.transport.is_connected() && world.client.connected);
        assert!(matches!(world.events[..], [TransportEvent::Connected]));
        assert_eq!(world.transport.media_path(), Some(Path::from(HOME)));
        world.events.clear();
        world
    }

    fn check(&mut self, from: ([u8; 4], u16), nominate: bool) -> StunOutcome {
        let mut check = Check::new(&self.server_ice, &self.client_ice);
        check.nominate = nominate;
        let from = Path::from(from);
        let outcome = self.transport.handle_stun(self.now, from, &check.bytes());
        if !matches!(outcome, StunOutcome::Rejected(_)) {
            let (to, answer) = self.transport.poll_transmit().unwrap();
            assert_eq!(to, from);
            assert_eq!(
                mapped_address(&read_answer(&answer, &self.server_ice)),
                from.mapped_addr()
            );
            self.answer_checks();
        }
        outcome
    }

    fn exchange(&mut self, from: ([u8; 4], u16)) {
        let from = Path::from(from);
        self.from = Some(from);
        loop {
            let mut quiet = true;
            while let Some(mut datagram) = self.client.poll_transmit() {
                self.transport.handle_dtls(self.now, from, &mut datagram);
                quiet = false;
            }
            while let Some((to, datagram)) = self.transport.poll_transmit() {
                self.deliver(to, &datagram);
                quiet = false;
            }
            if quiet {
                break;
            }
        }
        self.events
            .extend(std::iter::from_fn(|| next_told(&mut self.transport)));
    }

    /// Delivers a datagram to an address of the client, or of nobody.
    fn deliver(&mut self, to: Path, datagram: &[u8]) {
        *self.sent.entry(to).or_default() += datagram.len();
        if datagram[0] > 3 {
            // A handshake is answered where it comes from, also if another association is in use elsewhere.
            assert!(Some(to) == self.transport.path() || Some(to) == self.from);
            self.client.handle(self.now, datagram);
        } else if self.answers {
            let answer = answer(datagram, to.mapped_addr(), &self.client_ice);
            self.transport.handle_stun(self.now, to, &answer);
        }
    }

    /// The client answers what checks it was sent, wherever.
    fn answer_checks(&mut self) {
        while let Some((to, datagram)) = self.transport.poll_transmit() {
            self.deliver(to, &datagram);
        }
    }

    /// Runs due work until an event comes; returns the time since the start.
    fn next_event(&mut self) -> (Duration, Option<TransportEvent>) {
        // Time may have been skipped before.
        self.transport.handle_timeout(self.now);
        while let Some(due) = self.transport.poll_timeout() {
            assert!(due > self.now);
            self.now = due;
            self.transport.handle_timeout(due);
            if let Some(event) = next_told(&mut self.transport) {
                return (self.now - self.start, Some(event));
            }
        }
        (self.now - self.start, None)
    }

    /// Runs due work until it fails; returns the time since the start, and the reason.
    fn failure(&mut self) -> (Duration, PeerFailure) {
        loop {
            match self.next_event() {
                (when, Some(TransportEvent::Failed(reason))) => return (when, reason),
                (_, Some(TransportEvent::MediaHeld(_))) => {}
                (when, other) => panic!("after {when:?}: {other:?}"),
            }
        }
    }

    /// Runs due work for so long, while the client checks, and answers or not.
    fn run(&mut self, from: ([u8; 4], u16), seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        let mut check_at = self.now;
        while self.now < end {
            if self.now >= check_at {
                self.check(from, true);
                check_at = self.now + Duration::from_millis(2_500);
            }
            self.transport.handle_timeout(self.now);
            self.answer_checks();
            self.events
                .extend(std::iter::from_fn(|| next_told(&mut self.transport)));
            let due = self.transport.poll_timeout().unwrap_or(end);
            self.now = due.clamp(self.now + Duration::from_millis(1), check_at.min(end));
        }
    }
}

/// The next event that is no news of addresses.
fn next_told(transport: &mut Transport) -> Option<TransportEvent> {
    let mut events = std::iter::from_fn(|| transport.poll_event());
    events.find(|event| {
        !matches!(
            event,
            TransportEvent::PathProven(_) | TransportEvent::PathsUnproven(_)
        )
    })
}

#[test]
fn media_flows_both_ways_after_stun_and_dtls() {
    let mut world = World::connected();
    assert!(!world.transport.is_handshake(&[23]));
    assert_eq!(world.transport.srtp_profile(), Some("AEAD_AES_128_GCM"));
    let mut srtp = world.client.srtp();

    let plain = rtp(1, 7, 900);
    let mut sealed = srtp.sending.encrypt_rtp(&plain).unwrap();
    let len = world.transport.open_rtp(&mut sealed).unwrap();
    assert_eq!(sealed[..len], plain);

    let mut buf = plain.clone();
    buf.resize(plain.len() + 16, 0);
    let len = world.transport.seal_rtp(&mut buf, RTP_HEADER, plain.len());
    assert_eq!(srtp.receiving.decrypt_rtp(&buf[..len]).unwrap(), plain);

    let plain = rtcp(1);
    let mut sealed = srtp.sending.encrypt_rtcp(&plain).unwrap();
    let len = world.transport.open_rtcp(&mut sealed).unwrap();
    assert_eq!(sealed[..len], plain);

    let mut out = [0; 64];
    let len = world.transport.seal_rtcp(&plain, &mut out);
    assert_eq!(srtp.receiving.decrypt_rtcp(&out[..len]).unwrap(), plain);
}

#[test]
fn media_before_the_handshake_is_not_ready() {
    let mut world = World::new();
    world.check(HOME, true);
    assert!(world.transport.is_handshake(&[23]));
    let plain = rtp(1, 7, 900);
    assert_eq!(
        world.transport.open_rtp(&mut plain.clone()),
        Err(DropReason::SrtpNotReady)
    );
    assert_eq!(
        world.transport.open_rtcp(&mut rtcp(1)),
        Err(DropReason::SrtpNotReady)
    );
    let (mut buf, len) = ([plain, vec![0; 16]].concat(), 920);
    assert_eq!(world.transport.seal_rtp(&mut buf, RTP_HEADER, len), 0);
    assert_eq!(world.transport.seal_rtcp(&rtcp(1), &mut [0; 64]), 0);
    assert_eq!(world.transport.srtp_profile(), None);
}

#[test]
fn dtls_from_an_unverified_address_is_ignored() {
    let mut world = World::new();
    let hello = world.client.poll_transmit().unwrap();
    let try_from = |world: &mut World, from: ([u8; 4], u16)| {
        let from = Path::from(from);
        let mut datagram = hello.clone();
        world.transport.handle_dtls(world.now, from, &mut datagram);
        world.transport.poll_transmit()
    };
    assert!(try_from(&mut world, HOME).is_none());
    world.check(HOME, true);
    assert!(try_from(&mut world, AWAY).is_none());
    assert!(try_from(&mut world, HOME).is_some());
}

#[test]
fn another_certificate_fails_the_peer() {
    let mut world = World::with(|config| {
        config.remote_fingerprint = Fingerprint::sha256(b"another");
    });
    world.check(HOME, true);
    world.exchange(HOME);
    assert!(matches!(
        world.events[..],
        [TransportEvent::Failed(PeerFailure::FingerprintMismatch)]
    ));
    assert!(!world.transport.is_connected());
    assert_eq!(world.transport.poll_timeout(), None);
    assert_eq!(
        world.check(HOME, true),
        StunOutcome::Rejected(DropReason::TransportEnded)
    );
}

#[test]
fn forged_checks_leave_a_connected_peer_where_it_is() {
    let mut world = World::connected();
    let due = world.transport.poll_timeout();
    world.now += Duration::from_secs(3);
    let good = Check::new(&world.server_ice, &world.client_ice);
    let unsigned = Check {
        password: None,
        ..good.clone()
    };
    let role_flip = Check {
        controlled: true,
        ..unsigned.clone()
    };
    let guessed = Check {
        password: Some("guess".into()),
        ..good
    };
    for forged in [unsigned, role_flip, guessed] {
        let outcome = world
            .transport
            .handle_stun(world.now, Path::from(AWAY), &forged.bytes());
        assert!(matches!(outcome, StunOutcome::Rejected(_)));
        assert!(world.transport.poll_transmit().is_none());
        assert!(world.transport.poll_event().is_none());
    }
    assert_eq!(world.transport.path(), Some(Path::from(HOME)));
    assert_eq!(world.transport.poll_timeout(), due);
}

#[test]
fn a_client_that_moves_is_followed() {
    let mut world = World::connected();
    world.now += Duration::from_secs(1);
    assert_eq!(world.check(AWAY, true), StunOutcome::Bound);
    assert_eq!(world.transport.path(), Some(Path::from(AWAY)));
    let (home, away) = (Path::from(HOME), Path::from(AWAY));
    assert!(matches!(
        next_told(&mut world.transport),
        Some(TransportEvent::PathChanged { from, to }) if from == home && to == away
    ));
    // The DTLS session continues at the new address.
    let mut srtp = world.client.srtp();
    let plain = rtp(1, 7, 900);
    let mut sealed = srtp.sending.encrypt_rtp(&plain).unwrap();
    assert_eq!(world.transport.open_rtp(&mut sealed), Ok(plain.len()));
    world.transport.close(world.now);
    let (to, datagram) = world.transport.poll_transmit().unwrap();
    assert_eq!(to, away);
    world.client.handle(world.now, &datagram);
    assert!(world.client.closed);
}

#[test]
fn an_address_that_makes_way_is_told() {
    let mut world = World::new();
    for last in 0..16 {
        world.now += Duration::from_millis(1);
        world.check(([10, 0, 0, last], 1), false);
    }
    assert!(next_told(&mut world.transport).is_none());
    world.now += Duration::from_millis(1);
    world.check(AWAY, false);
    let forgotten = Path::from(([10, 0, 0, 1], 1));
    assert!(matches!(
        next_told(&mut world.transport),
        Some(TransportEvent::PathForgotten(address)) if address == forgotten
    ));
}

#[test]
fn consent_ends_thirty_seconds_after_the_last_check() {
    let mut world = World::connected();
    world.now += Duration::from_secs(17);
    assert_eq!(world.check(HOME, true), StunOutcome::Refreshed);
    let (when, reason) = world.failure();
    assert_eq!(reason, PeerFailure::ConsentExpired);
    assert_eq!(when, Duration::from_secs(47));
    assert_eq!(world.transport.poll_timeout(), None);
    // Without consent nothing is sent, close_notify included.
    assert!(world.transport.poll_transmit().is_none());
    assert_eq!(
        world.transport.open_rtp(&mut rtp(1, 1, 9)),
        Err(DropReason::SrtpNotReady)
    );
}

#[test]
fn a_client_that_never_comes_or_never_finishes_times_out() {
    let (when, event) = World::new().next_event();
    assert_eq!(when, Duration::from_secs(20));
    assert!(matches!(
        event,
        Some(TransportEvent::Failed(PeerFailure::NeverConnected))
    ));

    let mut world = World::new();
    world.check(HOME, true);
    let (when, event) = world.next_event();
    assert_eq!(when, Duration::from_secs(20));
    assert!(matches!(
        event,
        Some(TransportEvent::Failed(PeerFailure::DtlsFailed))
    ));
}

#[test]
fn closing_goes_both_ways() {
    let mut world = World::connected();
    let closed = world.start;
    world.client.close(world.now);
    world.exchange(HOME);
    // The client may be about to replace its transport.
    assert!(world.events.is_empty() && !world.transport.is_connected());
    let (when, event) = world.next_event();
    assert!(matches!(
        event,
        Some(TransportEvent::Failed(PeerFailure::ClosedByClient))
    ));
    assert_eq!(closed + when, closed + Duration::from_secs(3));

    let mut world = World::connected();
    world.transport.close(world.now);
    world.exchange(HOME);
    assert!(world.client.closed && world.events.is_empty());
    assert!(!world.transport.is_connected());
    assert_eq!(world.transport.poll_timeout(), None);
}

/// RFC 9143 section 7.5.3: both browsers do so when the m-line that names the BUNDLE group is stopped.
#[test]
fn a_client_replaces_its_transport() {
    let mut world = World::connected();
    let (old, fingerprint) = (world.client.srtp(), world.client.fingerprint());
    let again = world.client.connect_again(world.now);
    world.client.close(world.now);
    world.exchange(HOME);
    assert!(!world.transport.is_connected());
    assert_eq!(world.transport.path(), None);
    world.now += Duration::from_secs(2);
    world.transport.reoffered(world.now, fingerprint);

    world.now += Duration::from_secs(10);
    assert_eq!(world.check(AWAY, false), StunOutcome::Bound);
    assert_eq!(world.transport.path(), Some(Path::from(AWAY)));
    world.client = again;
    world.exchange(AWAY);
    assert!(world.transport.is_connected() && world.client.connected);
    assert!(matches!(world.events[..], [TransportEvent::Replaced]));

    let mut srtp = world.client.srtp();
    let plain = rtp(1, 7, 900);
    let mut sealed = srtp.sending.encrypt_rtp(&plain).unwrap();
    assert_eq!(world.transport.open_rtp(&mut sealed), Ok(plain.len()));
    let mut buf = [plain.clone(), vec![0; 16]].concat();
    let len = world.transport.seal_rtp(&mut buf, RTP_HEADER, plain.len());
    assert_eq!(srtp.receiving.decrypt_rtp(&buf[..len]).unwrap(), plain);
    let mut stale = old;
    let mut sealed = stale.sending.encrypt_rtp(&rtp(2, 8, 90)).unwrap();
    assert_eq!(
        world.transport.open_rtp(&mut sealed),
        Err(DropReason::SrtpAuthFailed)
    );
    // The transport goes on unchanged: it ends when consent does.
    world.events.clear();
    world.now += Duration::from_secs(1);
    world.check(AWAY, true);
    let (_, reason) = world.failure();
    assert_eq!(reason, PeerFailure::ConsentExpired);
}

/// The close_notify of the old transport got lost: its keys serve until the new one has some.
#[test]
fn a_client_replaces_its_transport_without_a_word() {
    let mut world = World::connected();
    let mut old = world.client.srtp();
    let again = world.client.connect_again(world.now);
    world.check(AWAY, true);
    let mut sealed = old.sending.encrypt_rtp(&rtp(1, 7, 90)).unwrap();
    assert!(world.transport.open_rtp(&mut sealed).is_ok());
    world.client = again;
    world.exchange(AWAY);
    let replaced = |event: &TransportEvent| matches!(event, TransportEvent::Replaced);
    assert_eq!(
        world.events.iter().filter(|event| replaced(event)).count(),
        1
    );
}

#[test]
fn a_client_that_begins_again_and_does_not_finish_fails() {
    let mut world = World::connected();
    let mut again = world.client.connect_again(world.now);
    world.client.close(world.now);
    world.exchange(HOME);
    world.now += Duration::from_secs(1);
    world.check(AWAY, true);
    let mut hello = again.poll_transmit().unwrap();
    world
        .transport
        .handle_dtls(world.now, Path::from(AWAY), &mut hello);
    let event = loop {
        while world.transport.poll_transmit().is_some() {}
        let due = world.transport.poll_timeout().unwrap();
        world.now = due;
        world.transport.handle_timeout(due);
        if let Some(event) = next_told(&mut world.transport) {
            break event;
        }
    };
    assert!(matches!(
        event,
        TransportEvent::Failed(PeerFailure::DtlsFailed)
    ));
    assert!(world.now - world.start < Duration::from_secs(21));
    assert_eq!(world.transport.poll_timeout(), None);
}

/// aiortc keeps its transport when all of its m-lines are stopped.
#[test]
fn a_transport_that_rested_goes_on_where_the_client_kept_it() {
    let mut world = World::connected();
    let mut srtp = world.client.srtp();
    world.transport.rest();
    assert!(world.transport.is_resting());
    for _ in 0..100 {
        // Nothing is due, however long that lasts. Checks are still answered, or the client would give up.
        assert_eq!(world.transport.poll_timeout(), None);
        world.now += Duration::from_secs(5);
        world.transport.handle_timeout(world.now);
        assert_eq!(world.check(HOME, true), StunOutcome::Refreshed);
        assert!(next_told(&mut world.transport).is_none());
    }
    let woken = world.now - world.start;
    let fingerprint = world.client.fingerprint();
    world.transport.wake(world.now);
    world.transport.reoffered(world.now, fingerprint);
    assert!(world.transport.is_connected() && !world.transport.is_resting());
    assert_eq!(world.transport.path(), Some(Path::from(HOME)));
    let plain = rtp(1, 7, 900);
    let mut sealed = srtp.sending.encrypt_rtp(&plain).unwrap();
    assert_eq!(world.transport.open_rtp(&mut sealed), Ok(plain.len()));
    let mut buf = [plain.clone(), vec![0; 16]].concat();
    let len = world.transport.seal_rtp(&mut buf, RTP_HEADER, plain.len());
    assert_eq!(srtp.receiving.decrypt_rtp(&buf[..len]).unwrap(), plain);
    let (when, reason) = world.failure();
    assert_eq!(reason, PeerFailure::ConsentExpired);
    assert_eq!(when, woken + CONSENT);
}

/// Browsers drop their end when all m-lines are stopped, with a word or without.
#[test]
fn a_transport_that_rested_makes_way_where_the_client_dropped_it() {
    for (what, says) in [("a close_notify", true), ("no word", false)] {
        let mut world = World::connected();
        let again = world.client.connect_again(world.now);
        world.transport.rest();
        if says {
            world.client.close(world.now);
            world.exchange(HOME);
        }
        world.now += Duration::from_secs(600);
        world.transport.handle_timeout(world.now);
        assert!(
            world.events.is_empty() && world.transport.is_resting(),
            "{what}"
        );
        let fingerprint = world.client.fingerprint();
        world.transport.wake(world.now);
        world.transport.reoffered(world.now, fingerprint);
        // The client is not known to be at its old address any more.
        assert_eq!(world.transport.path(), None, "{what}");
        world.now += Duration::from_secs(5);
        world.transport.handle_timeout(world.now);
        assert_eq!(world.check(AWAY, true), StunOutcome::Bound, "{what}");
        world.client = again;
        world.exchange(AWAY);
        assert!(
            world.transport.is_connected() && world.client.connected,
            "{what}"
        );
        let held = |event: &TransportEvent| matches!(event, TransportEvent::MediaHeld(_));
        world.events.retain(|event| !held(event));
        assert!(
            matches!(world.events[..], [TransportEvent::Replaced]),
            "{what}"
        );
    }
}

#[test]
fn a_transport_that_rested_and_is_not_used_again_fails() {
    for (closes, seconds, expected) in [
        (false, 600 + 30, PeerFailure::ConsentExpired),
        (true, 600 + 20, PeerFailure::ClosedByClient),
    ] {
        let mut world = World::connected();
        world.transport.rest();
        if closes {
            world.client.close(world.now);
            world.exchange(HOME);
        }
        world.now += Duration::from_secs(600);
        world.transport.wake(world.now);
        let (when, reason) = world.failure();
        assert_eq!(reason, expected);
        assert_eq!(when, Duration::from_secs(seconds));
    }
}

#[test]
fn a_transport_that_was_never_up_rests_whatever_comes() {
    let mut world = World::new();
    world.check(HOME, true);
    world.transport.rest();
    assert_eq!(world.transport.poll_timeout(), None);
    let mut hello = world.client.poll_transmit().unwrap();
    let home = Path::from(HOME);
    world.transport.handle_dtls(world.now, home, &mut hello);
    assert!(world.transport.poll_transmit().is_none());
    assert!(!world.transport.is_connected() && !world.transport.was_connected());
}

#[test]
fn an_ice_restart_keeps_the_session() {
    let mut world = World::connected();
    let old = Check::new(&world.server_ice, &world.client_ice).bytes();
    (world.server_ice, world.client_ice) = (credentials("restartedserver1"), credentials("clnt2"));
    world
        .transport
        .restart_ice(world.server_ice.clone(), world.client_ice.clone());
    let home = Path::from(HOME);
    let outcome = world.transport.handle_stun(world.now, home, &old);
    assert_eq!(outcome, StunOutcome::Refreshed);
    assert!(world.transport.poll_transmit().is_some());
    assert_eq!(world.check(AWAY, true), StunOutcome::Bound);
    let outcome = world.transport.handle_stun(world.now, home, &old);
    assert_eq!(outcome, StunOutcome::Rejected(DropReason::StunBadUsername));
    assert!(world.transport.is_connected());
    assert_eq!(world.transport.path(), Some(Path::from(AWAY)));
    let mut sealed = world
        .client
        .srtp()
        .sending
        .encrypt_rtp(&rtp(1, 7, 9))
        .unwrap();
    assert!(world.transport.open_rtp(&mut sealed).is_ok());
}

#[test]
fn answers_nobody_polls_do_not_pile_up() {
    let mut world = World::new();
    let check = Check::new(&world.server_ice, &world.client_ice).bytes();
    let from = Path::from(HOME);
    for _ in 0..1_000 {
        world.transport.handle_stun(world.now, from, &check);
    }
    let waiting = std::iter::from_fn(|| world.transport.poll_transmit()).count();
    // The last one may have come with a check of ours.
    assert!((MAX_WAITING..=MAX_WAITING + 1).contains(&waiting));
}

#[test]
fn data_waits_for_a_channel() {
    let mut world = World::connected();
    let sent = world.transport.send_data(
        world.now,
        DataChannel::Reliable,
        DataMessage::bare(b"hello", false),
    );
    assert!(sent.is_err());
}

mod paths;
