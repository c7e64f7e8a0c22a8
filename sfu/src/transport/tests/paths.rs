//! Tests of the addresses that media may go to: proved ones, of clients that are heard.

use super::*;

/// Every ICE agent answers checks; should one not, its handshake is proof of where it is.
#[test]
fn a_client_that_answers_no_checks_connects_and_stays() {
    let mut world = World::new();
    world.answers = false;
    world.check(HOME, true);
    let home = Path::from(HOME);
    assert_eq!(world.transport.media_path(), None);
    world.exchange(HOME);
    assert!(world.transport.is_connected() && world.client.connected);
    assert_eq!(world.transport.media_path(), Some(home));
    let mut srtp = world.client.srtp();
    for _ in 0..30 {
        world.run(HOME, 4);
        let mut sealed = srtp.sending.encrypt_rtcp(&rtcp(1)).unwrap();
        world.transport.open_rtcp(&mut sealed).unwrap();
        world.transport.spoken(world.now, home);
        assert_eq!(world.transport.media_path(), Some(home));
    }
    // The client cannot be followed: it is not known to be there.
    world.run(AWAY, 8);
    assert_ne!(world.transport.media_path(), Some(Path::from(AWAY)));
}

/// The address of its handshake may be another's by now.
#[test]
fn one_that_answers_no_checks_and_speaks_from_elsewhere_is_sent_nothing_where_it_was() {
    let mut world = World::new();
    world.answers = false;
    world.check(HOME, true);
    world.exchange(HOME);
    let (home, away) = (Path::from(HOME), Path::from(AWAY));
    assert_eq!(world.transport.media_path(), Some(home));
    let mut srtp = world.client.srtp();
    for _ in 0..12 {
        world.run(AWAY, 4);
        let mut sealed = srtp.sending.encrypt_rtcp(&rtcp(1)).unwrap();
        world.transport.open_rtcp(&mut sealed).unwrap();
        world.transport.spoken(world.now, away);
    }
    assert_eq!(world.transport.media_path(), None);
    assert!(world.transport.hold().is_some());
}

/// A handshake whose flights went elsewhere proves nothing of where it ends.
#[test]
fn a_handshake_that_moves_proves_no_address() {
    let mut world = World::new();
    world.answers = false;
    world.check(HOME, true);
    let hello = world.client.poll_transmit().unwrap();
    let (home, away) = (Path::from(HOME), Path::from(AWAY));
    world
        .transport
        .handle_dtls(world.now, home, &mut hello.clone());
    world.answer_checks();
    // The client checks so often that a whole flight may follow.
    for _ in 0..4 {
        world.check(AWAY, true);
    }
    world.exchange(AWAY);
    assert!(world.transport.is_connected());
    assert_eq!(world.transport.path(), Some(away));
    assert_eq!(world.transport.media_path(), None);
    assert_eq!(world.transport.hold(), Some(Hold::Unproven));
    assert!(matches!(
        world.events[..],
        [
            TransportEvent::PathChanged { .. },
            TransportEvent::Connected,
            TransportEvent::MediaHeld(Some(Hold::Unproven))
        ]
    ));
}

#[test]
fn nominations_of_a_strangers_address_send_it_little() {
    let mut world = World::connected();
    world.answers = false;
    let (home, away) = (Path::from(HOME), Path::from(AWAY));
    let (mut came, start) = (0, world.now);
    while world.now < start + Duration::from_secs(25) {
        let check = Check::new(&world.server_ice, &world.client_ice).bytes();
        came += check.len();
        world.transport.handle_stun(world.now, away, &check);
        world.answer_checks();
        assert_ne!(world.transport.media_path(), Some(away));
        assert_eq!(world.transport.path(), Some(home));
        world.now += Duration::from_millis(500);
        world.transport.handle_timeout(world.now);
    }
    let sent = world.sent[&away];
    assert!(sent <= 3 * came, "{sent} bytes for {came}");
    // Only checks came from it for 10 s.
    assert_eq!(world.transport.hold(), Some(Hold::Silent));
}

#[test]
fn a_flight_to_an_address_without_proof_waits_for_it() {
    let mut world = World::new();
    world.answers = false;
    world.check(HOME, true);
    let home = Path::from(HOME);
    // The hello allows fewer bytes to be sent back.
    while world.transport.ice.admits(world.now, home, 40) {}
    let mut hello = world.client.poll_transmit().unwrap();
    world.transport.handle_dtls(world.now, home, &mut hello);
    let before = world.sent.get(&home).copied().unwrap_or(0);
    world.answer_checks();
    let flight = world.sent.get(&home).copied().unwrap_or(0) - before;
    assert!(flight <= 3 * hello.len(), "{flight}");
    world.answers = true;
    world.now += Duration::from_millis(250);
    world.transport.handle_timeout(world.now);
    world.answer_checks();
    world.check(HOME, true);
    world.exchange(HOME);
    assert!(world.transport.is_connected() && world.client.connected);
}

#[test]
fn who_falls_silent_is_sent_nothing_until_it_speaks() {
    let mut world = World::connected();
    let home = Path::from(HOME);
    world.run(HOME, 60);
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(world.transport.media_path(), Some(home));

    world.answers = false;
    world.run(HOME, 17);
    assert_eq!(world.transport.hold(), Some(Hold::Silent));
    assert_eq!(world.transport.media_path(), None);
    // Its own checks do not show that it receives; RTCP does.
    let mut srtp = world.client.srtp();
    let mut sealed = srtp.sending.encrypt_rtcp(&rtcp(1)).unwrap();
    world.transport.open_rtcp(&mut sealed).unwrap();
    world.run(HOME, 1);
    assert_eq!(world.transport.media_path(), Some(home));
    // A client that has answered once must go on answering.
    for sequence in 0..20 {
        let mut sealed = srtp.sending.encrypt_rtp(&rtp(1, sequence, 9)).unwrap();
        world.transport.open_rtp(&mut sealed).unwrap();
        world.run(HOME, 1);
    }
    assert_eq!(world.transport.hold(), Some(Hold::NoConsent));
    world.answers = true;
    world.run(HOME, 7);
    assert_eq!(world.transport.media_path(), Some(home));
    let told: Vec<_> = world
        .events
        .iter()
        .map(|event| match event {
            TransportEvent::MediaHeld(hold) => *hold,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [Some(Hold::Silent), None, Some(Hold::NoConsent), None]
    );
}
