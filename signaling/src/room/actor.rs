//! The one owner of a room: takes messages in turn, so that everyone sees one order of events. It waits for nothing
//! while it has one at hand: the media plane's replies come in turn as well ([`errands`](super::errands)).
//! The room's other duties are further `impl Room` blocks, one for each file beside this.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::admission::Guest;
use super::chat::ChatHistory;
use super::crowd::Crowd;
use super::errands::{Errands, Then};
use super::lane::Lanes;
use super::moderation::{Door, Hands, LOOK_EVERY, WaitingRoom};
use super::participant::{Counted, Participant, Way};
use super::registry::{Joined, Listing, Message, Shared, StopSignal, Wish};
use super::stage::Stage;
use super::stay::{Abandoned, Stay};
use super::subscription::Unfinished;
use super::timeline::Former;
use super::vacancy::Vacancy;
use super::{
    Change, Ending, Event, LeaveReason, ParticipantId, Refusal, Snapshot, Speakers, Told, TrackName,
};
use crate::clients::ClientAddress;
use crate::media::{self, PeerId, RoomId, SfuError, TrackId};
use crate::names::RoomName;
use crate::session::{Outbox, Undelivered};

pub(super) struct Room {
    pub(super) name: RoomName,
    pub(super) media_room: RoomId,
    pub(super) shared: Arc<Shared>,
    pub(super) participants: HashMap<ParticipantId, Participant>,
    /// Their ids, in the order they joined.
    pub(super) by_order: BTreeMap<u64, ParticipantId>,
    pub(super) peers: HashMap<PeerId, ParticipantId>,
    /// Every published track, and its publisher.
    pub(super) tracks: HashMap<TrackId, (ParticipantId, TrackName)>,
    pub(super) track_ids: HashMap<TrackName, TrackId>,
    pub(super) chat: ChatHistory,
    /// Requests that the media plane was too busy for. They are bounded by the possible requests: a subscription for
    /// each participant and track, an end and a cap for each peer, settings for each track.
    pub(super) unfinished: HashSet<Unfinished>,
    pub(super) errands: Errands,
    pub(super) lanes: Lanes,
    /// The media plane has closed the room: so much was not taken of what it told.
    pub(super) failed: bool,
    /// Participants to be removed once the present message is handled.
    pub(super) failing: Vec<(ParticipantId, u64, Undelivered)>,
    /// Participants with [`Participant::new_needs`].
    pub(super) needy: HashSet<ParticipantId>,
    /// The speakers, as last told.
    pub(super) speakers: Speakers,
    /// Names of participants and tracks that are gone, for the timeline.
    pub(super) former: Former,
    pub(super) joined: u64,
    pub(super) crowd: Crowd,
    pub(super) stage: Stage,
    /// Ids of those who have left while a command of theirs was under way, whose reply would be told to the next under
    /// that id. Bounded by the commands under way.
    pub(super) unsettled: HashSet<ParticipantId>,
    /// Stays so far.
    stays: u64,
    abandoned: Abandoned,
    empty_since: Option<Instant>,
    /// The place among the rooms that may be closed for others, while this one is empty.
    vacancy: Option<Vacancy>,
    evicted: bool,
    pub(super) door: Door,
    pub(super) waiting: WaitingRoom,
    pub(super) hands: Hands,
    /// The embedder or a moderator closes the room.
    pub(super) closed: Option<Closing>,
}

/// The end of a room that is meant.
pub(super) struct Closing {
    /// A sentence for people.
    pub(super) message: String,
    /// The moderator; none: the embedder.
    pub(super) by: Option<ParticipantId>,
}

/// The media plane answers within milliseconds; one that takes longer is as good as overloaded.
pub(super) const MEDIA_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// Messages, and events of the media plane, handled before their effects are settled: many changes of needs become one.
const BATCH: usize = 64;
/// Times that events and replies are looked for after a message: as long as what comes is the doing of what was taken
/// before.
const ROUNDS: usize = 64;

