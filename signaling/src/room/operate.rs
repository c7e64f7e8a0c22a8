//! Orders and questions of an embedder: put somebody out, tell something, close a room, look into it.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::info;

use super::actor::{Closing, Room};
use super::command::display_name;
use super::registry::{Inspection, Message, Rooms};
use super::timeline::unix_ms;
use super::{
    ChatEntry, Ending, Event, LeaveReason, Metadata, ParticipantId, Person, PublicTrack, Refusal,
};
use crate::hooks::Permissions;
use crate::media::{PeerId, ServerData, SfuError};
use crate::names;

/// The recipients of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipient {
    /// Everybody in the room.
    Everyone,
    /// The participant of this id.
    One(String),
}

/// A message of the server's own. Its sender's id is `server`, which no participant has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerSays {
    /// A message in the chat. One to everybody is kept with the others for who comes later; one to a single participant
    /// is not.
    Chat {
        /// The sender's name, by the rules of names.
        name: String,
        /// The text, of at most `limits.chat_chars` code points.
        text: String,
    },
    /// A data channel message. Who has no data channel open does not get it.
    Data {
        /// Whether it goes over the channel `reliable`; otherwise over `unreliable`.
        reliable: bool,
        /// Whether it is bytes; otherwise it is UTF-8.
        binary: bool,
        /// The message, of at most 16,384 bytes.
        payload: Vec<u8>,
    },
}

/// The reason that an order was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// There is no such room, or it is closing.
    #[error("there is no such room")]
    NoSuchRoom,
    /// The participant is not in the room.
    #[error("there is no such participant in the room")]
    NoSuchParticipant,
    /// The participant has no media transport at the moment, and so no data channel.
    #[error("the participant has no transport at the moment")]
    NoTransport,
    /// A value that may not be. The sentence names it.
    #[error("{0}")]
    BadValue(String),
    /// The media plane refused.
    #[error(transparent)]
    Media(#[from] SfuError),
}

/// A room at the time that it was asked.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct RoomSnapshot {
    /// The room's name.
    pub room: Arc<str>,
    /// Its participants, in the order they joined.
    pub participants: Vec<Seen>,
    /// Chat messages that are kept.
    pub chat: usize,
}

/// A participant in a [`RoomSnapshot`].
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Seen {
    /// Who it is.
    pub person: Person,
    /// Its metadata.
    pub metadata: Metadata,
    /// Its rights.
    pub permissions: Permissions,
    /// The tracks that it publishes.
    pub tracks: Vec<PublicTrack>,
    /// Whether it has a media transport, connected or about to be.
    pub has_transport: bool,
}

type Done = oneshot::Sender<Result<(), OperateError>>;

/// An embedder's order to a room.
pub(super) enum Order {
    Kick {
        participant: String,
        reason: String,
        done: Done,
    },
    Tell {
        to: Recipient,
        says: ServerSays,
        done: Done,
    },
    Close {
        reason: String,
        done: Done,
    },
}

impl Rooms {
    /// The room as it is now; none if there is no such room.
    pub async fn snapshot(&self, room: &str) -> Option<RoomSnapshot> {
        self.inspect(room, Inspection::Snapshot).await
    }

    /// Puts a participant out of a room. It is told `bye` with `kicked` and `reason`, a sentence for the person; the
    /// others are told that it has left by `kicked`. It may join again: [`Hooks::authorize`](crate::hooks::Hooks) is
    /// the place to refuse that.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoSuchRoom`], [`OperateError::NoSuchParticipant`].
    pub async fn kick(
        &self,
        room: &str,
        participant: &str,
        reason: &str,
    ) -> Result<(), OperateError> {
        let (participant, reason) = (participant.to_owned(), reason.to_owned());
        self.order(room, |done| Order::Kick {
            participant,
            reason,
            done,
        })
        .await
    }

    /// Tells everybody in a room something, or one participant.
    ///
    /// # Errors
    ///
    /// All of [`OperateError`].
    pub async fn tell(
        &self,
        room: &str,
        to: Recipient,
        says: ServerSays,
    ) -> Result<(), OperateError> {
        self.order(room, |done| Order::Tell { to, says, done })
            .await
    }

