//! The rooms of this server, by name. Made by the first who joins, gone some time after the last
//! has left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Listed;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::{error, info};

use super::actor;
use super::admission::Guest;
use super::command::{Command, Entrant, room_name};
use super::invitations::Invitations;
use super::lane::{PLACES, Place};
use super::moderation::{DONE_CODES, DOOR_CODES, Entered, REFUSED_CODES, Waiting};
use super::operate::Order;
use super::renewal::Renewal;
use super::report::{Events, Reports};
use super::stay::Stay;
use super::tally::Tally;
use super::vacancy::{Vacancies, Vacancy};
use super::{
    Ending, LeaveReason, NamedView, ParticipantId, Refusal, RoomSnapshot, RoomStats, SocketKind,
    Timeline, Told,
};
use crate::access::{Access, TokenFault};
use crate::clients::{ClientAddress, Clients, Exceeded, Held};
use crate::config::{AnnounceFor, Limits, RoomCaps};
use crate::hooks::Authority;
use crate::media::{Media, SfuError, Workers};
use crate::memory::{Account, Memory};
use crate::names::RoomName;
use crate::session::{Inbox, Secret};
use crate::turn::Users;

/// Overflow: backpressure, to the sockets of the room's clients.
/// A room handles a message in microseconds, and reads on while it waits for the media plane.
const MAILBOX: usize = 256;
/// Time for an empty room to close.
const EVICTION_TIME: Duration = Duration::from_secs(1);
/// The number of times that a join may find that the room it was put into has closed before anybody was let
/// in. Rooms stay open for some time without anybody, so that even twice is rare.
const ATTEMPTS: usize = 8;

/// The rooms of a server. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

/// The server's settings that concern rooms.
#[derive(Clone, Debug, Default)]
pub struct RoomSettings {
    /// Bounds on the resources that clients may use.
    pub limits: Limits,
    /// Tighter bounds for viewers in some rooms.
    pub caps: RoomCaps,
    /// Media addresses that participants of some names are told instead of the server's.
    pub announce_for: Vec<AnnounceFor>,
    /// The process's.
    pub memory: Memory,
    /// Who decides about joins.
    pub authority: Authority,
    /// Whether data channel messages are told in room events.
    pub hear_data: bool,
}

/// Codes of refused joins that are neither of an access token nor of a room's rules: limits, faults of the client, and
/// those of the server.
const OTHER_CODES: [&str; 13] = [
    "connections_per_address",
    "joins_per_address",
    "rooms_per_address",
    "room_full",
    "server_full",
    "server_memory",
    "authorize_timeout",
    "overloaded",
    "worker_failed",
    "shutting_down",
    "internal",
    "bad_field",
    "bad_version",
];

const JOINS_REFUSED: usize = TokenFault::CODES.len() + DOOR_CODES.len() + OTHER_CODES.len();

/// Codes of refused joins, those of access tokens first. A denial of a hook is `not_allowed`, too.
pub(crate) fn join_codes() -> [&'static str; JOINS_REFUSED] {
    let codes = TokenFault::CODES.into_iter().chain(DOOR_CODES);
    let mut codes = codes.chain(OTHER_CODES);
    std::array::from_fn(|_| codes.next().unwrap_or_default())
}

pub(super) struct Shared {
    pub(super) media: Arc<dyn Media>,
    pub(super) limits: Limits,
    pub(super) caps: RoomCaps,
    announce_for: Vec<AnnounceFor>,
    pub(super) participants: Arc<AtomicUsize>,
    never_connected: AtomicU64,
    pub(super) joins_refused: Tally<JOINS_REFUSED>,
    /// Actions of moderators.
    pub(super) moderated: Tally<{ DONE_CODES.len() }>,
    pub(super) moderation_refused: Tally<{ REFUSED_CODES.len() }>,
    clients: Clients,
    pub(super) authority: Authority,
    pub(super) invitations: Invitations,
    pub(super) hear_data: bool,
    pub(super) turn: Option<Users>,
    pub(super) reports: Reports,
    pub(super) memory: Memory,
    pub(super) vacancies: Vacancies,
    by_name: DashMap<Arc<str>, mpsc::Sender<Message>>,
    stop: watch::Sender<bool>,
    /// No media worker is left.
    media_ended: watch::Sender<bool>,
}

impl Shared {
    /// The media workers' addresses as a participant of this name is told them, if not their own.
    pub(super) fn announced_to(&self, name: &str) -> Vec<SocketAddr> {
        let mut named = self.announce_for.iter();
        let found = named.find(|each| each.name == name);
        found.map_or_else(Vec::new, |found| found.addresses.clone())
    }

