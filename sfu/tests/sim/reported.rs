//! Viewers without transport-wide feedback: with a receiver's own estimate (REMB), with receiver reports
//! alone, and with nothing at all.

use std::time::Duration;

use tertulia_sfu::stats::{BandwidthStats, SubscriptionStats};
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{TrackId, View};

use crate::harness::remb::{Receiver, Says};
use crate::harness::{Sim, Video};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Video waits no longer at the relay.
const WAITS_MS: f64 = 500.0;

fn link(kbit: u64) -> PathModel {
    PathModel {
        rate: Some(kbit * 1_000),
        delay: 20 * MS,
        queue: 400 * MS,
        ..PathModel::LAN
    }
}

/// Cameras and microphones, and one who watches.
struct Call {
    sim: Sim,
    viewer: usize,
    videos: Vec<TrackId>,
    what: String,
    /// The longest that video waited at the relay, in milliseconds.
    waited_ms: f64,
}

impl Call {
    fn new(seed: u64, publishers: usize, says: Says, model: PathModel) -> Self {
        Self::with_sounds(seed, publishers, publishers as u16, says, model)
    }

    /// A call in which the viewer hears some of the microphones.
    fn with_sounds(
        seed: u64,
        publishers: usize,
        sounds: u16,
        says: Says,
        model: PathModel,
    ) -> Self {
        let what = format!(
            "seed {seed}, {publishers} publishers, {says:?}, {:?}",
            model.rate
        );
        let mut sim = Sim::new(seed);
        for _ in 0..publishers {
            let publisher = sim.client();
            sim.clients[publisher].auto_subscribe = false;
            sim.clients[publisher].publish_audio();
            sim.clients[publisher].publish_video(Video::Simulcast);
            sim.join(publisher);
        }
        sim.run(3 * SECOND);
        let viewer = sim.client();
        sim.clients[viewer].receiver = Some(Receiver::saying(says));
        sim.clients[viewer].wants_pictures = true;
        sim.clients[viewer].tolerates_lost_start = true;
        sim.clients[viewer].down.set_model(model);
        sim.clients[viewer].follows_needs = false;
        sim.clients[viewer].receive(sounds, publishers as u16);
        sim.join(viewer);
        let videos = (0..publishers).map(|at| sim.clients[at].published[1]);
        Self {
            videos: videos.collect(),
            sim,
            viewer,
            what,
            waited_ms: 0.0,
        }
    }

    fn bandwidth(&self) -> BandwidthStats {
        let peer = self.sim.clients[self.viewer].peer.unwrap();
        self.sim.relay.peer_stats(peer).unwrap().bandwidth
    }

    fn videos(&self) -> Vec<SubscriptionStats> {
        let peer = self.sim.clients[self.viewer].peer.unwrap();
        let all = self.sim.relay.peer_stats(peer).unwrap().subscriptions;
        let videos = all.into_iter();
        videos
            .filter(|subscription| self.videos.contains(&subscription.track))
            .collect()
    }

    fn layers(&self) -> Vec<Option<usize>> {
        let videos = self.videos().into_iter();
        videos.map(|subscription| subscription.layer).collect()
    }

    /// Lets time pass; what waits at the relay is watched.
    fn run(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / 20 {
            self.sim.run(20 * MS);
            self.waited_ms = self.waited_ms.max(self.bandwidth().queued_ms);
        }
    }

    /// The time until all video is sent in the largest size.
    fn until_top(&mut self, limit: Duration) -> Option<Duration> {
        let start = self.sim.now;
        while self.sim.now < start + limit {
            self.run(20 * MS);
            if self.layers().iter().all(|layer| *layer == Some(2)) {
                return Some(self.sim.now - start);
            }
        }
        None
    }

    fn says(&mut self, says: Says) {
        self.receiver().says = says;
    }

    fn receiver(&mut self) -> &mut Receiver {
        self.sim.clients[self.viewer].receiver.as_mut().unwrap()
    }

    /// Audio packets received.
    fn heard(&self) -> u64 {
        let streams = self.sim.clients[self.viewer].streams.values();
        let sound = streams.filter(|stream| stream.codec.is_audio());
        sound.map(|stream| stream.packets).sum()
    }

    fn assert_bounded(&self) {
        let what = &self.what;
        assert!(self.waited_ms <= WAITS_MS, "{what}: {} ms", self.waited_ms);
        for (_, report) in self.sim.clients[self.viewer].reports() {
            assert!(report.violations.is_empty(), "{what}: {report:?}");
        }
    }
}

