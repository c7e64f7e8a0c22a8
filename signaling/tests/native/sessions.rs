//! Sessions that outlive their connections.

use tertulia_signaling::protocol::native::{
    ClientMessage, Hand, Join, LeaveReason, Moderate, Offer, Refusal, Resume, ServerMessage,
    TrackView, Welcome,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, chat, join, offer};
use crate::server::Server;

/// A client with its session.
pub(crate) struct Member {
    pub(crate) client: Client,
    pub(crate) token: String,
    /// Numbered messages that it has had.
    pub(crate) received: u64,
}

pub(crate) fn resumable(room: &str, name: &str) -> Join {
    Join {
        resumable: true,
        ..join(room, name)
    }
}

pub(crate) fn resume(token: &str, received: u64) -> Resume {
    Resume {
        session: token.into(),
        received: Some(received),
        fresh: false,
        offer: None,
        views: Vec::new(),
    }
}

fn fresh(token: &str) -> Resume {
    Resume {
        received: None,
        fresh: true,
        ..resume(token, 0)
    }
}

impl Member {
    pub(crate) async fn join(server: &Server, name: &str) -> Self {
        Self::joining(server, resumable("room", name)).await
    }

    async fn joining(server: &Server, join: Join) -> Self {
        let mut client = server.connect().await;
        let welcome = welcomed(&mut client, join).await;
        let token = welcome.session.expect("a session").token;
        Self {
            client,
            token: token.as_str().to_owned(),
            received: 1,
        }
    }

    /// Everything that is told until something is asked and answered, counted.
    async fn told(&mut self) -> Vec<ServerMessage> {
        let told = self.client.told().await;
        self.received += told.len() as u64 + 1;
        told
    }

    /// The next numbered message.
    async fn next(&mut self) -> ServerMessage {
        self.received += 1;
        self.client.next().await
    }

    /// Comes back on a new connection. Returns the number of its own messages that have come.
    pub(crate) async fn come_back(&mut self, server: &Server) -> u64 {
        self.client = server.connect().await;
        let resume = resume(&self.token, self.received);
        let (token, received) = resumed(&mut self.client, resume).await;
        self.token = token;
        received
    }
}

async fn welcomed(client: &mut Client, join: Join) -> Welcome {
    match client.request(ClientMessage::Join(join)).await {
        ServerMessage::Welcome(welcome) => {
            client.id = welcome.participant.clone();
            welcome
        }
        other => panic!("{other:?} instead of welcome"),
    }
}

async fn resumed(client: &mut Client, resume: Resume) -> (String, u64) {
    match client.request(ClientMessage::Resume(resume)).await {
        ServerMessage::Resumed {
            session, received, ..
        } => (session.as_str().to_owned(), received),
        other => panic!("{other:?} instead of resumed"),
    }
}

async fn refused(server: &Server, resume: Resume) -> (Client, Refusal) {
    let mut client = server.connect().await;
    let refusal = client.refusal(ClientMessage::Resume(resume)).await;
    assert!(!refusal.fatal);
    (client, refusal)
}

/// Waits until the others hear that somebody is away, or is back.
async fn presence(client: &mut Client, connected: bool) -> String {
    client
        .find(|message| match message {
            ServerMessage::Presence {
                participant,
                connected: is,
            } if *is == connected => Some(participant.clone()),
            _ => None,
        })
        .await
}

async fn left(client: &mut Client) -> (String, LeaveReason) {
    client
        .find(|message| match message {
            ServerMessage::ParticipantLeft {
                participant,
                reason,
            } => Some((participant.clone(), *reason)),
            _ => None,
        })
        .await
}

fn texts(told: &[ServerMessage]) -> Vec<&str> {
    let chats = told.iter().filter_map(|message| match message {
        ServerMessage::Chat { message } => Some(message.text.as_str()),
        _ => None,
    });
    chats.collect()
}

/// Messages that tell of somebody who comes or goes.
fn comings(told: &[ServerMessage]) -> usize {
    let is_one = |message: &&ServerMessage| {
        matches!(
            message,
            ServerMessage::ParticipantJoined { .. } | ServerMessage::ParticipantLeft { .. }
        )
    };
    told.iter().filter(is_one).count()
}

fn first_offer(sdp: &str) -> Offer {
    match offer(sdp) {
        ClientMessage::Offer(offer) => offer,
        other => panic!("{other:?}"),
    }
}

async fn receive_text(member: &mut Member) -> String {
    loop {
        if let ServerMessage::Chat { message } = member.next().await {
            return message.text;
        }
    }
}

