//! The figures of a report, each once: its name, unit, meaning, and which way is better. Pages,
//! comparisons and objectives all take them from here.

use serde::{Deserialize, Serialize};

use super::Report;
use super::number::readable;

/// One number that reports have, or could have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// The name used in objectives; stable.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// The group in which it is shown; figures of a group follow each other.
    pub(crate) group: &'static str,
    /// The thing measured, and how it was measured.
    pub(crate) about: &'static str,
    /// Reads the value; none if the run did not measure it.
    pub(crate) value: fn(&Report) -> Option<f64>,
}

/// The unit of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Count,
    /// 1 is all of it; shown in percent.
    Share,
    Milliseconds,
    /// Shown in microseconds from one on.
    Nanoseconds,
    /// Shown in KiB, MiB, GiB.
    Bytes,
    PerSecond,
    MegabitsPerSecond,
    KilobitsPerSecond,
    /// A multiple of some other value.
    Times,
}

/// The direction in which a figure should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Better {
    Lower,
    Higher,
    /// The figure describes the run.
    Neither,
}

/// A figure over several runs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// Runs that measured it.
    pub runs: usize,
}

impl Spread {
    /// The spread of the values that runs measured; none if none did.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        Some(Self {
            median: if values.len() % 2 == 1 {
                upper
            } else {
                (values[middle - 1] + upper) / 2.0
            },
            low: values[0],
            high: values[values.len() - 1],
            runs: values.len(),
        })
    }

    /// The median, and the range if there is one.
    pub(crate) fn show(&self, unit: Unit) -> String {
        let (median, low, high) = (
            unit.show(self.median),
            unit.show(self.low),
            unit.show(self.high),
        );
        match low == high {
            true => median,
            false => format!("{median} ({low} to {high})"),
        }
    }
}

impl Unit {
    /// A value as people read it, with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        let (number, unit) = self.parts(value);
        match unit {
            "" => number,
            "%" | "\u{d7}" => format!("{number}{unit}"),
            _ => format!("{number} {unit}"),
        }
    }

    /// The shown value in two parts; the unit may be empty.
    pub(crate) fn parts(self, value: f64) -> (String, &'static str) {
        const KIB: f64 = 1_024.0;
        let (value, unit) = match self {
            Self::Count => (value, ""),
            Self::Share => (value * 100.0, "%"),
            Self::Milliseconds => (value, "ms"),
            Self::Nanoseconds if value.abs() >= 1e3 => (value / 1e3, "\u{b5}s"),
            Self::Nanoseconds => (value, "ns"),
            Self::Bytes if value.abs() >= KIB * KIB * KIB => (value / (KIB * KIB * KIB), "GiB"),
            Self::Bytes if value.abs() >= KIB * KIB => (value / (KIB * KIB), "MiB"),
            Self::Bytes if value.abs() >= KIB => (value / KIB, "KiB"),
            Self::Bytes => (value, "bytes"),
            Self::PerSecond => (value, "/s"),
            Self::MegabitsPerSecond => (value, "Mbit/s"),
            Self::KilobitsPerSecond => (value, "kbit/s"),
            Self::Times => (value, "\u{d7}"),
        };
        // 99.96% delivered is not everything, and must not read so.
        if self == Self::Share && value > 99.0 && value < 100.0 {
            let nines = (-(100.0 - value).log10()).ceil().clamp(1.0, 4.0) as usize;
            let cut = (value * 10_f64.powi(nines as i32)).floor() / 10_f64.powi(nines as i32);
            return (format!("{cut:.nines$}"), unit);
        }
        (readable(value), unit)
    }
}

/// The figure with a key.
pub(crate) fn figure(key: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|figure| figure.key == key)
}

/// Share of lost packets among those expected.
pub(crate) fn loss(report: &Report) -> Option<f64> {
    let expected = match report.packets_expected {
        0 => report.window.packets_received + report.window.packets_lost,
        expected => expected,
    };
    (expected > 0).then(|| report.window.packets_lost as f64 / expected as f64)
}