#[test]
fn the_largest_picture_comes_within_five_seconds_where_there_is_room() {
    for seed in 0..3 {
        for says in [
            Says::Nothing,
            Says::Estimate,
            Says::Always(8_000_000, 1),
            Says::Always(u64::MAX, usize::MAX),
        ] {
            for publishers in [1, 2, 4] {
                let mut call = Call::new(1_200 + seed, publishers, says.clone(), PathModel::LAN);
                let took = call.until_top(5 * SECOND);
                assert!(
                    took.is_some(),
                    "{}: {:?} {:?}",
                    call.what,
                    call.layers(),
                    call.bandwidth()
                );
                let (heard, what) = (call.heard(), call.what.clone());
                call.run(20 * SECOND);
                for video in call.videos() {
                    assert_eq!((video.layer, video.reason), (Some(2), "best"), "{what}");
                }
                let heard = call.heard() - heard;
                assert!(heard >= 990 * publishers as u64, "{what}: {heard}");
                call.assert_bounded();
            }
        }
    }
}

#[test]
fn a_narrow_link_gets_what_fits_and_sound_comes_in_time() {
    for seed in 0..3 {
        for says in [Says::Nothing, Says::Estimate] {
            for (kbit, publishers, layer) in [(1_000, 1, 1), (500, 1, 0), (1_500, 2, 0)] {
                let mut call = Call::new(1_240 + seed, publishers, says.clone(), link(kbit));
                call.run(15 * SECOND);
                call.receiver().take_longest();
                let (mut heard, mut fits, mut late) = (call.heard(), 0, 0);
                for _ in 0..30 {
                    call.run(SECOND);
                    fits += u32::from(call.layers().iter().all(|sent| *sent >= Some(layer)));
                    late += u32::from(call.receiver().take_longest() > 250 * MS);
                }
                heard = call.heard() - heard;
                let what = format!("{}: {:?}", call.what, call.bandwidth());
                assert!(fits >= 24, "{what}: {fits} of 30 s, {:?}", call.layers());
                assert!(late <= 6, "{what}: late in {late} of 30 s");
                assert!(heard >= 1_455 * publishers as u64, "{what}: {heard}");
                call.assert_bounded();
            }
        }
    }
}

#[test]
fn a_link_that_narrows_is_sent_less_and_more_when_it_is_wide_again() {
    for seed in 0..3 {
        for says in [Says::Nothing, Says::Estimate] {
            let mut call = Call::new(1_280 + seed, 1, says, link(4_000));
            call.run(12 * SECOND);
            let what = call.what.clone();
            assert_eq!(call.layers(), [Some(2)], "{what}: {:?}", call.bandwidth());
            let viewer = call.viewer;
            call.sim.clients[viewer].down.set_model(link(600));
            call.run(4 * SECOND);
            let narrow = call.videos();
            assert!(
                narrow[0].layer <= Some(1) && narrow[0].reason == "bandwidth",
                "{what}: {narrow:?} {:?}",
                call.bandwidth()
            );
            call.run(20 * SECOND);
            call.sim.clients[viewer].down.set_model(link(4_000));
            let took = call.until_top(30 * SECOND);
            assert!(took.is_some(), "{what}: {:?}", call.bandwidth());
            call.assert_bounded();
        }
    }
}

#[test]
fn a_picture_without_sound_comes_back_when_the_link_does() {
    let outage = PathModel {
        loss: 1.0,
        ..PathModel::LAN
    };
    for seed in 0..3 {
        for says in [Says::Nothing, Says::Estimate] {
            for broken in [outage, link(60)] {
                for seconds in [12, 25] {
                    let mut call = Call::with_sounds(1_380 + seed, 1, 0, says.clone(), link(4_000));
                    call.run(10 * SECOND);
                    let viewer = call.viewer;
                    let what = format!("{}: {seconds} s of {:?}", call.what, broken.rate);
                    call.sim.clients[viewer].down.set_model(broken);
                    call.run(seconds * SECOND);
                    assert!(
                        call.layers() <= vec![Some(0)],
                        "{what}: {:?}",
                        call.layers()
                    );
                    call.sim.clients[viewer].down.set_model(link(4_000));
                    // A failed try of a narrow link is not repeated for up to a minute.
                    let limit = if broken.rate.is_none() { 15 } else { 75 };
                    let took = call.until_top(limit * SECOND);
                    assert!(took.is_some(), "{what}: {:?}", call.bandwidth());
                }
            }
        }
    }
}

#[test]
fn what_is_said_is_no_limit_for_what_is_shown_larger_later() {
    for says in [Says::Nothing, Says::Estimate] {
        let mut call = Call::new(1_300, 1, says, PathModel::LAN);
        let peer = call.sim.clients[call.viewer].peer.unwrap();
        let small = View::of(call.videos[0]).with_height(180);
        call.sim
            .relay
            .set_views(call.sim.now, peer, &[small])
            .unwrap();
        call.run(30 * SECOND);
        assert_eq!(call.layers(), [Some(0)], "{}", call.what);
        let large = View::of(call.videos[0]);
        call.sim
            .relay
            .set_views(call.sim.now, peer, &[large])
            .unwrap();
        let took = call.until_top(5 * SECOND);
        assert!(took.is_some(), "{}: {:?}", call.what, call.bandwidth());
        call.run(10 * SECOND);
        assert_eq!(
            call.layers(),
            [Some(2)],
            "{}: {:?}",
            call.what,
            call.bandwidth()
        );
    }
}

