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
fn what_a_bot_hides_is_not_expected_of_it_nor_foreign_to_it() {
    let bots = call();
    bots[1].call().hidden.insert("t1".into());
    assert!(report(&bots).passed, "nothing came of it");
    let bots = call();
    bots[1].call().hidden.insert("t1".into());
    hear_clip(&bots[1], "0", 0, 60);
    let report = report(&bots);
    assert!(report.passed, "something came before the server heard");
    assert_eq!((report.tracks_expected, report.tracks_receiving), (0, 0));
    assert_eq!(report.foreign_tracks_receiving, 0);
}

#[test]
fn encodings_are_added_up_by_rid_and_those_without_are_left_out() {
    let bots = call();
    let encoding = |rid, active, bytes| EncodingSent {
        kind: MediaKind::Video,
        rid,
        active,
        bytes,
        first: None,
        last: None,
    };
    for (bot, wanted) in bots.iter().zip([true, false]) {
        let sent = vec![
            encoding("", true, 1_000),
            encoding("q", true, 10),
            encoding("f", wanted, 100),
        ];
        lock(&bot.observed).encodings = sent;
    }
    let mut report = Report::default();
    report.collect(&bots, 1);
    let of = |rid: &str, wanted, bytes| Encoding {
        rid: rid.into(),
        publishers: 2,
        wanted,
        bytes,
    };
    assert_eq!(report.encodings, [of("q", 2, 20), of("f", 1, 200)]);
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
