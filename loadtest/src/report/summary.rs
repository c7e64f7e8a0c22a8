//! The report as people read it in a terminal.

use std::fmt;

use super::figures::{self, Unit};
use super::{Percentiles, Report};

/// Examples of each thing that went wrong.
const EXAMPLES: usize = 5;

/// Lines of figures. A part is left out if its figure was not measured.
const GROUPS: [(&str, &str); 4] = [
    (
        "server",
        "{server_cpu} of its cores, {cpu_per_packet} for each packet, {packets_per_core} a core, \
         {packets_per_message} packets a message, {server_drops} dropped",
    ),
    (
        "floor",
        "{floor_ratio_gso} the GSO floor, {floor_ratio_single} the sendmmsg floor, {floor_ratio_stream} the stream floor",
    ),
    (
        "memory",
        "{rss}, {rss_per_participant} a participant, {rss_per_subscription} a subscription, {churn_ratio} after churn",
    ),
    (
        "bots",
        "{generator_cpu} of their cores, {socket_drops} socket drops, {packets_late} packets sent late, \
         {decrypted} decrypted, {oracle} of streams shown to the oracle",
    ),
];

/// The name of the run: its scenario, or a description of its flags.
pub(crate) fn name(report: &Report) -> String {
    match report.scenario.as_str() {
        "" => "a run of its own".into(),
        name => name.into(),
    }
}

/// Whether there are reasons not to believe it. Reports from before runs were judged have none.
pub(crate) fn invalid(report: &Report) -> bool {
    !report.valid && !report.invalid_reasons.is_empty()
}

/// The senders, receivers and media, in a line.
pub(crate) fn circumstances(report: &Report) -> String {
    let rooms = match report.rooms {
        1 => "1 room".to_owned(),
        rooms => format!("{rooms} rooms, each"),
    };
    let talkers = match report.talkers {
        talkers if talkers < report.publishers => format!(" ({talkers} of them sending)"),
        _ => String::new(),
    };
    let tiles = match report.tiles {
        Some(tiles) => format!(", {tiles} tiles each"),
        None => String::new(),
    };
    let media = match (report.video.as_str(), report.audio) {
        ("none" | "", true) => "audio".to_owned(),
        ("" | "none", false) => "no media".to_owned(),
        (video, true) => format!("{video} video and audio"),
        (video, false) => format!("{video} video"),
    };
    let bots = match report.bot.as_str() {
        "" => String::new(),
        bot => format!(", {bot} bots"),
    };
    format!(
        "{rooms} of {}{talkers} and {}, {media}{tiles}, {:.0} s{bots}{}",
        several(report.publishers, "publisher"),
        several(report.subscribers, "subscriber"),
        report.duration_s,
        if report.interrupted {
            " (interrupted)"
        } else {
            ""
        },
    )
}

fn several(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The faults of single bots and tracks, `most` of each kind.
pub(crate) fn problems(report: &Report, most: usize) -> Vec<(&'static str, String)> {
    let failures = report.failures.iter().map(|it| {
        let what = format!("{} in {}: {}", it.bot, it.room, it.reason);
        ("failed", what)
    });
    let missing = report.missing_tracks.iter().map(|it| {
        let track = it.track.as_deref().unwrap_or("a track");
        let what = format!("{track} at {} in {}: {}", it.bot, it.room, it.reason);
        ("missing", what)
    });
    let violations = report.violation_samples.iter().map(|it| {
        let what = format!("at {} in {}: {}", it.bot, it.room, it.violation);
        ("violation", what)
    });
    let (failures, missing) = (failures.take(most), missing.take(most));
    failures
        .chain(missing)
        .chain(violations.take(most))
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubtful = invalid(self);
        if doubtful {
            writeln!(
                f,
                "NOT VALID: the figures marked ? are not the server's alone"
            )?;
            for reason in &self.invalid_reasons {
                writeln!(f, "  - {reason}")?;
            }
        }
        writeln!(f, "{}: {}", name(self), circumstances(self))?;
        let mark = if doubtful { "? " } else { "" };
        for (name, what) in self.lines().iter().filter(|(_, what)| !what.is_empty()) {
            writeln!(f, "  {name:<9} {mark}{what}")?;
        }
        if let Some(drops) = self.generator.socket_drops.filter(|drops| *drops > 0) {
            let caution = "the bots were too slow to read";
            writeln!(
                f,
                "  CAUTION   {caution} {drops} datagrams: losses may be theirs"
            )?;
        }
        for (kind, problem) in problems(self, EXAMPLES) {
            writeln!(f, "  {kind:<9} {problem}")?;
        }
        f.write_str(match (doubtful, self.passed) {
            (true, _) => "NOT VALID",
            (false, true) => "passed",
            (false, false) => "FAILED",
        })
    }
}

