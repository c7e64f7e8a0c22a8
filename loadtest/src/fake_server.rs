//! A server for tests: one participant and nothing else. It speaks the protocol to one bot and is
//! the other end of its peer connection, with a camera and a microphone of its own.

use futures_util::{SinkExt, StreamExt};
use tertulia_signaling::protocol::native::{
    Answer, ClientFrame, ClientMessage, MediaKind, MessageLimits, Needs, PublishedTrack,
    ServerInfo, ServerMessage, Slot, Source, Track, Welcome,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::bot::publish::Video;
use crate::bot::testing::{Side, connected, publish, side};

/// Starts one; it serves the first bot that comes. Returns its URL.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        FakeServer {
            socket,
            side: side("ghost", Video::P180, true).await,
            offers: 0,
        }
        .serve()
        .await;
    });
    url
}

struct FakeServer {
    socket: WebSocketStream<TcpStream>,
    side: Side,
    offers: usize,
}

impl FakeServer {
    async fn serve(mut self) {
        // Held for as long as the conversation lasts.
        let mut _publishing = None;
        while let Some(Ok(message)) = self.socket.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let ClientFrame { id, message } = serde_json::from_str(&text).unwrap();
            match message {
                ClientMessage::Join(join) => self.welcome(id, join.room).await,
                ClientMessage::Offer(offer) => {
                    self.offers += 1;
                    let sdp = self.side.answer(offer.sdp).await;
                    // The bot's own m-lines come first, and there are two of them.
                    let published = offer.tracks.iter().map(|carried| PublishedTrack {
                        mid: carried.mid.clone(),
                        track: format!("own-{}", carried.mid),
                    });
                    let published: Vec<_> = published.collect();
                    self.answer(id, sdp, published).await;
                    if self.offers == 2 {
                        connected(&self.side).await;
                        _publishing = Some(publish(&self.side));
                    }
                }
                ClientMessage::Leave => {
                    self.say(ServerMessage::Bye {
                        id: None,
                        reason: "left".into(),
                        message: "See you.".into(),
                        by: None,
                    })
                    .await;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn welcome(&mut self, id: Option<u32>, room: String) {
        self.say(ServerMessage::Welcome(Welcome {
            id,
            version: 1,
            room,
            participant: "bot".into(),
            name: None,
            metadata: None,
            permissions: None,
            participants: Vec::new(),
            chat: Vec::new(),
            rules: None,
            hands: Vec::new(),
            ice_servers: Vec::new(),
            limits: MessageLimits {
                message_bytes: 65_536,
                chat_chars: 1_000,
                publisher_bitrate: 0,
            },
            data: None,
            server: ServerInfo {
                name: "fake".into(),
                version: "0".into(),
            },
            access: None,
            session: None,
        }))
        .await;
        for (kind, source, id) in [
            (MediaKind::Audio, Source::Microphone, "ghost-mic"),
            (MediaKind::Video, Source::Camera, "ghost-cam"),
        ] {
            self.say(ServerMessage::TrackPublished {
                participant: "ghost".into(),
                track: Track {
                    id: id.into(),
                    kind,
                    source,
                    muted: false,
                    simulcast: false,
                    codec: String::new(),
                },
            })
            .await;
        }
    }

    /// The first offer has one receiving m-line, for audio; video is asked for.
    async fn answer(&mut self, id: Option<u32>, sdp: String, published: Vec<PublishedTrack>) {
        let own = published.len();
        let mut slots = vec![Slot {
            mid: own.to_string(),
            kind: MediaKind::Audio,
            track: Some("ghost-mic".into()),
        }];
        if self.offers > 1 {
            slots.push(Slot {
                mid: (own + 1).to_string(),
                kind: MediaKind::Video,
                track: Some("ghost-cam".into()),
            });
        }
        let video = u16::from(self.offers == 1);
        self.say(ServerMessage::Answer(Answer {
            id,
            sdp,
            published,
            refused: Vec::new(),
            slots,
            needs: Needs { audio: 0, video },
        }))
        .await;
    }

    async fn say(&mut self, message: ServerMessage) {
        let json = serde_json::to_string(&message).unwrap();
        self.socket.send(Message::text(json)).await.unwrap();
    }
}
