//! Two participants on `str0m`, over real sockets, through a relay with real threads.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clients are this test's own"
)]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tertulia_sfu::{
    Cipher, DropReason, Event as SfuEvent, Join, PeerFailure, PeerId, RoomId, Sfu, SfuConfig,
    SfuError,
};

/// Deadline of a wait. Joining and a second of audio take two seconds; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAME: Duration = Duration::from_millis(20);

struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    microphone: Mid,
    peer: PeerId,
    frames: u64,
    heard: Vec<Vec<u8>>,
    /// Its last check that nominates: USE-CANDIDATE has no value (RFC 8445 section 16.1).
    nomination: Vec<u8>,
}

impl Client {
    async fn join(sfu: &Sfu, room: RoomId) -> Self {
        Self::join_with(sfu, room).await.unwrap()
    }

    async fn join_with(sfu: &Sfu, room: RoomId) -> Result<Self, SfuError> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut rtc = Rtc::new(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut api = rtc.sdp_api();
        let microphone = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let join = Join::new(offer.to_sdp_string()).with_auto_subscribe(true);
        let (peer, answer) = sfu.join(room, join).await?;
        assert_eq!((answer.published.len(), answer.slots.len()), (1, 1));
        rtc.sdp_api()
            .accept_answer(pending, SdpAnswer::from_sdp_string(&answer.sdp).unwrap())
            .unwrap();
        Ok(Self {
            rtc,
            socket,
            microphone,
            peer,
            frames: 0,
            heard: Vec::new(),
            nomination: Vec::new(),
        })
    }

    /// Sends a word that nobody else sends.
    fn speak(&mut self, word: u8) {
        let Some(writer) = self.rtc.writer(self.microphone) else {
            return;
        };
        let Some(pt) = writer.payload_params().next().map(|params| params.pt()) else {
            return;
        };
        let time = MediaTime::from(FRAME * self.frames as u32);
        self.frames += 1;
        writer
            .write(pt, Instant::now(), time, vec![0xf8, word, word])
            .unwrap();
    }

    fn drive(&mut self) {
        let mut buf = [0; 2_000];
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => match self.socket.recv_from(&mut buf) {
                    Ok((len, source)) => {
                        let destination = self.socket.local_addr().unwrap();
                        let contents = buf[..len].try_into().unwrap();
                        let receive = Receive {
                            proto: Protocol::Udp,
                            source,
                            destination,
                            contents,
                        };
                        self.rtc
                            .handle_input(Input::Receive(Instant::now(), receive))
                            .unwrap();
                    }
                    Err(_) => break,
                },
                Output::Transmit(transmit) => {
                    let sent = &transmit.contents;
                    if sent.starts_with(&[0, 1]) && sent.windows(4).any(|at| at == [0, 0x25, 0, 0])
                    {
                        self.nomination = sent.to_vec();
                    }
                    self.socket
                        .send_to(&transmit.contents, transmit.destination)
                        .unwrap();
                }
                Output::Event(Event::MediaData(media)) => self.heard.push(media.data.to_vec()),
                Output::Event(_) => {}
            }
        }
        self.rtc
            .handle_input(Input::Timeout(Instant::now()))
            .unwrap();
    }
}

/// A room whose events nobody hears.
async fn create_room(sfu: &Sfu) -> RoomId {
    let (room, _) = sfu.create_room().await.unwrap();
    room
}

