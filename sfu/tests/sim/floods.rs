//! One publisher that sends too much, beside people who talk: they lose nothing, and wait for nothing.

use std::time::Duration;

use tertulia_sfu::Limits;
use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::testing::LayerConfig;
use tertulia_sfu::testing::network::PathModel;

use crate::harness::client::hand::{Hand, named};
use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
const TRACKS: usize = 8;
const RIDS: [&str; 3] = ["q", "h", "f"];

/// Each person's link: their own media takes a third of it.
fn link() -> PathModel {
    PathModel {
        delay: Duration::from_millis(20),
        rate: Some(8_000_000),
        queue: Duration::from_millis(300),
        ..PathModel::LAN
    }
}

/// Pictures and sound that people got of each other during the attack.
#[derive(Debug)]
struct Seen {
    lost: u64,
    /// Lost packets of pictures, among these: sound is not asked for again here.
    pictures_lost: u64,
    violations: usize,
    /// The longest time for which a picture stood still.
    still: Duration,
    /// Audio that came too late to be heard, or not at all.
    missed: Duration,
    /// Packets from the attacker.
    dropped: u64,
    /// Bytes that packets were kept in, at most, and times that there were to be more.
    kept: (usize, u64),
}

/// Attacks with so many bits a second, under SSRCs of its choice, people on such paths.
fn attacked(
    seed: u64,
    (limits, path): (Limits, PathModel),
    bitrate: u64,
    anew: impl Fn(u64, u32) -> u32,
) -> Seen {
    let mut sim = Sim::with_limits(seed, limits);
    let people = [
        sim.participant(Video::Single),
        sim.participant(Video::Simulcast),
        sim.participant(Video::Single),
    ];
    for person in people {
        sim.set_path(person, path);
    }
    sim.run(10 * SECOND);
    let mut line: Vec<String> = RIDS.map(|rid| format!("a=rid:{rid} send")).to_vec();
    line.push(format!("a=simulcast:send {}", RIDS.join(";")));
    let mut hand = Hand::join(&mut sim, &vec![line; TRACKS]);
    assert!(hand.published.iter().all(|track| track.simulcast));
    // 2.35 Mbit/s of a camera's three layers.
    let times = bitrate as f64 / (TRACKS as f64 * 2_350_000.0);
    for track in 0..TRACKS as u32 {
        let mut layers = LayerConfig::simulcast(1_000 * (track + 1));
        for layer in &mut layers {
            layer.bitrate = (layer.bitrate as f64 * times) as u64;
        }
        hand.film(&sim, layers);
    }
    let (ids, mids) = (hand.ids, hand.mids.clone());
    let mut sent = 0;
    let (mut still, mut kept) = (Duration::ZERO, 0);
    let from = sim.now;
    while sim.now < from + 10 * SECOND {
        hand.run_altered(&mut sim, SECOND / 50, |track, packet| {
            sent += 1;
            let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
            let rid = RIDS[(ssrc % 1_000) as usize % RIDS.len()];
            let (ssrc, mid) = (anew(sent, ssrc), Some(&*mids[track]));
            let mut packet = named(&packet, &ids, ssrc, mid, Some(rid));
            become_keyframe(&mut packet);
            vec![packet]
        });
        kept = kept.max(sim.relay.caches().0);
        for viewer in people {
            for of in people.into_iter().filter(|of| *of != viewer) {
                let video = *sim.clients[of].published.last().expect("a camera");
                let stream = sim.clients[viewer].stream_of(video).expect("it is seen");
                let last = stream.screen.last.expect("a picture");
                still = still.max(sim.now - last);
            }
        }
    }
    let mut seen = Seen {
        lost: 0,
        pictures_lost: 0,
        violations: 0,
        still,
        missed: Duration::ZERO,
        dropped: sim.relay.stats().drops.total(),
        kept: (kept, sim.relay.caches().1),
    };
    for viewer in people {
        for of in people.into_iter().filter(|of| *of != viewer) {
            for track in sim.clients[of].published.clone() {
                let stream = sim.clients[viewer].stream_of(track).expect("it is seen");
                seen.lost += stream.report().lost;
                seen.violations += stream.report().violations.len();
                if !stream.codec.is_audio() {
                    seen.pictures_lost += stream.report().lost;
                } else {
                    seen.missed += stream.hearing.missed(from, sim.now).0;
                }
            }
        }
    }
    println!("{bitrate}: {seen:?} {:?}", sim.relay.stats().drops);
    seen
}

fn assert_undisturbed(seen: &Seen) {
    assert_eq!((seen.lost, seen.violations), (0, 0), "{seen:?}");
    assert!(seen.still < SECOND / 5, "{seen:?}");
    assert_eq!(seen.missed, Duration::ZERO, "{seen:?}");
}

/// A packet is made a whole keyframe of VP8 (RFC 7741, RFC 6386 section 9.1), so that any stream can begin with it.
fn become_keyframe(packet: &mut [u8]) {
    let header = RtpHeader::parse(packet).expect("cameras write RTP");
    let payload = header.payload(packet).len();
    packet[1] |= 0x80;
    let at = packet.len() - payload;
    let begins = [
        0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02,
    ];
    for (byte, of) in packet[at..].iter_mut().zip(begins) {
        *byte = of;
    }
}

/// An SSRC whose last digits tell its layer.
fn each(sent: u64, ssrc: u32) -> u32 {
    ssrc.wrapping_add((sent as u32).wrapping_mul(100_000))
}

#[test]
fn a_new_ssrc_for_each_packet_delays_nobody() {
    for (seed, bitrate) in [(2_200, 19_000_000), (2_201, 94_000_000)] {
        let seen = attacked(seed, (Limits::default(), link()), bitrate, each);
        assert_undisturbed(&seen);
        assert!(seen.dropped > 10_000, "streams that begin too soon");
    }
}

#[test]
fn a_publisher_of_much_too_much_delays_nobody() {
    let mut none = Limits::default();
    none.publisher_bitrate = 0;
    for (seed, limits) in [(2_210, Limits::default()), (2_211, none)] {
        let seen = attacked(seed, (limits, PathModel::LAN), 94_000_000, |_, ssrc| ssrc);
        assert_undisturbed(&seen);
    }
}

/// Twenty-four full caches would be 24 MB; who keeps little is repaired as ever.
#[test]
fn who_keeps_most_packets_gives_up_first() {
    let lossy = PathModel {
        loss: 0.02,
        ..link()
    };
    let mut limits = Limits::default();
    (limits.cache_bytes, limits.publisher_bitrate) = (8 << 20, 0);
    let seen = attacked(2_220, (limits, lossy), 94_000_000, |_, ssrc| ssrc);
    assert_eq!(seen.violations, 0, "{seen:?}");
    let (kept, refused) = seen.kept;
    assert!(kept <= 8 << 20 && refused > 0, "{seen:?}");
    // There are some hundreds of losses: those of the last moments are not repaired yet, nor are the attacker's
    // packets.
    assert!(seen.pictures_lost < 100, "{seen:?}");
}
