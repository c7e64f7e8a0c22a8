//! A client whose connections are cut, doubled and replayed, against the whole server. Whatever happens, each of its messages
//! reaches the room once and in order, and each of the room's reaches it once and in order.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{Server, frame, run};

const STEPS: usize = 96;
/// The time that a step takes: the server grants 50 messages a second.
const STEP: Duration = Duration::from_millis(40);
/// Long enough for everything that waits for no time to be done.
const MOMENT: Duration = Duration::from_millis(1);
/// Pauses of a client, in seconds: shorter and longer than what the server waits for.
const PAUSES: [u64; 4] = [1, 4, 20, 70];

type Socket = WebSocketStream<DuplexStream>;

/// Handles steps of a client with a session, one byte each: an action by the lower four bits, and a number by the upper.
///
/// # Panics
///
/// If a message is lost, comes twice or in another order; if a token that was used is taken; or if one of the conditions
/// of [`connection`](crate::connection) holds.
pub fn session(bytes: &[u8]) {
    run(async |server| {
        let mut ada = Member::join(server, "Ada").await;
        let mut grace = Member::join(server, "Grace").await;
        for &byte in bytes.iter().take(STEPS) {
            sleep(STEP).await;
            ada.read(usize::MAX).await;
            let number = usize::from(byte >> 4);
            match byte & 15 {
                0..=2 => grace.say("grace").await,
                3 => ada.say("ada").await,
                4 => grace.read(number).await,
                5 => grace.read(usize::MAX).await,
                6 => grace.socket = None,
                7 => grace.cut_in_a_frame(number).await,
                8 => grace.resume(server).await,
                9 => grace.resume_in_vain(server).await,
                10 => grace.replay(server, number).await,
                11 => grace.acknowledge().await,
                12 => grace.reload(server).await,
                13 => {
                    for _ in 0..PAUSES[number & 3] {
                        sleep(Duration::from_secs(1)).await;
                        ada.read(usize::MAX).await;
                    }
                }
                14 => {
                    // Both have the same token: one that was left behind may be the first to arrive.
                    let doubled = grace.knock(server).await;
                    grace.resume(server).await;
                    drop(doubled);
                }
                _ => grace.send("no message".into()).await,
            }
        }
        grace.resume(server).await;
        sleep(STEP).await;
        for member in [&mut ada, &mut grace] {
            member.read(usize::MAX).await;
        }
        grace.check_order();
        ada.check_order();
        let spoken = grace.spoken();
        let heard: Vec<_> = ada.chats.iter().map(|(_, text)| text.clone()).collect();
        let of_grace: Vec<_> = heard.iter().filter(|it| it.starts_with("grace")).collect();
        assert!(
            of_grace.is_sorted_by_key(|text| number_of(text)),
            "{of_grace:?}"
        );
        assert!(
            of_grace.windows(2).all(|two| two[0] != two[1]),
            "twice: {of_grace:?}"
        );
        if !grace.is_limited {
            let last = &of_grace[of_grace.len() - spoken.len()..];
            assert!(last.iter().copied().eq(&spoken), "{last:?} {spoken:?}");
            // The last that ada heard is the last that grace did.
            assert_eq!(grace.chats.last().or(ada.chats.last()), ada.chats.last());
        }
    });
}

fn number_of(text: &str) -> u32 {
    text.trim_start_matches(|it: char| !it.is_ascii_digit())
        .parse()
        .expect("a number")
}

struct Member {
    name: &'static str,
    id: String,
    socket: Option<Socket>,
    token: String,
    /// Tokens that are used.
    spent: Vec<String>,
    /// Numbered messages received, since its page was loaded.
    received: u64,
    /// Frames sent, since then.
    sent: Vec<String>,
    /// Chat messages received, with their ids, since then.
    chats: Vec<(u64, String)>,
    said: u32,
    /// It has spoken too often, and something was refused.
    is_limited: bool,
}

impl Member {
    async fn join(server: &Server, name: &'static str) -> Self {
        let mut member = Self {
            name,
            id: String::new(),
            socket: None,
            token: String::new(),
            spent: Vec::new(),
            received: 0,
            sent: Vec::new(),
            chats: Vec::new(),
            said: 0,
            is_limited: false,
        };
        member.join_anew(server).await;
        member
    }

    async fn open(server: &Server) -> Socket {
        let (socket, _) = client_async("ws://a/v1/ws", server.open())
            .await
            .expect("a socket");
        socket
    }

    async fn join_anew(&mut self, server: &Server) {
        let mut join = json!({
            "type": "join", "id": 1, "version": 1, "room": "room", "name": self.name, "resumable": true,
        });
        if !self.token.is_empty() {
            join["session"] = self.token.as_str().into();
            self.spent.push(self.token.clone());
        }
        let mut socket = Self::open(server).await;
        let _ = socket.send(Message::text(join.to_string())).await;
        self.socket = Some(socket);
        self.be_new();
        let welcome = self.next().await.expect("a welcome");
        assert_eq!(welcome["type"], "welcome");
        self.welcomed(&welcome);
    }

    /// Forgets everything but its token.
    fn be_new(&mut self) {
        self.received = 0;
        self.sent.clear();
        self.chats.clear();
    }

    fn welcomed(&mut self, welcome: &Value) {
        let id = welcome["participant"].as_str().expect("an id");
        assert!(self.id.is_empty() || self.id == id, "it has its id again");
        id.clone_into(&mut self.id);
        let token = welcome["session"]["token"].as_str();
        token.expect("a token").clone_into(&mut self.token);
    }