impl Report {
    /// Names and texts of the lines with figures; a line without text says nothing.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let bots = self.joined + self.join_failed;
        let mut joined = format!("{} of {bots} in {}", self.joined, spread(&self.join_ms));
        if self.dropped > 0 {
            joined += &format!("; {} dropped out later", self.dropped);
        }
        let mut tracks = format!("{} of {}", self.tracks_receiving, self.tracks_expected);
        let first = &self.first_frame_ms;
        if first.p50.is_some() {
            let [p50, p95, max] = [first.p50, first.p95, first.max].map(ms);
            tracks += &format!("; first frame after {p50} (p50), {p95} (p95), {max} (max)");
        }
        let packets = [
            (self.packets_sent, "sent"),
            (self.packets_received, "received"),
            (self.packets_lost, "lost"),
            (self.retransmissions_received, "retransmitted"),
            (self.reordered, "reordered"),
            (self.duplicates, "duplicates"),
        ];
        let packets = packets.map(|(number, what)| format!("{} {what}", count(number)));
        let delay = if self.forward_delay_ms != Percentiles::default() {
            let [p50, p99] = [self.jitter_ms.p50, self.jitter_ms.p99].map(ms);
            let delay = spread(&self.forward_delay_ms);
            format!("{delay}; jitter {p50} (p50), {p99} (p99)")
        } else if self.packets_received > 0 {
            // Servers of other makes need not pass abs-capture-time on.
            "not available: no packet tells when it was sent".into()
        } else {
            String::new()
        };
        let video = format!(
            "{} decodable frames, {} freezes, longest {:.0} ms, {} oracle violations{}",
            count(self.frames_decodable),
            count(self.freezes),
            self.longest_freeze_ms,
            count(self.oracle_violations),
            self.layers()
        );
        let mut lines = vec![
            ("joined", joined),
            ("", self.phases()),
            ("tracks", tracks),
            ("packets", packets.join(", ")),
            (
                "",
                self.known("delivered {delivered}, {packets_s}, {mbit_s}"),
            ),
            ("uplinks", self.uplinks()),
            ("delay", delay),
        ];
        lines.extend(self.stages.iter().map(|stage| {
            let (delay, lost) = (spread(&stage.forward_delay_ms), count(stage.packets_lost));
            let mut what = format!("{}: delay {delay}, {lost} lost", stage.name);
            if stage.joined > 0 {
                what += &format!("; {} joined in {}", stage.joined, spread(&stage.join_ms));
            }
            ("", what)
        }));
        lines.push(("video", video));
        lines.extend(GROUPS.map(|(name, parts)| (name, self.known(parts))));
        lines
    }

    /// The parts of a line whose figures were measured.
    fn known(&self, parts: &str) -> String {
        let known = parts.split(", ").filter_map(|part| {
            let (before, rest) = part.split_once('{')?;
            let (key, after) = rest.split_once('}')?;
            let figure = figures::figure(key)?;
            let value = figure.unit.show((figure.value)(self)?);
            Some(format!("{before}{value}{after}"))
        });
        known.collect::<Vec<_>>().join(", ")
    }

    fn phases(&self) -> String {
        let phases = &self.phases;
        let known: Vec<String> = [
            ("signaling", phases.signaling_ms),
            ("ICE", phases.ice_ms),
            ("DTLS", phases.dtls_ms),
            ("first packet", phases.first_packet_ms),
        ]
        .into_iter()
        .filter(|(_, times)| times.p50.is_some())
        .map(|(name, times)| format!("{name} {} / {}", bare(times.p50), ms(times.p99)))
        .collect();
        match known.is_empty() {
            true => String::new(),
            false => format!("done after (p50 / p99): {}", known.join(", ")),
        }
    }

    /// The packets that publishers sent, and which of their encodings the server wanted.
    fn uplinks(&self) -> String {
        let sent = figures::figure("sent_mbit_s").and_then(|figure| (figure.value)(self));
        let Some(sent) = sent.filter(|_| !self.encodings.is_empty()) else {
            return String::new();
        };
        let wanted = self.encodings.iter();
        let wanted: Vec<_> = wanted
            .map(|of| format!("{} {} of {}", of.rid, of.wanted, of.publishers))
            .collect();
        let sent = Unit::MegabitsPerSecond.show(sent);
        format!("{sent}; wanted at the end: {}", wanted.join(", "))
    }

    fn layers(&self) -> String {
        let mut layers: Vec<_> = self.layer_residency.iter().collect();
        if layers.len() < 2 {
            return String::new();
        }
        layers.sort_by(|one, other| other.1.total_cmp(one.1));
        let shares: Vec<_> = layers
            .into_iter()
            .map(|(height, share)| format!("{height}p {}", Unit::Share.show(*share)))
            .collect();
        format!("; {}", shares.join(", "))
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| Unit::Milliseconds.show(value))
}