    /// Closes a room. Everybody in it is told `bye` with `room_closed` and `reason`, a sentence for people. Who joins
    /// afterwards makes a new room of that name.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoSuchRoom`].
    pub async fn close(&self, room: &str, reason: &str) -> Result<(), OperateError> {
        let reason = reason.to_owned();
        self.order(room, |done| Order::Close { reason, done }).await
    }

    async fn order(
        &self,
        room: &str,
        order: impl FnOnce(Done) -> Order,
    ) -> Result<(), OperateError> {
        let done = self.ask(room, |done| Message::Order(order(done))).await;
        done.unwrap_or(Err(OperateError::NoSuchRoom))
    }
}

impl Room {
    pub(super) fn obey(&mut self, order: Order) {
        // Who gives the order may not wait for its end.
        match order {
            Order::Kick {
                participant,
                reason,
                done,
            } => drop(done.send(self.kick(&participant, reason))),
            Order::Close { reason, done } => {
                self.closed = Some(Closing {
                    message: reason,
                    by: None,
                });
                drop(done.send(Ok(())));
            }
            Order::Tell { to, says, done } => match says {
                ServerSays::Chat { name, text } => {
                    drop(done.send(self.announce(&to, &name, text)));
                }
                ServerSays::Data {
                    reliable,
                    binary,
                    payload,
                } => {
                    let data = ServerData {
                        sender: ParticipantId::SERVER.to_owned(),
                        reliable,
                        binary,
                        payload,
                    };
                    self.send_data(&to, data, done);
                }
            },
        }
    }

    fn kick(&mut self, participant: &str, reason: String) -> Result<(), OperateError> {
        let id = self.find(participant)?;
        let identity = self
            .participants
            .get(&id)
            .and_then(|it| it.identity.clone());
        if let Some(identity) = identity {
            self.door.forget(&identity);
        }
        info!(room = %self.name, participant = %id, reason, "participant kicked");
        let ending = Ending::Kicked {
            message: reason,
            by: None,
        };
        self.end(&id, ending, LeaveReason::Kicked);
        Ok(())
    }

    fn announce(&mut self, to: &Recipient, name: &str, text: String) -> Result<(), OperateError> {
        let wrong = |refusal: Refusal| OperateError::BadValue(refusal.message);
        let name = display_name(name).map_err(wrong)?;
        names::check_chat(&text, self.shared.limits.chat_chars)
            .map_err(|wrong| OperateError::BadValue(format!("`text` {wrong}.")))?;
        let one = match to {
            Recipient::Everyone => None,
            Recipient::One(id) => Some(self.find(id)?),
        };
        let entry = ChatEntry {
            id: self.chat.next_id(),
            participant: ParticipantId::server(),
            name,
            text: text.into(),
            at_ms: unix_ms(),
        };
        match one {
            None => self.write(entry),
            Some(id) => self.tell(&id, Event::Chat(entry)),
        }
        Ok(())
    }

    fn send_data(&mut self, to: &Recipient, data: ServerData, done: Done) {
        let peer = match to {
            Recipient::Everyone => None,
            Recipient::One(id) => match self.transport_of(id) {
                Ok(peer) => Some(peer),
                Err(error) => return drop(done.send(Err(error))),
            },
        };
        let media_room = self.media_room;
        self.ask(
            move |media| media.send_data(media_room, peer, data),
            move |_, sent| drop(done.send(sent.map_err(OperateError::from))),
        );
    }

    fn transport_of(&self, participant: &str) -> Result<PeerId, OperateError> {
        let participant = self.participants.get(participant);
        let participant = participant.ok_or(OperateError::NoSuchParticipant)?;
        participant.peer.ok_or(OperateError::NoTransport)
    }

    fn find(&self, participant: &str) -> Result<ParticipantId, OperateError> {
        let found = self.participants.get(participant);
        let found = found.map(|participant| participant.id.clone());
        found.ok_or(OperateError::NoSuchParticipant)
    }

    /// Everybody as an embedder sees them.
    pub(super) fn snapshot(&self) -> RoomSnapshot {
        let seen = self.in_order().map(|participant| Seen {
            person: participant.person(),
            metadata: participant.metadata.clone(),
            permissions: participant.permissions,
            tracks: participant
                .tracks
                .iter()
                .map(|track| PublicTrack::from(&track.info))
                .collect(),
            has_transport: participant.peer.is_some(),
        });
        RoomSnapshot {
            room: self.name.shared(),
            participants: seen.collect(),
            chat: self.chat.len(),
        }
    }
}
