//! The life of one WebSocket: let in, attend, say goodbye.

use std::sync::Arc;

use hyper::upgrade::Upgraded;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, info};

use super::codec::{decode, refuse, request_id};
use super::rate::{Allowance, RateLimit};
use super::wire::{Farewell, Outbox, Received, Unsent, Wire};
use super::{ClientFrame, ClientMessage, Join, Native, Refusal, ServerMessage, VERSION, convert};
use crate::clients::ClientAddress;
use crate::hooks::HttpRequest;
use crate::memory::{Budget, Unread};
use crate::room::{
    self, Action, Command, Ending, Entrant, Entry, LeaveReason, Membership, ParticipantId,
    StopSignal, Waiting,
};

/// The reason that a socket's session ends.
enum End {
    /// The client closed it, or the network did.
    Gone,
    /// The client left by the request of this number.
    Left(Option<u32>),
    ServerShutdown,
    /// The embedder or a moderator wants it so: a `bye` with this reason, this sentence and the moderator's id.
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
            Unsent::Gone => Self::Gone,
            Unsent::NoMemory => no_memory(),
        }
    }
}

struct Session {
    wire: Wire,
    native: Arc<Native>,
    rate: RateLimit,
    heard: Instant,
    client: Option<ClientAddress>,
    /// Until it has joined, for the embedder's hooks.
    http: Option<Arc<HttpRequest>>,
}

/// Events written with one flush; the next batch waits for the socket.
const BATCH: usize = 64;

/// The facts of the request that a connection began with.
pub(super) struct Opened {
    pub(super) client: Option<ClientAddress>,
    pub(super) http: Option<Arc<HttpRequest>>,
    pub(super) unread: Unread,
}

pub(super) async fn run(
    connection: Upgraded,
    native: Arc<Native>,
    opened: Opened,
    mut stop: StopSignal,
) {
    let Opened {
        client,
        http,
        unread,
    } = opened;
    let limits = &native.limits;
    let now = Instant::now();
    let evicted = Arc::new(Notify::new());
    let memory = native.rooms.memory();
    let open = |budget: &Budget| {
        let let_go = evicted.clone();
        budget.open(client, move || let_go.notify_one())
    };
    let outbox = Outbox {
        sent: open(&memory.outboxes),
        waiting: open(&memory.waiting),
    };
    unread.begin(client, &evicted);
    let mut session = Session {
        wire: Wire::new(connection, limits, unread, outbox).await,
        rate: RateLimit::new(now, limits.messages_per_second, limits.message_burst),
        heard: now,
        native: native.clone(),
        client,
        http,
    };
    let mut joined = None;
    let admitted = tokio::select! {
        admitted = session.admit(&mut stop) => admitted,
        () = evicted.notified() => Err(no_memory()),
    };
    let end = match admitted {
        Ok(mut membership) => {
            session.http = None;
            let end = tokio::select! {
                end = session.attend(&mut membership) => end,
                () = evicted.notified() => no_memory(),
            };
            joined = Some(membership);
            end
        }
        Err(end) => end,
    };
    if let End::Fault { code, .. } = end {
        let participant = joined
            .as_ref()
            .map(|it| tracing::field::display(&it.participant));
        info!(participant, code, "connection ended by a fault");
    }
    let reason = leave_reason(&end);
    let leave = async {
        if let Some(membership) = joined {
            membership.leave(reason).await;
        }
    };
    let wire = session.wire;
    let finish = async {
        match farewell(end) {
            Some(farewell) => wire.finish(farewell).await,
            None => drop(wire),
        }
    };
    // Both run at once: the room may be slow to react, and the connection's memory should be free
    // for others soon.
    tokio::join!(leave, finish);
    // Held until here: the server's shutdown waits for it.
    drop(stop);
}

fn leave_reason(end: &End) -> LeaveReason {
    match end {
        End::Left(_) => LeaveReason::Left,
        End::ServerShutdown | End::Dismissed(..) => LeaveReason::Server,
        End::Gone | End::Fault { .. } => LeaveReason::Disconnected,
    }
}

fn farewell(end: End) -> Option<Farewell> {
    match end {
        End::Gone => None,
        End::Left(id) => Some(Farewell::bye(id, "left", "You left the room.", None)),
        End::ServerShutdown => Some(Farewell::bye(
            None,
            "server_shutdown",
            "The server is shutting down.",
            None,
        )),
        End::Dismissed(reason, message, by) => Some(Farewell::bye(None, reason, &message, by)),
        End::Fault {
            code,
            message,
            close,
        } => Some(Farewell {
            message: ServerMessage::Error(Refusal {
                id: None,
                code: code.to_owned(),
                message,
                fatal: true,
            }),
            code: close,
            reason: code,
            // Messages that come too fast are not read: their sender may not listen to an answer.
            readable: code != "rate_limited"
                && !matches!(
                    close,
                    CloseCode::Size | CloseCode::Protocol | CloseCode::Invalid | CloseCode::Again
                ),
        }),
    }
}