fn bare(value: Option<f64>) -> String {
    value.map_or("-".into(), super::number::readable)
}

fn count(value: u64) -> String {
    super::number::readable(value as f64)
}

fn spread(of: &Percentiles) -> String {
    format!(
        "{} (p50), {} (p95), {} (p99), {} (max)",
        ms(of.p50),
        ms(of.p95),
        ms(of.p99),
        ms(of.max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_good_run_in_words() {
        let text = sample::report(60).to_string();
        for line in [
            "livestream: 1 room of 1 publisher and 100 subscribers, 720p video and audio, 60 s, wire bots",
            "  joined    101 of 101 in 81 ms (p50), 104 ms (p95), 133 ms (p99), 160 ms (max)",
            "            done after (p50 / p99): signaling 12 / 33 ms, ICE 14 / 38 ms, DTLS 81 / 133 ms, first packet 96 / 166 ms",
            "  delay     0.210 ms (p50), 0.620 ms (p95), 1.40 ms (p99), 6.30 ms (max); jitter 0.0500 ms (p50), 0.800 ms (p99)",
            "  server    50% of its cores, 2.50 \u{b5}s for each packet, 400,000 /s a core, 5.10 packets a message, 42 dropped",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\npassed"), "{text}");
    }

    #[test]
    fn what_publishers_sent_stands_beside_what_of_it_was_wanted() {
        let mut report = sample::report(60);
        let encoding = |rid: &str, wanted| crate::report::Encoding {
            rid: rid.into(),
            publishers: 20,
            wanted,
            bytes: 0,
        };
        report.encodings = vec![encoding("q", 7), encoding("h", 0)];
        report.tiles = Some(6);
        report.window.seconds = 60.0;
        report.window.bytes_sent = 15_900_000;
        let text = report.to_string();
        let line = "  uplinks   2.12 Mbit/s; wanted at the end: q 7 of 20, h 0 of 20";
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.contains("audio, 6 tiles each, 60 s"), "{text}");
        report.encodings.clear();
        assert!(!report.to_string().contains("uplinks"), "no simulcast");
    }

    #[test]
    fn an_invalid_run_says_so_first_and_marks_its_figures() {
        let mut report = sample::report(60);
        report.valid = false;
        report.invalid_reasons = vec!["the load generator was full".into()];
        let text = report.to_string();
        assert!(text.starts_with("NOT VALID"), "{text}");
        assert_eq!(text.lines().nth(1), Some("  - the load generator was full"));
        assert!(text.contains("  server    ? 50%"), "{text}");
        assert!(text.ends_with("NOT VALID"));
    }

    #[test]
    fn what_was_not_measured_is_not_mentioned() {
        let report = Report {
            valid: true,
            ..Report::default()
        };
        let text = report.to_string();
        for absent in ["server", "floor", "memory", "delay", "stage"] {
            assert!(!text.contains(&format!("  {absent}")), "{absent}\n{text}");
        }
        let report = Report {
            packets_received: 1,
            ..report
        };
        assert!(report.to_string().contains("  delay     not available: "));
    }
}
