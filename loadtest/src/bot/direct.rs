//! Tests of one bot's connection against another's, without a server. A receiver's oracle accepts
//! the publisher's packets here, so that a fault found through the relay is the relay's.

use tertulia_sfu::rtp::codec::Codec;
use tertulia_signaling::protocol::native::Needs;

use super::publish::Video;
use super::tap::lock;
use super::testing::{Side, connected, publish, side};
use crate::measure::StreamOutcome;

/// A publisher connected to a receiver.
async fn call(video: Video, audio: bool) -> (Side, Side) {
    let mut sender = side("sender", video, audio).await;
    let receiver = side("receiver", Video::None, false).await;
    sender.negotiate(&receiver, Needs::default()).await;
    connected(&sender).await;
    connected(&receiver).await;
    (sender, receiver)
}

fn check(reports: &[StreamOutcome]) {
    for report in reports {
        assert_eq!(report.violation_count, 0, "{:?}", report.violations);
        assert_eq!((report.lost, report.duplicates), (0, 0), "{report:?}");
        assert!(report.decodable_frames > 0, "{report:?}");
        assert_eq!(report.reordered, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn camera_and_microphone_arrive_as_sent() {
    let (sender, receiver) = call(Video::P180, true).await;
    let _publishing = publish(&sender);
    receiver
        .until("media", |totals| totals.packets >= 250)
        .await;
    let reports = lock(&receiver.receiver).finish();
    check(&reports);
    let codecs: Vec<_> = reports.iter().map(|report| report.codec).collect();
    assert!(
        codecs.contains(&Codec::Opus.name()) && codecs.contains(&Codec::Vp8.name()),
        "{codecs:?}"
    );
    assert!(sender.outgoing.sent().packets >= 250);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulcast_is_three_streams_each_decodable() {
    let (sender, receiver) = call(Video::P720Simulcast, false).await;
    let _publishing = publish(&sender);
    receiver
        .until("media", |totals| totals.packets >= 600)
        .await;
    let reports = lock(&receiver.receiver).finish();
    assert_eq!(reports.len(), 3);
    check(&reports);
    // The receiving side tells the layers apart by nothing but the MID and RID extensions.
    let transceivers = receiver.peer.connection().get_transceivers().await;
    let track = transceivers[0].receiver().await.unwrap().unwrap();
    let mut rids = Vec::new();
    for report in &reports {
        rids.extend(track.track().rid(report.ssrc).await);
    }
    rids.sort_unstable();
    assert_eq!(rids, ["f", "h", "q"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyframe_request_makes_the_clip_jump() {
    let (sender, receiver) = call(Video::P180, false).await;
    let _publishing = publish(&sender);
    receiver.until("media", |totals| totals.packets >= 20).await;
    assert_eq!(sender.outgoing.sent().keyframe_requests_received, 0);
    // Forgetting the stream in the middle of the clip is joining late: the first packet is no
    // keyframe, and a PLI goes over the wire. The clip alone would have its next at frame 60.
    lock(&receiver.receiver).finish();
    receiver.until("more", |totals| totals.packets >= 50).await;
    assert!(sender.outgoing.sent().keyframe_requests_received > 0);
    let reports = lock(&receiver.receiver).finish();
    assert_eq!(reports[0].keyframes, 1, "{:?}", reports[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_offer_adds_a_receiving_line_while_media_flows() {
    let mut one = side("one", Video::P180, true).await;
    let other = side("other", Video::P180, false).await;
    one.negotiate(&other, Needs::default()).await;
    connected(&one).await;
    connected(&other).await;
    let _publishing = publish(&one);
    other.until("media", |totals| totals.packets >= 20).await;
    one.negotiate(&other, Needs { audio: 0, video: 1 }).await;
    let _publishing_too = publish(&other);
    one.until("media the other way", |totals| totals.packets >= 60)
        .await;
    let received = lock(&one.receiver).finish();
    check(&received);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].mid.as_deref(), Some("2"));
    check(&lock(&other.receiver).finish());
}
