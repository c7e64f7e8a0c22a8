//! Viewers' requests, the events and refusals they get, speakers, and decisions.

use tertulia_signaling::config::RoomCap;
use tertulia_signaling::media::stats::Decision;
use tertulia_signaling::media::{
    self, Cap, Event, PeerId, Reason, TrackId, TrackSettings, View as MediaView,
};
use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, LayerWanted, MediaState, Mute, Offer, ServerMessage, Source,
    SubscriptionState, TrackView, View,
};

use crate::client::Client;
use crate::http::get;
use crate::server::Server;

/// Ada publishes a microphone and a camera, the viewer receives both. Returns the tracks' public names.
async fn call(server: &Server) -> (Client, Client, [String; 2]) {
    let mut ada = server.join("Ada").await;
    let published = ada
        .offer("send 0 audio\nsend 1 video simulcast")
        .await
        .published;
    let names = [0, 1].map(|at: usize| published[at].track.clone());
    let mut viewer = server.join("Viewer").await;
    viewer.offer("recv 0 audio\nrecv 1 video").await;
    server
        .media
        .until(|books| {
            books
                .peers
                .values()
                .any(|peer| peer.subscriptions.len() == 2)
        })
        .await;
    (ada, viewer, names)
}

/// The media plane's numbers: of Ada's peer, the viewer's peer, the microphone and the camera.
fn numbers(server: &Server) -> (u64, u64, TrackId, TrackId) {
    let books = server.media.books();
    let mut peers = books.peers.iter();
    let (&ada, publisher) = peers.next().expect("Ada");
    let (&viewer, _) = peers.next().expect("the viewer");
    let [microphone, camera] = [0, 1].map(|at: usize| publisher.published[at].track);
    (ada, viewer, microphone, camera)
}

fn view(track: &str, height: u16) -> TrackView {
    TrackView {
        track: track.to_owned(),
        visible: height > 0,
        height,
        pinned: false,
    }
}

fn views(tracks: impl IntoIterator<Item = TrackView>) -> ClientMessage {
    ClientMessage::View(View {
        tracks: tracks.into_iter().collect(),
    })
}

#[tokio::test]
async fn a_view_reaches_the_media_plane() {
    let server = Server::start().await;
    let (mut ada, mut viewer, [_, name]) = call(&server).await;
    let (ada_peer, viewer_peer, _, camera) = numbers(&server);
    // The last word about a track counts; one that just ended is passed over.
    let said = [view(&name, 0), view("tr_gone", 90), view(&name, 540)];
    viewer.expect_ok(views(said)).await;
    let expected = MediaView::of(camera).with_height(540);
    let of = |peer: u64| server.media.books().peers[&peer].views.clone();
    assert_eq!(of(viewer_peer), [(camera, expected)].into());
    // A track of one's own is not sent to oneself.
    ada.expect_ok(views([view(&name, 540)])).await;
    assert!(of(ada_peer).is_empty());

    let many = (0..257).map(|_| view(&name, 90));
    assert_eq!(viewer.refusal(views(many)).await.code, "bad_field");
    assert_eq!(of(viewer_peer)[&camera].height, 540);
}

#[tokio::test]
async fn a_view_outlives_the_transport_and_waits_for_one() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let name = ada.offer("send 0 video").await.published[0].track.clone();
    let mut viewer = server.join("Viewer").await;
    viewer.expect_ok(views([view(&name, 180)])).await;
    viewer.offer("recv 0 video").await;
    let seen = |books: &crate::fake_media::Books| {
        let mut views = books.peers.values().flat_map(|peer| peer.views.values());
        views.any(|view| view.height == 180)
    };
    server.media.until(seen).await;
    let peer = server.last_peer();
    server.media.fail(peer, media::PeerFailure::ConsentExpired);
    viewer
        .find(|message| match message {
            ServerMessage::Media {
                state: MediaState::Failed,
                ..
            } => Some(()),
            _ => None,
        })
        .await;
    viewer.offer("recv 0 video").await;
    server.media.until(seen).await;
    assert_ne!(server.last_peer(), peer);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_media_plane_hears_of_views_later() {
    let server = Server::start().await;
    let (_ada, mut viewer, [_, camera_name]) = call(&server).await;
    let (_, viewer_peer, _, camera) = numbers(&server);
    server.media.books().overloaded_choices = 2;
    viewer.expect_ok(views([view(&camera_name, 0)])).await;
    server
        .media
        .until(|books| {
            let hidden = books.peers[&viewer_peer].views.get(&camera);
            hidden.is_some_and(|view| !view.visible)
        })
        .await;
}

