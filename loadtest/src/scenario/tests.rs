//! Tests of whole runs without a server, and with a server of one participant.

use super::*;
use crate::bot::publish::Video;

fn scenario(rooms: usize) -> Scenario {
    Scenario {
        url: "http://127.0.0.1:1".parse().unwrap(),
        rooms,
        publishers: 2,
        subscribers: 1,
        video: Video::P180,
        audio: true,
        duration: Duration::from_secs(60),
        ramp: 1_000.0,
        join_timeout: Duration::from_secs(5),
        room: "hall".into(),
        ..Scenario::default()
    }
}

#[test]
fn rooms_fill_evenly() {
    let names = |rooms| -> Vec<_> {
        let bots = bots::all(&scenario(rooms));
        bots.iter()
            .map(|bot| format!("{} {}", bot.room, bot.name))
            .collect()
    };
    assert_eq!(
        names(1),
        ["hall publisher-1", "hall publisher-2", "hall subscriber-1"]
    );
    assert_eq!(
        names(2)[..4],
        [
            "hall-1 publisher-1",
            "hall-2 publisher-1",
            "hall-1 publisher-2",
            "hall-2 publisher-2"
        ]
    );
}

#[tokio::test]
async fn nobody_home_is_a_report_of_failures_not_an_hour_of_waiting() {
    let report = run(&scenario(1), std::future::pending(), |_| {})
        .await
        .unwrap();
    assert_eq!((report.joined, report.join_failed), (0, 3));
    assert_eq!(
        (report.tracks_expected, report.tracks_receiving),
        (2 * 2 + 2 + 2 - 2 + 2, 0)
    );
    assert_eq!(report.failures.len(), 3);
    assert!(
        report.failures[0].reason.contains("cannot connect"),
        "{:?}",
        report.failures[0]
    );
    assert_eq!(report.exit_status(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_call_with_a_server_of_one_participant() {
    let scenario = Scenario {
        url: crate::fake_server::start().await.parse().unwrap(),
        publishers: 1,
        subscribers: 0,
        duration: Duration::from_secs(2),
        ..scenario(1)
    };
    let report = run(&scenario, std::future::pending(), |_| {})
        .await
        .unwrap();
    assert!(report.passed, "{report:#?}");
    assert_eq!((report.joined, report.tracks_expected), (1, 0));
    assert_eq!(report.foreign_tracks_receiving, 2);
    assert!(report.join_ms.max > Some(0.0));
    assert!(report.packets_sent > 100 && report.packets_received > 100);
    assert_eq!(report.packets_lost, 0);
    assert!(report.frames_decodable > 30);
    assert_eq!(report.packets_unknown, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_call_is_reported() {
    let scenario = Scenario {
        url: crate::fake_server::start().await.parse().unwrap(),
        publishers: 0,
        subscribers: 1,
        ..scenario(1)
    };
    let (joined, interrupt) = tokio::sync::oneshot::channel::<()>();
    let watch = |watched: &Watched| {
        let bot = Arc::clone(&watched.bots[0]);
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while bot.call().joined.is_none() {
                looks.tick().await;
            }
            let _ = joined.send(());
        });
    };
    let stop = async { interrupt.await.unwrap() };
    let report = run(&scenario, stop, watch).await.unwrap();
    assert!(report.interrupted);
    assert_eq!((report.joined, report.failures.len()), (1, 0));
    assert!(report.duration_s < 30.0);
}
