//! The life of one connection: let in, or led to the session that it resumes.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, info};

use super::codec::{Refused, refuse};
use super::connection::Connection;
use super::end::End;
use super::owner::{Opening, Owner};
use super::rate::RateLimit;
use super::{ClientFrame, ClientMessage, Join, Native, Offer, Resume, ServerMessage, VERSION};
use crate::room::{
    self, Action, Entrant, Entry, Membership, NamedView, Secret, Waiting, room_name,
};
use crate::session::{Comeback, Nonce, ResumeFault, Token};

/// The code of a connection by which nobody has joined.
const JOIN_TIMEOUT: &str = "join_timeout";

/// A word to the owner of a session, from beside its connection.
pub(super) enum Knock {
    Resume(Box<Resumption>),
    Closing(Closing),
}

/// The page of a session is closed. It may be loading again.
pub(super) struct Closing {
    pub(super) nonce: Nonce,
    /// The way back, for one that is refused. Dropped: it was accepted.
    pub(super) back: oneshot::Sender<ResumeFault>,
}

/// A connection that wants to resume a session.
pub(super) struct Resumption {
    pub(super) connection: Connection,
    pub(super) id: Option<u32>,
    pub(super) nonce: Nonce,
    pub(super) comeback: Comeback,
    pub(super) offer: Option<Offer>,
    pub(super) views: Vec<NamedView>,
    /// The way back, for a connection that is refused.
    pub(super) back: oneshot::Sender<(Connection, ResumeFault)>,
}

impl Knock {
    pub(super) fn refuse(self, fault: ResumeFault) {
        match self {
            Self::Resume(resumption) => {
                let Resumption {
                    connection, back, ..
                } = *resumption;
                let _ = back.send((connection, fault));
            }
            Self::Closing(closing) => {
                let _ = closing.back.send(fault);
            }
        }
    }
}

/// Tells the owner of a session that its page is closed.
pub(super) async fn close_page(native: &Native, token: &str) -> Result<(), ResumeFault> {
    let token: Token = token.parse().map_err(|_| ResumeFault::NoSuchSession)?;
    let (back, refusal) = oneshot::channel();
    let nonce = token.nonce;
    let closing = Knock::Closing(Closing { nonce, back });
    let knocked = native.sessions.knock(&token.secret, closing);
    knocked.map_err(|(_, fault)| fault)?;
    refusal.await.map_or(Ok(()), Err)
}

/// A join that was accepted.
struct Joined {
    membership: Membership,
    request: Option<u32>,
    /// The secret of its session, and its room.
    session: Option<(Secret, Arc<str>)>,
    offer: Option<Offer>,
}

/// The wish of a client that is not in a room.
enum Asked {
    Joined(Box<Joined>),
    Resume(Option<u32>, Box<Resume>),
}

pub(super) async fn run(mut connection: Connection, native: Arc<Native>) {
    let limits = &native.limits;
    let now = Instant::now();
    let rate = RateLimit::new(now, limits.messages_per_second, limits.message_burst);
    let mut hall = Hall {
        native: native.clone(),
        rate,
        until: now + limits.join_timeout(),
    };
    loop {
        let evicted = connection.evicted.clone();
        let asked = tokio::select! {
            asked = hall.ask(&mut connection) => asked,
            () = evicted.notified() => Err(End::no_memory()),
        };
        match asked {
            Ok(Asked::Joined(joined)) => {
                connection.http = None;
                let Joined {
                    membership,
                    request,
                    session,
                    offer,
                } = *joined;
                let owner = Owner::new(native, membership, session, hall.rate);
                return owner
                    .run(connection, Opening::of_join(request, offer))
                    .await;
            }
            Ok(Asked::Resume(id, resume)) => {
                let Some(back) = resume_session(&native, connection, id, *resume).await else {
                    return;
                };
                let refused;
                (connection, refused) = back;
                if let Err(end) = connection.refuse(refused).await {
                    return connection.finish(end).await;
                }
            }
            Err(end) => {
                let address = connection.client.as_ref().map(tracing::field::display);
                if let End::Fault {
                    code: JOIN_TIMEOUT, ..
                } = end
                {
                    // Nothing is wrong: a page shows who is in the room until its person joins.
                    debug!(address, "connection ended: nobody joined by it in time");
                } else if let End::Fault { code, .. } = end {
                    info!(address, code, "connection ended by a fault");
                }
                return connection.finish(end).await;
            }
        }
    }
}

