//! Sessions and the door: pages that are loaded again, joins with a token, and people who are put out.

use tertulia_signaling::protocol::native::{
    ClientMessage, Hand, Join, LeaveReason, Moderate, Offer, Resume, ServerMessage, TrackView,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{chat, join, left, offer};
use crate::server::Server;
use crate::sessions::{
    Member, comings, presence, receive_text, refused, resumable, resume, resumed, welcomed,
};

pub(crate) fn first_offer(sdp: &str) -> Offer {
    match offer(sdp) {
        ClientMessage::Offer(offer) => offer,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn fresh(token: &str) -> Resume {
    Resume {
        received: None,
        fresh: true,
        ..resume(token, 0)
    }
}

#[tokio::test]
async fn whoever_waited_has_a_session_and_an_answer_too() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let wish = Moderate::WaitingRoom { on: true };
    ada.expect_ok(ClientMessage::Moderate(wish)).await;
    let mut grace = server.connect().await;
    let join = Join {
        offer: Some(first_offer("send 0 audio")),
        ..resumable("room", "Grace")
    };
    let request = grace.send(ClientMessage::Join(join)).await;
    assert_eq!(grace.next().await, ServerMessage::Wait);
    let participant = ada
        .find(|message| match message {
            ServerMessage::Waiting { waiting } => Some(waiting[0].id.clone()),
            _ => None,
        })
        .await;
    let admit = Moderate::Admit {
        participant: participant.clone(),
    };
    ada.expect_ok(ClientMessage::Moderate(admit)).await;
    let ServerMessage::Welcome(welcome) = grace.next().await else {
        panic!("no welcome");
    };
    assert_eq!(welcome.participant, participant);
    let ServerMessage::Answer(answer) = grace.next().await else {
        panic!("no answer");
    };
    assert_eq!(answer.id, Some(request));
    // Who comes back waits for nobody.
    let token = welcome.session.expect("a session").token;
    drop(grace);
    let mut client = server.connect().await;
    resumed(&mut client, resume(token.as_str(), 2)).await;
    client.expect_ok(chat("back")).await;
}

#[tokio::test]
async fn a_page_that_is_loaded_again_and_again_joins_as_often() {
    let server = Server::with(|config| config.limits.joins_per_minute_per_address = 2).await;
    let mut grace = Member::join(&server, "Grace").await;
    grace.client = server.connect().await;
    let (token, _) = resumed(&mut grace.client, fresh(&grace.token)).await;
    let (mut client, refusal) = refused(&server, fresh(&token)).await;
    let after = Some(30_000);
    assert_eq!(
        (refusal.code.as_str(), refusal.retry_after_ms),
        ("joins_per_address", after)
    );
    let counts = server.node.rooms().joins_refused();
    assert_eq!(counts["joins_per_address"], 1);
    // It has lost nothing: whoever remembers where it was costs little.
    resumed(&mut client, resume(&token, 1)).await;
    client.expect_ok(chat("back")).await;
}

#[tokio::test]
async fn a_page_that_was_loaded_again_keeps_its_participant() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 audio").await;
    let mut grace = Member::join(&server, "Grace").await;
    grace.client.offer("send 0 audio\nsend 1 video").await;
    grace
        .client
        .send(ClientMessage::Hand(Hand { raised: true }))
        .await;
    ada.find(|message| matches!(message, ServerMessage::Hand { .. }).then_some(()))
        .await;
    ada.told().await;
    let id = grace.client.id.clone();
    let close = CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    };
    grace.client.send_raw(Message::Close(Some(close))).await;
    grace.client = server.connect().await;
    let sdp = first_offer("send 0 audio\nrecv 1 audio");
    let comeback = Resume {
        offer: Some(sdp),
        ..fresh(&grace.token)
    };
    let request = grace.client.send(ClientMessage::Resume(comeback)).await;
    let ServerMessage::Resumed {
        id: answers,
        received,
        ..
    } = grace.client.next().await
    else {
        panic!("not resumed");
    };
    assert_eq!((answers, received), (Some(request), 0));
    let ServerMessage::Welcome(welcome) = grace.client.next().await else {
        panic!("no welcome");
    };
    assert_eq!((welcome.id, &welcome.participant), (Some(request), &id));
    assert_eq!(
        (welcome.participants.len(), welcome.hands),
        (1, vec![id.clone()])
    );
    let answer = grace
        .client
        .find(|message| match message {
            ServerMessage::Answer(answer) => Some(answer.clone()),
            _ => None,
        })
        .await;
    assert_eq!((answer.id, answer.published.len()), (Some(request), 1));
    let token = welcome.session.expect("a session").token;
    // Others saw the tracks of the old page end, and nobody go.
    let told = ada.told().await;
    let ended = told
        .iter()
        .filter(|it| matches!(it, ServerMessage::TrackUnpublished { .. }));
    assert_eq!((ended.count(), comings(&told)), (2, 0), "{told:?}");
    server.media.until(|books| books.peers.len() == 2).await;
    // It counts from its welcome on.
    let mut client = server.connect().await;
    let (_, received) = resumed(&mut client, resume(token.as_str(), 1)).await;
    assert_eq!(received, 0);
    let answer = client.find(|message| match message {
        ServerMessage::Answer(answer) => Some(answer.id),
        _ => None,
    });
    assert_eq!(answer.await, Some(request));
}