#[tokio::test]
async fn a_session_outlives_its_connection() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    let id = grace.client.id.clone();
    assert_eq!(id.len(), "pa_".len() + 20);
    grace.client.offer("send 0 audio").await;
    grace.received += 1;
    grace.told().await;
    ada.told().await;
    let peers = server.media.books().peers.len();
    grace.client = server.connect().await;
    assert_eq!(presence(&mut ada, false).await, id);
    for text in ["one", "two"] {
        ada.expect_ok(chat(text)).await;
    }
    let mut late = server.connect().await;
    let welcome = late.join("room", "Late").await;
    let seen = welcome.participants.iter().find(|it| it.id == id);
    assert!(!seen.expect("she stays").connected);
    assert_eq!(server.media.books().peers.len(), peers, "media goes on");
    // The offer and two questions.
    assert_eq!(grace.come_back(&server).await, 2);
    assert_eq!(presence(&mut ada, true).await, id);
    assert_eq!(receive_text(&mut grace).await, "one");
    assert_eq!(receive_text(&mut grace).await, "two");
    let told = grace.told().await;
    assert_eq!((texts(&told).len(), comings(&told)), (0, 1), "{told:?}");
    assert_eq!(comings(&ada.told().await), 1, "of the late one");
    grace.client.expect_ok(chat("back")).await;
    ada.find(|message| (texts(std::slice::from_ref(message)) == ["back"]).then_some(()))
        .await;
}

#[tokio::test]
async fn messages_that_were_lost_come_again_and_own_ones_are_counted() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    for number in 0..5 {
        ada.expect_ok(chat(&number.to_string())).await;
    }
    grace.told().await;
    // One frame that is no message counts; ping and ack do not.
    for text in [
        r#"{"type":"chat","text":"a"}"#,
        "no message",
        r#"{"type":"ping","received":2}"#,
        r#"{"type":"ack","received":3}"#,
        r#"{"type":"chat","text":"b"}"#,
    ] {
        grace.client.send_text(text).await;
    }
    let refusal = grace.client.next_refusal().await;
    assert_eq!(refusal.code, "bad_json");
    grace.client.told().await;
    // As if everything since the second chat message had been lost on the way.
    grace.received = 3;
    // The question before, three messages here, and the question after.
    assert_eq!(grace.come_back(&server).await, 5);
    for text in ["2", "3", "4", "a", "b"] {
        assert_eq!(receive_text(&mut grace).await, text);
    }
    let told = grace.told().await;
    assert_eq!(texts(&told).len(), 0);
    // What was acknowledged is not kept; what was not sent is not there.
    let (_, refusal) = refused(&server, resume(&grace.token, 2)).await;
    assert_eq!(refusal.code, "session_gap");
    let (_, refusal) = refused(&server, resume(&grace.token, 1_000)).await;
    assert_eq!(refusal.code, "session_gap");
    // Nobody can acknowledge what was not sent.
    grace
        .client
        .send(ClientMessage::Ack { received: 1_000 })
        .await;
    assert_eq!(grace.client.next_refusal().await.code, "bad_field");
    grace.received += 1;
    grace.come_back(&server).await;
}

#[tokio::test]
async fn a_token_is_for_one_resume() {
    let server = Server::start().await;
    let mut grace = Member::join(&server, "Grace").await;
    let first = grace.token.clone();
    grace.come_back(&server).await;
    // The reply may have been lost, for nothing has come from the client since.
    grace.token.clone_from(&first);
    grace.come_back(&server).await;
    assert_ne!(grace.token, first);
    let ack = ClientMessage::Ack { received: 1 };
    grace.client.send(ack).await;
    grace.client.expect_pong().await;
    let (mut client, refusal) = refused(&server, resume(&first, 1)).await;
    assert_eq!(refusal.code, "session_used");
    let (secret, _) = first.split_once('.').expect("two parts");
    for (token, code) in [
        (format!("{secret}.AAAAAAAAAAAAAAAAAAAAAA"), "session_used"),
        (
            format!("AAAAAAAAAAAAAAAAAAAAAA.{secret}"),
            "no_such_session",
        ),
        (secret.to_owned(), "no_such_session"),
        (String::new(), "no_such_session"),
        ("x".repeat(10_000), "no_such_session"),
    ] {
        let refusal = client
            .refusal(ClientMessage::Resume(resume(&token, 1)))
            .await;
        assert_eq!(refusal.code, code, "{token:.60}");
    }
    let nothing = Resume {
        received: None,
        ..resume(&first, 0)
    };
    let refusal = client.refusal(ClientMessage::Resume(nothing)).await;
    assert_eq!(refusal.code, "bad_field");
    client.join("room", "Other").await;
    // The session is none the worse for it.
    assert!(matches!(
        grace.next().await,
        ServerMessage::ParticipantJoined { .. }
    ));
    grace.come_back(&server).await;
}

