//! Attacks by TURN: by strangers, and by participants with more in mind than to be relayed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::arena::{Arena, Attack, Said, said};
use crate::call::ROOM;
use crate::hostile::Hostile;
use crate::over_tcp::EVERYTHING;
use crate::server::Start;
use crate::turn_client::{ALLOCATE, Turn, User, channel_data, message};

/// Allocations of a participant.
const QUOTA: usize = 12;
/// The server closes a connection after so many requests without right credentials.
const ATTEMPTS: usize = 17;

pub(crate) const ATTACKS: [Attack; 5] = [
    Attack::new("TURN with wrong credentials", |arena| {
        Box::pin(guesses(arena))
    })
    .on(EVERYTHING),
    Attack::new("TURN to the quota, at full speed", |arena| {
        Box::pin(full_speed(arena))
    })
    .on(EVERYTHING),
    Attack::new("checks of nobody by TURN", |arena| Box::pin(nobody(arena))).on(EVERYTHING),
    Attack::new("TURN opened and closed", |arena| Box::pin(restless(arena))).on(EVERYTHING),
    Attack::new("TURN that reads no media", |arena| Box::pin(deaf(arena))).on(EVERYTHING),
];

pub(crate) const OVER_TLS: [Attack; 2] = [
    Attack::new("TURN over TLS with wrong credentials", |arena| {
        Box::pin(guesses(arena))
    })
    .on(TLS),
    Attack::new("TURN over TLS to the quota, at full speed", |arena| {
        Box::pin(full_speed(arena))
    })
    .on(TLS),
];

const TLS: Start = Start {
    tls: true,
    ..EVERYTHING
};

