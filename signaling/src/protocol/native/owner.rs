//! The one owner of a participant's membership: it goes on from one connection to the next.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::{debug, info};

use super::codec::refuse;
use super::connection::{Connection, Heard};
use super::convert::Own;
use super::end::End;
use super::rate::RateLimit;
use super::session::{Closing, Knock, Resumption};
use super::{ClientFrame, ClientMessage, Native, Offer, ServerMessage, SessionInfo, convert};
use crate::clients::ClientAddress;
use crate::room::{Action, Command, Event, Membership, NamedView, Secret, SocketKind, Told};
use crate::session::{Away, Comeback, Ledger, Registered, Replays, ResumeFault};

/// Events written with one flush; the next batch waits for the socket.
const BATCH: usize = 64;
/// The time for which a welcome waits for the answer to the offer of its join, so that both leave with one flush. A worker
/// answers within a few milliseconds; beyond this the wait would cost more than a packet does.
const ANSWER_TIME: Duration = Duration::from_millis(50);
/// The time without a connection after which the others are told: a change of networks takes less.
const PRESENCE_TIME: Duration = Duration::from_secs(1);
/// Longest grace of a page that was closed or loaded again: it comes back at once, or not at all.
const PAGE_TIME: Duration = Duration::from_secs(10);

pub(super) struct Owner {
    native: Arc<Native>,
    membership: Membership,
    rate: RateLimit,
    /// The address that its client came from last, and the kind of socket. None: it has had no connection yet.
    came: Option<(Option<ClientAddress>, SocketKind)>,
    /// None: the participant leaves with its connection.
    session: Option<Session>,
    /// The time at which its client is told STUN and TURN servers again. None: what it was told holds.
    ice_servers_due: Option<Instant>,
}

struct Session {
    ledger: Ledger,
    replays: Replays,
    registered: Registered<Knock>,
    /// The others know that it has no connection.
    is_told_away: bool,
}

/// The beginning of a connection.
#[derive(Default)]
pub(super) struct Opening {
    /// Written first.
    message: Option<ServerMessage>,
    /// The request whose answer leaves with the welcome, if it comes soon enough.
    request: Option<u32>,
    offer: Option<Offer>,
}

impl Opening {
    pub(super) fn of_join(request: Option<u32>, offer: Option<Offer>) -> Self {
        Self {
            message: None,
            request,
            offer,
        }
    }
}

/// The reason that a connection is attended no more.
enum Turn {
    Over(End),
    /// Another connection has taken its place.
    Moved(Box<Resumption>),
}

impl From<End> for Turn {
    fn from(end: End) -> Self {
        Self::Over(end)
    }
}

impl Owner {
    /// `session`: the secret of its session, and its room.
    pub(super) fn new(
        native: Arc<Native>,
        membership: Membership,
        session: Option<(Secret, Arc<str>)>,
        rate: RateLimit,
    ) -> Self {
        let session = session.map(|(secret, room)| {
            let registered = native.sessions.register(secret, room);
            Session {
                ledger: Ledger::new(registered.secret()),
                replays: Replays::new(Instant::now()),
                registered,
                is_told_away: false,
            }
        });
        Self {
            native,
            membership,
            rate,
            came: None,
            session,
            ice_servers_due: None,
        }
    }

    /// Attends one connection after the other, until the participant leaves.
    pub(super) async fn run(mut self, connection: Connection, opening: Opening) {
        self.came = Some((connection.client, connection.hold.socket));
        let mut connected = Some((connection, opening));
        let (end, last) = loop {
            let (turn, last) = match connected.take() {
                Some((mut connection, opening)) => {
                    let turn = self.attend(&mut connection, opening).await;
                    (turn, Some(connection))
                }
                None => (End::lost().into(), None),
            };
            let turn = match (turn, last) {
                (Turn::Over(End::Gone { is_page }), Some(connection)) if self.session.is_some() => {
                    let client = connection.client;
                    // Its places are free from now on.
                    drop(connection);
                    match self.native.sessions.leave(client) {
                        Some(away) => self.wait(is_page, away).await,
                        None => break (End::Gone { is_page }, None),
                    }
                }
                (Turn::Over(end), last) => break (end, last),
                (moved, last) => {
                    drop(last);
                    moved
                }
            };
            match turn {
                Turn::Over(end) => break (end, None),
                Turn::Moved(resumption) => match self.go_on(*resumption).await {
                    Ok(next) => connected = Some(next),
                    Err((end, connection)) => break (end, Some(connection)),
                },
            }
        };
        self.end(end, last).await;
    }

