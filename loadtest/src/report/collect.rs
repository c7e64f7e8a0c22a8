//! Builds the report from the bots' observations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::MediaKind;
use tokio::time::Instant;

use super::{
    Encoding, Failure, FirstFrame, JoinPhases, MissingTrack, Percentiles, Report, ViolationSample,
};
use crate::bot::state::{BotState, Call, Part};
use crate::bot::tap::lock;
use crate::measure::{EncodingSent, Observed, StreamOutcome};

/// Examples kept of each thing that can go wrong; the counts are complete.
const SAMPLES: usize = 50;

/// The measurements of all bots before they are summed up.
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

/// The bots of each room by their index, with the tracks of each.
type Rooms<'a> = HashMap<&'a str, Vec<(usize, Vec<String>)>>;

impl Report {
    /// Collects the observations of bots that have reported them.
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
            let others: Vec<_> = others
                .filter(|(other, _)| *other != index && bot.hears(&bots[*other]))
                .collect();
            let named: Vec<&str> = others
                .iter()
                .flat_map(|(_, tracks)| tracks.iter().map(String::as_str))
                .collect();
            let hidden = bot.call().hidden.clone();
            let hides = |track: &&str| hidden.contains(*track);
            let expected =
                others.len() * tracks_per_publisher - named.iter().filter(|t| hides(t)).count();
            let named: Vec<&str> = named.into_iter().filter(|track| !hides(track)).collect();
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
        for sent in observed
            .encodings
            .iter()
            .filter(|sent| !sent.rid.is_empty())
        {
            self.collect_encoding(sent);
        }
        let totals = &observed.totals;
        self.packets_received += totals.packets;
        self.bytes_received += totals.bytes;
        self.retransmissions_received += totals.retransmitted;
        self.keyframe_requests_sent += totals.keyframe_requests;
        self.packets_unknown += totals.unknown;
        gathered.decrypted += totals.decrypted;
        if bot.part != Part::Passing && self.duration_s > 0.0 && bot.call().joined.is_some() {
            let kbit = totals.bytes as f64 * 8e-3;
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

    fn collect_encoding(&mut self, sent: &EncodingSent) {
        let mut known = self.encodings.iter();
        let index = known.position(|encoding| encoding.rid == sent.rid);
        let index = index.unwrap_or_else(|| {
            self.encodings.push(Encoding {
                rid: sent.rid.to_owned(),
                ..Encoding::default()
            });
            self.encodings.len() - 1
        });
        let encoding = &mut self.encodings[index];
        encoding.publishers += 1;
        encoding.wanted += usize::from(sent.active);
        encoding.bytes += sent.bytes;
    }

    /// The time that a bot was in the call, in seconds.
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
            // Packets of a hidden track may have been on their way before the server heard that it
            // is hidden.
            let ours = |track: &String| named.contains(&&**track) || call.hidden.contains(track);
            track.is_some_and(|track| !ours(track)) && arrived(stream).is_ok()
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
mod tests;
