//! Events about viewers that cannot decode a track.

use tertulia_signaling::media::{self, Event, PeerId, Reason, RenegotiationReason, TrackId};
use tertulia_signaling::protocol::native::{ServerMessage, Unable};

use crate::client::Client;
use crate::server::Server;

/// Ada publishes a camera, Ben receives it: their clients, the numbers of their peers, the camera.
async fn call(server: &Server) -> (Client, Client, [u64; 2], TrackId) {
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 video").await;
    let ada_peer = server.last_peer();
    let camera = server.media.books().peers[&ada_peer].published[0].track;
    let mut ben = server.join("Ben").await;
    ben.offer("recv 0 video").await;
    (ada, ben, [ada_peer, server.last_peer()], camera)
}

async fn unwatchable(client: &mut Client) -> (String, usize, Vec<Unable>) {
    client
        .find(|message| match message {
            ServerMessage::Unwatchable {
                track,
                count,
                participants,
            } => Some((track.clone(), *count, participants.clone())),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_publisher_hears_who_cannot_watch_its_track() {
    let server = Server::start().await;
    let (mut ada, ben, [publisher, viewer], camera) = call(&server).await;
    let gone = 9_999;
    let tell = |viewers: &[u64], count| {
        let room = server.media.books().room_of(publisher);
        server.media.tell(Event::UnwatchableChanged {
            room,
            peer: PeerId::from_u64(publisher),
            unwatchable: media::Unwatchable {
                track: camera,
                count,
                viewers: viewers
                    .iter()
                    .map(|peer| (PeerId::from_u64(*peer), Reason::Codec))
                    .collect(),
            },
        });
    };
    // A participant who has just left is counted, and has no name.
    tell(&[gone, viewer], 2);
    let (track, count, participants) = unwatchable(&mut ada).await;
    assert!(track.starts_with("tr_"));
    let expected = Unable {
        participant: ben.id.clone(),
        reason: "codec_not_negotiated".into(),
    };
    assert_eq!((count, participants), (2, vec![expected]));
    tell(&[], 0);
    assert_eq!(unwatchable(&mut ada).await, (track, 0, Vec::new()));
}

#[tokio::test]
async fn a_publisher_is_asked_to_offer_again_and_the_others_hear_of_the_codec() {
    let server = Server::start().await;
    let (mut ada, mut ben, [publisher, _], _) = call(&server).await;
    let room = server.media.books().room_of(publisher);
    server.media.tell(Event::RenegotiationWanted {
        room,
        peer: PeerId::from_u64(publisher),
        reason: RenegotiationReason::Codec,
        offers: 1,
    });
    let reason = ada
        .find(|message| match message {
            ServerMessage::Renegotiate { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert_eq!(reason, "codec");
    ada.offer("send 0 video codec=H264").await;
    let codec = ben
        .find(|message| match message {
            ServerMessage::TrackUpdated { track, .. } => Some(track.codec.clone()),
            _ => None,
        })
        .await;
    assert_eq!(codec, "H264");
    // An unchanged codec is not told again.
    ada.offer("send 0 video codec=H264").await;
    ada.offer("send 0 video").await;
    let codec = ben
        .find(|message| match message {
            ServerMessage::TrackUpdated { track, .. } => Some(track.codec.clone()),
            _ => None,
        })
        .await;
    assert_eq!(codec, "VP8");
}