fn per_second(of: fn(&Report) -> f64, report: &Report) -> Option<f64> {
    (report.window.seconds > 0.0).then(|| of(report) / report.window.seconds)
}

fn measured(report: &Report) -> bool {
    report.window.packets_received > 0 || report.packets_received > 0
}

macro_rules! figures {
    ($($group:literal: $key:literal, $name:literal, $unit:ident, $better:ident, $about:literal, $value:expr;)*) => {
        /// Every figure, in the order they are read.
        pub(crate) static FIGURES: &[Figure] = &[$(Figure {
            key: $key,
            name: $name,
            unit: Unit::$unit,
            better: Better::$better,
            group: $group,
            about: $about,
            value: $value,
        }),*];
    };
}

figures! {
    "Delivery": "delivered", "Delivered", Share, Higher,
        "Packets that reached viewers, of those that should have: each packet sent in the window, once for each other participant of its room.",
        |report| report.delivered_ratio;
    "Delivery": "loss", "Lost", Share, Lower,
        "Gaps in sequence numbers that no retransmission filled, of the packets expected in the window.",
        loss;
    "Delivery": "packets_s", "Packets to viewers", PerSecond, Higher,
        "RTP packets received by all viewers together, each second of the window.",
        |report| per_second(|report| report.window.packets_received as f64, report);
    "Delivery": "mbit_s", "Media to viewers", MegabitsPerSecond, Higher,
        "RTP headers and payloads of these, without SRTP tag, UDP and IP.",
        |report| per_second(|report| report.window.bytes_received as f64 * 8e-6, report)
            .or((report.receive_mbit_s > 0.0).then_some(report.receive_mbit_s));
    "Delivery": "sent_mbit_s", "Media from publishers", MegabitsPerSecond, Neither,
        "RTP headers and payloads that publishers sent, all their encodings together; of wire bots.",
        |report| per_second(|report| report.window.bytes_sent as f64 * 8e-6, report)
            .filter(|sent| *sent > 0.0);
    "Delivery": "viewer_p50", "Media to one viewer (p50)", KilobitsPerSecond, Neither,
        "What the viewer in the middle received over its whole call.",
        |report| report.viewer_kbit_s.p50;
    "Delivery": "freezes", "Freezes", Count, Lower,
        "Times a picture stood still for more than 200 ms between two decodable frames.",
        |report| measured(report).then_some(report.freezes as f64);
    "Delivery": "longest_freeze", "Longest freeze", Milliseconds, Lower,
        "The longest any picture stood still.",
        |report| measured(report).then_some(report.longest_freeze_ms);
    "Delivery": "reordered", "Reordered", Count, Lower,
        "Packets that came after a later one, retransmissions not counted.",
        |report| measured(report).then_some(report.reordered as f64);
    "Delivery": "duplicates", "Duplicates", Count, Lower,
        "Packets that came twice.",
        |report| measured(report).then_some(report.duplicates as f64);
    "Delivery": "retransmitted", "Retransmitted", Count, Lower,
        "Packets that viewers received by retransmission.",
        |report| measured(report).then_some(report.retransmissions_received as f64);
    "Delivery": "violations", "Oracle violations", Count, Lower,
        "Times a decoder would have been shown what it must not be: broken sequence numbers, timestamps or picture ids.",
        |report| measured(report).then_some(report.oracle_violations as f64);
    "Forwarding delay": "delay_p50", "Delay p50", Milliseconds, Lower,
        "From the publisher's handing a packet to the kernel to its arrival at the viewer's socket, on one clock: the relay and twice the loopback. Half of the packets took no longer.",
        |report| report.forward_delay_ms.p50;
    "Forwarding delay": "delay_p95", "Delay p95", Milliseconds, Lower,
        "95 of 100 packets took no longer.",
        |report| report.forward_delay_ms.p95;
    "Forwarding delay": "delay_p99", "Delay p99", Milliseconds, Lower,
        "99 of 100 packets took no longer from the publisher's kernel to the viewer's socket, on one clock: the relay and twice the loopback.",
        |report| report.forward_delay_ms.p99;
    "Forwarding delay": "delay_max", "Delay max", Milliseconds, Lower,
        "The slowest packet of the window.",
        |report| report.forward_delay_ms.max;
    "Forwarding delay": "jitter_p50", "Jitter p50", Milliseconds, Lower,
        "How much the delays of successive packets of a stream differ (RFC 3550 section 6.4.1, not smoothed).",
        |report| report.jitter_ms.p50;
    "Forwarding delay": "jitter_p99", "Jitter p99", Milliseconds, Lower,
        "How much the delays of successive packets of a stream differ: 99 of 100 times by no more.",
        |report| report.jitter_ms.p99;
    "Joining": "join_failed", "Failed joins", Count, Lower,
        "Bots that did not get in, or not in time.",
        |report| (report.joined + report.join_failed > 0).then_some(report.join_failed as f64);
    "Joining": "join_p50", "Join p50", Milliseconds, Lower,
        "From opening the WebSocket to media connected.",
        |report| report.join_ms.p50;
    "Joining": "join_p95", "Join p95", Milliseconds, Lower,
        "95 of 100 joins took no longer.",
        |report| report.join_ms.p95;
    "Joining": "join_p99", "Join p99", Milliseconds, Lower,
        "99 of 100 bots took no longer from opening the WebSocket to media connected.",
        |report| report.join_ms.p99;
    "Joining": "join_max", "Join max", Milliseconds, Lower,
        "The slowest join.",
        |report| report.join_ms.max;
    "Joining": "first_frame_p50", "First frame p50", Milliseconds, Lower,
        "From the later of join and announcement of a video track to its first decodable frame.",
        |report| report.first_frame_ms.p50;
    "Joining": "first_frame_p95", "First frame p95", Milliseconds, Lower,
        "From the later of join and announcement of a video track to its first decodable frame: 95 of 100 tracks took no longer.",
        |report| report.first_frame_ms.p95;
    "Server": "server_cpu", "Server CPU", Share, Lower,
        "Of all the cores the server may use, by the kernel's accounting; 100% is all of them busy.",
        |report| report.server.cpu_share;
    "Server": "cpu_per_packet", "CPU per packet", Nanoseconds, Lower,
        "The server's processor time in the window, through the packets delivered to viewers: everything it does, divided by what it is there for.",
        |report| report.server.cpu_ns_per_packet;
    "Server": "packets_per_core", "Packets per core", PerSecond, Higher,
        "Packets delivered each second, through the cores' worth of processor time used for them.",
        |report| report.server.packets_per_core_second;
    "Server": "packets_per_message", "Packets per message", Count, Higher,
        "Datagrams the server hands to the kernel in one message (GSO): long runs are what makes sending cheap.",
        |report| report.server.packets_per_message;
    "Server": "floor_ratio_gso", "Cost over GSO floor", Times, Lower,
        "CPU per packet, through what sealing and sending in GSO runs of 10 costs on the same core by itself.",
        |report| report.floor?.ratio_gso10;
    "Server": "floor_ratio_single", "Cost over sendmmsg floor", Times, Lower,
        "CPU per packet, through what sealing and sending single packets by sendmmsg costs on the same core by itself.",
        |report| report.floor?.ratio_sendmmsg;
    "Server": "floor_ratio_stream", "Cost over stream floor", Times, Lower,
        "CPU per packet, through what sealing and writing ten at a time to TCP, or through TLS, costs on the same core by itself.",
        |report| report.floor?.ratio_stream;
    "Server": "server_drops", "Dropped by the server", Count, Lower,
        "Datagrams the server dropped in the window, all causes together, by its own count.",
        |report| (report.server.packets_forwarded.is_some() || !report.server.drops.is_empty())
            .then(|| report.server.drops.values().sum::<u64>() as f64);
    "Server memory": "rss", "Resident memory", Bytes, Lower,
        "The highest in the window, with everybody in.",
        |report| report.server.rss_bytes.map(|bytes| bytes as f64);
    "Server memory": "rss_per_participant", "Memory per participant", Bytes, Lower,
        "What came on top of the idle server, through the number of participants.",
        |report| report.server.rss_bytes_per_participant;
    "Server memory": "rss_per_subscription", "Memory per subscription", Bytes, Lower,
        "The same, through the number of subscriptions: tracks times viewers.",
        |report| report.server.rss_bytes_per_subscription;
    "Server memory": "churn_ratio", "Memory after churn", Times, Lower,
        "Resident memory at the end, idle again, through that after the first 100 had come and gone.",
        |report| report.churn.as_ref()?.ratio;
    "Load generator": "generator_cpu", "Generator CPU", Share, Neither,
        "Of all the cores the bots may use. A generator that is full measures itself.",
        |report| report.generator.cpu_share;
    "Load generator": "socket_drops", "Socket drops", Count, Lower,
        "Datagrams the kernel dropped at the bots' sockets because the bots did not keep up: losses that are not the server's.",
        |report| report.generator.socket_drops.map(|drops| drops as f64);
    "Load generator": "packets_late", "Sent late", Count, Lower,
        "Packets the bots sent more than a frame later than they were due.",
        |report| measured(report).then_some(report.packets_late as f64);
    "Load generator": "decrypted", "Decrypted", Share, Neither,
        "Of the packets received, the share whose content was decrypted and checked; every packet was authenticated.",
        |report| (report.decrypted_share > 0.0).then_some(report.decrypted_share);
    "Load generator": "oracle", "Shown to the oracle", Share, Neither,
        "Of the streams received, the share held against the rules of what a decoder may be shown.",
        |report| (report.oracle_share > 0.0).then_some(report.oracle_share);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn keys_are_unique_and_a_full_report_has_every_figure() {
        let report = sample::report(30);
        let mut keys: Vec<_> = FIGURES.iter().map(|figure| figure.key).collect();
        for figure in FIGURES {
            assert!((figure.value)(&report).is_some(), "{}", figure.key);
            assert!(figure.about.ends_with('.'), "{}", figure.key);
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), FIGURES.len());
    }

    #[test]
    fn an_empty_report_claims_nothing() {
        for figure in FIGURES {
            assert_eq!((figure.value)(&Report::default()), None, "{}", figure.key);
        }
    }

    #[test]
    fn a_spread_is_the_median_and_the_ends() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[f64::NAN]), None);
        let three = of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            (three.median, three.low, three.high, three.runs),
            (2.0, 1.0, 3.0, 3)
        );
        assert_eq!(of(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(three.show(Unit::Milliseconds), "2 ms (1 ms to 3 ms)");
        assert_eq!(of(&[4.0]).unwrap().show(Unit::Milliseconds), "4 ms");
    }

    #[test]
    fn values_with_units() {
        for (unit, value, text) in [
            (Unit::Share, 1.0, "100%"),
            (Unit::Share, 0.999_96, "99.996%"),
            (Unit::Share, 0.999_999_99, "99.9999%"),
            (Unit::Share, 0.001, "0.100%"),
            (Unit::Nanoseconds, 750.0, "750 ns"),
            (Unit::Nanoseconds, 2_640.0, "2.64 \u{b5}s"),
            (Unit::Bytes, 900.0, "900 bytes"),
            (Unit::Bytes, 150_000.0, "146 KiB"),
            (Unit::Bytes, 3e9, "2.79 GiB"),
            (Unit::Times, 1.25, "1.25\u{d7}"),
            (Unit::PerSecond, 312_456.7, "312,457 /s"),
            (Unit::Count, 3.0, "3"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