#[tokio::test]
async fn a_mute_is_agreed_to_and_told_when_the_media_plane_has_it() {
    let server = Server::start().await;
    let (mut ada, mut viewer, [name, _]) = call(&server).await;
    let (ada_peer, _, microphone, _) = numbers(&server);
    let mute = |muted| {
        ClientMessage::Mute(Mute {
            track: name.clone(),
            muted,
        })
    };
    let has = || {
        let settings = &server.media.books().peers[&ada_peer].settings;
        settings.get(&microphone).is_some_and(|track| track.muted)
    };
    ada.expect_ok(mute(true)).await;
    assert!(has());
    assert_eq!(updates(&mut viewer).await, [true]);
    // A refused request changes nothing, for the others and for the media plane.
    server.media.books().overloaded_choices = 1;
    assert_eq!(ada.refusal(mute(false)).await.code, "overloaded");
    assert!(has());
    assert_eq!(updates(&mut viewer).await, Vec::<bool>::new());
    ada.expect_ok(mute(false)).await;
    assert!(!has());
    assert_eq!(updates(&mut viewer).await, [false]);
}

/// The mute states that a client has been told of tracks.
async fn updates(client: &mut Client) -> Vec<bool> {
    let told = client.told().await.into_iter();
    let updates = told.filter_map(|message| match message {
        ServerMessage::TrackUpdated { track, .. } => Some(track.muted),
        _ => None,
    });
    updates.collect()
}

#[tokio::test]
async fn the_media_plane_knows_what_is_muted_and_what_is_a_screen() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let carried = |mid: &str, source, muted| CarriedTrack {
        mid: mid.to_owned(),
        source,
        muted,
    };
    let offer = |tracks| {
        ClientMessage::Offer(Offer {
            sdp: "send 0 audio\nsend 1 video\nsend 2 video".into(),
            tracks,
        })
    };
    ada.request(offer(vec![
        carried("0", Source::Microphone, true),
        carried("1", Source::Screen, false),
        carried("2", Source::Camera, false),
    ]))
    .await;
    let settings = |muted, screen| {
        TrackSettings::default()
            .with_muted(muted)
            .with_screen(screen)
    };
    let told = || -> Vec<TrackSettings> {
        let books = server.media.books();
        let peer = books.peers.values().next().expect("Ada");
        peer.settings.values().copied().collect()
    };
    // The order of the tracks; a camera that is on needs no word.
    let [muted, screen] = [settings(true, false), settings(false, true)];
    assert_eq!(told(), [muted, screen], "no later than the answer");
    // A later offer says otherwise.
    ada.request(offer(vec![
        carried("0", Source::Microphone, false),
        carried("1", Source::Camera, false),
        carried("2", Source::Camera, true),
    ]))
    .await;
    assert_eq!(
        told(),
        [settings(false, false), settings(false, false), muted]
    );
}