#[tokio::test]
async fn two_participants_hear_each_other_over_real_sockets() {
    let sfu = Sfu::start(SfuConfig::loopback()).unwrap();
    let (room, mut events) = sfu.create_room().await.unwrap();
    let mut clients = [
        Client::join(&sfu, room).await,
        Client::join(&sfu, room).await,
    ];
    // The first joined before there was anything to hear; its slot was pointed at the second since.
    let start = Instant::now();
    let mut ticks = tokio::time::interval(FRAME);
    while clients.iter().any(|client| client.heard.len() < 50) {
        assert!(
            start.elapsed() < PATIENCE,
            "heard {:?}",
            clients.map(|client| client.heard.len())
        );
        ticks.tick().await;
        for (word, client) in (1..).zip(&mut clients) {
            client.drive();
            if client.rtc.is_connected() {
                client.speak(word);
                client.drive();
            }
        }
    }
    for (word, client) in [(2, &clients[0]), (1, &clients[1])] {
        assert!(
            client
                .heard
                .iter()
                .all(|frame| *frame == [0xf8, word, word]),
            "each hears the other, unchanged"
        );
    }
    let stats = sfu.peer_stats(clients[0].peer).await.unwrap();
    assert_eq!(stats.srtp_profile, Some("AEAD_AES_256_GCM"));
    assert_eq!(stats.subscriptions[0].mid.is_some(), stats.connected);

    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    let connected = seen
        .iter()
        .filter(|event| matches!(event, SfuEvent::PeerConnected { .. }))
        .count();
    let live = seen
        .iter()
        .filter(|event| matches!(event, SfuEvent::TrackLive { .. }))
        .count();
    assert_eq!((connected, live), (2, 2), "{seen:?}");

    sfu.close_room(room).await.unwrap();
    assert!(
        sfu.stats()
            .await
            .unwrap()
            .workers
            .iter()
            .all(|worker| worker.peers.is_empty())
    );
    sfu.shutdown().await;
    assert!(sfu.create_room().await.is_err(), "a stopped relay says so");
}

/// A participant of another room sends its own checks from another client's address, and from an unused one. Neither is
/// sent its media, and the other client hears every word.
#[tokio::test]
async fn forged_addresses_gain_nothing_over_real_sockets() {
    let sfu = Sfu::start(SfuConfig::loopback()).unwrap();
    let (room, other) = (create_room(&sfu).await, create_room(&sfu).await);
    let mut clients = [
        Client::join(&sfu, room).await,
        Client::join(&sfu, room).await,
        Client::join(&sfu, other).await,
        Client::join(&sfu, other).await,
    ];
    let media = sfu.candidates()[0][0];
    let nobody = UdpSocket::bind("127.0.0.2:0").unwrap();
    nobody.set_nonblocking(true).unwrap();
    let (mut came, mut went, mut forged) = (0, 0, 0);
    let start = Instant::now();
    let mut ticks = tokio::time::interval(FRAME);
    let mut spoken = 0_u8;
    let mut attacks = false;
    loop {
        assert!(start.elapsed() < PATIENCE, "heard {:?}", clients[0].heard);
        ticks.tick().await;
        for client in &mut clients {
            client.drive();
        }
        let connected = clients.iter().all(|client| client.rtc.is_connected());
        if connected && spoken < 200 {
            spoken += 1;
            for client in &mut clients {
                client.speak(spoken);
                client.drive();
            }
            // Once all are heard.
            attacks |= clients.iter().all(|client| !client.heard.is_empty());
        }
        let nomination = clients[2].nomination.clone();
        if attacks && spoken < 200 && !nomination.is_empty() {
            // The check comes from the very socket of the victim, which is the same as forging its address.
            clients[0].socket.send_to(&nomination, media).unwrap();
            nobody.send_to(&nomination, media).unwrap();
            (forged, came) = (forged + 1, came + nomination.len());
        }
        let mut buf = [0; 2_000];
        while let Ok(len) = nobody.recv(&mut buf) {
            went += len;
        }
        let all_said = clients
            .iter()
            .all(|client| client.heard.last().is_some_and(|word| word[1] == 200));
        if all_said {
            break;
        }
    }
    assert!(forged > 50, "{forged} forged checks");
    for client in &clients {
        let words = client.heard.iter().map(|word| word[1]);
        let first = client.heard[0][1];
        assert!(words.eq(first..=200), "a word is missing");
    }
    assert!(went <= 3 * came, "{went} bytes for {came}");
    let worker = &sfu.stats().await.unwrap().workers[0];
    assert_eq!(worker.address_claims_refused, forged);
    assert!(worker.addresses_proven >= 4);
    let stats = sfu.peer_stats(clients[2].peer).await.unwrap();
    assert_eq!(
        stats.remote_addr,
        Some(clients[2].socket.local_addr().unwrap())
    );
    sfu.shutdown().await;
}