/// No credentials, wrong ones, nonces of another connection, and nonces that are none, until each connection is closed.
async fn guesses(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let turn = known.turn.as_ref().expect("TURN");
    let right = User::of(turn);
    let wrong = User::new(turn.username.as_deref().expect("a name"), "of nobody");
    let nobody = User::new("pa_nobody", "of nobody");
    let before = arena.server.stats().await;
    let log = arena.server.log_bytes();
    let mut elsewhere = connect(arena, arena.address()).await;
    elsewhere.challenge().await.expect("a nonce");
    let began = Instant::now();
    let (mut sent, mut came, mut attempts) = (0, 0, 0);
    let (count, mut from) = (arena.many(10_000, 600), arena.address());
    for number in 0.. {
        if attempts >= count {
            break;
        }
        if number % 100 == 99 {
            from = arena.address();
        }
        let mut turn = connect(arena, from).await;
        turn.challenge().await.expect("a nonce");
        let request = match number % 5 {
            0 => message(ALLOCATE, &[]),
            1 => wrong.allocate(&turn.nonce),
            2 => nobody.allocate(&turn.nonce),
            3 => right.allocate(&elsewhere.nonce),
            _ => right.allocate(b"AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        };
        let expected = if number % 5 < 3 { 401 } else { 438 };
        for attempt in 1..ATTEMPTS {
            sent += request.len();
            if attempt + 1 == ATTEMPTS {
                // The answer may be lost, as the connection is closed behind it.
                let _ = turn.send(&request).await;
            } else {
                assert_eq!(turn.ask(&request).await.expect("an answer"), expected);
            }
        }
        attempts += ATTEMPTS;
        while let Ok(left) = turn.next().await {
            came += left.len();
        }
    }
    let rate = attempts as f64 / began.elapsed().as_secs_f64();
    let after = arena.server.stats().await;
    let more = |path: &str| {
        let of = |stats: &serde_json::Value| stats.pointer(path).and_then(|it| it.as_u64());
        of(&after).unwrap_or_default() - of(&before).unwrap_or_default()
    };
    let closed = more("/turn/refused/too_many_attempts");
    assert_eq!(closed, (attempts / ATTEMPTS) as u64);
    assert_eq!(more("/turn/allocated"), 0);
    let log = arena.server.log_bytes() - log;
    assert!(log < 128 << 10, "{log} bytes of log");
    said(
        format!("{attempts} attempts, {rate:.0} a second, {} kB", sent >> 10),
        format!(
            "{closed} connections closed, {} credentials, {} kB last words, {log} bytes of log",
            more("/turn/refused/credentials"),
            came >> 10
        ),
    )
}

async fn connect(arena: &Arena, from: Ipv4Addr) -> Turn {
    let connected = Turn::connect(&arena.server, from, |_| {}).await;
    connected.expect("let in")
}

/// Connections with allocations, as many as there may be, and the user.
async fn to_the_quota(arena: &Arena, peer: &Hostile) -> (Vec<Turn>, User) {
    let (user, media) = (
        User::of(peer.turn.as_ref().expect("TURN")),
        peer.media.server,
    );
    let (from, mut turns) = (arena.address(), Vec::new());
    for _ in 0..QUOTA {
        let mut turn = connect(arena, from).await;
        assert_eq!(turn.allocate(&user, media).await.expect("an answer"), 0);
        turns.push(turn);
    }
    let mut more = connect(arena, from).await;
    assert_eq!(more.allocate(&user, media).await.expect("an answer"), 486);
    (turns, user)
}

/// Half of the connections send what is no check, of which nothing reaches the worker. The others open a stream by a check
/// first, and the worker drops what they send.
async fn full_speed(arena: &Arena) -> Said {
    let peer = arena.hostile("elsewhere", |_| {}).await;
    let (turns, _) = to_the_quota(arena, &peer).await;
    let junk = channel_data(&rand::random::<[u8; 32]>().repeat(32)).repeat(16);
    let until = Instant::now() + arena.during();
    let senders = turns.into_iter().enumerate().map(|(number, mut turn)| {
        let check = channel_data(&peer.media.check(false));
        let junk = &junk;
        async move {
            if number % 2 == 0 {
                turn.send(&check).await.expect("taken");
            }
            let mut sent = 0u64;
            while Instant::now() < until {
                turn.send(junk).await.expect("it is not closed");
                sent += junk.len() as u64;
            }
            sent
        }
    });
    let sent: u64 = futures_util::future::join_all(senders).await.iter().sum();
    let stats = arena.server.stats().await;
    let allocations = stats.pointer("/turn/allocations").cloned();
    drop(peer);
    let rate = arena.a_second(sent * 8) / 1e6;
    said(
        format!("{QUOTA} allocations, {rate:.0} Mbit/s of ChannelData in all"),
        format!(
            "486 to one more, {} allocations",
            allocations.unwrap_or_default()
        ),
    )
}

/// Checks that name somebody, and are signed with a wrong password: each is put before the worker.
async fn nobody(arena: &Arena) -> Said {
    let victim = arena.hostile("elsewhere", |_| {}).await;
    let peer = arena.hostile("elsewhere", |_| {}).await;
    let (user, media) = (
        User::of(peer.turn.as_ref().expect("TURN")),
        peer.media.server,
    );
    let check = channel_data(&victim.media.forged_check());
    let before = arena.count("/turn/refused/unknown").await;
    let (until, from) = (Instant::now() + arena.during(), arena.address());
    let checking = (0..4).map(|_| async {
        let mut closed = 0;
        while Instant::now() < until {
            let mut turn = connect(arena, from).await;
            match turn.allocate(&user, media).await.expect("an answer") {
                0 => {}
                // Those that were closed have not left the server yet.
                486 => continue,
                code => panic!("{code}"),
            }
            let _ = turn.send(&check.repeat(200)).await;
            while turn.next().await.is_ok() {}
            closed += 1;
        }
        closed
    });
    let closed: u64 = futures_util::future::join_all(checking).await.iter().sum();
    let unknown = arena.count("/turn/refused/unknown").await - before;
    assert!(
        closed > 0 && unknown >= 200,
        "{closed} closed, {unknown} unknown"
    );
    drop((victim, peer));
    said(
        format!("{:.0} checks a second", arena.a_second(unknown)),
        format!("{unknown} unknown, {closed} connections closed"),
    )
}

/// A participant whose allocations and streams last for a moment.
async fn restless(arena: &Arena) -> Said {
    let peer = arena.hostile("elsewhere", |_| {}).await;
    let (user, media) = (
        User::of(peer.turn.as_ref().expect("TURN")),
        peer.media.server,
    );
    let (until, from) = (Instant::now() + arena.during(), arena.address());
    let opening = (0..4).map(|_| async {
        let mut opened = 0;
        while Instant::now() < until {
            let mut turn = connect(arena, from).await;
            if turn.allocate(&user, media).await.expect("an answer") != 0 {
                continue;
            }
            let check = channel_data(&peer.media.check(false));
            turn.send(&check).await.expect("taken");
            turn.next().await.expect("an answer by the channel");
            opened += 1;
        }
        opened
    });
    let opened: u64 = futures_util::future::join_all(opening).await.iter().sum();
    assert!(opened > 0, "none was opened");
    drop(peer);
    arena
        .until("allocations", "/turn/allocations", |count| count == 0)
        .await;
    said(
        format!(
            "{:.0} allocations and streams a second",
            arena.a_second(opened)
        ),
        "as many answers to checks",
    )
}

/// A viewer goes over to TURN, proves that it is there, and reads nothing from then on.
async fn deaf(arena: &Arena) -> Said {
    let mut viewer = arena.hostile(ROOM, |config| config.receives = [4, 4]).await;
    let user = User::of(viewer.turn.as_ref().expect("TURN"));
    let small = |socket: &TcpSocket| _ = socket.set_recv_buffer_size(4 << 10);
    let turn = Turn::connect(&arena.server, arena.address(), small).await;
    let mut turn = turn.expect("let in");
    let media = viewer.media.server;
    assert_eq!(turn.allocate(&user, media).await.expect("an answer"), 0);
    go_over(&mut viewer, &mut turn, media).await;
    let before = arena.drops().await;
    let full = |drops: &std::collections::BTreeMap<String, u64>| {
        drops.get("stream_full").copied().unwrap_or_default()
    };
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    // As long as an attack lasts, and until something has been dropped.
    while began.elapsed() < arena.during() || full(&arena.drops().await) == full(&before) {
        assert!(
            began.elapsed() < crate::http::PATIENCE,
            "it is sent no media"
        );
        looks.tick().await;
    }
    let dropped = full(&arena.drops().await) - full(&before);
    drop((turn, viewer));
    arena
        .until("allocations", "/turn/allocations", |count| count == 0)
        .await;
    said(
        format!("nothing read for {:.1} s", began.elapsed().as_secs_f64()),
        format!("{dropped} stream_full"),
    )
}

/// Answers the server's checks over TURN alone, until media comes there.
async fn go_over(viewer: &mut Hostile, turn: &mut Turn, media: SocketAddr) {
    let began = Instant::now();
    let mut checked: Option<Instant> = None;
    loop {
        assert!(
            began.elapsed() < crate::http::PATIENCE,
            "no media at {media}"
        );
        if checked.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            checked = Some(Instant::now());
            let check = channel_data(&viewer.media.check(true));
            turn.send(&check).await.expect("taken");
        }
        let Ok(frame) = turn.next_within(Duration::from_millis(100)).await else {
            continue;
        };
        let datagram = &frame[4..];
        match datagram.first() {
            Some(128..=191) => return,
            Some(0..=3) => {
                let answer = viewer.media.answer(datagram);
                if !answer.is_empty() {
                    turn.send(&channel_data(&answer)).await.expect("taken");
                }
            }
            _ => {}
        }
    }
}