    /// Ends the participant's stay, and the connection that is left.
    async fn end(self, end: End, last: Option<Connection>) {
        if let End::Fault { code, .. } = end {
            let participant = &self.membership.participant;
            info!(%participant, code, "connection ended by a fault");
        }
        for knock in self.session.into_iter().flat_map(|it| it.registered.end()) {
            knock.refuse(ResumeFault::NoSuchSession);
        }
        let leave = self.membership.leave(end.leave_reason());
        let finish = async {
            if let Some(connection) = last {
                connection.finish(end).await;
            }
        };
        // Both run at once: the room may be slow to react, and the connection's memory should be free
        // for others soon.
        tokio::join!(leave, finish);
    }

    /// Goes on with another connection.
    async fn go_on(
        &mut self,
        resumption: Resumption,
    ) -> Result<(Connection, Opening), (End, Connection)> {
        let Resumption {
            connection,
            id,
            comeback,
            offer,
            views,
            ..
        } = resumption;
        match comeback {
            Comeback::After(number) => self.membership.events.rewind(number),
            Comeback::Fresh => {
                if !self.membership.begin_anew(id, views).await {
                    let ending = (&mut self.membership.ending).await;
                    return Err((End::of_room(ending), connection));
                }
            }
        }
        let participant = &self.membership.participant;
        let is_fresh = comeback == Comeback::Fresh;
        info!(%participant, fresh = is_fresh, "session resumed");
        self.native.sessions.count_resumed();
        let (client, socket) = (connection.client, connection.hold.socket);
        if self.came.replace((client, socket)) != Some((client, socket)) {
            self.membership.moved(client, socket).await;
        }
        let mut message = None;
        if let Some(session) = &mut self.session {
            if std::mem::take(&mut session.is_told_away) {
                self.membership.presence(true).await;
            }
            message = Some(ServerMessage::Resumed {
                id,
                session: session.ledger.token().to_string().into(),
                received: session.ledger.received(),
            });
        }
        let opening = Opening {
            message,
            request: id,
            offer: offer.filter(|_| is_fresh),
        };
        Ok((connection, opening))
    }

    /// Waits without a connection, until another comes or the grace ends.
    async fn wait(&mut self, mut is_page: bool, away: Away<Knock>) -> Turn {
        let grace = grace_after(is_page, self.native.limits.reconnect_grace());
        let since = Instant::now();
        let mut until = since + grace;
        let evicted = self.membership.events.evicted();
        debug!(participant = %self.membership.participant, "session has no connection");
        let turn = loop {
            let is_told = self.session.as_ref().is_none_or(|it| it.is_told_away);
            tokio::select! {
                ending = &mut self.membership.ending => break End::of_room(ending).into(),
                () = evicted.notified() => match self.membership.events.let_go() {
                    true => continue,
                    false => break End::no_memory().into(),
                },
                knock = knocked(&mut self.session) => match self.judge(knock) {
                    // Its page was closed: it is waited for no longer than if its connection had said so.
                    Some(Turn::Over(End::Gone { .. })) => {
                        is_page = true;
                        until = until.min(Instant::now() + PAGE_TIME);
                    }
                    Some(turn) => break turn,
                    None => continue,
                },
                () = sleep_until(since + PRESENCE_TIME), if !is_told => {
                    if let Some(session) = &mut self.session {
                        session.is_told_away = true;
                    }
                    self.membership.presence(false).await;
                }
                () = sleep_until(until) => break End::Gone { is_page }.into(),
            }
        };
        drop(away);
        turn
    }

    /// Looks at a connection that wants this session, or at the word that its page is closed. None: it was refused.
    fn judge(&mut self, knock: Option<Knock>) -> Option<Turn> {
        // Another session has the secret now.
        let Some(knock) = knock else {
            return Some(End::replaced().into());
        };
        let kept = self.membership.events.kept();
        let Some(session) = &mut self.session else {
            knock.refuse(ResumeFault::NoSuchSession);
            return None;
        };
        let ledger = &mut session.ledger;
        let judged = match &knock {
            Knock::Resume(it) => {
                let wait = session.replays.wait(Instant::now());
                ledger.resume(it.nonce, it.comeback, kept, wait)
            }
            // A page that has come back has used this one: the late word is not about it.
            Knock::Closing(Closing { nonce, .. }) if ledger.is_current(*nonce) => Ok(()),
            Knock::Closing(_) => Err(ResumeFault::Used),
        };
        match (judged, knock) {
            (Ok(()), Knock::Resume(resumption)) => Some(Turn::Moved(resumption)),
            (Ok(()), Knock::Closing(_)) => Some(End::Gone { is_page: true }.into()),
            (Err(fault), knock) => {
                knock.refuse(fault);
                None
            }
        }
    }

    async fn attend(&mut self, connection: &mut Connection, opening: Opening) -> Turn {
        match self.exchange(connection, opening).await {
            Ok(never) => match never {},
            Err(turn) => turn,
        }
    }

