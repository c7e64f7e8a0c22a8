//! The ends of a connection, and the words about them.

use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::wire::{Farewell, Unsent};
use super::{Refusal, ServerMessage};
use crate::room::{Ending, LeaveReason, ParticipantId};

/// The reason that a connection ends.
pub(super) enum End {
    /// The client closed it, or the network did. `is_page`: a page was closed or loaded again.
    Gone {
        is_page: bool,
    },
    /// The client left by the request of this number.
    Left(Option<u32>),
    ServerShutdown,
    /// The embedder, a moderator or the user elsewhere wants it so: a `bye` with this reason, this sentence and the
    /// moderator's id.
    Dismissed(&'static str, String, Option<String>),
    /// Told by a fatal `error`.
    Fault {
        code: &'static str,
        message: String,
        close: CloseCode,
    },
}

impl From<Unsent> for End {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Gone => Self::lost(),
            Unsent::NoMemory => Self::no_memory(),
        }
    }
}

impl End {
    /// The network has ended it, or the client without a word.
    pub(super) fn lost() -> Self {
        Self::Gone { is_page: false }
    }

    /// The end of a connection that holds most of the process's memory for connections.
    pub(super) fn no_memory() -> Self {
        let message =
            "The server has no memory for what this connection keeps unfinished or unread.";
        Self::Fault {
            code: "server_memory",
            message: message.to_owned(),
            close: CloseCode::Again,
        }
    }

    pub(super) fn policy(code: &'static str, message: String) -> Self {
        Self::Fault {
            code,
            message,
            close: CloseCode::Policy,
        }
    }

    pub(super) fn too_slow() -> Self {
        let message = "This connection does not take messages as fast as the room makes them.";
        Self::policy("too_slow", message.to_owned())
    }

    pub(super) fn replaced() -> Self {
        dismissed(
            "replaced",
            String::new(),
            "You joined this room again elsewhere.",
            None,
        )
    }

    /// The end that a room has told.
    pub(super) fn of_room(ending: Result<Ending, oneshot::error::RecvError>) -> Self {
        match ending {
            Ok(Ending::ServerShutdown) => Self::ServerShutdown,
            Ok(Ending::Kicked { message, by }) => {
                dismissed("kicked", message, "You were removed from the room.", by)
            }
            Ok(Ending::Banned { message, by }) => {
                dismissed("banned", message, "You were removed from the room.", by)
            }
            Ok(Ending::RoomClosed { message, by }) => {
                dismissed("room_closed", message, "The room was closed.", by)
            }
            Ok(Ending::Replaced) => Self::replaced(),
            Ok(Ending::TooSlow) => Self::too_slow(),
            Ok(Ending::RoomFailed) => Self::Fault {
                code: "overloaded",
                message: "The server did not keep up with the room and closed it. Join again."
                    .to_owned(),
                close: CloseCode::Again,
            },
            // The room is gone without a word.
            Err(_) => Self::Fault {
                code: "internal",
                message: "The room ended unexpectedly.".to_owned(),
                close: CloseCode::Error,
            },
        }
    }

    pub(super) fn leave_reason(&self) -> LeaveReason {
        match self {
            Self::Left(_) => LeaveReason::Left,
            Self::Dismissed("replaced", ..) => LeaveReason::Replaced,
            Self::ServerShutdown | Self::Dismissed(..) => LeaveReason::Server,
            Self::Gone { .. } | Self::Fault { .. } => LeaveReason::Disconnected,
        }
    }

    /// The last words to the client; none if it is gone.
    pub(super) fn farewell(self) -> Option<Farewell> {
        match self {
            Self::Gone { .. } => None,
            Self::Left(id) => Some(Farewell::bye(id, "left", "You left the room.", None)),
            Self::ServerShutdown => Some(Farewell::bye(
                None,
                "server_shutdown",
                "The server is shutting down.",
                None,
            )),
            Self::Dismissed(reason, message, by) => Some(Farewell::bye(None, reason, &message, by)),
            Self::Fault {
                code,
                message,
                close,
            } => Some(Farewell {
                message: ServerMessage::Error(Refusal {
                    id: None,
                    code: code.to_owned(),
                    message,
                    fatal: true,
                    retry_after_ms: None,
                }),
                code: close,
                reason: code,
                // Messages that come too fast are not read: their sender may not listen to an answer.
                readable: code != "rate_limited"
                    && !matches!(
                        close,
                        CloseCode::Size
                            | CloseCode::Protocol
                            | CloseCode::Invalid
                            | CloseCode::Again
                    ),
            }),
        }
    }
}

/// `otherwise` is the sentence where the embedder gives none.
fn dismissed(reason: &'static str, why: String, otherwise: &str, by: Option<ParticipantId>) -> End {
    let sentence = match why.is_empty() {
        true => otherwise.to_owned(),
        false => why,
    };
    End::Dismissed(reason, sentence, by.map(|by| by.to_string()))
}
