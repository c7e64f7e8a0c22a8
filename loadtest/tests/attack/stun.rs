//! Attacks by people who are nobody's peers, and by peers who say that they are elsewhere.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::arena::{Arena, Attack, Said, said, stranger};
use crate::call::ROOM;
use crate::spoof::Spoofer;

/// Joins that come so often are some hundred in the long form, and no load beside the attack.
const BETWEEN_JOINS: Duration = Duration::from_millis(100);

pub(crate) const ATTACKS: [Attack; 10] = [
    Attack::new("checks from the victims' addresses", |arena| {
        Box::pin(blackout(arena))
    }),
    Attack::new("checks from a sweep over ports", |arena| {
        Box::pin(sweep(arena))
    }),
    Attack::new("media reflected by nominations", |arena| {
        Box::pin(reflection(arena))
    }),
    Attack::new("an address that alternates", |arena| {
        Box::pin(alternation(arena))
    }),
    Attack::new("STUN with bad integrity", |arena| {
        Box::pin(bad_integrity(arena))
    }),
    Attack::new("questions by STUN without credentials", |arena| {
        Box::pin(questions(arena))
    }),
    Attack::new("junk datagrams", |arena| Box::pin(junk(arena))),
    Attack::new("DTLS junk", |arena| Box::pin(dtls_junk(arena))),
    Attack::new("ClientHellos of strangers", |arena| Box::pin(hellos(arena))),
    Attack::new("ClientHellos of a peer", |arena| {
        Box::pin(own_hellos(arena))
    }),
];

/// A participant of another room checks with its own credentials from the addresses of all in the call.
async fn blackout(arena: &Arena) -> Said {
    let spoofer = match Spoofer::open() {
        Ok(spoofer) => spoofer,
        Err(error) => return said("nothing: it takes root", error.to_string()),
    };
    let peer = arena.hostile("elsewhere", |_| {}).await;
    let SocketAddr::V4(server) = peer.media.server else {
        panic!("not IPv4")
    };
    let victims = arena.call.ports();
    let refused = arena.count("/workers/0/address_claims_refused").await;
    let mut turn = victims.iter().cycle();
    let rate = 200;
    arena
        .pace(rate, |count| {
            for port in turn.by_ref().take(count as usize) {
                let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port);
                spoofer.send(from, server, &peer.media.check(true));
            }
        })
        .await;
    let refused = arena.count("/workers/0/address_claims_refused").await - refused;
    assert!(refused > 0, "no claim was refused");
    said(
        format!("{rate} nominations a second"),
        format!("{refused} address_claims_refused"),
    )
}

/// Only the victims' IP address is known: every port of theirs, and thousands of others.
async fn sweep(arena: &Arena) -> Said {
    let spoofer = match Spoofer::open() {
        Ok(spoofer) => spoofer,
        Err(error) => return said("nothing: it takes root", error.to_string()),
    };
    let mut peer = arena.hostile("elsewhere", |_| {}).await;
    let SocketAddr::V4(server) = peer.media.server else {
        panic!("not IPv4")
    };
    let refused = arena.count("/workers/0/address_claims_refused").await;
    let rate = arena.many(8_000, 4_000) as u64;
    // Around the victims' ports first, and then on.
    let first = arena
        .call
        .ports()
        .into_iter()
        .min()
        .expect("a port")
        .saturating_sub(100);
    let mut ports = first..=u16::MAX;
    let sent = arena
        .pace(rate, |count| {
            for port in ports.by_ref().take(count as usize) {
                let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
                spoofer.send(from, server, &peer.media.check(true));
            }
            peer.media.pump();
        })
        .await;
    let refused = arena.count("/workers/0/address_claims_refused").await - refused;
    said(
        format!("{:.0} nominations a second", arena.a_second(sent)),
        format!("{refused} address_claims_refused"),
    )
}