pub(super) async fn run(
    name: Arc<str>,
    listing: Listing,
    mut messages: mpsc::Receiver<Message>,
    mut stop: StopSignal,
) {
    let shared = listing.shared.clone();
    let name = RoomName::from(name);
    // Only who makes the room, and joins it meanwhile, waits for this.
    let (media_room, mut events) = match within(shared.media.create_room()).await {
        Ok(room) => room,
        Err(error) => {
            warn!(room = %name, %error, "room refused by the media plane");
            drop(listing);
            refuse_all(messages, &Refusal::of_room(&error)).await;
            return;
        }
    };
    info!(room = %name, media_room = %media_room, "room opened");
    let mut room = Room {
        name,
        media_room,
        chat: ChatHistory::new(shared.limits.chat_history, listing.chat_account()),
        shared,
        participants: HashMap::new(),
        by_order: BTreeMap::new(),
        peers: HashMap::new(),
        tracks: HashMap::new(),
        track_ids: HashMap::new(),
        unfinished: HashSet::new(),
        errands: Errands::default(),
        lanes: Lanes::default(),
        failed: false,
        failing: Vec::new(),
        needy: HashSet::new(),
        speakers: Speakers::default(),
        former: Former::default(),
        joined: 0,
        crowd: Crowd::default(),
        stage: Stage::default(),
        unsettled: HashSet::new(),
        stays: 0,
        abandoned: Abandoned::default(),
        empty_since: Some(Instant::now()),
        vacancy: None,
        evicted: false,
        door: Door::default(),
        waiting: WaitingRoom::default(),
        hands: Hands::default(),
        closed: None,
    };
    room.report(|| Change::RoomOpened);
    let reason = room
        .live(&listing, &mut messages, &mut events, &mut stop)
        .await;
    // It leaves the registry first, and then cannot be reached: a participant who comes in between makes a new room.
    drop(listing);
    drop(messages);
    room.close(reason, stop).await;
}

async fn refuse_all(mut messages: mpsc::Receiver<Message>, refusal: &Refusal) {
    messages.close();
    while let Some(message) = messages.recv().await {
        if let Message::Enter { reply, .. } = message {
            let _ = reply.send(Err(refusal.clone()));
        }
    }
}

/// A media plane's reply, or [`SfuError::Overloaded`] when it takes too long.
pub(super) async fn within<T>(
    reply: impl Future<Output = Result<T, SfuError>>,
) -> Result<T, SfuError> {
    timeout(MEDIA_TIMEOUT, reply)
        .await
        .unwrap_or(Err(SfuError::Overloaded))
}