/// Leads a connection to the owner of its session. Returns it with the reason if it is refused.
async fn resume_session(
    native: &Native,
    connection: Connection,
    id: Option<u32>,
    resume: Resume,
) -> Option<(Connection, Refused)> {
    let views = Action::View(resume.views.into_iter().map(Into::into).collect());
    let views = match views.checked(0) {
        Ok(Action::View(views)) => views,
        Ok(_) => Vec::new(),
        Err(refusal) => return Some((connection, Refused { id, refusal })),
    };
    let comeback = match (resume.fresh, resume.received) {
        (true, _) => Comeback::Fresh,
        (false, Some(number)) => Comeback::After(number),
        (false, None) => {
            let refused = refuse(id, "bad_field", "`received` is missing, or `fresh`.");
            return Some((connection, refused));
        }
    };
    // It costs the server as much as a join does.
    if comeback == Comeback::Fresh
        && let Err(refusal) = native.rooms.may_join(connection.client)
    {
        native.rooms.count_refused(refusal.code);
        return Some((connection, Refused { id, refusal }));
    }
    let sessions = &native.sessions;
    let refused = |(connection, fault): (Connection, ResumeFault)| {
        sessions.count_refused(fault);
        let address = connection.client.as_ref().map(tracing::field::display);
        info!(address, code = fault.code(), "session not resumed");
        let refusal = room::Refusal::new(fault.code(), fault.sentence());
        let refusal = refusal.retry_after(fault.retry_after());
        (connection, Refused { id, refusal })
    };
    let Ok(token) = resume.session.as_str().parse::<Token>() else {
        return Some(refused((connection, ResumeFault::NoSuchSession)));
    };
    let (back, refusal) = oneshot::channel();
    let knock = Knock::Resume(Box::new(Resumption {
        connection,
        id,
        nonce: token.nonce,
        comeback,
        offer: resume.offer,
        views,
        back,
    }));
    if let Err((knock, fault)) = sessions.knock(&token.secret, knock) {
        knock.refuse(fault);
    }
    // Dropped: the owner has taken the connection.
    refusal.await.ok().map(refused)
}

/// The room that a join asks for.
fn asked_room(join: &Join) -> Result<String, room::Refusal> {
    if join.version != VERSION {
        let message = format!("This server speaks version {VERSION} of the protocol.");
        return Err(room::Refusal::new("bad_version", message));
    }
    room_name(&join.room)
}

/// The place of a connection before it is in a room.
struct Hall {
    native: Arc<Native>,
    rate: RateLimit,
    /// The time until which it is to have joined.
    until: Instant,
}

impl Hall {
    /// Waits until a `join` is accepted, or a session is to be resumed.
    async fn ask(&mut self, connection: &mut Connection) -> Result<Asked, End> {
        let patience = self.native.limits.join_timeout();
        loop {
            let received = tokio::select! {
                received = connection.wire.receive() => received,
                () = sleep_until(self.until) => {
                    let seconds = patience.as_secs_f32();
                    let message = format!("No `join` came within {seconds} s.");
                    return Err(End::policy(JOIN_TIMEOUT, message));
                }
                () = connection.hold.stop.stopped() => return Err(End::ServerShutdown),
            };
            let Some(heard) = connection.read(received, &mut self.rate, &self.native)? else {
                continue;
            };
            let refused = match heard.frame {
                Ok(ClientFrame { id, message }) => match message {
                    ClientMessage::Join(join) => match self.join(connection, id, join).await? {
                        Ok(joined) => return Ok(Asked::Joined(Box::new(joined))),
                        Err(refused) => refused,
                    },
                    ClientMessage::Resume(resume) => {
                        return Ok(Asked::Resume(id, Box::new(resume)));
                    }
                    ClientMessage::Ping { .. } => {
                        connection.pong(id).await?;
                        continue;
                    }
                    ClientMessage::Leave => return Err(End::Left(id)),
                    _ => refuse(id, "not_joined", "Send `join` first."),
                },
                Err(refused) => refused,
            };
            connection.refuse(refused).await?;
        }
    }