/// The one relay asks the other which address it has: that is a STUN server, too.
#[tokio::test]
async fn an_address_that_is_discovered_is_told_to_who_joins_then() {
    let server = Sfu::start(SfuConfig::loopback()).unwrap();
    let mut config = SfuConfig::loopback();
    config.workers = 2;
    // Its own address is not announced, as behind a NAT.
    config.media_ips = vec!["192.0.2.1".parse().unwrap()];
    let sfu = Sfu::start(config).unwrap();
    let ports = sfu.candidates().iter().map(|worker| worker[0].port());
    let own: Vec<_> = ports
        .map(|port| Some(std::net::SocketAddr::from(([127, 0, 0, 1], port))))
        .collect();
    let room = create_room(&sfu).await;
    let told = async || {
        let (_, answer) = sfu.join(room, Join::new(offer())).await.unwrap();
        answer.sdp.matches("typ host").count()
    };
    assert_eq!(told().await, 1);
    for _ in 0..2 {
        let discovered = sfu.discover(server.candidates()[0][0]).await.unwrap();
        assert_eq!(discovered, own);
        assert_eq!(told().await, 2, "once, however often it is asked");
    }
    let stats = server.stats().await.unwrap();
    assert_eq!(stats.workers[0].stun_answers, 4);
    assert_eq!(stats.workers[0].drops.total(), 0);
    sfu.shutdown().await;
    let stopped = sfu.discover(server.candidates()[0][0]).await;
    assert_eq!(stopped, Err(SfuError::Stopped));
    server.shutdown().await;
}