#[tokio::test]
async fn what_is_sent_and_wanted_is_told_to_whom_it_concerns() {
    let server = Server::start().await;
    let (mut ada, mut viewer, [_, camera_name]) = call(&server).await;
    let (ada_peer, viewer_peer, _, camera) = numbers(&server);
    let room = server.media.books().room_of(ada_peer);
    let state = |track, layer, reason| media::SubscriptionState {
        track,
        layer,
        temporal: layer.map(|_| 2),
        reason,
    };
    server.media.tell(Event::SubscriptionsChanged {
        room,
        peer: PeerId::from_u64(viewer_peer),
        subscriptions: vec![
            state(TrackId::from_u64(999), Some(1), Reason::Best),
            state(camera, None, Reason::Bandwidth),
        ],
    });
    server.media.tell(Event::LayersWanted {
        room,
        peer: PeerId::from_u64(ada_peer),
        track: camera,
        layers: vec![
            media::LayerWanted {
                rid: Some("q".into()),
                active: true,
            },
            media::LayerWanted {
                rid: Some("f".into()),
                active: false,
            },
        ],
    });
    let told = viewer
        .find(|message| match message {
            ServerMessage::Subscriptions { subscriptions } => Some(subscriptions.clone()),
            _ => None,
        })
        .await;
    let paused = SubscriptionState {
        track: camera_name.clone(),
        layer: None,
        temporal: None,
        paused: true,
        reason: "bandwidth".into(),
    };
    assert_eq!(told, [paused]);
    let (track, layers) = ada
        .find(|message| match message {
            ServerMessage::Layers { track, layers } => Some((track.clone(), layers.clone())),
            _ => None,
        })
        .await;
    let wanted = |rid: &str, active| LayerWanted {
        rid: Some(rid.into()),
        active,
    };
    assert_eq!(track, camera_name);
    assert_eq!(layers, [wanted("q", true), wanted("f", false)]);
    let others_business = |message: &ServerMessage| {
        matches!(
            message,
            ServerMessage::Layers { .. } | ServerMessage::Subscriptions { .. }
        )
    };
    for client in [&mut ada, &mut viewer] {
        assert!(!client.told().await.iter().any(others_business));
    }
}

#[tokio::test]
async fn speakers_are_people_and_late_joiners_hear_of_them() {
    let server = Server::start().await;
    let (mut ada, mut viewer, _) = call(&server).await;
    let (ada_peer, _, microphone, camera) = numbers(&server);
    let room = server.media.books().room_of(ada_peer);
    // Two tracks of one person, and one that just ended.
    let event = |speaking| Event::SpeakersChanged {
        room,
        recent: vec![TrackId::from_u64(999), microphone, camera],
        speaking,
    };
    server.media.tell(event(2));
    let expected = (vec![ada.id.clone()], 1);
    for client in [&mut ada, &mut viewer] {
        assert_eq!(speakers(client).await, expected);
    }
    server.media.tell(event(3));
    let mut late = server.join("Late").await;
    assert_eq!(speakers(&mut late).await, expected);
    let again = late.told().await;
    assert!(
        !again
            .iter()
            .any(|m| matches!(m, ServerMessage::Speakers { .. }))
    );
    server.media.tell(event(0));
    assert_eq!(speakers(&mut late).await, (vec![ada.id.clone()], 0));
    // A participant who has left does not speak any more.
    ada.send(ClientMessage::Leave).await;
    late.find(|m| matches!(m, ServerMessage::ParticipantLeft { .. }).then_some(()))
        .await;
    let last = server.join("Last").await.told().await;
    assert!(
        !last
            .iter()
            .any(|m| matches!(m, ServerMessage::Speakers { .. }))
    );
}

