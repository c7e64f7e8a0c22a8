//! The mute of a moderator and a transport that ends: it holds for the track that takes the place of the muted one.

use tertulia_signaling::media::PeerFailure;
use tertulia_signaling::protocol::native::{
    ClientMessage, Moderate, Resume, ServerMessage, Source,
};

use crate::client::{Client, offer};
use crate::moderation::{is_muted_in_the_relay, moderated, mute, mute_other};
use crate::rejoins::{first_offer, fresh};
use crate::server::Server;
use crate::sessions::{Member, resumed};

/// Whether the next track that a client is told of is muted.
async fn published_muted(client: &mut Client) -> bool {
    client
        .find(|message| match message {
            ServerMessage::TrackPublished { track, .. } => Some(track.muted),
            _ => None,
        })
        .await
}

fn is_moderated(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Moderated { .. })
}

#[tokio::test]
async fn a_mute_outlives_the_transport_until_its_owner_takes_it_back() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let id = grace.id.clone();
    let fail = || {
        let peer = *server.media.books().peers.keys().next().expect("a peer");
        server.media.fail(peer, PeerFailure::ConsentExpired);
    };
    let answer = grace.offer("send 0 audio\nsend 1 video").await;
    ada.expect_ok(mute_other(&answer.published[0].track)).await;
    grace.told().await;
    ada.told().await;
    fail();
    let answer = grace.offer("send 0 audio\nsend 1 video").await;
    let (sound, picture) = (&answer.published[0].track, &answer.published[1].track);
    let expected = (
        "mute".to_owned(),
        ada.id.clone(),
        id.clone(),
        Some(sound.clone()),
    );
    assert_eq!(moderated(&mut grace).await, expected);
    assert!(published_muted(&mut ada).await);
    assert!(
        !published_muted(&mut ada).await,
        "her camera is not concerned"
    );
    assert!(is_muted_in_the_relay(&server));
    // No offer takes it back, and it outlives the next transport as well.
    grace.offer("send 0 audio\nsend 1 video").await;
    assert!(is_muted_in_the_relay(&server));
    fail();
    let answer = grace.offer("send 0 audio\nsend 1 video").await;
    assert!(is_muted_in_the_relay(&server));
    grace
        .expect_ok(mute(&answer.published[0].track, false))
        .await;
    assert!(!is_muted_in_the_relay(&server));
    assert_ne!(sound, picture);
    grace.told().await;
    fail();
    grace.offer("send 0 audio\nsend 1 video").await;
    assert!(!grace.told().await.iter().any(is_moderated));
    assert!(!is_muted_in_the_relay(&server));
}

#[tokio::test]
async fn a_mute_holds_for_what_was_muted_whatever_an_offer_calls_it_later() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let answer = grace.offer("send 0 video").await;
    ada.expect_ok(mute_other(&answer.published[0].track)).await;
    let carrying = |source| {
        let ClientMessage::Offer(mut offer) = offer("send 0 video") else {
            panic!("an offer");
        };
        offer.tracks[0].source = source;
        ClientMessage::Offer(offer)
    };
    for next in [Source::Camera, Source::Screen] {
        grace.request(carrying(Source::Screen)).await;
        let peer = *server.media.books().peers.keys().next().expect("a peer");
        server.media.fail(peer, PeerFailure::ConsentExpired);
        grace.request(carrying(next)).await;
        assert!(is_muted_in_the_relay(&server), "{next:?}");
    }
}

#[tokio::test]
async fn what_the_next_transport_does_not_begin_with_is_not_muted_later() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let answer = grace.offer("send 0 audio").await;
    ada.expect_ok(mute_other(&answer.published[0].track)).await;
    let peer = *server.media.books().peers.keys().next().expect("a peer");
    server.media.fail(peer, PeerFailure::ConsentExpired);
    grace.offer("recv 0 audio").await;
    grace.told().await;
    grace.offer("recv 0 audio\nsend 1 audio").await;
    assert!(!grace.told().await.iter().any(is_moderated));
    assert!(!is_muted_in_the_relay(&server));
}

#[tokio::test]
async fn a_mute_that_its_client_never_heard_of_is_told_after_it_has_come_back() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    let answer = grace.client.offer("send 0 audio").await;
    let id = grace.client.id.clone();
    grace.client = server.connect().await;
    let wish = Moderate::Mute {
        track: answer.published[0].track.clone(),
    };
    ada.expect_ok(ClientMessage::Moderate(wish)).await;
    let comeback = Resume {
        offer: Some(first_offer("send 0 audio")),
        ..fresh(&grace.token)
    };
    resumed(&mut grace.client, comeback).await;
    let answer = grace.client.find(|message| match message {
        ServerMessage::Answer(answer) => Some(answer.published[0].track.clone()),
        _ => None,
    });
    let track = answer.await;
    let expected = ("mute".to_owned(), ada.id.clone(), id, Some(track));
    assert_eq!(moderated(&mut grace.client).await, expected);
    assert!(is_muted_in_the_relay(&server));
    // Who knows it says so by the offer, and is not told again.
    let token = offer("send 0 audio");
    let ClientMessage::Offer(mut known) = token else {
        panic!("an offer");
    };
    known.tracks[0].muted = true;
    let peer = *server.media.books().peers.keys().next().expect("a peer");
    server.media.fail(peer, PeerFailure::ConsentExpired);
    grace.client.request(ClientMessage::Offer(known)).await;
    assert!(!grace.client.told().await.iter().any(is_moderated));
    assert!(is_muted_in_the_relay(&server));
}