    /// The next message, if there is one.
    async fn next(&mut self) -> Option<Value> {
        let text = loop {
            let socket = self.socket.as_mut()?;
            match timeout(MOMENT, socket.next()).await {
                Err(_) => return None,
                Ok(Some(Ok(Message::Text(text)))) => break text,
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(_) => self.socket = None,
            }
        };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let is_fatal = message["fatal"] == true;
        if !is_fatal
            && !["pong", "resumed", "bye"]
                .iter()
                .any(|kind| message["type"] == *kind)
        {
            self.received += 1;
        }
        if message["type"] == "chat" {
            let message = &message["message"];
            let text = message["text"].as_str().expect("a text");
            self.chats
                .push((message["id"].as_u64().expect("an id"), text.to_owned()));
        }
        self.is_limited |= message["code"] == "rate_limited";
        Some(message)
    }

    async fn read(&mut self, most: usize) {
        for _ in 0..most {
            if self.next().await.is_none() {
                return;
            }
        }
    }

    async fn say(&mut self, prefix: &str) {
        self.said += 1;
        let chat = json!({"type": "chat", "text": format!("{prefix}{}", self.said)});
        self.send(chat.to_string()).await;
    }

    /// Sends a numbered frame, or keeps it for the next connection.
    async fn send(&mut self, text: String) {
        self.sent.push(text.clone());
        self.write(text).await;
    }

    async fn write(&mut self, text: String) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let sent = timeout(MOMENT, socket.send(Message::text(text))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.socket = None;
        }
    }

    async fn acknowledge(&mut self) {
        let ack = json!({"type": "ack", "received": self.received});
        self.write(ack.to_string()).await;
    }

    async fn cut_in_a_frame(&mut self, at: usize) {
        if let Some(mut socket) = self.socket.take() {
            let bytes = frame(r#"{"type":"chat","text":"lost"}"#);
            let _ = socket.get_mut().write_all(&bytes[..at]).await;
        }
    }

    fn wish(&self) -> Value {
        json!({"type": "resume", "id": 2, "session": self.token, "received": self.received})
    }

    /// A connection that asks to resume, and hears no answer.
    async fn knock(&mut self, server: &Server) -> Socket {
        let mut socket = Self::open(server).await;
        let _ = socket.send(Message::text(self.wish().to_string())).await;
        sleep(MOMENT).await;
        socket
    }

    async fn resume_in_vain(&mut self, server: &Server) {
        drop(self.knock(server).await);
        self.socket = None;
    }

    async fn resume(&mut self, server: &Server) {
        let wish = self.wish();
        let Some(reply) = self.ask(server, &wish).await else {
            return self.join_anew(server).await;
        };
        let had = reply["received"].as_u64().expect("a number");
        let again = self.sent[usize::try_from(had).expect("small")..].to_vec();
        self.acknowledge().await;
        for text in again {
            self.write(text).await;
        }
    }

    async fn reload(&mut self, server: &Server) {
        let mut wish = self.wish();
        wish["fresh"] = true.into();
        if self.ask(server, &wish).await.is_none() {
            return self.join_anew(server).await;
        }
        self.be_new();
        let welcome = self.next().await.expect("a welcome");
        let token = self.token.clone();
        self.welcomed(&welcome);
        assert_eq!(self.token, token, "both have the same token");
        self.acknowledge().await;
    }

    /// Resumes. None: the session is over.
    async fn ask(&mut self, server: &Server, wish: &Value) -> Option<Value> {
        let mut socket = Self::open(server).await;
        let _ = socket.send(Message::text(wish.to_string())).await;
        self.socket = Some(socket);
        let before = self.received;
        let reply = self.next().await.expect("a reply");
        self.received = before;
        if reply["type"] == "error" {
            assert_eq!(reply["code"], "no_such_session", "{reply}");
            return None;
        }
        assert_eq!(reply["type"], "resumed", "{reply}");
        let token = reply["session"].as_str().expect("a token").to_owned();
        // Something is sent at once, by which the server knows that the token before is used.
        self.spent.push(std::mem::replace(&mut self.token, token));
        Some(reply)
    }

    /// Somebody tries a token that was used.
    async fn replay(&mut self, server: &Server, which: usize) {
        // What was sent may be on its way still.
        sleep(MOMENT).await;
        let Some(token) = self.spent.get(which % self.spent.len().max(1)) else {
            return;
        };
        let mut eve = Self::open(server).await;
        for received in [0, self.received] {
            let wish = json!({"type": "resume", "session": token, "received": received});
            let _ = eve.send(Message::text(wish.to_string())).await;
            let Ok(Some(Ok(Message::Text(text)))) = timeout(MOMENT, eve.next()).await else {
                panic!("no answer");
            };
            let reply: Value = serde_json::from_str(&text).expect("JSON");
            let is_refused = ["session_used", "no_such_session"]
                .iter()
                .any(|code| reply["code"] == *code);
            assert!(is_refused, "{reply}");
        }
    }

    /// Texts that it has said since its page was loaded.
    fn spoken(&self) -> Vec<String> {
        let frames = self
            .sent
            .iter()
            .filter_map(|text| serde_json::from_str::<Value>(text).ok());
        frames
            .filter_map(|frame| frame["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// Everybody sees one order of chat, without a gap.
    fn check_order(&self) {
        let follows = |two: &[(u64, String)]| two[1].0 == two[0].0 + 1;
        assert!(self.chats.windows(2).all(follows), "{:?}", self.chats);
    }
}