/// A viewer nominates the address of somebody who never asked for anything.
async fn reflection(arena: &Arena) -> Said {
    let mut viewer = arena.hostile(ROOM, |config| config.receives = [4, 4]).await;
    // Media flows before it begins.
    let started = Instant::now();
    while viewer.media.heard.rtp.is_empty() {
        assert!(started.elapsed() < crate::http::PATIENCE, "no media");
        viewer.media.pump();
        tokio::task::yield_now().await;
    }
    let third = viewer.media.another_socket().expect("a port");
    let (mut checks, mut other, mut bytes, mut sent) = (0, 0, 0, 0);
    let mut buffer = [0; 2_048];
    let rate = 20;
    arena
        .pace(rate, |count| {
            for _ in 0..count {
                let check = viewer.media.check(true);
                sent += check.len();
                let _ = third.send_to(&check, viewer.media.server);
            }
            viewer.media.pump();
            while let Ok(len) = third.recv(&mut buffer) {
                bytes += len;
                match buffer[0] {
                    0..=3 => checks += 1,
                    _ => other += 1,
                }
            }
        })
        .await;
    assert_eq!(
        other, 0,
        "media went to one who never answered, {bytes} bytes"
    );
    said(
        format!("{rate} nominations a second"),
        format!(
            "{checks} STUN messages and no media, {:.1} times the bytes",
            bytes as f64 / sent as f64
        ),
    )
}

/// A participant is here and there by turns, and proves both.
async fn alternation(arena: &Arena) -> Said {
    let mut peer = arena.hostile("elsewhere", |_| {}).await;
    let other = peer.media.another_socket().expect("a port");
    let log = arena.server.log_bytes();
    let rate = arena.many(20_000, 2_000) as u64;
    let (mut here, mut buffer) = (true, [0; 2_048]);
    arena
        .pace(rate, |count| {
            for _ in 0..count {
                let check = peer.media.check(true);
                match here {
                    true => peer.media.send(&check),
                    false => _ = other.send_to(&check, peer.media.server),
                }
                here = !here;
            }
            peer.media.pump();
            while let Ok(len) = other.recv(&mut buffer) {
                let answer = peer.media.answer(&buffer[..len]);
                let _ = other.send_to(&answer, peer.media.server);
            }
        })
        .await;
    let log = arena.server.log_bytes() - log;
    assert!(log < 128 << 10, "{log} bytes of log");
    said(
        format!("{rate} checks a second"),
        format!("{log} bytes of log"),
    )
}

/// Checks that name a peer there is, signed with a password that it does not have.
async fn bad_integrity(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let (server, check) = (known.media.server, known.media.forged_check());
    let said = flood(arena, server, &stranger(), &[check], "checks").await;
    said.naming("stun_bad_integrity")
}

/// The shortest question there is, as from a forged address: what comes back there is little, and not often.
async fn questions(arena: &Arena) -> Said {
    const QUESTION: usize = 20;
    let known = arena.hostile("elsewhere", |_| {}).await;
    let (server, socket) = (known.media.server, stranger());
    let mut question = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    question.resize(QUESTION, 7);
    let before = arena.count("/workers/0/stun_answers").await;
    let began = Instant::now();
    let flooded = flood(arena, server, &socket, &[question], "questions").await;
    let counted = arena.count("/workers/0/stun_answers").await - before;
    let seconds = began.elapsed().as_secs() + 2;
    assert!(counted > 0, "nobody is told anything");
    assert!(counted <= 100 * seconds, "{counted} answers in {seconds} s");
    let (mut answers, mut bytes, mut buffer) = (0, 0, [0; 2_048]);
    while let Ok(len) = socket.recv(&mut buffer) {
        (answers, bytes) = (answers + 1, bytes + len);
    }
    assert!(
        bytes * 10 <= answers * QUESTION * 16,
        "{bytes} bytes in {answers} answers"
    );
    said(
        flooded.sent,
        format!(
            "{answers} answers of {} bytes, {}",
            bytes / answers.max(1),
            flooded.answered
        ),
    )
}

