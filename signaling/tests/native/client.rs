//! A client that sends the given messages and waits, with a deadline, for the expected ones.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tertulia_signaling::protocol::native::{
    Answer, CarriedTrack, Chat, ClientFrame, ClientMessage, Join, LeaveReason, Offer, Refusal,
    ServerMessage, Source, VERSION, Welcome,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Deadline on a machine busy with other things; a healthy test does not wait this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A connection, over TLS or not.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

pub(crate) struct Client {
    socket: WebSocketStream<Box<dyn Connection>>,
    /// Read while looking for something else.
    early: VecDeque<ServerMessage>,
    requests: u32,
    /// Its id, from the welcome.
    pub(crate) id: String,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self::connect_with(url, |_| {}).await
    }

    pub(crate) async fn connect_with(url: &str, change: impl FnOnce(&TcpSocket)) -> Self {
        let connected = Self::try_connect_with(url, change).await;
        connected.expect("upgrade")
    }

    /// Fails when the server refuses the upgrade.
    pub(crate) async fn try_connect_with(
        url: &str,
        change: impl FnOnce(&TcpSocket),
    ) -> Result<Self, tungstenite::Error> {
        let addr = url.trim_start_matches("ws://").trim_end_matches("/v1/ws");
        let tcp = TcpSocket::new_v4().expect("socket");
        change(&tcp);
        let tcp = tcp.connect(addr.parse().expect("address")).await;
        Self::over(tcp.expect("connect"), url).await
    }

    /// Connects with further headers.
    pub(crate) async fn connect_asking(
        url: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Self {
        let asked = Self::try_connect_asking(url, headers).await;
        asked.expect("upgrade")
    }

    /// Connects as one whom a proxy speaks for.
    pub(crate) async fn connect_from(url: &str, address: &str) -> Result<Self, tungstenite::Error> {
        Self::try_connect_asking(url, &[("x-forwarded-for", address)]).await
    }

    async fn try_connect_asking(
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            let value = value.parse().expect("a header");
            request.headers_mut().insert(*name, value);
        }
        let host = request.uri().authority().expect("a host").as_str();
        let tcp = TcpStream::connect(host).await.expect("connect");
        Self::over(tcp, request).await
    }

    /// Fails when the server refuses the upgrade.
    pub(crate) async fn try_connect(url: &str) -> Result<Self, tungstenite::Error> {
        Self::try_connect_asking(url, &[]).await
    }

    /// Makes the WebSocket over a connection there is. Fails when the server refuses the upgrade.
    pub(crate) async fn over(
        stream: impl Connection + 'static,
        request: impl IntoClientRequest + Unpin,
    ) -> Result<Self, tungstenite::Error> {
        let stream: Box<dyn Connection> = Box::new(stream);
        let connected = timeout(DEADLINE, client_async(request, stream)).await;
        let (socket, _) = connected.expect("an answer in time")?;
        Ok(Self {
            socket,
            early: VecDeque::new(),
            requests: 0,
            id: String::new(),
        })
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("send");
    }

    /// Past the WebSocket.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let written = self.socket.get_mut().write_all(bytes).await;
        written.expect("write");
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_raw(Message::text(text)).await;
    }

    /// The server may close the connection before it has taken all of it.
    pub(crate) async fn send_text_unless_closed(&mut self, text: &str) {
        self.send_raw_unless_closed(Message::text(text)).await;
    }

    pub(crate) async fn send_raw_unless_closed(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// Returns the request number.
    pub(crate) async fn send(&mut self, message: ClientMessage) -> u32 {
        self.requests += 1;
        let id = Some(self.requests);
        self.send_text(&ClientFrame { id, message }.write()).await;
        self.requests
    }

    async fn read(&mut self) -> Option<Message> {
        let read = timeout(DEADLINE, self.socket.next()).await;
        read.expect("a message in time").and_then(Result::ok)
    }

    /// The next message off the socket.
    async fn receive(&mut self) -> ServerMessage {
        loop {
            match self.read().await {
                Some(Message::Text(text)) => {
                    return ServerMessage::read(&text).expect("a known message");
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// The next message, in the server's order.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.receive().await,
        }
    }

    /// The first message that `pick` takes. Earlier ones are kept for later.
    pub(crate) async fn find<T>(&mut self, mut pick: impl FnMut(&ServerMessage) -> Option<T>) -> T {
        for index in 0..self.early.len() {
            if let Some(found) = pick(&self.early[index]) {
                self.early.remove(index);
                return found;
            }
        }
        loop {
            let message = self.receive().await;
            if let Some(found) = pick(&message) {
                return found;
            }
            self.early.push_back(message);
        }
    }

    /// The answer to `message`, whatever it is.
    pub(crate) async fn request(&mut self, message: ClientMessage) -> ServerMessage {
        let request = Some(self.send(message).await);
        self.find(|message| (reply_to(message) == request).then(|| message.clone()))
            .await
    }

    pub(crate) async fn join_answer(&mut self, room: &str, name: &str) -> ServerMessage {
        self.request(ClientMessage::Join(join(room, name))).await
    }

    pub(crate) async fn join(&mut self, room: &str, name: &str) -> Welcome {
        match self.join_answer(room, name).await {
            ServerMessage::Welcome(welcome) => {
                self.id = welcome.participant.clone();
                welcome
            }
            other => panic!("{other:?} instead of welcome"),
        }
    }

    /// `sdp` is what [`FakeMedia`](crate::fake_media::FakeMedia) reads.
    pub(crate) async fn offer(&mut self, sdp: &str) -> Answer {
        match self.request(offer(sdp)).await {
            ServerMessage::Answer(answer) => answer,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    pub(crate) async fn expect_ok(&mut self, message: ClientMessage) {
        let answer = self.request(message).await;
        assert!(matches!(answer, ServerMessage::Ok { .. }), "{answer:?}");
    }

    pub(crate) async fn expect_pong(&mut self) {
        let answer = self.request(ClientMessage::Ping { received: None }).await;
        assert!(matches!(answer, ServerMessage::Pong { .. }), "{answer:?}");
    }

    pub(crate) async fn expect_bye(&mut self, message: ClientMessage) {
        let answer = self.request(message).await;
        assert!(matches!(answer, ServerMessage::Bye { .. }), "{answer:?}");
    }

    pub(crate) async fn refusal(&mut self, message: ClientMessage) -> Refusal {
        match self.request(message).await {
            ServerMessage::Error(refusal) => refusal,
            other => panic!("{other:?} instead of an error"),
        }
    }

    pub(crate) async fn next_refusal(&mut self) -> Refusal {
        self.find(|message| match message {
            ServerMessage::Error(refusal) => Some(refusal.clone()),
            _ => None,
        })
        .await
    }

    /// Everything the room told before it answered this: `stats` goes through the room as any
    /// command does.
    pub(crate) async fn told(&mut self) -> Vec<ServerMessage> {
        let request = Some(self.send(ClientMessage::Stats).await);
        let mut told = Vec::new();
        loop {
            let message = self.next().await;
            if reply_to(&message) == request {
                return told;
            }
            told.push(message);
        }
    }

    /// Whether it was refused with this code, and closed by that one. Asks something, so that one who was not is answered.
    pub(crate) async fn is_refused(&mut self, code: &str, close: CloseCode) -> bool {
        let _ = self.socket.send(Message::Ping(Default::default())).await;
        let mut refused = false;
        while let Some(message) = self.read().await {
            match message {
                Message::Text(text) => match ServerMessage::read(&text) {
                    Ok(ServerMessage::Error(refusal)) => refused |= refusal.code == code,
                    other => panic!("{other:?} instead of an error"),
                },
                Message::Close(frame) => {
                    return refused && frame.is_some_and(|frame| frame.code == close);
                }
                Message::Pong(_) => return false,
                _ => {}
            }
        }
        false
    }

    /// Reads to the end and returns the code of the close frame, if one came.
    pub(crate) async fn closed(mut self) -> Option<CloseCode> {
        let mut code = None;
        while let Some(message) = self.read().await {
            if let Message::Close(Some(frame)) = message {
                code = Some(frame.code);
            }
        }
        code
    }
}

fn reply_to(message: &ServerMessage) -> Option<u32> {
    match message {
        ServerMessage::Welcome(welcome) => welcome.id,
        ServerMessage::Answer(answer) => answer.id,
        ServerMessage::Resumed { id, .. } => *id,
        ServerMessage::Error(refusal) => refusal.id,
        ServerMessage::Ok { id }
        | ServerMessage::Pong { id }
        | ServerMessage::Bye { id, .. }
        | ServerMessage::Stats { id, .. }
        | ServerMessage::Invitation { id, .. }
        | ServerMessage::Invitations { id, .. }
        | ServerMessage::People { id, .. }
        | ServerMessage::Timeline { id, .. } => *id,
        _ => None,
    }
}

/// Waits until somebody is told to have left, and why.
pub(crate) async fn left(client: &mut Client) -> (String, LeaveReason) {
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

pub(crate) fn join(room: &str, name: &str) -> Join {
    Join {
        version: VERSION,
        room: room.to_owned(),
        name: name.to_owned(),
        metadata: None,
        auto_subscribe: true,
        token: None,
        batch: false,
        audience: None,
        resumable: false,
        session: None,
        offer: None,
        views: Vec::new(),
    }
}

/// An m-line with `audio` carries a microphone, one with `video` a camera.
pub(crate) fn offer(sdp: &str) -> ClientMessage {
    let tracks = sdp.lines().filter_map(|line| {
        let mut words = line.split(' ');
        if words.next() != Some("send") {
            return None;
        }
        Some(CarriedTrack {
            mid: words.next()?.to_owned(),
            source: match words.next()? {
                "audio" => Source::Microphone,
                _ => Source::Camera,
            },
            muted: false,
        })
    });
    ClientMessage::Offer(Offer {
        sdp: sdp.to_owned(),
        tracks: tracks.collect(),
    })
}

pub(crate) fn chat(text: &str) -> ClientMessage {
    ClientMessage::Chat(Chat {
        text: text.to_owned(),
    })
}