    pub(super) fn count_never_connected(&self) {
        self.never_connected.fetch_add(1, Ordering::Relaxed);
    }
}

/// A message to a room's actor.
pub(super) enum Message {
    Enter {
        guest: Box<Guest>,
        reply: Reply,
    },
    /// A participant's, in the stay of that number.
    Of {
        who: ParticipantId,
        stay: u64,
        wish: Wish,
    },
    /// An operator's question.
    Inspect(Inspection),
    /// An embedder's order.
    Order(Order),
    /// Another room needs the place of this one, if nobody is in it.
    Evict,
}

/// The way to hear how a join ends.
pub(super) type Reply = oneshot::Sender<Result<Entered, Refusal>>;

/// A participant's wish.
pub(super) enum Wish {
    Do {
        command: Command,
        /// Given back when the command is done.
        place: Place,
    },
    /// Its client remembers nothing, and wants to be told everything.
    BeginAnew {
        renewal: Box<Renewal>,
        place: Place,
    },
    /// Its session has a connection, or has none.
    Presence(bool),
    /// It comes from another address than before, by which it would be banned, or by another kind of socket.
    Moved(Option<ClientAddress>, SocketKind),
    Leave(LeaveReason),
}

/// An operator's question about a room.
pub(super) enum Inspection {
    Stats(oneshot::Sender<Result<RoomStats, SfuError>>),
    Timeline(oneshot::Sender<Result<Timeline, SfuError>>),
    Snapshot(oneshot::Sender<RoomSnapshot>),
}

/// The place in a room of an accepted participant, as the actor hands it out.
pub(super) struct Joined {
    pub(super) participant: ParticipantId,
    /// The secret of its session: not that which it asked for, where that is another one's.
    pub(super) session: Option<Secret>,
    pub(super) stay: Stay,
    pub(super) events: Inbox<Told>,
    pub(super) ending: oneshot::Receiver<Ending>,
}

/// A participant's end of its place in a room. [`leave`](Self::leave) it when done; dropped, its participant leaves as
/// [`LeaveReason::Disconnected`].
pub struct Membership {
    /// The participant's id.
    pub participant: ParticipantId,
    /// The secret of its session: not that which was asked for, where that is another one's. None: no session, or the one
    /// that there was before.
    pub session: Option<Secret>,
    /// The first is [`Event::Welcome`](super::Event::Welcome).
    pub events: Inbox<Told>,
    /// Comes when the room ends the membership; no event follows it.
    pub ending: oneshot::Receiver<Ending>,
    stay: Stay,
    mailbox: mpsc::Sender<Message>,
    /// Free for commands. Overflow: backpressure, to this participant's socket.
    places: Arc<Semaphore>,
}

/// The answer to somebody who wants to join.
pub enum Entry {
    /// They are in the room.
    In(Membership),
    /// They wait until a moderator admits them.
    Waits(Waiting),
}

/// Hears of the shutdown, which waits until every one of these is dropped.
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Whether the server is shutting down.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Cancel-safe.
    pub async fn stopped(&mut self) {
        // Fails when the registry is gone, which is a stop as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// The numbers of what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Rooms.
    pub rooms: usize,
    /// Participants of all rooms.
    pub participants: usize,
    /// Transports that were given up before they were connected, five seconds or more after their offer, since the
    /// process began.
    pub media_never_connected: u64,
}

impl Rooms {
    /// Must run within a tokio runtime.
    pub fn start(media: Arc<dyn Media>, settings: RoomSettings) -> Self {
        Self::start_with(media, settings, None)
    }

    /// Everybody in a room is a user of `turn`, if it is on.
    pub(crate) fn start_with(
        media: Arc<dyn Media>,
        settings: RoomSettings,
        turn: Option<Users>,
    ) -> Self {
        let shared = Arc::new(Shared {
            media,
            clients: Clients::new(&settings.limits),
            vacancies: Vacancies::new(settings.limits.empty_rooms),
            limits: settings.limits,
            memory: settings.memory,
            authority: settings.authority,
            invitations: Invitations::new(),
            hear_data: settings.hear_data,
            turn,
            reports: Reports::default(),
            caps: settings.caps,
            announce_for: settings.announce_for,
            participants: Arc::default(),
            never_connected: AtomicU64::new(0),
            joins_refused: Tally::new(join_codes()),
            moderated: Tally::new(DONE_CODES),
            moderation_refused: Tally::new(REFUSED_CODES),
            by_name: DashMap::new(),
            stop: watch::Sender::new(false),
            media_ended: watch::Sender::new(false),
        });
        tokio::spawn(watch_media(shared.clone()));
        Self { shared }
    }

