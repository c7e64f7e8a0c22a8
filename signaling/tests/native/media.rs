//! Offers, tracks, subscriptions and what the media plane reports.

use tertulia_signaling::media::{DataRefusal, Event, PeerFailure, PeerId};
use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, Join, MediaKind, MediaState, Mute, Needs, Offer, ServerMessage,
    Slot, Source, Track, Tracks,
};

use crate::client::{Client, join};
use crate::server::Server;

#[tokio::test]
async fn a_track_is_announced_before_it_is_received() {
    let server = Server::start().await;
    let mut viewer = server.join("Viewer").await;
    viewer.offer("recv 0 audio\nrecv 1 video").await;
    let mut ada = server.join("Ada").await;
    let answer = ada.offer("send 0 audio\nsend 1 video simulcast").await;
    let mids: Vec<_> = answer.published.iter().map(|p| p.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1"]);

    let mut known = Vec::new();
    let mut received = Vec::new();
    while received.len() < 2 {
        match viewer.next().await {
            ServerMessage::ParticipantJoined { participant } => known.push(participant.id),
            ServerMessage::TrackPublished { participant, track } => {
                assert!(known.contains(&participant));
                known.push(track.id);
            }
            ServerMessage::Slots { slots } => {
                for track in slots.into_iter().filter_map(|slot| slot.track) {
                    assert!(
                        known.contains(&track),
                        "{track} in a slot before it was published"
                    );
                    received.push(track);
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn tracks_are_described() {
    let server = Server::start().await;
    let mut viewer = server.join("Viewer").await;
    let mut ada = server.join("Ada").await;
    let sdp = "send 0 audio\nsend 1 video simulcast\nsend 2 video";
    let carried = |mid: &str, source, muted| CarriedTrack {
        mid: mid.to_owned(),
        source,
        muted,
    };
    let offer = ClientMessage::Offer(Offer {
        sdp: sdp.to_owned(),
        tracks: vec![
            carried("0", Source::Microphone, true),
            carried("1", Source::Screen, false),
        ],
    });
    ada.request(offer).await;
    let expected = [
        (MediaKind::Audio, Source::Microphone, true, false, "opus"),
        (MediaKind::Video, Source::Screen, false, true, "VP8"),
        (MediaKind::Video, Source::Other, false, false, "VP8"),
    ];
    for expected in expected {
        let (_, track) = published(&mut viewer).await;
        assert!(track.id.starts_with("tr_"));
        let described = (
            track.kind,
            track.source,
            track.muted,
            track.simulcast,
            track.codec.as_str(),
        );
        assert_eq!(described, expected);
    }
}

#[tokio::test]
async fn a_late_joiner_knows_the_tracks_and_receives_them() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let published = ada.offer("send 0 audio\nsend 1 video").await.published;
    let mut late = server.connect().await;
    let welcome = late.join("room", "Late").await;
    let known: Vec<_> = welcome.participants[0]
        .tracks
        .iter()
        .map(|t| &t.id)
        .collect();
    assert_eq!(known, [&published[0].track, &published[1].track]);

    // Too few m-lines, then as many as were asked for.
    let answer = late.offer("recv 0 audio").await;
    assert_eq!(answer.slots.len(), 1);
    assert_eq!(needs(&mut late).await, Needs { audio: 0, video: 1 });
    let answer = late.offer("recv 0 audio\nrecv 1 video").await;
    assert_eq!(answer.needs, Needs::default());
    let carried: Vec<_> = answer
        .slots
        .iter()
        .map(|slot| slot.track.as_ref())
        .collect();
    assert_eq!(
        carried,
        [Some(&published[0].track), Some(&published[1].track)]
    );
}

#[tokio::test]
async fn subscriptions_may_be_chosen() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let tracks = ada.offer("send 0 audio\nsend 1 video").await.published;
    let mut viewer = server.connect().await;
    let join = Join {
        auto_subscribe: false,
        ..join("room", "Viewer")
    };
    viewer.request(ClientMessage::Join(join)).await;
    // A subscription before there is a transport.
    let audio = Tracks {
        tracks: vec![tracks[0].track.clone()],
    };
    viewer
        .expect_ok(ClientMessage::Subscribe(audio.clone()))
        .await;
    viewer.offer("recv 0 audio\nrecv 1 video").await;
    let slots = slots(&mut viewer).await;
    assert_eq!(slots, [slot("0", MediaKind::Audio, Some(&tracks[0].track))]);
    // A subscription with a transport.
    let video = Tracks {
        tracks: vec![tracks[1].track.clone()],
    };
    viewer.expect_ok(ClientMessage::Subscribe(video)).await;
    let slots = self::slots(&mut viewer).await;
    assert_eq!(slots, [slot("1", MediaKind::Video, Some(&tracks[1].track))]);
    viewer.expect_ok(ClientMessage::Unsubscribe(audio)).await;
    let slots = self::slots(&mut viewer).await;
    assert_eq!(slots, [slot("0", MediaKind::Audio, None)]);
}

#[tokio::test]
async fn an_overloaded_media_plane_is_asked_again() {
    let server = Server::start().await;
    let mut viewer = server.join("Viewer").await;
    viewer.offer("recv 0 audio").await;
    server.media.books().overloaded = 2;
    let mut ada = server.join("Ada").await;
    let tracks = ada.offer("send 0 audio").await.published;
    let slots = slots(&mut viewer).await;
    assert_eq!(slots, [slot("0", MediaKind::Audio, Some(&tracks[0].track))]);
    assert_eq!(server.media.books().overloaded, 0);
}

#[tokio::test]
async fn a_refusal_on_a_data_channel_is_told_to_whom_it_concerns() {
    let server = Server::start().await;
    let mut ada = server.connect().await;
    let data = ada.join("room", "Ada").await.data.expect("data channels");
    assert_eq!(
        (
            data.protocol.as_str(),
            data.message_bytes,
            data.messages_per_second
        ),
        ("tertulia.sender", 16 * 1024, 100)
    );
    ada.offer("send 0 audio").await;
    let number = server.last_peer();
    assert_eq!(server.media.books().peers[&number].sender, ada.id);
    let (room, peer) = (
        server.media.books().room_of(number),
        PeerId::from_u64(number),
    );
    let reason = DataRefusal::UnknownLabel;
    server.media.tell(Event::DataRefused { room, peer, reason });
    let refusal = ada.next_refusal().await;
    assert_eq!(
        (refusal.id, refusal.code.as_str(), refusal.fatal),
        (None, "data_unknown_label", false)
    );
}

#[tokio::test]
async fn mutes_are_seen_by_the_others() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let track = ada.offer("send 0 audio").await.published[0].track.clone();
    let mut viewer = server.join("Viewer").await;
    ada.expect_ok(mute(&track, true)).await;
    assert!(updated(&mut viewer).await.muted);
    let welcome = server.connect().await.join("room", "Late").await;
    assert!(welcome.participants[0].tracks[0].muted);
    // Said twice, told once.
    ada.expect_ok(mute(&track, true)).await;
    ada.expect_ok(mute(&track, false)).await;
    assert!(!updated(&mut viewer).await.muted);

    assert_eq!(
        viewer.refusal(mute(&track, true)).await.code,
        "not_your_track"
    );
    assert_eq!(
        viewer.refusal(mute("tr_none", true)).await.code,
        "no_such_track"
    );
}

#[tokio::test]
async fn a_later_offer_changes_and_ends_tracks() {
    let server = Server::start().await;
    let mut viewer = server.join("Viewer").await;
    viewer.offer("recv 0 audio\nrecv 1 video").await;
    let mut ada = server.join("Ada").await;
    let first = ada.offer("send 0 audio\nsend 1 video").await.published;
    // The video m-line becomes a screen.
    let carried = CarriedTrack {
        mid: "1".into(),
        source: Source::Screen,
        muted: false,
    };
    let offer = ClientMessage::Offer(Offer {
        sdp: "send 0 audio\nsend 1 video".into(),
        tracks: vec![carried],
    });
    ada.request(offer).await;
    assert_eq!(updated(&mut viewer).await.source, Source::Screen);
    // A track ends.
    let second = ada.offer("send 0 audio").await.published;
    assert_eq!(second, first[..1]);
    let gone = viewer.find(|message| match message {
        ServerMessage::TrackUnpublished { track, .. } => Some(track.clone()),
        _ => None,
    });
    assert_eq!(gone.await, first[1].track);
    let freed = |slots: &[Slot]| slots == [slot("1", MediaKind::Video, None)];
    viewer
        .find(|message| match message {
            ServerMessage::Slots { slots } => freed(slots).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn a_failed_transport_may_be_replaced() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let old = ada.offer("send 0 audio\nrecv 1 audio").await.published;
    let peer = server.last_peer();
    server.media.connect(peer);
    assert_eq!(media(&mut ada).await, (MediaState::Connected, None));
    let mut grace = server.join("Grace").await;
    let hers = grace.offer("send 0 audio\nrecv 1 audio").await.published;
    assert_eq!(slots(&mut ada).await[0].track, Some(hers[0].track.clone()));

    server.media.fail(peer, PeerFailure::ConsentExpired);
    let failed = (MediaState::Failed, Some("consent_expired".to_owned()));
    assert_eq!(media(&mut ada).await, failed);
    assert_eq!(unpublished(&mut grace).await, old[0].track);
    let new = ada.offer("send 0 audio\nrecv 1 audio").await.published;
    assert_ne!(new, old);
    assert_eq!(self::published(&mut grace).await.1.id, new[0].track);
    // The new transport receives what the old one did.
    assert_eq!(slots(&mut ada).await[0].track, Some(hers[0].track.clone()));
}

#[tokio::test]
async fn an_offer_may_be_faster_than_the_news_of_a_failure() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let old = ada.offer("send 0 audio").await.published;
    let mut viewer = server.join("Viewer").await;
    server.media.lose(server.last_peer());
    let new = ada.offer("send 0 audio").await.published;
    assert_eq!(unpublished(&mut viewer).await, old[0].track);
    assert_eq!(published(&mut viewer).await.1.id, new[0].track);
}

#[tokio::test]
async fn leaving_ends_the_transport() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 audio").await;
    ada.send(ClientMessage::Leave).await;
    ada.closed().await;
    server.media.until(|books| books.peers.is_empty()).await;
}

#[tokio::test]
async fn stats_are_ones_own_and_name_tracks() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let track = ada.offer("send 0 audio").await.published[0].track.clone();
    let mut viewer = server.join("Viewer").await;
    let without = viewer.request(ClientMessage::Stats).await;
    assert!(
        matches!(without, ServerMessage::Stats { peer: None, .. }),
        "{without:?}"
    );
    viewer.offer("recv 0 audio").await;
    let ServerMessage::Stats {
        peer: Some(peer), ..
    } = viewer.request(ClientMessage::Stats).await
    else {
        panic!("no stats");
    };
    assert_eq!(peer["subscriptions"][0]["track"], track);
    assert_eq!(peer["subscriptions"][0]["reason"], "waiting_for_keyframe");
    assert_eq!(peer["rtt_ms"], 1.5);
}

fn mute(track: &str, muted: bool) -> ClientMessage {
    ClientMessage::Mute(Mute {
        track: track.to_owned(),
        muted,
    })
}

fn slot(mid: &str, kind: MediaKind, track: Option<&String>) -> Slot {
    Slot {
        mid: mid.to_owned(),
        kind,
        track: track.cloned(),
    }
}

async fn published(client: &mut Client) -> (String, Track) {
    client
        .find(|message| match message {
            ServerMessage::TrackPublished { participant, track } => {
                Some((participant.clone(), track.clone()))
            }
            _ => None,
        })
        .await
}

async fn unpublished(client: &mut Client) -> String {
    client
        .find(|message| match message {
            ServerMessage::TrackUnpublished { track, .. } => Some(track.clone()),
            _ => None,
        })
        .await
}

async fn updated(client: &mut Client) -> Track {
    client
        .find(|message| match message {
            ServerMessage::TrackUpdated { track, .. } => Some(track.clone()),
            _ => None,
        })
        .await
}

async fn slots(client: &mut Client) -> Vec<Slot> {
    client
        .find(|message| match message {
            ServerMessage::Slots { slots } => Some(slots.clone()),
            _ => None,
        })
        .await
}

async fn needs(client: &mut Client) -> Needs {
    client
        .find(|message| match message {
            ServerMessage::Needs(needs) => Some(*needs),
            _ => None,
        })
        .await
}

async fn media(client: &mut Client) -> (MediaState, Option<String>) {
    client
        .find(|message| match message {
            ServerMessage::Media { state, reason } => Some((*state, reason.clone())),
            _ => None,
        })
        .await
}
