//! Taps: an embedder gets the packets of a track, whatever the viewers do, and nobody notices it.

use std::time::Duration;

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::{
    DropReason, SfuError, Tap, TapLayers, TapPacket, TapSettings, TrackId, TrackSettings,
};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

fn tap(sim: &mut Sim, track: TrackId) -> Tap {
    let tap = sim.relay.tap(sim.now, track, &TapSettings::default());
    tap.expect("the track is tapped")
}

fn drain(tap: &mut Tap) -> Vec<TapPacket> {
    std::iter::from_fn(|| tap.try_recv()).collect()
}

/// Lets time pass while a tap is read.
fn read(sim: &mut Sim, tap: &mut Tap, duration: Duration) -> Vec<TapPacket> {
    let (mut packets, end) = (Vec::new(), sim.now + duration);
    while sim.now < end {
        sim.run(Duration::from_millis(100));
        packets.extend(drain(tap));
    }
    packets
}

fn keyframes_asked(sim: &Sim, client: usize) -> u64 {
    let peer = sim.clients[client].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let published = stats.published.iter();
    published.map(|track| track.keyframe_requests).sum()
}

fn are_whole(packets: &[TapPacket]) -> bool {
    let numbers = packets.iter().map(|packet| packet.sequence);
    numbers
        .clone()
        .skip(1)
        .eq(numbers.map(|number| number + 1).take(packets.len() - 1))
}