#[tokio::test]
async fn a_join_brings_its_offer_and_its_views() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let answer = ada.offer("send 0 video").await;
    let track = answer.published[0].track.clone();
    let sdp = first_offer("recv 0 video\nsend 1 audio");
    let view = TrackView {
        track,
        visible: true,
        height: 180,
        pinned: false,
    };
    let mut grace = server.connect().await;
    let request = grace
        .send(ClientMessage::Join(Join {
            offer: Some(sdp.clone()),
            views: vec![view.clone()],
            ..join("room", "Grace")
        }))
        .await;
    let ServerMessage::Welcome(welcome) = grace.next().await else {
        panic!("no welcome");
    };
    let ServerMessage::Answer(answer) = grace.next().await else {
        panic!("no answer");
    };
    assert_eq!((welcome.id, answer.id), (Some(request), Some(request)));
    let peer = server.last_peer();
    server
        .media
        .until(|books| {
            let views = &books.peers[&peer].views;
            views.values().any(|view| view.height == 180)
        })
        .await;
    // A refused offer leaves the join as it is.
    let mut alan = server.connect().await;
    let bad = Offer {
        sdp: "nonsense".into(),
        tracks: Vec::new(),
    };
    let request = alan
        .send(ClientMessage::Join(Join {
            offer: Some(bad),
            ..join("room", "Alan")
        }))
        .await;
    assert!(matches!(alan.next().await, ServerMessage::Welcome(_)));
    let refusal = alan.next_refusal().await;
    assert_eq!(refusal.id, Some(request));
    alan.expect_ok(chat("here")).await;
    let many = Join {
        views: vec![view; 257],
        ..join("room", "Many")
    };
    let mut client = server.connect().await;
    let refusal = client.refusal(ClientMessage::Join(many)).await;
    assert!(refusal.code == "bad_field" && refusal.message.contains("views"));
}

