//! Sessions that outlive their connections.

use tertulia_signaling::protocol::native::{
    ClientMessage, Join, LeaveReason, Refusal, Resume, ServerMessage, Welcome,
};
use tertulia_signaling::room::{Recipient, ServerSays};

use crate::client::{Client, chat, join, left};
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

impl Member {
    pub(crate) async fn join(server: &Server, name: &str) -> Self {
        Self::joining(server, resumable("room", name)).await
    }

    pub(crate) async fn joining(server: &Server, join: Join) -> Self {
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
    pub(crate) async fn told(&mut self) -> Vec<ServerMessage> {
        let told = self.client.told().await;
        self.received += told.len() as u64 + 1;
        told
    }

    /// The next numbered message.
    pub(crate) async fn next(&mut self) -> ServerMessage {
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

pub(crate) async fn welcomed(client: &mut Client, join: Join) -> Welcome {
    match client.request(ClientMessage::Join(join)).await {
        ServerMessage::Welcome(welcome) => {
            client.id = welcome.participant.clone();
            welcome
        }
        other => panic!("{other:?} instead of welcome"),
    }
}

pub(crate) async fn resumed(client: &mut Client, resume: Resume) -> (String, u64) {
    match client.request(ClientMessage::Resume(resume)).await {
        ServerMessage::Resumed {
            session, received, ..
        } => (session.as_str().to_owned(), received),
        other => panic!("{other:?} instead of resumed"),
    }
}

pub(crate) async fn refused(server: &Server, resume: Resume) -> (Client, Refusal) {
    let mut client = server.connect().await;
    let refusal = client.refusal(ClientMessage::Resume(resume)).await;
    assert!(!refusal.fatal);
    (client, refusal)
}

/// Waits until the others hear that somebody is away, or is back.
pub(crate) async fn presence(client: &mut Client, connected: bool) -> String {
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

fn texts(told: &[ServerMessage]) -> Vec<&str> {
    let chats = told.iter().filter_map(|message| match message {
        ServerMessage::Chat { message } => Some(message.text.as_str()),
        _ => None,
    });
    chats.collect()
}

/// Messages that tell of somebody who comes or goes.
pub(crate) fn comings(told: &[ServerMessage]) -> usize {
    let is_one = |message: &&ServerMessage| {
        matches!(
            message,
            ServerMessage::ParticipantJoined { .. } | ServerMessage::ParticipantLeft { .. }
        )
    };
    told.iter().filter(is_one).count()
}

pub(crate) async fn receive_text(member: &mut Member) -> String {
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
async fn a_resume_does_not_wait_for_a_connection_that_takes_nothing() {
    const CHATS: usize = 1_500;
    let server = Server::start().await;
    let small = |socket: &tokio::net::TcpSocket| {
        socket.set_recv_buffer_size(4_096).expect("a buffer");
    };
    let mut client = Client::connect_with(&server.url(), small).await;
    let welcome = welcomed(&mut client, resumable("room", "Grace")).await;
    let token = welcome.session.expect("a session").token;
    let rooms = server.node.rooms();
    for number in 0..CHATS {
        let says = ServerSays::Chat {
            name: "Server".into(),
            text: format!("{number} {}", "x".repeat(1_900)),
        };
        let told = rooms.tell("room", Recipient::Everyone, says).await;
        told.expect("told");
    }
    let began = std::time::Instant::now();
    let mut other = server.connect().await;
    resumed(&mut other, resume(token.as_str(), 1)).await;
    for number in 0..CHATS {
        let ServerMessage::Chat { message } = other.next().await else {
            panic!("no chat");
        };
        assert!(message.text.starts_with(&format!("{number} ")));
    }
    assert!(
        began.elapsed().as_secs() < 10,
        "sooner than a write is given up"
    );
    drop(client);
}

/// One request of some hundred bytes would have megabytes sent, for ever.
#[tokio::test]
async fn a_client_that_says_again_and_again_that_it_has_had_nothing_is_held_up() {
    const MOST: usize = 16;
    let server = Server::with(|config| config.limits.chat_history = 2_000).await;
    let mut ada = server.join("Ada").await;
    let rooms = server.node.rooms();
    for number in 0..2_000 {
        let says = ServerSays::Chat {
            name: "Server".into(),
            text: format!("{number} {}", "x".repeat(1_900)),
        };
        let told = rooms.tell("room", Recipient::Everyone, says).await;
        told.expect("told");
        ada.next().await;
    }
    let mut grace = Member::join(&server, "Grace").await;
    let mut times = 0;
    let refusal = loop {
        grace.client = server.connect().await;
        let comeback = ClientMessage::Resume(resume(&grace.token, 0));
        match grace.client.request(comeback).await {
            ServerMessage::Resumed { session, .. } => grace.token = session.as_str().to_owned(),
            ServerMessage::Error(refusal) => break refusal,
            other => panic!("{other:?}"),
        }
        let welcome = grace.client.next().await;
        assert!(matches!(welcome, ServerMessage::Welcome(_)), "{welcome:?}");
        times += 1;
        assert!(times < 4 * MOST, "sent {times} times");
    };
    assert!(times >= MOST, "{times}");
    assert_eq!(
        (refusal.code.as_str(), refusal.fatal),
        ("rate_limited", false)
    );
    let wait = refusal.retry_after_ms.expect("a time");
    assert!((1..=5_000).contains(&wait), "{wait}");
    let admin = server.admin().await;
    let stats = crate::http::get(admin, "/stats").await.body;
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(stats["sessions"]["refused"]["rate_limited"], 1);
    // Who has had everything costs nothing, and loses nothing.
    let comeback = resume(&grace.token, 1);
    resumed(&mut grace.client, comeback).await;
    grace.client.expect_ok(chat("back")).await;
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
async fn an_operator_sees_who_is_away() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let grace = Member::join(&server, "Grace").await;
    let admin = server.admin().await;
    let away = async || -> Vec<(String, bool)> {
        let reply = crate::http::get(admin, "/stats?room=room").await;
        let stats: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        let people = stats["participants"].as_array().expect("a list").iter();
        let read = people.map(|it| {
            let name = it["name"].as_str().expect("a name").to_owned();
            (name, it["away"].as_bool().expect("a switch"))
        });
        read.collect()
    };
    let expected = |is_away| [("Ada".to_owned(), false), ("Grace".to_owned(), is_away)];
    assert_eq!(away().await, expected(false));
    drop(grace.client);
    presence(&mut ada, false).await;
    assert_eq!(away().await, expected(true));
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
