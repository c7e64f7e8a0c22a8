//! From what the bots saw to the report.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::MediaKind;
use tokio::time::Instant;

use super::{Failure, FirstFrame, JoinPhases, MissingTrack, Percentiles, Report, ViolationSample};
use crate::bot::state::{BotState, Call, Part};
use crate::bot::tap::lock;
use crate::measure::{Observed, StreamOutcome};

/// Examples kept of each thing that can go wrong; the counts are complete.
const SAMPLES: usize = 50;

/// What is gathered from all bots before it is summed up.
#[derive(Default)]
struct Gathered {
    joins: Vec<Duration>,
    answers: Vec<Duration>,
    first_frames: Vec<Duration>,
    phases: [Vec<Duration>; 4],
    kbit_s: Vec<f64>,
    /// Viewing time at each picture height.
    residency: BTreeMap<u16, Duration>,
    decrypted: u64,
}

/// Of each room, its bots by their index, and the tracks each of them has.
type Rooms<'a> = HashMap<&'a str, Vec<(usize, Vec<String>)>>;

impl Report {
    /// Takes stock of bots that have said what they observed.
    pub fn collect(&mut self, bots: &[Arc<BotState>], tracks_per_publisher: usize) {
        let mut gathered = Gathered::default();
        let mut rooms = Rooms::new();
        for (index, bot) in bots.iter().enumerate() {
            self.collect_join(bot, &mut gathered);
            self.collect_observed(bot, &mut gathered);
            if bot.publishes && bot.talks && bot.part != Part::Passing {
                let tracks = bot.call().published.keys().cloned().collect();
                rooms.entry(&bot.room).or_default().push((index, tracks));
            }
        }
        for (index, bot) in bots.iter().enumerate() {
            if bot.part == Part::Passing {
                continue;
            }
            let others = rooms.get(&*bot.room).into_iter().flatten();
            let others: Vec<_> = others.filter(|(other, _)| *other != index).collect();
            let named: Vec<&str> = others
                .iter()
                .flat_map(|(_, tracks)| tracks.iter().map(String::as_str))
                .collect();
            let expected = others.len() * tracks_per_publisher;
            self.collect_tracks(bot, expected, &named, &mut gathered);
        }
        self.sum_up(gathered);
    }

    fn collect_join(&mut self, bot: &BotState, gathered: &mut Gathered) {
        let call = bot.call();
        gathered.answers.extend(call.answered);
        match call.joined {
            Some(took) => {
                self.joined += 1;
                self.dropped += usize::from(call.failure.is_some());
                gathered.joins.push(took);
            }
            None => self.join_failed += 1,
        }
        if let Some(reason) = &call.failure {
            keep(&mut self.failures, || Failure {
                bot: bot.name.clone(),
                room: bot.room.clone(),
                reason: reason.clone(),
            });
        }
    }

    fn collect_observed(&mut self, bot: &BotState, gathered: &mut Gathered) {
        let observed = lock(&bot.observed);
        let phases = observed.phases;
        let steps = [
            phases.signaling,
            phases.ice,
            phases.dtls,
            phases.first_packet,
        ];
        for (all, step) in gathered.phases.iter_mut().zip(steps) {
            all.extend(step);
        }
        let sent = &observed.sent;
        self.packets_sent += sent.packets;
        self.packets_late += sent.late;
        self.retransmissions_sent += sent.retransmissions;
        self.keyframe_requests_received += sent.keyframe_requests_received;
        self.packets_received += observed.packets;
        self.bytes_received += observed.bytes;
        self.retransmissions_received += observed.retransmitted;
        self.keyframe_requests_sent += observed.keyframe_requests_sent;
        self.packets_unknown += observed.unknown;
        gathered.decrypted += observed.decrypted;
        if bot.part != Part::Passing && self.duration_s > 0.0 && bot.call().joined.is_some() {
            let kbit = observed.bytes as f64 * 8e-3;
            gathered
                .kbit_s
                .push(kbit / self.viewed(bot).unwrap_or(self.duration_s));
        }
        let call = bot.call();
        for stream in &observed.streams {
            let track = stream.mid.as_ref().and_then(|mid| call.slots.get(mid));
            self.collect_stream(bot, stream, track, gathered);
        }
    }