async fn junk(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let datagrams: Vec<Vec<u8>> = (0..64)
        .map(|_| rand::random::<[u8; 32]>().repeat(8))
        .collect();
    flood(
        arena,
        known.media.server,
        &stranger(),
        &datagrams,
        "datagrams",
    )
    .await
}

/// Records whose content is noise, from a stranger and from a peer.
async fn dtls_junk(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let record = |kind| {
        let mut record = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64];
        record.extend(rand::random::<[u8; 32]>().repeat(2));
        record
    };
    let datagrams: Vec<Vec<u8>> = [20, 21, 22, 23, 25].map(record).to_vec();
    let socket = known.media.socket.try_clone().expect("a socket");
    let said = flood(arena, known.media.server, &socket, &datagrams, "records").await;
    said.naming("dtls_refused")
}

async fn hellos(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let hellos: Vec<Vec<u8>> = (0..64).map(|_| client_hello()).collect();
    flood(
        arena,
        known.media.server,
        &stranger(),
        &hellos,
        "ClientHellos",
    )
    .await
}

/// A connected peer begins its handshake anew, and never ends it.
async fn own_hellos(arena: &Arena) -> Said {
    let known = arena.hostile("elsewhere", |_| {}).await;
    let hellos: Vec<Vec<u8>> = (0..64).map(|_| client_hello()).collect();
    let socket = known.media.socket.try_clone().expect("a socket");
    flood(arena, known.media.server, &socket, &hellos, "ClientHellos").await
}

/// As a browser begins (RFC 6347 section 4.2).
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(rand::random::<[u8; 32]>());
    // No session, no cookie, one cipher suite, no compression.
    body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 0x17, // supported_groups
        0, 11, 0, 2, 1, 0, // ec_point_formats
        0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms
        0, 14, 0, 5, 0, 2, 0, 7, 0, // use_srtp
        0, 0x17, 0, 0, // extended_master_secret
    ];
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let mut hello = vec![1, length[1], length[2], length[3], 0, 0, 0, 0, 0];
    hello.extend(&length[1..]);
    hello.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    record
}

/// Sends these by turns, and says what was counted. The server may not take all of them; it may not lose those of the
/// call for it, and lets people in meanwhile.
pub(crate) async fn flood(
    arena: &Arena,
    server: SocketAddr,
    socket: &UdpSocket,
    datagrams: &[Vec<u8>],
    what: &str,
) -> Said {
    let rate = arena.many(100_000, 5_000) as u64;
    let lost = arena.kernel_drops(server);
    let before = arena.drops().await;
    let mut turn = datagrams.iter().cycle();
    let sending = arena.pace(rate, |count| {
        for datagram in turn.by_ref().take(count as usize) {
            let _ = socket.send_to(datagram, server);
        }
    });
    let mut joins = Vec::new();
    let sent = tokio::select! {
        sent = sending => sent,
        never = joining(arena, &mut joins) => match never {},
    };
    let mut counted = Vec::new();
    for (code, count) in arena.drops().await {
        let more = count - before.get(&code).copied().unwrap_or_default();
        if more > 0 {
            counted.push(format!("{more} {code}"));
        }
    }
    let lost = arena.kernel_drops(server) - lost;
    if lost > 0 {
        counted.push(format!("{lost} dropped by the kernel"));
    }
    joins.sort();
    if let Some(middle) = joins.get(joins.len() / 2) {
        let (count, middle) = (joins.len(), middle.as_secs_f64() * 1_000.0);
        counted.push(format!("{count} joins meanwhile, p50 {middle:.0} ms"));
    }
    said(
        format!("{:.0} {what} a second", arena.a_second(sent)),
        counted.join(", "),
    )
}

/// Joins with media again and again, and takes note of how long that took.
async fn joining(arena: &Arena, joins: &mut Vec<Duration>) -> Infallible {
    let mut ticks = interval(BETWEEN_JOINS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        drop(arena.hostile("elsewhere", |_| {}).await);
        joins.push(began.elapsed());
    }
}