    /// Joins, and waits until a moderator admits whoever has to wait.
    ///
    /// # Errors
    ///
    /// As of [`enter`](Self::enter) and [`Waiting::admitted`].
    pub async fn join(&self, room: &str, entrant: Entrant) -> Result<Membership, Refusal> {
        match self.enter(room, entrant).await? {
            Entry::In(membership) => Ok(membership),
            Entry::Waits(mut waiting) => waiting.admitted().await,
        }
    }

    /// Joins, or begins to wait for a moderator.
    ///
    /// # Errors
    ///
    /// The [`Refusal`]: a bad name, a full room or server, the access token's, the embedder's, the room's rules, or the
    /// media plane's.
    pub async fn enter(&self, room: &str, entrant: Entrant) -> Result<Entry, Refusal> {
        let entered = self.ask_to_enter(room, entrant).await;
        entered.inspect_err(|refusal| self.count_refused(refusal.code))
    }

    /// Counts a refused join. [`enter`](Self::enter) counts those that it refuses itself.
    pub(crate) fn count_refused(&self, code: &str) {
        self.shared.joins_refused.count(code);
    }

    async fn ask_to_enter(&self, room: &str, entrant: Entrant) -> Result<Entry, Refusal> {
        let room = &*room_name(room)?;
        let entrant = entrant.checked()?;
        let client = entrant.client;
        self.may_join(client)?;
        if self.shared.memory.refuses(client) {
            return Err(Refusal::server_memory());
        }
        let mut stop = self.stop_signal();
        let guest = self.shared.authorize(room, entrant, &mut stop).await?;
        // The shutdown would wait for it.
        drop(stop);
        for _ in 0..ATTEMPTS {
            if self.is_stopping() {
                return Err(Refusal::shutting_down());
            }
            let (reply, admission) = oneshot::channel();
            let message = Message::Enter {
                guest: Box::new(guest.clone()),
                reply,
            };
            // Both fail only when the room closed meanwhile: then there is a new one to make.
            let Some(mailbox) = self.shared.put(room, client, message).await? else {
                continue;
            };
            if let Ok(entered) = admission.await {
                return Ok(match entered? {
                    Entered::In(joined) => Entry::In(Membership::new(joined, mailbox)),
                    Entered::Waits(turn) => Entry::Waits(Waiting::new(turn, mailbox)),
                });
            }
        }
        if self.shared.by_name.len() >= self.shared.limits.rooms {
            return Err(Refusal::server_full());
        }
        error!(room = %RoomName::from(Arc::<str>::from(room)), "room closes before anybody is let in");
        Err(Refusal::new(
            "internal",
            "The room closes before anybody is let in.",
        ))
    }

    /// Counts a join of this address, or something that costs as much.
    ///
    /// # Errors
    ///
    /// The [`Refusal`]: it has joined too often lately.
    pub(crate) fn may_join(&self, client: Option<ClientAddress>) -> Result<(), Refusal> {
        match client.map(|address| self.shared.clients.join(address)) {
            Some(Err(exceeded)) => Err(self.shared.refuse(client, exceeded)),
            _ => Ok(()),
        }
    }

    /// The counters of, and decisions for, everyone in a room; none if there is no such room.
    ///
    /// # Errors
    ///
    /// [`SfuError`]: the media plane does not answer.
    pub async fn stats(&self, room: &str) -> Option<Result<RoomStats, SfuError>> {
        self.inspect(room, Inspection::Stats).await
    }

    /// The latest decisions in a room, with their reasons; none if there is no such room.
    ///
    /// # Errors
    ///
    /// [`SfuError`]: the media plane does not answer.
    pub async fn timeline(&self, room: &str) -> Option<Result<Timeline, SfuError>> {
        self.inspect(room, Inspection::Timeline).await
    }

    /// The events of all rooms from now on.
    pub fn events(&self) -> Events {
        self.shared.reports.events()
    }