    /// Exchanges messages with a client.
    async fn exchange(
        &mut self,
        connection: &mut Connection,
        opening: Opening,
    ) -> Result<std::convert::Infallible, Turn> {
        let is_told = opening.message.is_none();
        self.open(connection, opening).await?;
        // Who comes back may look for another path at once, and has been away for some time.
        self.hold_ice_servers(is_told);
        let every = self.native.limits.ping_interval();
        let silence = self.native.limits.silence();
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::with_capacity(BATCH);
        let (full, evicted) = (self.membership.events.evicted(), connection.evicted.clone());
        loop {
            tokio::select! {
                ending = &mut self.membership.ending => return Err(End::of_room(ending).into()),
                () = full.notified() => {
                    if !self.membership.events.let_go() {
                        return Err(End::no_memory().into());
                    }
                }
                () = evicted.notified() => return Err(End::no_memory().into()),
                knock = knocked(&mut self.session) => {
                    if let Some(turn) = self.judge(knock) {
                        return Err(turn);
                    }
                }
                count = self.membership.events.recv_many(&mut events, BATCH) => {
                    if count == 0 {
                        return Err(self.let_go().await);
                    }
                    self.count_replayed(&events);
                    let texts = self.texts(connection.host.clone(), &mut events);
                    self.write(connection, texts).await?;
                }
                received = connection.wire.receive() => {
                    let heard = connection.read(received, &mut self.rate, &self.native)?;
                    if let Some(heard) = heard {
                        self.serve(connection, heard).await?;
                    }
                }
                () = sleep_until(connection.heard + silence) => {
                    debug!(participant = %self.membership.participant, "client is silent");
                    return Err(End::lost().into());
                }
                _ = beat.tick() => connection.ping().await?,
                () = until(self.ice_servers_due) => self.renew_ice_servers()?,
            }
        }
    }

    /// Writes what a connection begins with. An offer of the join is answered behind the welcome, with one flush.
    async fn open(&mut self, connection: &mut Connection, opening: Opening) -> Result<(), Turn> {
        let Opening {
            message,
            request,
            offer,
        } = opening;
        let mut events: Vec<Told> = Vec::new();
        if let Some(offer) = offer {
            self.command(request, offer_action(offer)).await;
            let until = Instant::now() + ANSWER_TIME;
            while !events.iter().any(|event| answers_offer(event, request)) {
                tokio::select! {
                    biased;
                    count = self.membership.events.recv_many(&mut events, BATCH) => {
                        if count == 0 {
                            return Err(self.let_go().await);
                        }
                    }
                    () = sleep_until(until) => break,
                }
            }
        }
        self.count_replayed(&events);
        let message = message.into_iter().map(Utf8Bytes::from);
        let texts = message.chain(self.texts(connection.host.clone(), &mut events));
        self.write(connection, texts).await
    }

    /// Counts those of these events, the first of them, that the client is sent a second time.
    fn count_replayed(&mut self, events: &[Told]) {
        let replayed = self.membership.events.take_replayed();
        if let Some(session) = &mut self.session
            && replayed > 0
        {
            let bytes = events.iter().take(replayed).map(|told| Event::weight(told));
            session.replays.count(Instant::now(), replayed, bytes.sum());
        }
    }