    /// How long a bot was in the call, in seconds.
    fn viewed(&self, bot: &BotState) -> Option<f64> {
        let call = bot.call();
        let since = call.started?.elapsed().checked_sub(call.joined?)?;
        Some(since.as_secs_f64().max(self.duration_s))
    }

    fn collect_stream(
        &mut self,
        bot: &BotState,
        stream: &StreamOutcome,
        track: Option<&String>,
        gathered: &mut Gathered,
    ) {
        self.packets_lost += stream.lost;
        self.reordered += stream.reordered;
        self.duplicates += stream.duplicates;
        self.oracle_violations += stream.violation_count;
        if stream.kind == MediaKind::Video {
            self.frames_decodable += stream.decodable_frames;
            let freeze = milliseconds(stream.longest_freeze);
            self.longest_freeze_ms = self.longest_freeze_ms.max(freeze.round());
            self.freezes += stream.freezes;
            self.frozen_ms += milliseconds(stream.frozen);
            for (height, time) in &stream.residency {
                *gathered.residency.entry(*height).or_default() += *time;
            }
        }
        for violation in &stream.violations {
            keep(&mut self.violation_samples, || ViolationSample {
                bot: bot.name.clone(),
                room: bot.room.clone(),
                track: track.cloned(),
                ssrc: stream.ssrc,
                violation: violation.clone(),
            });
        }
    }

    fn collect_tracks(
        &mut self,
        bot: &BotState,
        expected: usize,
        named: &[&str],
        gathered: &mut Gathered,
    ) {
        let observed = lock(&bot.observed);
        let call = bot.call();
        let foreign = |stream: &&StreamOutcome| {
            let track = stream.mid.as_ref().and_then(|mid| call.slots.get(mid));
            track.is_some_and(|track| !named.contains(&&**track)) && arrived(stream).is_ok()
        };
        self.foreign_tracks_receiving += observed.streams.iter().filter(foreign).count();
        self.tracks_expected += expected;
        let mut missing = |track: Option<&str>, reason: &str| {
            keep(&mut self.missing_tracks, || MissingTrack {
                bot: bot.name.clone(),
                room: bot.room.clone(),
                track: track.map(str::to_owned),
                reason: reason.to_owned(),
            });
        };
        for track in named {
            match received(track, &call, &observed) {
                Ok(stream) => {
                    self.tracks_receiving += 1;
                    let first = first_frame(track, &call, stream);
                    gathered.first_frames.extend(first);
                }
                Err(reason) => missing(Some(track), reason),
            }
        }
        for _ in named.len()..expected {
            missing(None, "its publisher did not publish it");
        }
    }

    fn sum_up(&mut self, mut gathered: Gathered) {
        self.join_ms = Percentiles::of(&mut gathered.joins);
        self.answer_ms = Percentiles::of(&mut gathered.answers);
        self.first_frame_ms = FirstFrame::of(&mut gathered.first_frames);
        let [signaling, ice, dtls, first] = &mut gathered.phases;
        self.phases = JoinPhases {
            signaling_ms: Percentiles::of(signaling),
            ice_ms: Percentiles::of(ice),
            dtls_ms: Percentiles::of(dtls),
            first_packet_ms: Percentiles::of(first),
        };
        self.viewer_kbit_s = Percentiles::of_values(&mut gathered.kbit_s);
        let viewed: Duration = gathered.residency.values().sum();
        self.layer_residency = gathered
            .residency
            .iter()
            .filter(|(_, time)| !time.is_zero())
            .map(|(height, time)| (height.to_string(), share(*time, viewed)))
            .collect();
        if self.packets_received > 0 {
            self.decrypted_share = gathered.decrypted as f64 / self.packets_received as f64;
        }
        if self.duration_s > 0.0 {
            self.receive_mbit_s = self.bytes_received as f64 * 8e-6 / self.duration_s;
        }
        self.passed = self.join_failed == 0
            && self.dropped == 0
            && self.tracks_receiving == self.tracks_expected
            && self.oracle_violations == 0;
    }