    /// The names of all rooms, in no order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let rooms = self.shared.by_name.iter();
        rooms.map(|room| Arc::clone(room.key())).collect()
    }

    /// The rule by which people are let in.
    pub fn access(&self) -> Access {
        self.shared.authority.access()
    }

    /// Joins that were refused since the process began, by code, and sockets on which nobody could join.
    pub fn joins_refused(&self) -> BTreeMap<&'static str, u64> {
        self.shared.joins_refused.by_code()
    }

    /// Actions of moderators since the process began, by their code.
    pub fn moderated(&self) -> BTreeMap<&'static str, u64> {
        self.shared.moderated.by_code()
    }

    /// Refused actions of moderation since the process began, by the code of the refusal.
    pub fn moderation_refused(&self) -> BTreeMap<&'static str, u64> {
        self.shared.moderation_refused.by_code()
    }

    pub(super) async fn inspect<T>(
        &self,
        room: &str,
        question: impl FnOnce(oneshot::Sender<T>) -> Inspection,
    ) -> Option<T> {
        self.ask(room, |reply| Message::Inspect(question(reply)))
            .await
    }

    /// The reply of a room; none if there is no such room, or it closed meanwhile.
    pub(super) async fn ask<T>(
        &self,
        room: &str,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Option<T> {
        let room = room_name(room).ok()?;
        // Cloned, so that no lock of the map is held while the mailbox is full.
        let mailbox = self.shared.by_name.get(&*room).map(|entry| entry.clone())?;
        let (reply, answer) = oneshot::channel();
        mailbox.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The numbers of rooms and participants.
    pub fn counts(&self) -> Counts {
        Counts {
            rooms: self.shared.by_name.len(),
            participants: self.shared.participants.load(Ordering::Relaxed),
            media_never_connected: self.shared.never_connected.load(Ordering::Relaxed),
        }
    }

    /// Whether the server is shutting down.
    pub fn is_stopping(&self) -> bool {
        *self.shared.stop.borrow()
    }

    /// The process's memory, for protocols.
    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// The counts of each address, for protocols.
    pub(crate) fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    /// The media workers, for health checks.
    pub fn workers(&self) -> Workers {
        self.shared.media.workers()
    }

    /// Returns when every media worker has failed. Cancel-safe.
    pub async fn media_ended(&self) {
        let mut ended = self.shared.media_ended.subscribe();
        // `self` has the sender.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Hears of the shutdown.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal(self.shared.stop.subscribe())
    }

    /// Ends every membership and room, and returns when all are done.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        self.shared.stop.closed().await;
    }
}

impl Membership {
    pub(super) fn new(joined: Joined, mailbox: mpsc::Sender<Message>) -> Self {
        let Joined {
            participant,
            session,
            stay,
            events,
            ending,
        } = joined;
        Self {
            participant,
            session,
            events,
            ending,
            stay,
            mailbox,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    async fn wish(&self, wish: Wish) -> bool {
        let message = Message::Of {
            who: self.participant.clone(),
            stay: self.stay.number(),
            wish,
        };
        self.mailbox.send(message).await.is_ok()
    }

    /// Returns whether the room still exists. Waits while many earlier commands of this participant are not done.
    pub async fn send(&self, command: Command) -> bool {
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return false;
        };
        self.wish(Wish::Do { command, place }).await
    }

    /// Begins anew under the same id, without a transport and tracks: [`events`](Self::events) and
    /// [`ending`](Self::ending) are others then, with an [`Event::Welcome`] first. Returns false if the room has ended the
    /// membership meanwhile, as [`ending`](Self::ending) tells.
    pub(crate) async fn begin_anew(&mut self, request: Option<u32>, views: Vec<NamedView>) -> bool {
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        let renewal = Box::new(Renewal {
            request,
            views,
            guest: None,
            reply,
        });
        self.wish(Wish::BeginAnew { renewal, place }).await;
        let Ok(Ok(Entered::In(joined))) = answer.await else {
            return false;
        };
        self.stay = joined.stay;
        self.events = joined.events;
        self.ending = joined.ending;
        true
    }

    /// Tells the others whether this participant's session has a connection.
    pub(crate) async fn presence(&self, connected: bool) {
        self.wish(Wish::Presence(connected)).await;
    }

    /// Tells the room that its client comes from another address, or by another kind of socket.
    pub(crate) async fn moved(&self, client: Option<ClientAddress>, socket: SocketKind) {
        self.wish(Wish::Moved(client, socket)).await;
    }

    /// Leaves the room.
    pub async fn leave(self, reason: LeaveReason) {
        // A room that is gone has been left.
        self.wish(Wish::Leave(reason)).await;
        self.stay.end();
    }
}

impl Shared {
    /// Puts a message into a room's mailbox, a new room's if there is none. None if the room closed meanwhile, or an
    /// empty one was closed to make place.
    async fn put(
        self: &Arc<Self>,
        room: &str,
        client: Option<ClientAddress>,
        message: Message,
    ) -> Result<Option<mpsc::Sender<Message>>, Refusal> {
        let (mailbox, message) = match self.mailbox(room, client, message) {
            Ok(found) => found,
            Err(full) => {
                let evicted = match full {
                    Full::Server => self.vacancies.evict(|_| true),
                    Full::Address(_) => self.vacancies.evict(|maker| maker == client),
                };
                let mailbox = evicted.ok_or_else(|| match full {
                    Full::Server => Refusal::server_full(),
                    Full::Address(exceeded) => self.refuse(client, exceeded),
                })?;
                // A room that does not close in time has a participant again.
                let _ = timeout(EVICTION_TIME, mailbox.closed()).await;
                return Ok(None);
            }
        };
        if let Some(message) = message
            && mailbox.send(message).await.is_err()
        {
            self.forget(room, &mailbox);
            return Ok(None);
        }
        Ok(Some(mailbox))
    }