    /// The texts of events, each made when it is written. A welcome that is written again has the token of now.
    fn texts<'a>(
        &self,
        host: Option<Arc<str>>,
        events: &'a mut Vec<Told>,
    ) -> impl Iterator<Item = Utf8Bytes> + Send + use<'a> {
        let native = Arc::clone(&self.native);
        let token = self.session.as_ref().map(|it| it.ledger.token());
        events.drain(..).map(move |told| {
            convert::text(&told, &native.greeting, &|| Own {
                session: token.map(|token| SessionInfo {
                    token: token.to_string().into(),
                    grace_ms: native.limits.reconnect_grace_ms,
                }),
                host: host.clone(),
            })
        })
    }

    /// Writes messages. Another connection need not wait until that is done: the client may not read on this one.
    async fn write(
        &mut self,
        connection: &mut Connection,
        messages: impl IntoIterator<Item = Utf8Bytes>,
    ) -> Result<(), Turn> {
        let (full, evicted) = (self.membership.events.evicted(), connection.evicted.clone());
        let mut sent = pin!(connection.wire.send(messages));
        loop {
            tokio::select! {
                sent = &mut sent => return sent.map_err(|unsent| End::from(unsent).into()),
                ending = &mut self.membership.ending => return Err(End::of_room(ending).into()),
                () = full.notified() => {
                    if !self.membership.events.let_go() {
                        return Err(End::no_memory().into());
                    }
                }
                () = evicted.notified() => return Err(End::no_memory().into()),
                knock = knocked(&mut self.session) => {
                    if let Some(turn) = self.judge(knock) {
                        return Err(turn);
                    }
                }
            }
        }
    }

    /// The room has let go of this participant, and says why.
    async fn let_go(&mut self) -> Turn {
        End::of_room((&mut self.membership.ending).await).into()
    }

    async fn serve(&mut self, connection: &mut Connection, heard: Heard) -> Result<(), Turn> {
        if let Some(session) = &mut self.session {
            session.ledger.heard(heard.is_numbered);
        }
        let ClientFrame { id, message } = match heard.frame {
            Ok(frame) => frame,
            Err(refused) => return self.refuse(refused),
        };
        let action = match message {
            ClientMessage::Join(_) | ClientMessage::Resume(_) => {
                let sentence = "This connection has joined a room.";
                return self.refuse(refuse(id, "already_joined", sentence));
            }
            ClientMessage::Ping { received } => {
                connection.pong(id).await?;
                return received.map_or(Ok(()), |number| self.acknowledge(id, number));
            }
            ClientMessage::Ack { received } => return self.acknowledge(id, received),
            ClientMessage::Leave => return Err(End::Left(id).into()),
            // An ICE-lite server learns the client's addresses from its checks.
            ClientMessage::Candidate(_) => return Ok(()),
            ClientMessage::Offer(offer) => offer_action(offer),
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
                Action::View(view.tracks.into_iter().map(NamedView::from).collect())
            }
            ClientMessage::Hand(hand) => Action::Hand(hand.raised),
            ClientMessage::Moderate(wish) => Action::Moderate(wish.into()),
            ClientMessage::Stats => Action::Stats,
            ClientMessage::Timeline => Action::Timeline,
            ClientMessage::Invite(wish) => Action::Invite(wish.into()),
            ClientMessage::Invitations => Action::Invitations,
            ClientMessage::Revoke(revoke) => Action::Revoke(revoke.invitation),
            ClientMessage::People(people) => Action::People {
                after: people.after,
                limit: people.limit,
            },
        };
        self.command(id, action).await;
        Ok(())
    }

    async fn command(&self, request: Option<u32>, action: Action) {
        // A room that is gone says so through `ending`.
        self.membership.send(Command { request, action }).await;
    }

    /// The client has had so many messages.
    fn acknowledge(&self, id: Option<u32>, number: u64) -> Result<(), Turn> {
        if self.session.is_none() || self.membership.events.acknowledge(number) {
            return Ok(());
        }
        let sentence = "`received` is more than was sent.";
        self.refuse(refuse(id, "bad_field", sentence))
    }

    /// STUN and TURN servers hold from now on, or not any more.
    fn hold_ice_servers(&mut self, is_told: bool) {
        let now = Instant::now();
        let hold = self.native.greeting.ice_servers_hold();
        self.ice_servers_due = hold.map(|hold| match is_told {
            true => now + hold,
            false => now,
        });
    }

    /// Tells the client of STUN and TURN servers again.
    fn renew_ice_servers(&mut self) -> Result<(), Turn> {
        self.hold_ice_servers(true);
        let event = Event::IceServers(self.membership.participant.clone());
        self.put(event)
    }

    /// Refuses a frame in the way of the room: the refusal is numbered like an event.
    fn refuse(&self, refused: super::codec::Refused) -> Result<(), Turn> {
        let event = Event::Refused {
            request: refused.id,
            refusal: refused.refusal,
        };
        self.put(event)
    }

    /// Puts an event behind those of the room.
    fn put(&self, event: Event) -> Result<(), Turn> {
        let bytes = event.weight();
        let put = self.membership.events.put(Told::one(event), bytes);
        // Whoever asks for refusals alone and reads none is as slow as one to whom the room tells too much.
        put.map_err(|_| End::too_slow().into())
    }
}

/// The time for which a session is without a connection.
fn grace_after(is_page: bool, grace: Duration) -> Duration {
    match is_page {
        true => grace.min(PAGE_TIME),
        false => grace,
    }
}

/// The next word to the owner of the session.
async fn knocked(session: &mut Option<Session>) -> Option<Knock> {
    match session {
        Some(session) => session.registered.knocked().await,
        None => std::future::pending().await,
    }
}

/// Returns at that time; without one, never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn offer_action(offer: Offer) -> Action {
    Action::Offer {
        sdp: offer.sdp,
        carries: offer.tracks.into_iter().map(Into::into).collect(),
    }
}

fn answers_offer(event: &Event, offer: Option<u32>) -> bool {
    match event {
        Event::Answered { request, .. } | Event::Refused { request, .. } => *request == offer,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_closed_is_waited_for_briefly() {
        let seconds = Duration::from_secs;
        for (is_page, grace, expected) in
            [(false, 30, 30), (true, 30, 10), (true, 5, 5), (false, 5, 5)]
        {
            assert_eq!(grace_after(is_page, seconds(grace)), seconds(expected));
        }
    }
}
