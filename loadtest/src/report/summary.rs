//! The report as people read it.

use std::fmt;

use super::Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        let join = &self.join_ms;
        let first = &self.first_frame_ms;
        writeln!(
            f,
            "{} rooms of {} publishers and {} subscribers, video {}, audio {}, {:.1} s{}",
            self.rooms,
            self.publishers,
            self.subscribers,
            self.video,
            if self.audio { "on" } else { "off" },
            self.duration_s,
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            },
        )?;
        writeln!(
            f,
            "  joined    {} of {} in {} ms (p50), {} (p95), {} (max)",
            self.joined,
            self.joined + self.join_failed,
            ms(join.p50),
            ms(join.p95),
            ms(join.max)
        )?;
        writeln!(
            f,
            "  tracks    {} of {}; first frame after {} ms (p50), {} (p95), {} (max)",
            self.tracks_receiving,
            self.tracks_expected,
            ms(first.p50),
            ms(first.p95),
            ms(first.max)
        )?;
        writeln!(
            f,
            "  packets   {} sent, {} received ({:.1} Mbit/s), {} lost, {} retransmitted",
            self.packets_sent,
            self.packets_received,
            self.receive_mbit_s,
            self.packets_lost,
            self.retransmissions_received
        )?;
        writeln!(
            f,
            "  video     {} decodable frames, longest freeze {:.0} ms, {} oracle violations",
            self.frames_decodable, self.longest_freeze_ms, self.oracle_violations
        )?;
        if let Some(drops) = self.generator.socket_drops.filter(|drops| *drops > 0) {
            writeln!(
                f,
                "  CAUTION   the bots were too slow to read {drops} datagrams: losses may be theirs"
            )?;
        }
        for failure in self.failures.iter().take(5) {
            writeln!(
                f,
                "  failed    {} in {}: {}",
                failure.bot, failure.room, failure.reason
            )?;
        }
        for missing in self.missing_tracks.iter().take(5) {
            let track = missing.track.as_deref().unwrap_or("a track");
            writeln!(
                f,
                "  missing   {track} at {} in {}: {}",
                missing.bot, missing.room, missing.reason
            )?;
        }
        for sample in self.violation_samples.iter().take(5) {
            writeln!(
                f,
                "  violation at {} in {}: {}",
                sample.bot, sample.room, sample.violation
            )?;
        }
        write!(f, "{}", if self.passed { "passed" } else { "FAILED" })
    }
}