    async fn join(
        &mut self,
        connection: &mut Connection,
        id: Option<u32>,
        join: Join,
    ) -> Result<Result<Joined, Refused>, End> {
        let refused = |refusal: room::Refusal| Refused { id, refusal };
        let room: Arc<str> = match asked_room(&join) {
            Ok(room) => room.into(),
            Err(refusal) => {
                self.native.rooms.count_refused(refusal.code);
                return Ok(Err(refused(refusal)));
            }
        };
        let has_session = join.resumable && !self.native.limits.reconnect_grace().is_zero();
        let secret = has_session.then(|| self.secret(&room, join.session.as_ref()));
        let entrant = Entrant {
            name: join.name,
            metadata: join.metadata.unwrap_or_default(),
            auto_subscribe: join.auto_subscribe,
            request: id,
            client: connection.client,
            socket: Some(connection.hold.socket),
            token: join.token,
            http: connection.http.clone(),
            takes_batches: join.batch,
            audience: join.audience.map(Into::into),
            session: secret,
            views: join.views.into_iter().map(Into::into).collect(),
        };
        let membership = match self.native.rooms.enter(&room, entrant).await {
            Ok(Entry::In(membership)) => membership,
            Ok(Entry::Waits(waiting)) => {
                let admitted = self.wait(connection, waiting).await?;
                // They have waited for others, not others for them.
                self.until = Instant::now() + self.native.limits.join_timeout();
                match admitted {
                    Ok(membership) => membership,
                    Err(refusal) => return Ok(Err(refused(refusal))),
                }
            }
            Err(refusal) => return Ok(Err(refused(refusal))),
        };
        let session = membership.session.map(|secret| (secret, room));
        Ok(Ok(Joined {
            membership,
            request: id,
            session,
            offer: join.offer,
        }))
    }

    /// The secret of a new session: that of an earlier one in this room, so that its participant has its id again.
    fn secret(&self, room: &str, earlier: Option<&crate::access::Token>) -> Secret {
        let earlier = earlier.and_then(|token| token.as_str().parse::<Token>().ok());
        let secret = earlier.map(|token| token.secret);
        let sessions = &self.native.sessions;
        let secret = secret.filter(|secret| !sessions.is_elsewhere(secret, room));
        secret.unwrap_or_else(Secret::random)
    }

    /// Waits for a moderator. The connection is kept alive meanwhile, and ends the wait when it ends.
    async fn wait(
        &mut self,
        connection: &mut Connection,
        mut waiting: Waiting,
    ) -> Result<Result<Membership, room::Refusal>, End> {
        connection.wire.send([ServerMessage::Wait]).await?;
        let every = self.native.limits.ping_interval();
        let silence = self.native.limits.silence();
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let received = tokio::select! {
                // A room that closes with the server is not the reason.
                biased;
                () = connection.hold.stop.stopped() => return Err(End::ServerShutdown),
                admitted = waiting.admitted() => return Ok(admitted),
                received = connection.wire.receive() => received,
                () = sleep_until(connection.heard + silence) => return Err(End::lost()),
                _ = beat.tick() => {
                    connection.ping().await?;
                    continue;
                }
            };
            let Some(heard) = connection.read(received, &mut self.rate, &self.native)? else {
                continue;
            };
            let refused = match heard.frame {
                Ok(ClientFrame { id, message }) => match message {
                    ClientMessage::Ping { .. } => {
                        connection.pong(id).await?;
                        continue;
                    }
                    ClientMessage::Leave => return Err(End::Left(id)),
                    _ => refuse(id, "not_joined", "Wait until you are let in."),
                },
                Err(refused) => refused,
            };
            connection.refuse(refused).await?;
        }
    }
}
