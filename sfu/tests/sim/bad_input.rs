//! Datagrams from strangers: they are counted, leave nothing behind and disturb no one.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tertulia_sfu::DropReason;

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

/// A stranger's datagram.
fn inject(sim: &mut Sim, from: SocketAddr, payload: &[u8]) {
    sim.inject(from, payload.to_vec());
}

fn stranger() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 7_777))
}

#[test]
fn random_and_truncated_datagrams_disturb_no_one() {
    let mut sim = Sim::new(40);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(2 * SECOND);
    let mut rng = StdRng::seed_from_u64(40);
    let known = sim.clients[publisher].seen_at();
    // Some datagrams that look like DTLS from a peer's address wait for their turn.
    let mut dtls = 0;
    for round in 0..20_000 {
        let len = rng.random_range(0..200);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        // Half of them look like one of the protocols.
        if round % 2 == 0 && len > 20 {
            bytes[0] = *[0x00, 0x01, 0x16, 0x14, 0x80, 0x90, 0xbf]
                .get(round % 7)
                .unwrap();
            bytes[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
        }
        let from = if round % 3 == 0 { known } else { stranger() };
        dtls += u64::from(from == known && matches!(bytes.first(), Some(20..=63)));
        inject(&mut sim, from, &bytes);
    }
    let counted = sim.relay.stats().drops;
    let drops = counted.total();
    assert!((20_000 - dtls..=20_000).contains(&drops), "{counted:?}");
    sim.run(3 * SECOND);
    let refused = sim.relay.stats().drops.get(DropReason::DtlsRefused);
    assert_eq!(refused, dtls);
    for (ssrc, report) in sim.clients[viewer].reports() {
        assert!(
            report.violations.is_empty() && report.lost == 0,
            "{ssrc:#x}: {report:?}"
        );
    }
    assert_eq!(sim.relay.stats().peers.len(), 2);
}

#[test]
fn forged_ssrcs_from_a_peers_address_bind_nothing() {
    let mut sim = Sim::new(41);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(2 * SECOND);
    let known = sim.clients[publisher].seen_at();
    let mut packet = [0u8; 60];
    packet[0] = 0x80;
    packet[1] = 96;
    for ssrc in 0..1_000_000u32 {
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        inject(&mut sim, known, &packet);
    }
    let drops = sim.relay.stats().drops;
    assert_eq!(
        drops.get(DropReason::SrtpAuthFailed),
        1_000_000,
        "{drops:?}"
    );
    sim.run(2 * SECOND);
    for (ssrc, report) in sim.clients[viewer].reports() {
        assert!(
            report.violations.is_empty() && report.lost == 0,
            "{ssrc:#x}: {report:?}"
        );
    }
}

#[test]
fn strangers_are_told_their_address_and_nothing_else() {
    let mut sim = Sim::new(42);
    sim.participant(Video::Single);
    sim.run(2 * SECOND);
    let now = sim.now;
    sim.relay.flush(now);
    // A binding request without credentials.
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend_from_slice(&[9; 12]);
    // One that names nobody there is.
    let mut naming = stun.clone();
    naming.extend_from_slice(&[0, 6, 0, 4, b'a', b':', b'b', b'c']);
    naming[3] = 8;
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    for (payload, answers) in [
        (&stun[..], 1),
        (&naming, 0),
        (&hello, 0),
        (&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], 0),
        (&[0x80, 200, 0, 0], 0),
    ] {
        inject(&mut sim, stranger(), payload);
        let sent = sim.relay.flush(now);
        let answered = sent.iter().filter(|datagram| datagram.to == stranger());
        let lengths: Vec<usize> = answered.map(|datagram| datagram.payload.len()).collect();
        assert_eq!(lengths.len(), answers, "{payload:?}");
        assert!(lengths.iter().all(|bytes| *bytes <= 44), "{lengths:?}");
    }
    assert_eq!(sim.relay.stats().stun_answers, 1);
}