    /// A room's mailbox. The message is in it, unless it was there already. It is the first message of a new room, so
    /// that the participant who makes a room hears from it even if it closes at once.
    fn mailbox(
        self: &Arc<Self>,
        room: &str,
        client: Option<ClientAddress>,
        message: Message,
    ) -> Result<(mpsc::Sender<Message>, Option<Message>), Full> {
        if let Some(mailbox) = self.by_name.get(room) {
            return Ok((mailbox.clone(), Some(message)));
        }
        // Counted before the entry is locked: `len` would wait for the lock held here. A few rooms
        // made at the same moment may exceed the limit.
        if self.by_name.len() >= self.limits.rooms {
            return Err(Full::Server);
        }
        let held = client.map(|address| self.clients.room(address)).transpose();
        let held = held.map_err(Full::Address)?;
        let name: Arc<str> = room.into();
        match self.by_name.entry(name.clone()) {
            Listed::Occupied(entry) => Ok((entry.get().clone(), Some(message))),
            Listed::Vacant(entry) => {
                let (mailbox, messages) = mpsc::channel(MAILBOX);
                let _ = mailbox.try_send(message);
                entry.insert(mailbox.clone());
                let stop = StopSignal(self.stop.subscribe());
                let listing = Listing {
                    shared: self.clone(),
                    name: name.clone(),
                    mailbox: mailbox.clone(),
                    forget_chat: Arc::default(),
                    client,
                    _held: held,
                };
                tokio::spawn(actor::run(name, listing, messages, stop));
                Ok((mailbox, None))
            }
        }
    }

    fn refuse(&self, client: Option<ClientAddress>, exceeded: Exceeded) -> Refusal {
        let address = client.as_ref().map(tracing::field::display);
        let code = exceeded.code();
        info!(address, code, "refused: its address has too many");
        Refusal::per_address(&self.clients, exceeded)
    }

    fn forget(&self, room: &str, mailbox: &mpsc::Sender<Message>) {
        self.by_name
            .remove_if(room, |_, listed| listed.same_channel(mailbox));
    }
}

/// A room's entries in the registry; dropped, they are gone, even when the actor panicked.
pub(super) struct Listing {
    pub(super) shared: Arc<Shared>,
    name: Arc<str>,
    mailbox: mpsc::Sender<Message>,
    /// Others need the memory of the room's chat. No message: it is never lost, however full the mailbox is.
    pub(super) forget_chat: Arc<Notify>,
    /// The maker of the room.
    client: Option<ClientAddress>,
    _held: Option<Held>,
}

/// The bound that leaves no place for another room.
enum Full {
    Server,
    Address(Exceeded),
}

impl Listing {
    /// Marks the room as empty until the result is dropped.
    pub(super) fn vacate(&self) -> Vacancy {
        self.shared.vacancies.add(self.client, &self.mailbox)
    }

    /// The memory of the room's chat.
    pub(super) fn chat_account(&self) -> Account {
        let forget = self.forget_chat.clone();
        let chat = &self.shared.memory.chat;
        chat.open(self.client, move || forget.notify_one())
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Where nobody grants rights, the next room of this name may be that of others.
        if self.shared.authority.access() == Access::Open {
            self.shared.invitations.end(&self.name);
        }
        self.shared.forget(&self.name, &self.mailbox);
    }
}

/// Says so when no media worker is left.
async fn watch_media(shared: Arc<Shared>) {
    shared.media.ended().await;
    if !*shared.stop.borrow() {
        error!("no media worker is left, and calls are no longer possible: restart this server");
        shared.media_ended.send_replace(true);
    }
}

#[cfg(test)]
mod tests;