impl Session {
    /// Waits until a `join` is accepted.
    async fn admit(&mut self, stop: &mut StopSignal) -> Result<Membership, End> {
        let patience = self.native.limits.join_timeout();
        let timeout = sleep(patience);
        tokio::pin!(timeout);
        loop {
            let received = tokio::select! {
                received = self.wire.receive() => received,
                () = &mut timeout => {
                    let seconds = patience.as_secs_f32();
                    let message = format!("No `join` came within {seconds} s.");
                    return Err(policy("join_timeout", message));
                }
                () = stop.stopped() => return Err(End::ServerShutdown),
            };
            let Some(ClientFrame { id, message }) = self.read(received).await? else {
                continue;
            };
            match message {
                ClientMessage::Join(join) => {
                    let admitted = match self.join(id, join).await {
                        Ok(Entry::In(membership)) => Ok(membership),
                        Ok(Entry::Waits(waiting)) => {
                            let admitted = self.wait(waiting, stop).await?;
                            // They have waited for others, not others for them.
                            timeout.as_mut().reset(Instant::now() + patience);
                            admitted.map_err(|refusal| convert::refused(id, &refusal))
                        }
                        Err(refusal) => Err(refusal),
                    };
                    match admitted {
                        Ok(membership) => return Ok(membership),
                        Err(refusal) => self.refuse(refusal).await?,
                    }
                }
                ClientMessage::Ping => self.wire.send([ServerMessage::Pong { id }]).await?,
                ClientMessage::Leave => return Err(End::Left(id)),
                _ => {
                    let refusal = refuse(id, "not_joined", "Send `join` first.");
                    self.refuse(refusal).await?;
                }
            }
        }
    }

    async fn join(&mut self, id: Option<u32>, join: Join) -> Result<Entry, Refusal> {
        if join.version != VERSION {
            let message = format!("This server speaks version {VERSION} of the protocol.");
            return Err(refuse(id, "bad_version", message));
        }
        let entrant = Entrant {
            name: join.name,
            metadata: join.metadata.unwrap_or_default(),
            auto_subscribe: join.auto_subscribe,
            request: id,
            client: self.client,
            token: join.token,
            http: self.http.clone(),
            takes_batches: join.batch,
            audience: join.audience.map(Into::into),
        };
        let entered = self.native.rooms.enter(&join.room, entrant).await;
        entered.map_err(|refusal| convert::refused(id, &refusal))
    }

