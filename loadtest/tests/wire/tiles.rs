//! A viewer that shows six of twenty: the layers that are sent, and those that are not even
//! encoded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tertulia_loadtest::bot::BotConfig;
use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::bot::state::BotState;
use tertulia_loadtest::measure::Observed;
use tertulia_signaling::protocol::native::MediaKind;

use crate::{Hall, PATIENCE, eventually, observed};

const PUBLISHERS: usize = 20;
const TILES: usize = 6;
/// A frame more or less at either end is little of it.
const WINDOW: Duration = Duration::from_secs(8);
/// Time for the keyframe of the last step up, and for a turn of the bots' counters.
const SETTLES: Duration = Duration::from_secs(3);

/// The encodings of a publisher that some viewer is sent or may fall back to, lowest first.
type Wanted = [bool; 3];

/// The observations of all bots at one moment.
async fn snapshot(bots: &[Arc<BotState>]) -> Vec<Observed> {
    let mut seen = Vec::new();
    eventually("the bots say nothing", || {
        seen = bots.iter().map(|bot| observed(bot)).collect();
        // One thread writes for all bots, once a second.
        seen[0].at.is_some() && seen.iter().all(|one| one.at == seen[0].at)
    })
    .await;
    seen
}

fn video_of(publisher: &BotState) -> String {
    let call = publisher.call();
    let mut tracks = call.published.iter();
    let video = tracks.find(|(_, kind)| **kind == MediaKind::Video);
    video.map(|(track, _)| track.clone()).expect("a camera")
}

/// The tracks a viewer shows, the large one first.
fn page(viewer: &BotState) -> Vec<String> {
    let call = viewer.call();
    let announced = call.announced.iter();
    let mut shown: Vec<_> = announced
        .filter(|(track, one)| one.kind == MediaKind::Video && !call.hidden.contains(*track))
        .collect();
    shown.sort_by_key(|(_, one)| one.at);
    shown.into_iter().map(|(track, _)| track.clone()).collect()
}

/// Bytes that each publisher sent of each video encoding.
fn sent(seen: &Observed) -> Vec<u64> {
    let video = seen.encodings.iter();
    let video = video.filter(|encoding| encoding.kind == MediaKind::Video);
    video.map(|encoding| encoding.bytes).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_tiles_of_twenty_cost_six_and_the_others_are_off_within_two_seconds() {
    let mut hall = Hall::open(1.0, 1.0).await;
    let config = |hall: &Hall, video, audio, tiles| BotConfig {
        tiles: Some(tiles),
        ..hall.config(&hall.url, video, audio)
    };
    let viewer = hall
        .admit_with(config(&hall, Video::None, false, TILES))
        .await;
    let mut bots = vec![Arc::clone(&viewer)];
    for _ in 0..PUBLISHERS {
        let config = config(&hall, Video::P720Simulcast, true, 0);
        bots.push(hall.admit_with(config).await);
    }
    eventually("the viewer does not hear of everybody", || {
        page(&viewer).len() + viewer.call().hidden.len() >= PUBLISHERS
    })
    .await;
    let page = page(&viewer);
    assert_eq!(page.len(), TILES);
    let wanted: Vec<Wanted> = bots[1..]
        .iter()
        .map(
            |bot| match page.iter().position(|track| *track == video_of(bot)) {
                Some(0) => [true, false, true],
                Some(_) => [true, false, false],
                None => [false; 3],
            },
        )
        .collect();

    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    loop {
        let seen = snapshot(&bots[1..]).await;
        let active = |seen: &Observed| -> Vec<bool> {
            let video = seen
                .encodings
                .iter()
                .filter(|one| one.kind == MediaKind::Video);
            video.map(|one| one.active).collect()
        };
        let asked: Vec<_> = seen.iter().map(active).collect();
        if asked
            .iter()
            .zip(&wanted)
            .all(|(asked, wanted)| asked == wanted)
        {
            break;
        }
        assert!(Instant::now() < deadline, "asked for {asked:?}");
        looks.tick().await;
    }
    tokio::time::sleep(SETTLES).await;
    let before = snapshot(&bots).await;
    tokio::time::sleep(WINDOW).await;
    let after = snapshot(&bots).await;
    let closed = hall.close().await;

    let viewed: Instant = viewer.call().viewed.expect("it told what it shows").into();
    for (publisher, wanted) in wanted.iter().enumerate() {
        let (before, after) = (&before[publisher + 1], &after[publisher + 1]);
        for (layer, (before, after)) in sent(before).iter().zip(sent(after)).enumerate() {
            assert_eq!(
                after > *before,
                wanted[layer],
                "publisher {publisher}, {layer}"
            );
        }
        if *wanted == [false; 3] {
            for sent in after
                .encodings
                .iter()
                .filter(|one| one.kind == MediaKind::Video)
            {
                let (first, last) = (sent.first.unwrap(), sent.last.unwrap());
                let took = last - first.max(viewed).min(last);
                assert!(
                    took < Duration::from_secs(2),
                    "publisher {publisher}: {took:?}"
                );
            }
        }
    }

    let bytes = |seen: &Observed| -> HashMap<u32, u64> { seen.received.iter().copied().collect() };
    let (from, to) = (bytes(&before[0]), bytes(&after[0]));
    let slots = viewer.call().slots.clone();
    let mut shown = 0;
    for stream in closed.seen[0]
        .streams
        .iter()
        .filter(|one| one.kind == MediaKind::Video)
    {
        assert_eq!(stream.violation_count, 0, "{stream:#?}");
        let track = stream.mid.as_ref().and_then(|mid| slots.get(mid)).unwrap();
        let publisher = bots[1..]
            .iter()
            .position(|bot| video_of(bot) == *track)
            .unwrap();
        let received = to[&stream.ssrc] - from.get(&stream.ssrc).copied().unwrap_or(0);
        let layer = wanted[publisher].iter().rposition(|wanted| *wanted);
        let sent = |seen: &[Observed], layer: usize| sent(&seen[publisher + 1])[layer];
        let expected = layer.map_or(0, |layer| sent(&after, layer) - sent(&before, layer));

        // Header extensions differ by a few bytes, and a frame may be under way at either end.
        assert!(
            received.abs_diff(expected) <= expected * 3 / 100,
            "publisher {publisher}, layer {layer:?}: {received} bytes of {expected}"
        );
        shown += usize::from(received > 0);
    }
    assert_eq!(shown, TILES);
    let sound = closed.seen[0]
        .streams
        .iter()
        .filter(|one| one.kind == MediaKind::Audio);
    assert_eq!(sound.count(), PUBLISHERS, "everybody is heard");
}