fn assert_sound(sim: &Sim) {
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

/// Runs a test on one worker, and with each peer on its own.
fn both(seed: u64, test: impl Fn(Sim)) {
    test(Sim::new(seed));
    test(Sim::sharing(seed, 2, SimSharing::default()));
}

#[test]
fn two_taps_get_each_packet_of_a_track_with_its_facts_from_a_keyframe_on() {
    both(2_000, |mut sim| {
        sim.viewer();
        // The second peer: with two workers it is on the other one.
        let publisher = sim.participant(Video::Single);
        // Its library reports on sound every five seconds.
        sim.run(6 * SECOND);
        let asked = keyframes_asked(&sim, publisher);
        let [sound, picture] = sim.clients[publisher].published[..] else {
            panic!("it publishes two tracks");
        };
        let mut taps = [tap(&mut sim, picture), tap(&mut sim, picture)];
        let mut sound = tap(&mut sim, sound);
        assert!(keyframes_asked(&sim, publisher) > asked);
        let pictures = read(&mut sim, &mut taps[0], 4 * SECOND);
        let sounds = drain(&mut sound);
        assert_eq!(drain(&mut taps[1]), pictures, "each has its own queue");
        assert!(are_whole(&pictures) && are_whole(&sounds));
        let first = &pictures[0];
        assert!(first.keyframe, "{first:?}");
        assert_eq!((first.codec, first.clock_rate), (Codec::Vp8, 90_000));
        assert!(
            pictures
                .iter()
                .all(|packet| packet.missed == 0 && packet.layer == 0)
        );
        let frames = pictures.iter().filter(|packet| packet.marker).count();
        assert!((100..=122).contains(&frames), "{frames} frames in 4 s");
        assert_eq!(
            (sounds[0].codec, sounds[0].clock_rate),
            (Codec::Opus, 48_000)
        );
        assert!((190..=210).contains(&sounds.len()), "{}", sounds.len());
        // What arrived at one time was made at about one time, by the clock that both share.
        let (last, heard) = (pictures.last().unwrap().ntp, sounds.last().unwrap().ntp);
        let (last, heard) = (last.expect("reported"), heard.expect("reported"));
        assert!(last.abs_diff(heard) < (1 << 32) / 10, "{last:x} {heard:x}");
        let took = last.wrapping_sub(pictures.iter().find_map(|packet| packet.ntp).unwrap());
        assert!(took < 5 << 32, "{took:x}");
        assert_sound(&sim);
        sim.assert_clean(0, 2);
    });
}

#[test]
fn a_tapped_layer_stays_published_until_its_tap_is_dropped() {
    both(2_010, |mut sim| {
        let publisher = sim.participant(Video::Simulcast);
        sim.clients[publisher].obeys = true;
        let track = sim.clients[publisher].published[1];
        sim.run(5 * SECOND);
        assert_eq!(sim.clients[publisher].asked, [false; 3], "nobody watches");
        let mut tap = tap(&mut sim, track);
        let packets = read(&mut sim, &mut tap, 5 * SECOND);
        assert_eq!(sim.clients[publisher].asked, [true, false, true]);
        let last = packets.last().unwrap();
        assert_eq!(last.layer, 2, "the largest");
        // It moves where another layer begins, and each layer's packets are whole.
        let mut moves = packets
            .windows(2)
            .filter(|pair| pair[0].layer != pair[1].layer);
        assert!(moves.all(|pair| pair[1].keyframe));
        let largest: Vec<_> = packets
            .into_iter()
            .filter(|packet| packet.layer == 2)
            .collect();
        assert!(largest[0].keyframe && are_whole(&largest));
        assert_sound(&sim);

        drop(tap);
        let off = |sim: &mut Sim| sim.clients[publisher].asked == [false; 3];
        let took = sim.run_until(5 * SECOND, off).expect("all are off");
        assert!(took < 3 * SECOND, "{took:?}");
        assert_eq!(sim.relay.taps(), 0);
        assert_sound(&sim);
    });
}

#[test]
fn a_tap_of_all_layers_has_each_whole_and_keeps_each_on() {
    let mut sim = Sim::new(2_020);
    let publisher = sim.participant(Video::Simulcast);
    sim.clients[publisher].obeys = true;
    let track = sim.clients[publisher].published[1];
    let mut settings = TapSettings::default();
    settings.layers = TapLayers::All;
    let mut tap = sim.relay.tap(sim.now, track, &settings).unwrap();
    let packets = read(&mut sim, &mut tap, 6 * SECOND);
    assert_ne!(sim.clients[publisher].asked, [false; 3]);
    for layer in 0..3 {
        let of = packets.iter().filter(|packet| packet.layer == layer);
        let of: Vec<_> = of.cloned().collect();
        assert!(
            of.len() > 100 && of[0].keyframe && are_whole(&of),
            "{layer}"
        );
    }
}

#[test]
fn a_tap_follows_the_largest_layer_that_comes() {
    let mut sim = Sim::new(2_030);
    let publisher = sim.participant(Video::Simulcast);
    let track = sim.clients[publisher].published[1];
    let mut tap = tap(&mut sim, track);
    let packets = read(&mut sim, &mut tap, 3 * SECOND);
    assert_eq!(packets.last().unwrap().layer, 2);
    sim.clients[publisher].set_layer_active("f", false);
    let packets = read(&mut sim, &mut tap, 4 * SECOND);
    assert_eq!(packets.last().unwrap().layer, 1);
    let moved = packets.iter().position(|packet| packet.layer == 1).unwrap();
    assert!(packets[moved].keyframe && are_whole(&packets[moved..]));
    sim.clients[publisher].set_layer_active("f", true);
    let packets = read(&mut sim, &mut tap, 4 * SECOND);
    assert_eq!(packets.last().unwrap().layer, 2);
    assert_sound(&sim);
}

#[test]
fn a_tap_that_is_not_read_loses_the_newest_and_viewers_nothing() {
    let mut sim = Sim::new(2_040);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(SECOND);
    let track = sim.clients[publisher].published[1];
    let mut settings = TapSettings::default();
    settings.packets = 16;
    let mut slow = sim.relay.tap(sim.now, track, &settings).unwrap();
    let mut other = tap(&mut sim, track);
    let all = read(&mut sim, &mut other, 3 * SECOND);
    let kept = drain(&mut slow);
    assert_eq!(kept, all[..16], "what waits stays whole");
    let missed = (all.len() - 16) as u64;
    assert_eq!(sim.relay.stats().drops.get(DropReason::TapFull), missed);
    let asked = keyframes_asked(&sim, publisher);
    sim.run(SECOND / 2);
    let next = drain(&mut slow);
    assert_eq!(next[0].missed, missed);
    assert!(next[1..].iter().all(|packet| packet.missed == 0));
    assert_eq!(keyframes_asked(&sim, publisher), asked + 1);
    sim.assert_clean(viewer, 2);
    assert_sound(&sim);
}

#[test]
fn a_tap_ends_with_its_track_its_peer_and_its_room() {
    both(2_050, |mut sim| {
        let (one, other) = (
            sim.participant(Video::Single),
            sim.participant(Video::Single),
        );
        sim.run(SECOND);
        let tracks = [
            sim.clients[one].published[1],
            sim.clients[other].published[1],
        ];
        let mut taps = tracks.map(|track| tap(&mut sim, track));
        sim.run(SECOND);
        let (now, peer) = (sim.now, sim.clients[one].peer.unwrap());
        sim.relay.close_peer(now, peer);
        assert!(!taps[0].has_ended(), "what waits is given first");
        assert!(!drain(&mut taps[0]).is_empty());
        assert!(taps[0].has_ended() && !taps[1].has_ended());
        let again = sim.relay.tap(sim.now, tracks[0], &TapSettings::default());
        assert_eq!(again.err(), Some(SfuError::NoSuchTrack));
        let now = sim.now;
        sim.relay.close_room(now, sim.room);
        drain(&mut taps[1]);
        assert!(taps[1].has_ended());
        sim.run(2 * SECOND);
        assert_eq!((sim.relay.taps(), sim.relay.holdings()), (0, 0));
    });
}

#[test]
fn a_track_has_a_bounded_number_of_taps() {
    let mut sim = Sim::new(2_060);
    let publisher = sim.participant(Video::Single);
    let track = sim.clients[publisher].published[0];
    let taps: Vec<Tap> = (0..8).map(|_| tap(&mut sim, track)).collect();
    let refused = sim.relay.tap(sim.now, track, &TapSettings::default());
    assert_eq!(refused.unwrap_err().code(), "limit_reached");
    assert_eq!(sim.relay.taps(), 8);
    drop(taps);
    // Those whose reader is gone make room at once.
    let _kept = tap(&mut sim, track);
    assert_eq!(sim.relay.taps(), 1);
    assert_sound(&sim);
}

#[test]
fn a_muted_track_gives_nothing_and_goes_on_with_a_keyframe() {
    let mut sim = Sim::new(2_070);
    let publisher = sim.participant(Video::Single);
    let track = sim.clients[publisher].published[1];
    sim.run(SECOND);
    let mut tap = tap(&mut sim, track);
    sim.run(SECOND);
    let peer = sim.clients[publisher].peer.unwrap();
    let set_muted = |sim: &mut Sim, muted| {
        let settings = TrackSettings::default().with_muted(muted);
        let now = sim.now;
        sim.relay.set_track(now, peer, track, settings).unwrap();
    };
    set_muted(&mut sim, true);
    assert!(!drain(&mut tap).is_empty());
    assert!(read(&mut sim, &mut tap, 2 * SECOND).is_empty());
    set_muted(&mut sim, false);
    let packets = read(&mut sim, &mut tap, SECOND);
    assert!(packets[0].keyframe && are_whole(&packets));
}