/// Chromium sends some estimates that nobody negotiated, unrelated to the rate sent.
#[test]
fn what_is_said_without_having_been_negotiated_is_no_limit() {
    let mut sim = Sim::new(1_325);
    let publisher = sim.participant(Video::Simulcast);
    sim.run(3 * SECOND);
    for without_remb in [false, true] {
        let viewer = sim.client();
        sim.clients[viewer].receiver = Some(Receiver::saying(Says::Always(20_000, usize::MAX)));
        sim.clients[viewer].without_remb = without_remb;
        sim.clients[viewer].follows_needs = false;
        sim.clients[viewer].receive(1, 1);
        sim.join(viewer);
        sim.run(10 * SECOND);
        let peer = sim.clients[viewer].peer.unwrap();
        let told = sim.relay.peer_stats(peer).unwrap().subscriptions;
        let track = sim.clients[publisher].published[1];
        let told = told.iter().find(|told| told.track == track).unwrap();
        let expected = if without_remb { "best" } else { "bandwidth" };
        assert_eq!(told.reason, expected, "{without_remb}: {told:?}");
    }
}

#[test]
fn who_says_next_to_nothing_hears_and_does_not_see_until_it_is_stale() {
    for rate in [0, 1] {
        let mut call = Call::new(1_320, 2, Says::Nothing, PathModel::LAN);
        call.run(8 * SECOND);
        assert_eq!(call.layers(), [Some(2); 2]);
        call.says(Says::Always(rate, usize::MAX));
        call.run(3 * SECOND);
        let heard = call.heard();
        call.run(20 * SECOND);
        for video in call.videos() {
            assert_eq!((video.layer, video.reason), (None, "bandwidth"), "{rate}");
        }
        assert!(call.heard() - heard >= 1_980, "sound goes on");
        assert_eq!(call.bandwidth().limited_by, "remb");
        call.says(Says::Nothing);
        assert!(
            call.until_top(20 * SECOND).is_some(),
            "{:?}",
            call.bandwidth()
        );
        call.assert_bounded();
    }
}

#[test]
fn one_of_two_is_bounded_if_one_is_named() {
    let mut call = Call::new(1_340, 2, Says::Always(700_000, 1), PathModel::LAN);
    call.run(20 * SECOND);
    let mut layers = call.layers();
    layers.sort_unstable();
    assert_eq!(layers, [Some(1), Some(2)], "{:?}", call.bandwidth());
    call.assert_bounded();
}

#[test]
fn who_never_reports_is_sent_the_smallest_picture() {
    let mut call = Call::new(1_360, 1, Says::Nothing, PathModel::LAN);
    call.receiver().mute = true;
    call.run(10 * SECOND);
    let heard = call.heard();
    call.run(20 * SECOND);
    let videos = call.videos();
    assert_eq!((videos[0].layer, videos[0].reason), (Some(0), "bandwidth"));
    assert!(call.heard() - heard >= 990);
    // More is sent as soon as it does.
    call.receiver().mute = false;
    assert!(
        call.until_top(6 * SECOND).is_some(),
        "{:?}",
        call.bandwidth()
    );
    call.assert_bounded();
}

/// An estimate that does not change is exceeded by one layer at a time, and more and more rarely.
#[test]
fn a_wish_is_exceeded_by_one_layer_now_and_then() {
    for (says, fits, tried) in [
        (Says::Always(60_000, usize::MAX), None, Some(0)),
        (Says::About(60_000), None, Some(0)),
        (Says::Always(120_000, usize::MAX), None, Some(0)),
        (Says::About(300_000), Some(0), Some(1)),
        (Says::Always(300_000, usize::MAX), Some(0), Some(1)),
    ] {
        let mut call = Call::new(1_400, 1, says, PathModel::LAN);
        let what = call.what.clone();
        let (mut tries, mut before) = (Vec::new(), None);
        for second in 0..150 {
            let heard = call.heard();
            call.run(SECOND);
            let video = &call.videos()[0];
            assert!(video.layer <= tried, "{what}: {second} s, {video:?}");
            assert_eq!(video.reason, "bandwidth", "{what}: {second} s");
            if second > 2 {
                let heard = call.heard() - heard;
                assert!(heard >= 48, "{what}: {heard} packets of sound");
            }
            if video.layer > fits && before <= fits {
                tries.push(second);
            }
            before = video.layer;
        }
        // Each trial takes three seconds. Twice the rate sent lately is no estimate of the link, and is not tried at
        // all.
        assert!((2..=4).contains(&tries.len()), "{what}: {tries:?}");
        let apart: Vec<i32> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(apart.is_sorted() && apart[0] >= 15, "{what}: {tries:?}");
        // The estimate changes: trials that failed are forgotten.
        call.says(Says::Always(8_000_000, usize::MAX));
        let took = call.until_top(5 * SECOND);
        assert!(took.is_some(), "{what}: {:?}", call.bandwidth());
    }
}