#[tokio::test]
async fn nobody_is_told_an_address_by_a_relay_that_is_not_to() {
    let mut config = SfuConfig::loopback();
    config.stun_answers = false;
    let sfu = Sfu::start(config).unwrap();
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let question = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let to = sfu.candidates()[0][0];
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while sfu.stats().await.unwrap().workers[0].drops.total() == 0 {
        socket.send_to(&question, to).unwrap();
        assert!(std::time::Instant::now() < deadline, "it drops nothing");
    }
    assert_eq!(sfu.stats().await.unwrap().workers[0].stun_answers, 0);
    socket.set_nonblocking(true).unwrap();
    let heard = socket.recv(&mut [0; 100]);
    assert!(heard.is_err(), "{heard:?}");
    sfu.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_is_the_operators_to_fix() {
    let sfu = Sfu::start(SfuConfig::loopback()).unwrap();
    let media_port = sfu.candidates()[0][0].port();
    let mut config = SfuConfig::loopback();
    config.media_port = media_port;
    let error = Sfu::start(config).unwrap_err();
    assert!(error.to_string().contains("--media-port"), "{error}");
    sfu.shutdown().await;
}

#[tokio::test]
async fn two_workers_share_a_room_over_real_sockets() {
    let mut config = SfuConfig::loopback();
    (config.workers, config.room_peers_per_worker) = (2, 1);
    let sfu = Sfu::start(config).unwrap();
    let (room, mut events) = sfu.create_room().await.unwrap();
    let mut clients = [
        Client::join(&sfu, room).await,
        Client::join(&sfu, room).await,
    ];
    let start = Instant::now();
    let mut ticks = tokio::time::interval(FRAME);
    while clients.iter().any(|client| client.heard.len() < 50) {
        assert!(start.elapsed() < PATIENCE, "nobody is heard");
        ticks.tick().await;
        for (word, client) in (1..).zip(&mut clients) {
            client.drive();
            if client.rtc.is_connected() {
                client.speak(word);
                client.drive();
            }
        }
    }
    for (word, client) in [(2, &clients[0]), (1, &clients[1])] {
        let mut heard = client.heard.iter();
        assert!(heard.all(|frame| *frame == [0xf8, word, word]));
    }
    let stats = sfu.stats().await.unwrap();
    for worker in &stats.workers {
        assert_eq!((worker.peer_count, worker.relayed_tracks), (1, 1));
        assert!(worker.relay_packets_out >= 50 && worker.relay_packets_in >= 50);
        assert_eq!(worker.drops.get(DropReason::RelayFull), 0);
    }
    // Either worker may be told: the room is one.
    let of_first = sfu.peer_stats(clients[0].peer).await.unwrap();
    let track = of_first.published[0].track;
    let second = clients[1].peer;
    sfu.unsubscribe(second, track).await.unwrap();
    sfu.subscribe(second, track).await.unwrap();
    sfu.close_peer(clients[0].peer).await.unwrap();
    let ended = async {
        while let Some(event) = events.recv().await {
            if matches!(&event, SfuEvent::SlotsChanged { peer, slots, .. }
                if *peer == second && slots.iter().all(|slot| slot.track.is_none()))
                && matches!(
                    sfu.subscribe(second, track).await,
                    Err(SfuError::NoSuchTrack)
                )
            {
                return;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    assert!(ended.is_ok(), "the track ended on the other worker too");

    sfu.close_room(room).await.unwrap();
    sfu.close_room(room).await.unwrap();
    let stats = sfu.stats().await.unwrap();
    for worker in &stats.workers {
        assert_eq!((worker.peer_count, worker.relayed_tracks), (0, 0));
    }
    sfu.shutdown().await;
}

#[tokio::test]
async fn peers_that_join_at_once_spread_and_the_limit_holds_for_the_whole_room() {
    const PEERS: usize = 12;
    let mut config = SfuConfig::loopback();
    (config.workers, config.room_peers_per_worker) = (3, 2);
    config.limits.peers_per_room = PEERS;
    let sfu = Sfu::start(config).unwrap();
    let room = create_room(&sfu).await;
    let joins: Vec<_> = (0..PEERS)
        .map(|_| {
            let sfu = sfu.clone();
            tokio::spawn(async move { Client::join_with(&sfu, room).await })
        })
        .collect();
    for join in joins {
        join.await.unwrap().unwrap();
    }
    let refused = Client::join_with(&sfu, room).await.err();
    assert!(
        matches!(refused, Some(SfuError::Limit { .. })),
        "{refused:?}"
    );
    let stats = sfu.stats().await.unwrap();
    for worker in &stats.workers {
        assert!(
            (2..=6).contains(&worker.peer_count),
            "{}",
            worker.peer_count
        );
        // Everybody publishes one, and those of others are known everywhere.
        assert_eq!(worker.relayed_tracks, PEERS - worker.peer_count);
    }
    sfu.close_room(room).await.unwrap();
    assert!(sfu.join(room, Join::new("")).await.is_err());
    sfu.shutdown().await;
}

#[tokio::test]
async fn a_client_may_be_told_another_address_and_keeps_it() {
    let sfu = Sfu::start(SfuConfig::loopback()).unwrap();
    let room = create_room(&sfu).await;
    let mut rtc = Rtc::new(Instant::now());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    let join = Join::new(offer.to_sdp_string())
        .with_auto_subscribe(true)
        .with_announce(vec!["192.0.2.9:9999".parse().unwrap()]);
    let candidates = |sdp: &str| {
        let lines = sdp.lines().filter(|line| line.starts_with("a=candidate"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (peer, answer) = sfu.join(room, join).await.unwrap();
    let told = candidates(&answer.sdp);
    assert!(
        told.len() == 1 && told[0].contains(" 192.0.2.9 9999 "),
        "{told:?}"
    );
    let answer = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
    rtc.sdp_api().accept_answer(pending, answer).unwrap();
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    let (offer, _) = api.apply().unwrap();
    let again = sfu.offer(peer, offer.to_sdp_string()).await.unwrap();
    // Each m-line of an answer repeats the candidates.
    let repeated = [told.clone(), told].concat();
    assert_eq!(candidates(&again.sdp), repeated);
    sfu.shutdown().await;
}

#[tokio::test]
async fn rooms_made_at_once_spread_and_are_all_or_as_many_as_may_be() {
    let mut config = SfuConfig::loopback();
    config.workers = 2;
    config.limits.rooms = 10;
    let sfu = Sfu::start(config).unwrap();
    for _ in 0..5 {
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let sfu = sfu.clone();
                tokio::spawn(async move { sfu.create_room().await })
            })
            .collect();
        let mut rooms = Vec::new();
        for task in tasks {
            rooms.extend(task.await.unwrap().map(|(room, _)| room));
        }
        assert_eq!(rooms.len(), 10);
        // An id's highest bits name its worker.
        let first = rooms.iter().filter(|room| room.as_u64() >> 48 == 0).count();
        assert!(
            (3..=7).contains(&first),
            "{first} of ten on one of two workers"
        );
        for room in &rooms {
            // Alone in the room, whichever worker it is on.
            let client = Client::join(&sfu, *room).await;
            sfu.close_peer(client.peer).await.unwrap();
        }
        for room in rooms {
            sfu.close_room(room).await.unwrap();
        }
    }
    sfu.shutdown().await;
}

#[tokio::test]
async fn the_cipher_is_the_one_asked_for_or_one_of_those_built_in() {
    let built_in: &[(Cipher, &str)] = &[
        (Cipher::Ring, "ring"),
        #[cfg(feature = "aws-lc-rs")]
        (Cipher::AwsLcRs, "aws-lc-rs"),
    ];
    let sealed_with = async |cipher| {
        let mut config = SfuConfig::loopback();
        config.cipher = cipher;
        let sfu = Sfu::start(config)?;
        let stats = sfu.totals().await.unwrap();
        sfu.shutdown().await;
        Ok::<_, tertulia_sfu::StartError>(stats.cipher)
    };
    for (cipher, name) in built_in {
        assert_eq!(sealed_with(*cipher).await.unwrap(), *name);
    }
    let chosen = sealed_with(Cipher::Auto).await.unwrap();
    assert!(built_in.iter().any(|(_, name)| *name == chosen), "{chosen}");
    if cfg!(not(feature = "aws-lc-rs")) {
        let error = sealed_with(Cipher::AwsLcRs).await.unwrap_err();
        assert!(error.to_string().contains("not built in"), "{error}");
    }
}

/// The first worker's client leaves the call with it; the second's stays, and so does the room.
#[tokio::test]
async fn a_worker_that_fails_takes_nothing_with_it_but_its_peers() {
    let mut config = SfuConfig::loopback();
    (config.workers, config.room_peers_per_worker) = (2, 1);
    let sfu = Sfu::start(config).unwrap();
    let (shared, mut events) = sfu.create_room().await.unwrap();
    let first = Client::join(&sfu, shared).await;
    let second = Client::join(&sfu, shared).await;
    let worker_of = |id: u64| id >> 48;
    assert_eq!(
        [&first, &second].map(|client| worker_of(client.peer.as_u64())),
        [0, 1]
    );
    // The home of a room that is on no other worker.
    let (mut alone, mut events_alone) = sfu.create_room().await.unwrap();
    while worker_of(alone.as_u64()) != 0 {
        (alone, events_alone) = sfu.create_room().await.unwrap();
    }
    let third = Client::join(&sfu, alone).await;
    assert_eq!(worker_of(third.peer.as_u64()), 0);
    let tracks = async |peer: PeerId| {
        let stats = sfu.peer_stats(peer).await.unwrap();
        stats.published[0].track
    };
    let lost = [
        (shared, first.peer, tracks(first.peer).await, &mut events),
        (
            alone,
            third.peer,
            tracks(third.peer).await,
            &mut events_alone,
        ),
    ];

    sfu.fail_worker(0);
    for (room, peer, track, events) in lost {
        let mut told = Vec::new();
        let until_failed = async {
            while let Some(event) = events.recv().await {
                let done = matches!(event, SfuEvent::WorkerFailed { .. });
                told.push(event);
                if done {
                    return;
                }
            }
        };
        let failed = tokio::time::timeout(PATIENCE, until_failed).await;
        assert!(failed.is_ok(), "{told:?}");
        assert_eq!(told.last(), Some(&SfuEvent::WorkerFailed { worker: 0 }));
        let of_another = |event: &&SfuEvent| event.room().is_some_and(|other| other != room);
        assert_eq!(told.iter().find(of_another), None);
        let ended = SfuEvent::TrackEnded { room, peer, track };
        let reason = PeerFailure::WorkerFailed;
        let failed = SfuEvent::PeerFailed { room, peer, reason };
        let at = |event| told.iter().position(|told| *told == event);
        assert!(
            at(ended.clone()) < at(failed) && at(ended).is_some(),
            "{told:?}"
        );
    }
    assert_eq!(sfu.failed_workers(), [0]);

    // A request for something that was there returns the reason; a close succeeds, as it has ended already.
    let asked = sfu.peer_stats(first.peer).await.unwrap_err();
    assert_eq!(asked, SfuError::WorkerFailed);
    let asked = sfu.offer(first.peer, offer()).await.unwrap_err();
    assert_eq!(asked.code(), "worker_failed");
    sfu.close_peer(first.peer).await.unwrap();
    let stats = sfu.stats().await.unwrap();
    let workers: Vec<_> = stats
        .workers
        .iter()
        .map(|worker| (worker.failed, worker.peer_count))
        .collect();
    assert_eq!(workers, [(true, 0), (false, 1)]);

    // Tracks that it relayed to the other end there.
    let ended = async {
        while sfu.stats().await.unwrap().workers[1].relayed_tracks > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    // Both rooms go on at the worker that is left, and new ones begin there.
    let mut again = Vec::new();
    for room in [shared, alone, create_room(&sfu).await] {
        let client = Client::join(&sfu, room).await;
        assert_eq!(worker_of(client.peer.as_u64()), 1);
        sfu.timeline(room).await.unwrap();
        again.push(client);
    }
    // The peer that stayed and the one that came back hear each other.
    let mut clients = [second, again.swap_remove(0)];
    let start = Instant::now();
    let mut ticks = tokio::time::interval(FRAME);
    while clients.iter().any(|client| client.heard.len() < 20) {
        assert!(start.elapsed() < PATIENCE, "nobody is heard");
        ticks.tick().await;
        for (word, client) in (1..).zip(&mut clients) {
            client.drive();
            if client.rtc.is_connected() {
                client.speak(word);
                client.drive();
            }
        }
    }
    let peers = sfu.totals().await.unwrap().workers[1].peer_count;
    assert_eq!(peers, 4);
    sfu.close_room(shared).await.unwrap();
    assert_eq!(sfu.totals().await.unwrap().workers[1].peer_count, 2);

    // Without any worker every request is refused, and none waits.
    sfu.fail_worker(1);
    tokio::time::timeout(PATIENCE, sfu.ended()).await.unwrap();
    assert_eq!(sfu.failed_workers(), [0, 1]);
    // The room that goes on at another worker is heard of from there.
    let told: Vec<_> = std::iter::from_fn(|| events_alone.try_recv().ok()).collect();
    assert_eq!(told.last(), Some(&SfuEvent::WorkerFailed { worker: 1 }));
    let refused = sfu.create_room().await.err();
    assert_eq!(refused, Some(SfuError::WorkerFailed));
    let refused = Client::join_with(&sfu, alone).await.err();
    assert_eq!(refused, Some(SfuError::WorkerFailed));
    sfu.close_room(alone).await.unwrap();
    sfu.shutdown().await;
    assert_eq!(sfu.create_room().await.err(), Some(SfuError::Stopped));
    assert!(sfu.failed_workers().is_empty());
}

/// An offer that receives audio.
fn offer() -> String {
    let mut rtc = Rtc::new(Instant::now());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    let (offer, _) = api.apply().unwrap();
    offer.to_sdp_string()
}