impl Room {
    /// Returns why it ends.
    async fn live(
        &mut self,
        listing: &Listing,
        messages: &mut mpsc::Receiver<Message>,
        events: &mut mpsc::Receiver<media::Event>,
        stop: &mut StopSignal,
    ) -> &'static str {
        let mut retry = interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let grace = self.shared.limits.empty_room();
        let abandoned = self.abandoned.clone();
        let mut heard = Vec::with_capacity(BATCH);
        let mut is_deaf = false;
        loop {
            let deadline = self.empty_since.map(|since| since + grace);
            let news_due = self.news_due();
            tokio::select! {
                // A participant who comes in the last moment keeps the room open.
                biased;
                () = stop.stopped() => return "server_shutdown",
                _ = retry.tick(), if !self.unfinished.is_empty() => self.retry(),
                _ = look.tick(), if !self.waiting.is_empty() => self.look_at_waiting(),
                () = sleep_until(news_due.unwrap_or_else(Instant::now)), if news_due.is_some() => {}
                () = listing.forget_chat.notified() => self.chat.forget_half(),
                then = self.errands.next() => self.take_reply(then),
                stays = abandoned.take() => self.remove_stays(&stays),
                count = events.recv_many(&mut heard, BATCH), if !is_deaf => is_deaf = count == 0,
                Some(message) = messages.recv() => self.handle(message),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return "empty";
                }
            }
            self.catch_up(events, &mut heard);
            for _ in 1..BATCH {
                let Ok(message) = messages.try_recv() else {
                    break;
                };
                self.handle(message);
                self.catch_up(events, &mut heard);
            }
            self.settle();
            if self.failed {
                return "events_not_taken";
            }
            if self.closed.is_some() {
                return "closed";
            }
            let is_empty = self.empty_since.is_some();
            // A participant who came before this was read keeps the room open.
            if std::mem::take(&mut self.evicted) && is_empty {
                return "evicted";
            }
            if is_empty != self.vacancy.is_some() {
                self.vacancy = is_empty.then(|| listing.vacate());
            }
        }
    }

    /// Takes the replies and events that have come. A reply comes before the events that were told after it: whoever
    /// joins is known before anything is heard of its transport.
    fn catch_up(
        &mut self,
        events: &mut mpsc::Receiver<media::Event>,
        heard: &mut Vec<media::Event>,
    ) {
        for _ in 0..ROUNDS {
            while heard.len() < BATCH
                && let Ok(event) = events.try_recv()
            {
                heard.push(event);
            }
            let mut is_idle = heard.is_empty();
            while let Some(then) = self.errands.take() {
                self.take_reply(then);
                is_idle = false;
            }
            for event in heard.drain(..) {
                self.media_changed(event);
            }
            if is_idle {
                return;
            }
        }
    }

    fn take_reply(&mut self, then: Then) {
        then(self);
        self.begin_commands();
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Enter { guest, reply } => self.come(*guest, reply),
            Message::Of { who, stay, wish } => {
                // It may have been removed, and have joined anew under its id.
                let participant = self.participants.get(&who);
                if participant.is_some_and(|it| it.stay == stay) {
                    self.grant(&who, wish);
                }
            }
            Message::Inspect(question) => self.inspect(question),
            Message::Order(order) => self.obey(order),
            Message::Evict => {
                self.evicted = true;
                self.vacancy = None;
            }
        }
    }

    fn grant(&mut self, who: &ParticipantId, wish: Wish) {
        match wish {
            Wish::Do { command, place } => self.queue(who, command, place),
            Wish::BeginAnew { renewal, place } => self.queue_renewal(who, *renewal, place),
            Wish::Presence(connected) => self.set_presence(who, connected),
            Wish::Moved(client, socket) => {
                let held = self.shared.memory.people.open(client, || {});
                if let Some(participant) = self.participants.get_mut(who) {
                    (participant.client, participant.socket) = (client, Some(socket));
                    participant.held = held;
                    participant.weigh();
                }
            }
            Wish::Leave(reason) => self.remove(who, reason),
        }
    }

    /// Lets somebody in whom the door lets pass.
    pub(super) fn admit(&mut self, id: ParticipantId, guest: Guest) -> Result<Joined, Refusal> {
        let Guest {
            mut entrant,
            identity,
            mut permissions,
            invited: _,
            token,
        } = guest;
        if let Some(identity) = &identity {
            self.replace_others(identity);
        }
        self.make_place(entrant.client, permissions.moderate)?;
        // Somebody may have come by it while this one waited at the door.
        let id = match self.is_free(&id) {
            true => id,
            false => self.draw_id(&mut entrant),
        };
        permissions.moderate |= self.lacks_moderator();
        let identity: Option<Arc<str>> = identity.map(Arc::from);
        if let Some(identity) = &identity {
            self.door.remember(identity);
        }
        let is_audience = !permissions.moderate && self.is_audience(entrant.audience);
        let (way, mut joined) = self.open_way(&id, entrant.client, entrant.session.is_some());
        joined.session = entrant.session;
        self.joined += 1;
        let auto_subscribe = entrant.auto_subscribe && permissions.subscribe;
        let mut participant = Participant {
            order: self.joined,
            id: id.clone(),
            stay: joined.stay.number(),
            is_away: false,
            name: entrant.name,
            metadata: entrant.metadata,
            identity,
            client: entrant.client,
            socket: entrant.socket,
            permissions,
            token_expires_s: token.expires_s,
            auto_subscribe,
            takes_batches: entrant.takes_batches,
            is_audience,
            way,
            peer: None,
            offers: 0,
            tracks: Vec::new(),
            silenced: HashMap::new(),
            wanted: if auto_subscribe {
                self.tracks.keys().copied().collect()
            } else {
                HashSet::new()
            },
            views: HashMap::new(),
            told_needs: Default::default(),
            new_needs: None,
            connecting_since: None,
            lane: Default::default(),
            held: self.shared.memory.people.open(entrant.client, || {}),
            _relayed: self
                .shared
                .turn
                .as_ref()
                .map(|users| users.admit(id.as_str())),
            _counted: Counted::new(&self.shared.participants),
        };
        participant.weigh();
        info!(
            room = %self.name, participant = %id, token = token.id,
            identity = participant.identity.as_deref(),
            client = participant.client.as_ref().map(tracing::field::display),
            "participant joined"
        );
        self.report(|| Change::Joined(participant.person()));
        self.tell_others(&id, Event::ParticipantJoined(participant.info()));
        self.by_order.insert(participant.order, id.clone());
        self.participants.insert(id.clone(), participant);
        self.empty_since = None;
        self.note_views(&id, &entrant.views);
        self.greet(&id, entrant.request);
        Ok(joined)
    }

    /// Makes the two ends of the way to a participant, for a stay that begins.
    pub(super) fn open_way(
        &mut self,
        id: &ParticipantId,
        client: Option<ClientAddress>,
        has_session: bool,
    ) -> (Way, Joined) {
        let memory = &self.shared.memory.events;
        let outbox = Outbox::new(self.shared.limits.outgoing_queue, |evicted| {
            memory.open(client, move || evicted.notify_one())
        });
        let mut events = outbox.attach();
        if has_session {
            events.keep_taken();
        }
        let (told, ending) = oneshot::channel();
        let way = Way {
            events: outbox,
            ending: told,
        };
        self.stays += 1;
        let joined = Joined {
            participant: id.clone(),
            session: None,
            stay: Stay::new(id.clone(), self.stays, self.abandoned.clone()),
            events,
            ending,
        };
        (way, joined)
    }

    /// Tells a participant everything that there is: the first of its events.
    pub(super) fn greet(&mut self, id: &ParticipantId, request: Option<u32>) {
        let Some(participant) = self.participants.get(id) else {
            return;
        };
        let permissions = participant.permissions;
        let is_audience = participant.is_audience;
        let (participants, hands) = self.seen_by(id, is_audience);
        let snapshot = Snapshot {
            request,
            room: self.name.shared(),
            participant: id.clone(),
            name: participant.name.clone(),
            metadata: participant.metadata.clone(),
            permissions,
            participants,
            chat: self.chat.entries(),
            rules: self.door.rules,
            hands,
            audience: is_audience.then(|| self.count()),
        };
        self.tell(id, Event::Welcome(snapshot));
        if !self.speakers.recent.is_empty() {
            let speakers = self.speakers.clone();
            self.tell(id, Event::Speakers(speakers));
        }
        if permissions.moderate {
            self.tell_waiting(id);
        }
    }

    /// Ends a participant's stay. It is ignored for one who has left already: the socket and the queue may both report
    /// that.
    pub(super) fn remove(&mut self, id: &ParticipantId, reason: LeaveReason) {
        let Some(participant) = self.forget(id) else {
            return;
        };
        self.report_left(&participant, reason);
        info!(room = %self.name, participant = %id, reason = reason.as_str(), "participant left");
        self.tell_others(
            id,
            Event::ParticipantLeft {
                participant: id.clone(),
                reason,
            },
        );
        if let Some(peer) = participant.peer {
            self.close_peer(peer);
        }
        self.pass_on();
    }

    fn report_left(&self, participant: &Participant, reason: LeaveReason) {
        for track in &participant.tracks {
            self.report(|| Change::Unpublished {
                person: participant.person(),
                track: track.info.name.clone(),
            });
        }
        self.report(|| Change::Left {
            person: participant.person(),
            reason,
        });
    }

    fn forget(&mut self, id: &ParticipantId) -> Option<Participant> {
        let participant = self.participants.remove(id)?;
        self.by_order.remove(&participant.order);
        self.lanes.leave(id, &participant.lane);
        if participant.lane.is_busy() {
            self.unsettled.insert(id.clone());
        }
        self.hands.lower(id);
        self.look_at_connecting(id, participant.connecting_since);
        if let Some(peer) = participant.peer {
            self.peers.remove(&peer);
            self.former.peer(peer, id.clone());
        }
        for track in &participant.tracks {
            self.forget_track(track.id);
        }
        let speakers = &mut self.speakers;
        if let Some(at) = speakers.recent.iter().position(|recent| recent == id) {
            speakers.recent.remove(at);
            speakers.speaking -= usize::from(at < speakers.speaking);
        }
        if self.participants.is_empty() {
            self.empty_since = Some(Instant::now());
        }
        Some(participant)
    }

    pub(super) fn forget_track(&mut self, track: TrackId) {
        if let Some((_, name)) = self.tracks.remove(&track) {
            self.track_ids.remove(&name);
            self.former.track(track, name);
        }
        for participant in self.participants.values_mut() {
            participant.wanted.remove(&track);
            participant.views.remove(&track);
        }
    }

    pub(super) fn name_of(&self, track: TrackId) -> Option<TrackName> {
        self.tracks.get(&track).map(|(_, name)| name.clone())
    }

    pub(super) fn tell(&mut self, id: &ParticipantId, event: Event) {
        self.introduce(&event);
        let bytes = event.weight();
        if let Some(participant) = self.participants.get(id)
            && let Err(undelivered) = participant.way.events.put(Told::one(event), bytes)
        {
            self.failing
                .push((id.clone(), participant.stay, undelivered));
        }
    }

    pub(super) fn tell_all(&mut self, event: Event) {
        self.tell_some(event, |_| true);
    }

    pub(super) fn tell_some(&mut self, event: Event, is_meant: impl Fn(&Participant) -> bool) {
        self.introduce(&event);
        // It is kept once: everybody is charged their part.
        let count = self.participants.values().filter(|it| is_meant(it)).count();
        let event = Told::several(event);
        let bytes = event.weight().div_ceil(count.max(1));
        for participant in self.participants.values().filter(|it| is_meant(it)) {
            if let Err(undelivered) = participant.way.events.put(event.clone(), bytes) {
                self.failing
                    .push((participant.id.clone(), participant.stay, undelivered));
            }
        }
    }

    /// Removes who cannot be told anything any more, and tells the changed needs.
    fn settle(&mut self) {
        self.tell_needs();
        self.tell_news();
        // The other participants are told of each removal, which may find more that are too slow.
        while let Some((id, stay, undelivered)) = self.failing.pop() {
            if undelivered == Undelivered::Detached {
                self.remove_stay(&id, stay);
                continue;
            }
            // Its client may have begun anew since, under the same id.
            if self.participants.get(&id).is_none_or(|it| it.stay != stay) {
                continue;
            }
            warn!(room = %self.name, participant = %id, "participant reads too slowly");
            self.end(&id, Ending::TooSlow, LeaveReason::Disconnected);
        }
    }

    fn remove_stays(&mut self, stays: &[(ParticipantId, u64)]) {
        for (id, stay) in stays {
            self.remove_stay(id, *stay);
        }
    }

    /// Removes a participant whom nobody is there for, unless its client has begun anew since, under the same id.
    fn remove_stay(&mut self, id: &ParticipantId, stay: u64) {
        if self.participants.get(id).is_some_and(|it| it.stay == stay) {
            self.remove(id, LeaveReason::Disconnected);
        }
    }

    /// Ends a participant's stay, and tells it why. What it was told before may not reach it any more.
    pub(super) fn end(&mut self, id: &ParticipantId, ending: Ending, reason: LeaveReason) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        // Its removal is told first, for the session to report before it is done.
        let (gone, _) = oneshot::channel();
        let told = std::mem::replace(&mut participant.way.ending, gone);
        let _ = told.send(ending);
        self.remove(id, reason);
    }

    /// The shutdown waits while `stop` is held: until the media plane has answered once.
    async fn close(mut self, reason: &'static str, stop: StopSignal) {
        self.refuse_waiting();
        let count = self.participants.len();
        let ending = match (self.failed, self.closed.take()) {
            (true, _) => Ending::RoomFailed,
            (false, Some(Closing { message, by })) => Ending::RoomClosed { message, by },
            (false, None) => Ending::ServerShutdown,
        };
        for (_, participant) in std::mem::take(&mut self.participants) {
            self.report_left(&participant, LeaveReason::Server);
            let _ = participant.way.ending.send(ending.clone());
        }
        self.report(|| Change::RoomClosed { reason });
        let media = &self.shared.media;
        let mut closed = within(media.close_room(self.media_room)).await;
        info!(room = %self.name, reason, participants = count, "room closed");
        drop(stop);
        // Else it would forward for nobody. There are as many of these as rooms that the media plane makes, at most.
        while closed == Err(SfuError::Overloaded) {
            sleep(RETRY_EVERY).await;
            closed = within(media.close_room(self.media_room)).await;
        }
        if let Err(error) = closed
            && error != SfuError::Stopped
        {
            warn!(room = %self.name, %error, "room not closed by the media plane");
        }
    }
}
