//! Tests: a report with everything in it, as a run would fill it.

use std::collections::BTreeMap;

use super::{
    ChurnOutcome, Event, FirstFrame, Floor, Generator, JoinPhases, Moment, Percentiles, Report,
    Server, Stage, Window,
};

pub(crate) fn percentiles(p50: f64, p95: f64, p99: f64, max: f64) -> Percentiles {
    Percentiles {
        p50: Some(p50),
        p95: Some(p95),
        p99: Some(p99),
        max: Some(max),
    }
}

/// A livestream to 100 viewers over so many seconds, the same each time.
pub(crate) fn report(seconds: usize) -> Report {
    let names = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    };
    Report {
        version: "0.1.0".into(),
        passed: true,
        valid: true,
        scenario: "livestream".into(),
        bot: "wire".into(),
        machine: "2 x Processor, 23 GiB, linux 6".into(),
        url: "http://127.0.0.1:8080".into(),
        rooms: 1,
        publishers: 1,
        subscribers: 100,
        talkers: 1,
        video: "720p".into(),
        audio: true,
        duration_s: seconds as f64,
        joined: 101,
        join_ms: percentiles(81.0, 104.0, 133.0, 160.0),
        answer_ms: percentiles(12.0, 21.0, 33.0, 40.0),
        phases: JoinPhases {
            signaling_ms: percentiles(12.0, 21.0, 33.0, 40.0),
            ice_ms: percentiles(14.0, 25.0, 38.0, 46.0),
            dtls_ms: percentiles(81.0, 104.0, 133.0, 160.0),
            first_packet_ms: percentiles(96.0, 131.0, 166.0, 190.0),
        },
        tracks_expected: 200,
        tracks_receiving: 200,
        packets_sent: 200 * seconds as u64,
        packets_late: 2,
        packets_received: 20_000 * seconds as u64,
        packets_expected: 20_000 * seconds as u64,
        delivered_ratio: Some(0.999_95),
        packets_lost: seconds as u64,
        reordered: 3,
        bytes_received: 22_000_000 * seconds as u64,
        receive_mbit_s: 176.0,
        forward_delay_ms: percentiles(0.21, 0.62, 1.4, 6.3),
        jitter_ms: percentiles(0.05, 0.31, 0.8, 4.4),
        viewer_kbit_s: percentiles(1_750.0, 1_770.0, 1_774.0, 1_780.0),
        layer_residency: [
            ("720".into(), 0.91),
            ("360".into(), 0.07),
            ("180".into(), 0.02),
        ]
        .into(),
        decrypted_share: 0.1,
        oracle_share: 0.05,
        frames_decodable: 3_000 * seconds as u64,
        first_frame_ms: FirstFrame {
            p50: Some(120.0),
            p95: Some(310.0),
            max: Some(402.0),
        },
        longest_freeze_ms: 233.0,
        freezes: 1,
        frozen_ms: 233.0,
        retransmissions_received: 12,
        generator: Generator {
            socket_drops: Some(0),
            machine_buffer_errors: Some(0),
            cpu_s: Some(0.4 * seconds as f64),
            cpu_share: Some(0.4),
            cores: vec![1],
        },
        window: Window {
            from_s: 3.0,
            seconds: seconds as f64,
            packets_sent: 200 * seconds as u64,
            bytes_sent: 220_000 * seconds as u64,
            packets_received: 20_000 * seconds as u64 - seconds as u64,
            packets_lost: seconds as u64,
            bytes_received: 22_000_000 * seconds as u64,
            ..Window::default()
        },
        stages: vec![
            Stage {
                name: "before".into(),
                from_s: 3.0,
                seconds: 10.0,
                packets_received: 200_000,
                forward_delay_ms: percentiles(0.2, 0.6, 1.3, 2.0),
                ..Stage::default()
            },
            Stage {
                name: "during".into(),
                from_s: 13.0,
                seconds: 5.0,
                packets_received: 100_000,
                forward_delay_ms: percentiles(0.4, 1.6, 4.3, 6.3),
                join_ms: percentiles(90.0, 140.0, 180.0, 200.0),
                joined: 30,
                ..Stage::default()
            },
        ],
        churn: Some(ChurnOutcome {
            joins: 1_000,
            rss_after_first_bytes: Some(40 << 20),
            rss_at_end_bytes: Some(41 << 20),
            ratio: Some(1.025),
        }),
        server: Server {
            pid: Some(7),
            cores: vec![0],
            workers: Some(1),
            cipher: Some("ring".into()),
            cpu_seconds: Some(0.5 * seconds as f64),
            cpu_share: Some(0.5),
            cpu_ns_per_packet: Some(2_500.0),
            packets_per_second: Some(20_000.0),
            packets_per_core_second: Some(400_000.0),
            packets_forwarded: Some(20_000 * seconds as u64),
            packets_per_message: Some(5.1),
            run_lengths: names(&[
                ("1", 400),
                ("2-3", 900),
                ("4-7", 2_100),
                ("8-15", 800),
                ("16+", 3),
            ]),
            rss_bytes: Some(48 << 20),
            rss_idle_bytes: Some(22 << 20),
            rss_bytes_per_participant: Some(270_000.0),
            rss_bytes_per_subscription: Some(136_000.0),
            drops: names(&[("not_subscribed", 40), ("queue_full", 2)]),
            ..Server::default()
        },
        floor: Some(Floor {
            sendmmsg_ns: 3_800.0,
            gso10_ns: 1_900.0,
            ratio_sendmmsg: Some(0.66),
            ratio_gso10: Some(1.32),
            write10_ns: Some(2_300.0),
            rustls10_ns: None,
            ratio_stream: Some(1.09),
        }),
        timeline: (0..seconds).map(|second| moment(second, seconds)).collect(),
        events: vec![
            Event {
                t_s: 3.0,
                what: "everybody is in".into(),
            },
            Event {
                t_s: seconds as f64 * 0.4,
                what: "join storm begins".into(),
            },
        ],
        ..Report::default()
    }
}

fn moment(second: usize, of: usize) -> Moment {
    let wave = |period: f64| (second as f64 / period).sin();
    let storm = (0.4..0.5).contains(&(second as f64 / of as f64));
    let participants = (second * 40).min(101) + if storm { 30 } else { 0 };
    let share = participants as f64 / 101.0;
    Moment {
        t_s: second as f64,
        participants,
        sent: 200,
        received: (share * (20_000.0 + 300.0 * wave(7.0))) as u64,
        mbit_s: share * (176.0 + 3.0 * wave(7.0)),
        lost: u64::from(second % 97 == 96) * 7,
        delay_p50_ms: (second > 0).then(|| 0.21 + 0.03 * wave(5.0)),
        delay_p99_ms: (second > 0).then(|| 1.3 + 0.4 * wave(3.0) + if storm { 3.0 } else { 0.0 }),
        server_cpu_share: Some(share * (0.5 + 0.02 * wave(4.0))),
        generator_cpu_share: Some(share * (0.4 + 0.03 * wave(6.0))),
        server_rss_bytes: Some((22 << 20) + (participants as u64) * 270_000),
    }
}