async fn speakers(client: &mut Client) -> (Vec<String>, usize) {
    client
        .find(|message| match message {
            ServerMessage::Speakers { recent, speaking } => Some((recent.clone(), *speaking)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn each_is_told_what_was_decided_about_them_and_operators_everything() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (ada, mut viewer, [_, camera_name]) = call(&server).await;
    let (ada_peer, viewer_peer, _, camera) = numbers(&server);
    let decision = |peer, track, reason| Decision {
        at_ms: 7,
        peer: PeerId::from_u64(peer),
        track,
        layer: None,
        temporal: None,
        reason,
        estimate: Some(90_000),
    };
    server.media.books().decisions = vec![
        decision(viewer_peer, Some(camera), "bandwidth"),
        decision(ada_peer, None, "probe"),
        decision(999, None, "probe"),
    ];
    let answer = viewer.request(ClientMessage::Timeline).await;
    let ServerMessage::Timeline { decisions, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].track.as_deref(), Some(&*camera_name));
    assert_eq!(
        (&*decisions[0].reason, decisions[0].estimate),
        ("bandwidth", Some(90_000))
    );

    // The timeline reaches back to participants who are gone.
    let (ada_id, viewer_id) = (ada.id.clone(), viewer.id.clone());
    drop(ada);
    viewer
        .find(|m| matches!(m, ServerMessage::ParticipantLeft { .. }).then_some(()))
        .await;
    let reply = get(admin, "/timeline?room=room").await;
    assert_eq!(
        (reply.status, &*reply.headers["cache-control"]),
        (200, "no-store")
    );
    let mut timeline: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    assert!(timeline["now_ms"].take().is_u64());
    let entry = |participant: Option<&str>, track: Option<&str>, reason: &str| {
        serde_json::json!({
            "at_ms": 7, "participant": participant, "track": track, "layer": null, "temporal": null,
            "reason": reason, "estimate": 90_000,
        })
    };
    let expected = serde_json::json!({"now_ms": null, "decisions": [
        entry(Some(&viewer_id), Some(&camera_name), "bandwidth"),
        entry(Some(&ada_id), None, "probe"),
        entry(None, None, "probe"),
    ]});
    assert_eq!(timeline, expected);
    assert_eq!(get(admin, "/timeline?room=none").await.status, 404);
    for path in [
        "/timeline",
        "/timeline?room=a&room=b",
        "/stats?room=a&room=b",
        "/stats?rooms=a",
        "/timeline?room=a&last=10",
    ] {
        let reply = get(admin, path).await;
        assert_eq!(reply.status, 400, "{path}");
        let reason: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(reason["code"], "bad_query", "{path}");
    }
    let pages = get(admin, "/").await;
    assert_eq!(pages.status, 200);
    for page in ["/healthz", "/stats", "/timeline"] {
        assert!(pages.body.contains(page), "{page}");
    }
    assert_eq!(get(server.addr, "/timeline?room=room").await.status, 404);
}

#[tokio::test]
async fn operators_see_what_everybody_in_a_room_gets() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (ada, viewer, [_, camera_name]) = call(&server).await;
    let reply = get(admin, "/stats?room=room").await;
    assert_eq!(reply.status, 200);
    let stats: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let people = stats["participants"].as_array().expect("participants");
    let ids: Vec<_> = people.iter().map(|p| p["participant"].as_str()).collect();
    assert_eq!(ids, [Some(&*ada.id), Some(&*viewer.id)]);
    let peer = &people[1]["peer"];
    assert_eq!(peer["bandwidth"]["estimate"], 900_000);
    assert_eq!(peer["bandwidth"]["limited_by"], "delay");
    let subscriptions = peer["subscriptions"].as_array().expect("subscriptions");
    let camera = subscriptions.iter().find(|s| s["track"] == camera_name);
    let camera = camera.expect("the camera");
    assert!(camera.get("target").is_some());
    assert_eq!(camera["publisher"], *ada.id);
    assert_eq!(
        (&camera["source"], &camera["kind"]),
        (&"camera".into(), &"video".into())
    );
    let none = get(admin, "/stats?room=none").await;
    assert_eq!(none.status, 404);
    assert!(
        none.body.contains(r#""code":"no_such_room""#),
        "{}",
        none.body
    );
}

#[tokio::test]
async fn viewers_in_a_room_with_a_cap_get_it() {
    let server = Server::with(|config| {
        let cap = RoomCap {
            max_viewer_bitrate: Some(1_500_000),
            max_viewer_height: None,
        };
        config.room_caps.insert("room".into(), cap);
    })
    .await;
    server.media.books().overloaded_choices = 1;
    let mut ada = server.join("Ada").await;
    ada.offer("recv 0 video").await;
    let cap = Cap {
        bitrate: Some(1_500_000),
        height: None,
    };
    let capped =
        |books: &crate::fake_media::Books| books.peers.values().any(|p| p.cap == Some(cap));
    server.media.until(capped).await;
    let mut other = server.connect().await;
    other.join("elsewhere", "Ben").await;
    other.offer("recv 0 video").await;
    let last = server.last_peer();
    assert_eq!(server.media.books().peers[&last].cap, None);
}
