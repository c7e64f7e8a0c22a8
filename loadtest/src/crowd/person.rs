//! One of the crowd: a WebSocket that joins, reads and counts.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tertulia_signaling::protocol::native::{Audience, ClientFrame, ClientMessage, Join, VERSION};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};

use super::Clients;
use super::books::Books;
use super::change::name;
use crate::bot::signaling::{ServerUrl, Socket};

const ROOM: &str = "crowd";
/// Messages of one person that are not sent. Overflow: backpressure. The next comes when all others have had their turn.
const UNSENT: usize = 4;

/// A place for somebody.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) url: ServerUrl,
    pub(super) clients: Clients,
    pub(super) books: Arc<Books>,
}

/// Somebody in the room. Dropped, it is gone without a word.
pub(super) struct Person {
    says: mpsc::Sender<String>,
    reading: JoinHandle<()>,
}

impl Seat {
    /// Joins; none if that fails, and the books have the reason.
    pub(super) async fn join(&self, number: usize) -> Option<Person> {
        let began = Instant::now();
        match self.enter(number).await {
            Ok(socket) => {
                self.books.join(began.elapsed());
                let (says, said) = mpsc::channel(UNSENT);
                let reading = tokio::spawn(stay(socket, said, Arc::clone(&self.books)));
                Some(Person { says, reading })
            }
            Err(error) => {
                self.books.error(error);
                None
            }
        }
    }

    async fn enter(&self, number: usize) -> Result<Socket, String> {
        let opened = self.url.open().await;
        let mut socket = opened.map_err(|error| error.to_string())?;
        let join = Join {
            version: VERSION,
            room: ROOM.into(),
            name: name(number),
            metadata: None,
            auto_subscribe: true,
            token: None,
            batch: self.clients != Clients::Plain,
            audience: (self.clients == Clients::Audience).then_some(Audience::Large),
            resumable: false,
            session: None,
            offer: None,
            views: Vec::new(),
        };
        let frame = ClientFrame {
            id: Some(0),
            message: ClientMessage::Join(join),
        };
        let sent = socket.send(Message::text(frame.write())).await;
        sent.map_err(|error| error.to_string())?;
        loop {
            let Some(text) = read(&mut socket, &self.books).await? else {
                return Err("closed before it had joined".into());
            };
            match text.get(..18) {
                Some(r#"{"type":"welcome","#) => return Ok(socket),
                _ if text.starts_with(r#"{"type":"error""#) => return Err(text.as_str().into()),
                _ => {}
            }
        }
    }
}

impl Person {
    /// Sends a message.
    pub(super) async fn say(&mut self, message: String) {
        // One who was dropped is in the books.
        let _ = self.says.send(message).await;
    }

    /// Leaves, and waits for the end.
    pub(super) async fn leave(&mut self) {
        let id = Some(2);
        let message = ClientMessage::Leave;
        self.say(ClientFrame { id, message }.write()).await;
        let _ = (&mut self.reading).await;
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn stay(mut socket: Socket, mut said: mpsc::Receiver<String>, books: Arc<Books>) {
    loop {
        let read = tokio::select! {
            read = read(&mut socket, &books) => read,
            Some(message) = said.recv() => {
                let sent = socket.send(Message::text(message)).await;
                if let Err(error) = sent {
                    return books.drop_of(error.to_string());
                }
                continue;
            }
        };
        match read {
            Ok(Some(text))
                if text.starts_with(r#"{"type":"bye""#) && text.contains(r#""left""#) =>
            {
                return;
            }
            Ok(Some(text))
                if text.starts_with(r#"{"type":"error""#) && text.contains(r#""fatal":true"#) =>
            {
                return books.drop_of(text.as_str().into());
            }
            Ok(Some(_)) => {}
            Ok(None) => return books.drop_of("closed".into()),
            Err(error) => return books.drop_of(error),
        }
    }
}

/// The next message; none once the socket is closed. Pings are answered on the way. Cancel-safe.
async fn read(
    socket: &mut Socket,
    books: &Books,
) -> Result<Option<tungstenite::Utf8Bytes>, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                books.message(&text);
                return Ok(Some(text));
            }
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
}