    /// Waits for a moderator. The connection is kept alive meanwhile, and ends the wait when it ends.
    async fn wait(
        &mut self,
        mut waiting: Waiting,
        stop: &mut StopSignal,
    ) -> Result<Result<Membership, room::Refusal>, End> {
        self.wire.send([ServerMessage::Wait]).await?;
        let every = self.native.limits.ping_interval();
        let silence = self.native.limits.silence();
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let received = tokio::select! {
                // A room that closes with the server is not the reason.
                biased;
                () = stop.stopped() => return Err(End::ServerShutdown),
                admitted = waiting.admitted() => return Ok(admitted),
                received = self.wire.receive() => received,
                () = sleep_until(self.heard + silence) => return Err(End::Gone),
                _ = beat.tick() => {
                    self.wire.ping().await?;
                    continue;
                }
            };
            let Some(ClientFrame { id, message }) = self.read(received).await? else {
                continue;
            };
            match message {
                ClientMessage::Ping => self.wire.send([ServerMessage::Pong { id }]).await?,
                ClientMessage::Leave => return Err(End::Left(id)),
                _ => {
                    let refusal = refuse(id, "not_joined", "Wait until you are let in.");
                    self.refuse(refusal).await?;
                }
            }
        }
    }

    async fn attend(&mut self, membership: &mut Membership) -> End {
        let every = self.native.limits.ping_interval();
        let silence = self.native.limits.silence();
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::with_capacity(BATCH);
        let evicted = membership.events.evicted();
        loop {
            let result = tokio::select! {
                ending = &mut membership.ending => return ended(ending),
                () = evicted.notified() => return no_memory(),
                count = membership.events.recv_many(&mut events, BATCH) => {
                    if count == 0 {
                        // The room has let go of this participant and said why.
                        return ended((&mut membership.ending).await);
                    }
                    let greeting = &self.native.greeting;
                    let messages = events.drain(..).map(|event| convert::text(&event, greeting));
                    tokio::select! {
                        sent = self.wire.send(messages) => sent.map_err(End::from),
                        ending = &mut membership.ending => return ended(ending),
                    }
                }
                received = self.wire.receive() => match self.read(received).await {
                    Ok(Some(frame)) => self.serve(frame, membership).await,
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                },
                () = sleep_until(self.heard + silence) => {
                    debug!(participant = %membership.participant, "client is silent");
                    return End::Gone;
                }
                _ = beat.tick() => self.wire.ping().await.map_err(End::from),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn serve(&mut self, frame: ClientFrame, membership: &Membership) -> Result<(), End> {
        let ClientFrame { id, message } = frame;
        let action = match message {
            ClientMessage::Join(_) => {
                let refusal = refuse(id, "already_joined", "This connection has joined a room.");
                return self.refuse(refusal).await;
            }
            ClientMessage::Ping => {
                let pong = self.wire.send([ServerMessage::Pong { id }]).await;
                return pong.map_err(End::from);
            }
            ClientMessage::Leave => return Err(End::Left(id)),
            // An ICE-lite server learns the client's addresses from its checks.
            ClientMessage::Candidate(_) => return Ok(()),
            ClientMessage::Offer(offer) => Action::Offer {
                sdp: offer.sdp,
                carries: offer.tracks.into_iter().map(Into::into).collect(),
            },
            ClientMessage::Subscribe(subscribe) => Action::Subscribe(subscribe.tracks),
            ClientMessage::Unsubscribe(unsubscribe) => Action::Unsubscribe(unsubscribe.tracks),
            ClientMessage::Mute(mute) => Action::Mute {
                track: mute.track,
                muted: mute.muted,
            },
            ClientMessage::Update(update) => Action::Update {
                name: update.name,
                metadata: update.metadata,
            },
            ClientMessage::Chat(chat) => Action::Chat(chat.text),
            ClientMessage::View(view) => {
                Action::View(view.tracks.into_iter().map(Into::into).collect())
            }
            ClientMessage::Hand(hand) => Action::Hand(hand.raised),
            ClientMessage::Moderate(wish) => Action::Moderate(wish.into()),
            ClientMessage::Invite(wish) => Action::Invite(wish.into()),
            ClientMessage::Invitations => Action::Invitations,
            ClientMessage::Revoke(revoke) => Action::Revoke(revoke.invitation),
            ClientMessage::Stats => Action::Stats,
            ClientMessage::Timeline => Action::Timeline,
            ClientMessage::People(people) => Action::People {
                after: people.after,
                limit: people.limit,
            },
        };
        let command = Command {
            request: id,
            action,
        };
        // A room that is gone says so through `ending`.
        membership.send(command).await;
        Ok(())
    }

    /// A message to act on, if it is one. Everything else has been answered.
    async fn read(&mut self, received: Received) -> Result<Option<ClientFrame>, End> {
        self.heard = Instant::now();
        let is_control = matches!(received, Received::Control);
        let text = match received {
            Received::Gone => return Err(End::Gone),
            Received::TooLarge => {
                let limit = self.native.limits.message_bytes;
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
                return Err(End::Fault {
                    code: "rate_limited",
                    message: "Messages come in too many frames.".to_owned(),
                    close: CloseCode::Policy,
                });
            }
            Received::Text(text) => Some(text),
            Received::Binary | Received::Control => None,
        };
        match self.rate.take(self.heard) {
            Allowance::Granted => {}
            Allowance::Refused if is_control => return Ok(None),
            Allowance::Refused => {
                let id = text.as_deref().and_then(request_id);
                let refusal = refuse(id, "rate_limited", "Too many messages. Slow down.");
                self.refuse(refusal).await?;
                return Ok(None);
            }
            Allowance::Abuse => {
                let message = "Too many messages for too long.";
                return Err(policy("rate_limited", message.to_owned()));
            }
        }
        let Some(text) = text else {
            if !is_control {
                let refusal = refuse(None, "not_text", "Messages are JSON in text frames.");
                self.refuse(refusal).await?;
            }
            return Ok(None);
        };
        match decode(&text) {
            Ok(frame) => Ok(Some(frame)),
            Err(refusal) => {
                self.refuse(refusal).await?;
                Ok(None)
            }
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        self.wire.send([ServerMessage::Error(refusal)]).await?;
        Ok(())
    }
}

fn ended(ending: Result<Ending, oneshot::error::RecvError>) -> End {
    match ending {
        Ok(Ending::ServerShutdown) => End::ServerShutdown,
        Ok(Ending::Kicked { message, by }) => {
            dismissed("kicked", message, "You were removed from the room.", by)
        }
        Ok(Ending::Banned { message, by }) => {
            dismissed("banned", message, "You were removed from the room.", by)
        }
        Ok(Ending::RoomClosed { message, by }) => {
            dismissed("room_closed", message, "The room was closed.", by)
        }
        Ok(Ending::TooSlow) => policy(
            "too_slow",
            "This connection does not take messages as fast as the room makes them.".to_owned(),
        ),
        Ok(Ending::RoomFailed) => End::Fault {
            code: "overloaded",
            message: "The server did not keep up with the room and closed it. Join again."
                .to_owned(),
            close: CloseCode::Again,
        },
        // The room is gone without a word.
        Err(_) => End::Fault {
            code: "internal",
            message: "The room ended unexpectedly.".to_owned(),
            close: CloseCode::Error,
        },
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

/// The end of a connection that holds most of the process's memory for connections.
fn no_memory() -> End {
    End::Fault {
        code: "server_memory",
        message: "The server has no memory for what this connection keeps unfinished or unread."
            .to_owned(),
        close: CloseCode::Again,
    }
}

fn policy(code: &'static str, message: String) -> End {
    End::Fault {
        code,
        message,
        close: CloseCode::Policy,
    }
}