#[tokio::test]
async fn who_was_removed_or_banned_has_no_session() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let grace = Member::join(&server, "Grace").await;
    let eve = Member::join(&server, "Eve").await;
    for (member, is_ban) in [(grace, false), (eve, true)] {
        let participant = member.client.id.clone();
        drop(member.client);
        presence(&mut ada, false).await;
        let wish = match is_ban {
            false => Moderate::Remove { participant },
            true => Moderate::Ban { participant },
        };
        ada.expect_ok(ClientMessage::Moderate(wish)).await;
        assert_eq!(left(&mut ada).await.1, LeaveReason::Kicked);
        // The session's owner is told in this moment. Until it has heard, a resume is answered by its end.
        let mut client = loop {
            let mut client = server.connect().await;
            let request = ClientMessage::Resume(resume(&member.token, 1));
            let request = Some(client.send(request).await);
            match client.next().await {
                ServerMessage::Error(refusal) => {
                    assert_eq!(
                        (refusal.id, refusal.code.as_str()),
                        (request, "no_such_session")
                    );
                    break client;
                }
                ServerMessage::Resumed { .. } => assert!(client.closed().await.is_some()),
                ServerMessage::Bye { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        let again = Join {
            session: Some(member.token.as_str().into()),
            ..resumable("room", "Eve")
        };
        let answer = client.request(ClientMessage::Join(again)).await;
        match answer {
            ServerMessage::Error(refusal) if is_ban => assert_eq!(refusal.code, "banned"),
            ServerMessage::Welcome(_) if !is_ban => {}
            other => panic!("{other:?}"),
        }
        drop(client);
    }
}

#[tokio::test]
async fn a_ban_holds_the_address_that_somebody_came_back_from() {
    let server = Server::behind_proxy(|_| {}).await;
    let from = async |address: &str| server.come_from(address).await;
    let mut ada = from("192.0.2.1").await;
    ada.join("room", "Ada").await;
    let mut eve = from("192.0.2.2").await;
    let welcome = welcomed(&mut eve, resumable("room", "Eve")).await;
    let token = welcome.session.expect("a session").token;
    let mut moved = from("192.0.2.3").await;
    resumed(&mut moved, resume(token.as_str(), 1)).await;
    moved.told().await;
    let ban = Moderate::Ban {
        participant: welcome.participant,
    };
    ada.expect_ok(ClientMessage::Moderate(ban)).await;
    for (address, is_banned) in [("192.0.2.2", false), ("192.0.2.3", true)] {
        let answer = from(address).await.join_answer("room", "Another").await;
        let banned = matches!(answer, ServerMessage::Error(refusal) if refusal.code == "banned");
        assert_eq!(banned, is_banned, "{address}");
    }
}

#[tokio::test]
async fn a_session_is_none_of_another_rooms() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    let elsewhere = Join {
        session: Some(grace.token.as_str().into()),
        ..resumable("elsewhere", "Grace")
    };
    let mut client = server.connect().await;
    let welcome = welcomed(&mut client, elsewhere).await;
    assert_ne!(welcome.participant, grace.client.id);
    let other = welcome.session.expect("a session").token;
    // Another secret, or the rooms would know of each other by it.
    assert_ne!(other.as_str()[..22], grace.token[..22]);
    ada.expect_ok(chat("here")).await;
    assert_eq!(receive_text(&mut grace).await, "here");
    grace.come_back(&server).await;
}

#[tokio::test]
async fn a_restarted_server_gives_the_id_again() {
    let first = Server::start().await;
    let grace = Member::join(&first, "Grace").await;
    first.node.shutdown().await;
    let second = Server::start().await;
    let (mut client, refusal) = refused(&second, resume(&grace.token, 1)).await;
    assert_eq!(refusal.code, "no_such_session");
    let again = Join {
        session: Some(grace.token.as_str().into()),
        ..resumable("room", "Grace")
    };
    let welcome = welcomed(&mut client, again).await;
    assert_eq!(welcome.participant, grace.client.id);
    // A stranger does not get it.
    let mut eve = second.connect().await;
    let claim = Join {
        session: Some(
            format!("{}.{}", "A".repeat(22), "A".repeat(22))
                .as_str()
                .into(),
        ),
        ..resumable("room", "Eve")
    };
    assert_ne!(
        welcomed(&mut eve, claim).await.participant,
        welcome.participant
    );
}

#[tokio::test]
async fn a_join_with_the_secret_takes_the_participant_over() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    let id = grace.client.id.clone();
    grace.client.offer("send 0 audio").await;
    let lock = Moderate::Lock { on: true };
    ada.expect_ok(ClientMessage::Moderate(lock)).await;
    ada.told().await;
    let over = Join {
        session: Some(grace.token.as_str().into()),
        ..resumable("room", "Grace Hopper")
    };
    let mut client = server.connect().await;
    let welcome = welcomed(&mut client, over).await;
    assert_eq!(welcome.participant, id);
    let bye = grace.client.find(|message| match message {
        ServerMessage::Bye { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(bye.await, "replaced");
    assert_eq!(grace.client.closed().await, Some(CloseCode::Normal));
    let told = ada.told().await;
    assert_eq!(comings(&told), 0, "{told:?}");
    let renamed = told.iter().any(|message| {
        matches!(message, ServerMessage::ParticipantUpdated { participant } if participant.name == "Grace Hopper")
    });
    assert!(renamed, "{told:?}");
    // Its end did not end the participant, whose session is another one's now.
    client.expect_ok(chat("still here")).await;
    let (_, refusal) = refused(&server, resume(&grace.token, 1)).await;
    assert_eq!(refusal.code, "session_used");
    assert_eq!(server.node.counts().participants, 2);
}

#[tokio::test]
async fn by_a_token_of_its_own_making_a_second_join_takes_the_place_of_the_first() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let made = "AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw";
    let join = || Join {
        session: Some(made.into()),
        ..resumable("room", "Grace")
    };
    let mut first = server.connect().await;
    let before = welcomed(&mut first, join()).await;
    let token = before.session.expect("a session").token;
    assert_ne!(token.as_str(), made, "the server has the last word");
    // The client has not heard of it.
    drop(first);
    ada.told().await;
    let mut second = server.connect().await;
    let after = welcomed(&mut second, join()).await;
    assert_eq!(after.participant, before.participant);
    assert_eq!(server.node.counts().participants, 2);
    assert_eq!(comings(&ada.told().await), 0);
    let (_, refusal) = refused(&server, fresh(made)).await;
    assert_eq!(refusal.code, "session_used");
}
