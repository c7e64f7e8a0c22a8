//! One connection of a client, and the frames that come over it.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::codec::{Refused, is_numbered, read_frame, refuse, request_id};
use super::end::End;
use super::rate::{Allowance, RateLimit};
use super::upgrade::Counted;
use super::wire::{Received, Wire};
use super::{ClientFrame, ClientMessage, Native, ServerMessage};
use crate::clients::{ClientAddress, Held};
use crate::hooks::HttpRequest;
use crate::room::{SocketKind, StopSignal};

/// A wire, and everything that lasts as long as it.
pub(super) struct Connection {
    pub(super) wire: Wire,
    /// The time at which anything came last.
    pub(super) heard: Instant,
    pub(super) client: Option<ClientAddress>,
    /// Notified when it is to end: it holds most of the process's memory for connections.
    pub(super) evicted: Arc<Notify>,
    /// The name and port by which the client asked for the server, where that matters.
    pub(super) host: Option<Arc<str>>,
    /// Until it has joined, for the embedder's hooks.
    pub(super) http: Option<Arc<HttpRequest>>,
    pub(super) hold: Hold,
}

/// The places that a connection holds until it ends.
pub(super) struct Hold {
    pub(super) _permit: tokio::sync::OwnedSemaphorePermit,
    pub(super) _held: Option<Held>,
    pub(super) _counted: Counted,
    pub(super) socket: SocketKind,
    /// The server's shutdown waits for it.
    pub(super) stop: StopSignal,
}

/// A frame that has come.
pub(super) struct Heard {
    /// It counts among the numbered messages of a session.
    pub(super) is_numbered: bool,
    pub(super) frame: Result<ClientFrame, Refused>,
}

impl Connection {
    /// Reads what has come. None: a sign of life.
    pub(super) fn read(
        &mut self,
        received: Received,
        rate: &mut RateLimit,
        native: &Native,
    ) -> Result<Option<Heard>, End> {
        self.heard = Instant::now();
        if matches!(received, Received::Asked) {
            return Ok(None);
        }
        let is_control = matches!(received, Received::Control);
        let text = match received {
            Received::Gone { is_page } => return Err(End::Gone { is_page }),
            Received::TooLarge => {
                let limit = native.limits.message_bytes;
                return Err(End::Fault {
                    code: "message_too_large",
                    message: format!("A message may have at most {limit} bytes."),
                    close: CloseCode::Size,
                });
            }
            Received::Broken => {
                return Err(End::Fault {
                    code: "bad_websocket",
                    message: "These are no frames of a WebSocket (RFC 6455).".to_owned(),
                    close: CloseCode::Protocol,
                });
            }
            Received::NotUtf8 => {
                return Err(End::Fault {
                    code: "not_utf8",
                    message: "A text frame is not UTF-8.".to_owned(),
                    close: CloseCode::Invalid,
                });
            }
            Received::TooFast => {
                let message = "Messages come in too many frames.";
                return Err(End::policy("rate_limited", message.to_owned()));
            }
            Received::Text(text) => Some(text),
            Received::Binary | Received::Control | Received::Asked => None,
        };
        let allowance = rate.take(self.heard);
        let Some(text) = text else {
            return match allowance {
                Allowance::Abuse => Err(abuse()),
                _ if is_control => Ok(None),
                Allowance::Granted => {
                    let refused = refuse(None, "not_text", "Messages are JSON in text frames.");
                    Ok(Some(Heard::refused(false, refused)))
                }
                Allowance::Refused => Ok(Some(Heard::refused(false, too_many(None)))),
            };
        };
        Ok(Some(match allowance {
            Allowance::Abuse => return Err(abuse()),
            Allowance::Refused => Heard::refused(is_numbered(&text), too_many(request_id(&text))),
            Allowance::Granted => match read_frame(&text) {
                Ok(frame) => Heard {
                    is_numbered: !matches!(
                        frame.message,
                        ClientMessage::Ping { .. }
                            | ClientMessage::Ack { .. }
                            | ClientMessage::Resume(_)
                    ),
                    frame: Ok(frame),
                },
                Err(refused) => Heard::refused(is_numbered(&text), refused),
            },
        }))
    }

    /// Asks the client for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), End> {
        if self.wire.ping().await? {
            self.heard = Instant::now();
        }
        Ok(())
    }

    pub(super) async fn refuse(&mut self, refused: Refused) -> Result<(), End> {
        self.wire
            .send([ServerMessage::Error(refused.into())])
            .await?;
        Ok(())
    }

    pub(super) async fn pong(&mut self, id: Option<u32>) -> Result<(), End> {
        self.wire.send([ServerMessage::Pong { id }]).await?;
        Ok(())
    }

    /// Says the last words, and closes.
    pub(super) async fn finish(self, end: End) {
        let Self { wire, hold, .. } = self;
        match end.farewell() {
            Some(farewell) => wire.finish(farewell).await,
            None => drop(wire),
        }
        drop(hold);
    }
}

impl Heard {
    fn refused(is_numbered: bool, refused: Refused) -> Self {
        Self {
            is_numbered,
            frame: Err(refused),
        }
    }
}

fn too_many(id: Option<u32>) -> Refused {
    refuse(id, "rate_limited", "Too many messages. Slow down.")
}

fn abuse() -> End {
    End::policy("rate_limited", "Too many messages for too long.".to_owned())
}
