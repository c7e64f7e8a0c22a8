//! From what the bots saw to the report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::MediaKind;
use tokio::time::Instant;

use crate::bot::receive::StreamReport;
use crate::bot::state::{BotState, Call};
use crate::bot::tap::lock;

use super::{Failure, FirstFrame, MissingTrack, Percentiles, Report, ViolationSample};

/// Examples kept of each thing that can go wrong; the counts are complete.
const SAMPLES: usize = 50;

impl Report {
    /// Takes stock of bots whose publishers have stopped: ends their oracles.
    pub fn collect(&mut self, bots: &[Arc<BotState>], tracks_per_publisher: usize) {
        let mut joins = Vec::new();
        let mut answers = Vec::new();
        let mut first_frames = Vec::new();
        for bot in bots {
            let call = bot.call();
            answers.extend(call.answered);
            match call.joined {
                Some(took) => {
                    self.joined += 1;
                    self.dropped += usize::from(call.failure.is_some());
                    joins.push(took);
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
            self.packets_sent += bot.outgoing.packets();
            self.retransmissions_sent += bot.outgoing.retransmissions();
            self.keyframe_requests_received += bot.outgoing.keyframe_requests();
        }
        for bot in bots {
            let others = || {
                bots.iter()
                    .filter(|other| bot.hears(other) && !Arc::ptr_eq(other, bot))
            };
            let named: BTreeSet<String> = others()
                .flat_map(|other| other.call().published.keys().cloned().collect::<Vec<_>>())
                .collect();
            let publishing = others().filter(|other| other.publishes).count();
            self.collect_bot(
                bot,
                publishing * tracks_per_publisher,
                &named,
                &mut first_frames,
            );
        }
        self.join_ms = Percentiles::of(&mut joins);
        self.answer_ms = Percentiles::of(&mut answers);
        self.first_frame_ms = FirstFrame::of(&mut first_frames);
        if self.duration_s > 0.0 {
            self.receive_mbit_s = self.bytes_received as f64 * 8e-6 / self.duration_s;
        }
        self.passed = self.join_failed == 0
            && self.dropped == 0
            && self.tracks_receiving == self.tracks_expected
            && self.oracle_violations == 0;
    }

    fn collect_bot(
        &mut self,
        bot: &BotState,
        expected: usize,
        named: &BTreeSet<String>,
        first_frames: &mut Vec<Duration>,
    ) {
        let (totals, streams) = {
            let mut receiver = lock(&bot.receiver);
            (receiver.totals(), receiver.finish())
        };
        let call = bot.call();
        self.packets_received += totals.packets;
        self.bytes_received += totals.bytes;
        self.retransmissions_received += totals.retransmitted;
        self.keyframe_requests_sent += totals.keyframe_requests;
        self.packets_unknown += totals.unknown;
        for stream in &streams {
            let track = stream.mid.as_ref().and_then(|mid| call.slots.get(mid));
            self.packets_lost += stream.oracle.lost;
            self.oracle_violations += stream.oracle.violation_count;
            if !stream.codec.is_audio() {
                self.frames_decodable += stream.oracle.decodable_frames;
                let freeze = stream.oracle.longest_freeze.as_secs_f64() * 1e3;
                self.longest_freeze_ms = self.longest_freeze_ms.max(freeze.round());
            }
            for violation in &stream.oracle.violations {
                keep(&mut self.violation_samples, || ViolationSample {
                    bot: bot.name.clone(),
                    room: bot.room.clone(),
                    track: track.cloned(),
                    ssrc: stream.ssrc,
                    violation: format!("{violation:?}"),
                });
            }
            if let Some(track) = track
                && !named.contains(track)
                && arrived(stream).is_ok()
            {
                self.foreign_tracks_receiving += 1;
            }
        }

        self.tracks_expected += expected;
        let mut missing = |track: Option<&String>, reason: &str| {
            keep(&mut self.missing_tracks, || MissingTrack {
                bot: bot.name.clone(),
                room: bot.room.clone(),
                track: track.cloned(),
                reason: reason.to_owned(),
            });
        };
        for track in named {
            match received(track, &call, &streams) {
                Ok(stream) => {
                    self.tracks_receiving += 1;
                    first_frames.extend(first_frame(track, &call, stream));
                }
                Err(reason) => missing(Some(track), reason),
            }
        }
        for _ in named.len()..expected {
            missing(None, "its publisher did not publish it");
        }
    }

    /// The exit status of a run.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.passed)
    }
}

fn keep<T>(samples: &mut Vec<T>, sample: impl FnOnce() -> T) {
    if samples.len() < SAMPLES {
        samples.push(sample());
    }
}

fn received<'a>(
    track: &str,
    call: &Call,
    streams: &'a [StreamReport],
) -> Result<&'a StreamReport, &'static str> {
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
    let stream = streams
        .iter()
        .filter(|stream| stream.mid.as_ref() == Some(mid))
        .max_by_key(|stream| stream.oracle.packets)
        .ok_or("no packet came on its m-line")?;
    arrived(stream)?;
    Ok(stream)
}

fn arrived(stream: &StreamReport) -> Result<(), &'static str> {
    if stream.oracle.packets == 0 {
        return Err("no packet came on its m-line");
    }
    if !stream.codec.is_audio() && stream.oracle.decodable_frames == 0 {
        return Err("packets came, but no frame that can be decoded");
    }
    Ok(())
}

fn first_frame(track: &str, call: &Call, stream: &StreamReport) -> Option<Duration> {
    let announced = call.announced.get(track)?;
    let shown = Instant::from_std(stream.oracle.first_decodable?);
    let since = announced.at.max(call.started?);
    (announced.kind == MediaKind::Video).then(|| shown.saturating_duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(report.to_string().ends_with("passed"), "{report}");
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