    /// The exit status of a run: 1 if it failed, 3 if it passed and its figures are not valid.
    pub fn exit_status(&self) -> u8 {
        match (self.passed, self.valid) {
            (false, _) => 1,
            (true, false) => 3,
            (true, true) => 0,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn share(part: Duration, whole: Duration) -> f64 {
    (part.as_secs_f64() / whole.as_secs_f64() * 1e4).round() / 1e4
}

fn keep<T>(samples: &mut Vec<T>, sample: impl FnOnce() -> T) {
    if samples.len() < SAMPLES {
        samples.push(sample());
    }
}

fn received<'a>(
    track: &str,
    call: &Call,
    observed: &'a Observed,
) -> Result<&'a StreamOutcome, &'static str> {
    if call.joined.is_none() {
        return Err("the bot did not join");
    }
    if !call.announced.contains_key(track) {
        return Err("the server never announced it");
    }
    let (mid, _) = call
        .slots
        .iter()
        .find(|(_, carried)| *carried == track)
        .ok_or("no m-line was assigned to it")?;
    let stream = observed
        .streams
        .iter()
        .filter(|stream| stream.mid.as_ref() == Some(mid))
        .max_by_key(|stream| stream.packets)
        .ok_or("no packet came on its m-line")?;
    arrived(stream)?;
    Ok(stream)
}

fn arrived(stream: &StreamOutcome) -> Result<(), &'static str> {
    if stream.packets == 0 {
        return Err("no packet came on its m-line");
    }
    if stream.kind == MediaKind::Video && stream.decodable_frames == 0 {
        return Err("packets came, but no frame that can be decoded");
    }
    Ok(())
}

fn first_frame(track: &str, call: &Call, stream: &StreamOutcome) -> Option<Duration> {
    let announced = call.announced.get(track)?;
    let shown = Instant::from_std(stream.first_decodable?);
    let since = announced.at.max(call.started?);
    (announced.kind == MediaKind::Video).then(|| shown.saturating_duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot;
    use crate::bot::publish::Video;
    use crate::bot::state::Announced;
    use crate::bot::testing::hear_clip;

    /// A publisher and a subscriber whose call went well.
    fn call() -> [Arc<BotState>; 2] {
        let publisher = BotState::new("p".into(), "hall".into(), true);
        let subscriber = BotState::new("s".into(), "hall".into(), false);
        let now = Instant::now();
        for bot in [&publisher, &subscriber] {
            bot.call().started = Some(now);
            bot.call().joined = Some(Duration::from_millis(80));
        }
        let mut call = publisher.call();
        call.published.insert("t1".into(), MediaKind::Video);
        drop(call);
        let mut call = subscriber.call();
        let kind = MediaKind::Video;
        call.announced
            .insert("t1".into(), Announced { kind, at: now });
        call.slots.insert("0".into(), "t1".into());
        drop(call);
        [Arc::new(publisher), Arc::new(subscriber)]
    }

    fn report(bots: &[Arc<BotState>]) -> Report {
        let mut report = Report {
            video: format!("{:?}", Video::P180),
            duration_s: 2.0,
            ..Default::default()
        };
        bots.iter().for_each(|bot| bot::settle(bot));
        report.collect(bots, 1);
        report
    }

    #[test]
    fn a_good_call_passes() {
        let bots = call();
        hear_clip(&bots[1], "0", 0, 60);
        let report = report(&bots);
        assert!(report.passed, "{report:?}");
        assert_eq!((report.tracks_expected, report.tracks_receiving), (1, 1));
        assert_eq!((report.joined, report.join_failed), (2, 0));
        assert_eq!(report.join_ms.p50, Some(80.0));
        assert!(report.first_frame_ms.max.is_some());
        assert!(report.bytes_received > 0 && report.packets_lost == 0);
        assert_eq!((report.decrypted_share, report.freezes), (1.0, 0));
        assert_eq!(report.layer_residency["180"], 1.0);
        assert!(report.viewer_kbit_s.max > Some(1.0));
        assert_eq!(report.exit_status(), 3, "nobody has judged it yet");
    }

    #[test]
    fn what_is_missing_is_named() {
        type Spoil = fn(&[Arc<BotState>; 2]);
        let cases: [(&str, Spoil); 6] = [
            ("the bot did not join", |bots| bots[1].call().joined = None),
            ("the server never announced it", |bots| {
                bots[1].call().announced.clear();
            }),
            ("no m-line was assigned to it", |bots| {
                bots[1].call().slots.clear();
            }),
            ("no packet came on its m-line", |bots| {
                lock(&bots[1].receiver).finish();
            }),
            ("packets came, but no frame that can be decoded", |bots| {
                lock(&bots[1].receiver).finish();
                hear_clip(&bots[1], "0", 5, 20);
            }),
            ("its publisher did not publish it", |bots| {
                bots[0].call().published.clear();
            }),
        ];
        for (reason, spoil) in cases {
            let bots = call();
            hear_clip(&bots[1], "0", 0, 60);
            spoil(&bots);
            let report = report(&bots);
            assert!(!report.passed);
            assert_eq!((report.tracks_expected, report.tracks_receiving), (1, 0));
            assert_eq!(report.missing_tracks[0].reason, reason);
            assert_eq!(report.exit_status(), 1);
        }
    }

    #[test]
    fn a_bot_that_drops_out_fails_the_run() {
        let bots = call();
        hear_clip(&bots[1], "0", 0, 60);
        bots[0].call().failure = Some("gone".into());
        let report = report(&bots);
        assert_eq!(
            (report.joined, report.dropped, report.passed),
            (2, 1, false)
        );
        assert_eq!(report.failures[0].reason, "gone");
    }

    #[test]
    fn of_the_muted_nothing_is_expected_and_of_those_who_pass_only_joining() {
        let mut bots = call();
        Arc::get_mut(&mut bots[0]).unwrap().talks = false;
        let silent = report(&bots);
        assert!(silent.passed, "{silent:?}");
        assert_eq!((silent.tracks_expected, silent.joined), (0, 2));
        let mut bots = call();
        Arc::get_mut(&mut bots[1]).unwrap().part = Part::Passing;
        let passing = report(&bots);
        assert!(passing.passed, "{passing:?}");
        assert_eq!((passing.tracks_expected, passing.joined), (0, 2));
    }

    #[test]
    fn a_report_reads_back_and_an_older_one_too() {
        let bots = call();
        hear_clip(&bots[1], "0", 0, 60);
        let report = report(&bots);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        let older = serde_json::from_str::<Report>(r#"{"joined":3,"unknown":1}"#).unwrap();
        assert_eq!((older.joined, older.valid), (3, false));
    }

    #[test]
    fn the_stable_keys_are_there() {
        let json = serde_json::to_value(Report::default()).unwrap();
        for key in [
            "joined",
            "join_failed",
            "tracks_expected",
            "tracks_receiving",
            "packets_sent",
            "packets_received",
            "packets_lost",
            "bytes_received",
            "oracle_violations",
        ] {
            assert!(json[key].is_u64(), "{key}");
        }
        for (key, inner) in [
            ("join_ms", &["p50", "p95", "p99", "max"][..]),
            ("first_frame_ms", &["p50", "p95", "max"]),
        ] {
            for inner in inner {
                assert!(
                    json[key].as_object().unwrap().contains_key(*inner),
                    "{key}.{inner}"
                );
            }
        }
        assert!(
            json["generator"]
                .as_object()
                .unwrap()
                .contains_key("socket_drops")
        );
    }
}