#[tokio::test]
async fn a_resume_takes_the_place_of_a_connection_that_is_open() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    let old = std::mem::replace(&mut grace.client, server.connect().await);
    let (token, received) = resumed(&mut grace.client, resume(&grace.token, 1)).await;
    assert_eq!(received, 0);
    grace.token = token;
    assert_eq!(old.closed().await, None, "without a word");
    grace.client.expect_ok(chat("moved")).await;
    let told = ada.told().await;
    let presences = told
        .iter()
        .filter(|it| matches!(it, ServerMessage::Presence { .. }));
    assert_eq!((presences.count(), comings(&told)), (0, 1));
    let again = grace
        .client
        .refusal(ClientMessage::Resume(resume(&grace.token, 1)));
    assert_eq!(again.await.code, "already_joined");
}

#[tokio::test]
async fn who_does_not_come_back_leaves() {
    let server = Server::with(|config| config.limits.reconnect_grace_ms = 1_200).await;
    let mut ada = server.join("Ada").await;
    let grace = Member::join(&server, "Grace").await;
    let id = grace.client.id.clone();
    drop(grace.client);
    assert_eq!(presence(&mut ada, false).await, id);
    assert_eq!(
        left(&mut ada).await,
        (id.clone(), LeaveReason::Disconnected)
    );
    let (mut client, refusal) = refused(&server, resume(&grace.token, 1)).await;
    assert_eq!(refusal.code, "no_such_session");
    // On the same connection it joins anew, under the same id.
    let again = Join {
        session: Some(grace.token.as_str().into()),
        ..resumable("room", "Grace")
    };
    let welcome = welcomed(&mut client, again).await;
    assert_eq!(welcome.participant, id);
    assert_ne!(
        welcome.session.expect("a session").token.as_str(),
        grace.token
    );
}

#[tokio::test]
async fn without_a_grace_or_a_wish_there_is_no_session() {
    let server = Server::with(|config| config.limits.reconnect_grace_ms = 0).await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.connect().await;
    let welcome = welcomed(&mut grace, resumable("room", "Grace")).await;
    assert!(welcome.session.is_none());
    drop(grace);
    assert_eq!(left(&mut ada).await.1, LeaveReason::Disconnected);
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.connect().await;
    assert!(grace.join("room", "Grace").await.session.is_none());
    // An acknowledgement by who has no session changes nothing.
    grace.send(ClientMessage::Ack { received: 9 }).await;
    grace.expect_pong().await;
    drop(grace);
    assert_eq!(left(&mut ada).await.1, LeaveReason::Disconnected);
}

#[tokio::test]
async fn leave_ends_a_session_at_once() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = Member::join(&server, "Grace").await;
    grace.client.expect_bye(ClientMessage::Leave).await;
    assert_eq!(left(&mut ada).await.1, LeaveReason::Left);
    let (_, refusal) = refused(&server, resume(&grace.token, 1)).await;
    assert_eq!(refusal.code, "no_such_session");
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
async fn a_thousand_sessions_are_away_and_no_more() {
    const MOST: usize = 1_000;
    let server = Server::with(|config| config.limits.connections_per_address = MOST).await;
    let join = async |number: usize| {
        let room = format!("room-{}", number / 25);
        Member::joining(&server, resumable(&room, "Grace")).await
    };
    let mut members = Vec::new();
    for number in 0..MOST {
        members.push(join(number).await);
    }
    let tokens: Vec<String> = members.drain(..).map(|it| it.token).collect();
    let admin = server.admin().await;
    let away = async || -> u64 {
        let reply = crate::http::get(admin, "/stats").await;
        let stats: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        stats["sessions"]["away"].as_u64().expect("a number")
    };
    while away().await < MOST as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.node.counts().participants, MOST);
    // One more is no session any more once it is cut.
    let more = join(MOST).await;
    drop(more.client);
    while server.node.counts().participants > MOST {
        tokio::task::yield_now().await;
    }
    let (mut client, refusal) = refused(&server, resume(&more.token, 1)).await;
    assert_eq!(refusal.code, "no_such_session");
    // Those that are away have lost nothing.
    for token in [&tokens[0], &tokens[MOST - 1]] {
        let (_, received) = resumed(&mut client, resume(token, 1)).await;
        assert_eq!(received, 0);
        client = server.connect().await;
    }
    server.node.shutdown().await;
    while away().await > 0 {
        tokio::task::yield_now().await;
    }
}
