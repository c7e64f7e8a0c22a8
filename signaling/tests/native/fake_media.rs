//! A media plane that keeps the books of the real one and moves no packet. Its "SDP" has one line
//! for each m-line: `send MID KIND` or `recv MID KIND`; `simulcast` and `codec=H264` may follow.

use std::collections::{BTreeMap, HashSet};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tertulia_signaling::media::stats::{
    BandwidthStats, Decision, PeerStats, SfuStats, SubscriptionStats, WorkerStats,
};
use tertulia_signaling::media::{
    Answer, Cap, ClientOffer, DropReason, Event, EventBacklog, Join, Limit, MayPublish, Media,
    MediaKind, Needs, PeerFailure, PeerId, PublishedTrack, RefusedMedia, Reply, RoomId, SdpError,
    ServerData, SfuError, Slot, Stream, StreamKind, TrackId, TrackSettings, View, Workers,
};
use tokio::sync::{Notify, mpsc};

/// Events in a room's queue. What finds no place there waits, as it does at the real one.
const EVENTS: usize = 128;
/// Longer than any grace period, which passes in virtual time.
const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct FakeMedia {
    books: Mutex<Books>,
    rooms: Mutex<BTreeMap<u64, Outlet>>,
    changed: Notify,
}

/// The way to a room's receiver.
struct Outlet {
    queue: mpsc::Sender<Event>,
    backlog: EventBacklog,
}

impl Outlet {
    fn hand_over(&mut self) {
        while !self.backlog.is_empty()
            && let Ok(place) = self.queue.try_reserve()
            && let Some(event) = self.backlog.pop()
        {
            place.send(event);
        }
    }
}

#[derive(Default)]
pub(crate) struct Books {
    numbers: u64,
    pub(crate) rooms: HashSet<u64>,
    pub(crate) peers: BTreeMap<u64, Peer>,
    pub(crate) is_shut_down: bool,
    /// Refuse this many rooms.
    pub(crate) refuse_rooms: u32,
    /// Answer this many subscriptions with `Overloaded`.
    pub(crate) overloaded: u32,
    /// Answer this many views, settings and caps with `Overloaded`.
    pub(crate) overloaded_choices: u32,
    /// The decisions that are said to have been taken.
    pub(crate) decisions: Vec<Decision>,
    /// Never answer another offer.
    pub(crate) hang: bool,
    /// Rooms for which nothing is answered.
    stopped: HashSet<u64>,
    /// Answer for the settings of tracks once this is false.
    pub(crate) hold_settings: bool,
    /// Requests so far that were not answered at once.
    pub(crate) unanswered: usize,
    /// Closings of peers so far.
    pub(crate) closed_peers: usize,
    /// Answer this many closings of rooms with `Overloaded`.
    pub(crate) overloaded_closings: u32,
    /// Answer for statistics once all events have been taken.
    pub(crate) answer_when_heard: bool,
    /// Data channel messages of the server so far, and to whom.
    pub(crate) said: Vec<(Option<u64>, ServerData)>,
    /// The clients that connected for streams so far.
    pub(crate) streams: Vec<SocketAddr>,
    /// Questions for a peer's statistics so far.
    pub(crate) asked: u32,
}

impl Books {
    fn choose(&mut self) -> Result<(), SfuError> {
        if self.overloaded_choices == 0 {
            return Ok(());
        }
        self.overloaded_choices -= 1;
        Err(SfuError::Overloaded)
    }

    pub(crate) fn room_of(&self, peer: u64) -> RoomId {
        self.peers[&peer].room
    }
}

pub(crate) struct Peer {
    room: RoomId,
    pub(crate) published: Vec<PublishedTrack>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) subscriptions: Vec<TrackId>,
    pub(crate) views: BTreeMap<TrackId, View>,
    pub(crate) settings: BTreeMap<TrackId, TrackSettings>,
    pub(crate) cap: Option<Cap>,
    needs: Needs,
    pub(crate) offers: u64,
    /// Addresses it is to be told instead of the workers' own.
    pub(crate) announced: Vec<SocketAddr>,
    pub(crate) sender: String,
    pub(crate) may_send_data: bool,
    pub(crate) hear_data: bool,
}

impl FakeMedia {
    pub(crate) fn new() -> Self {
        Self {
            books: Mutex::default(),
            rooms: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// From now on nothing that concerns the room is answered, until [`resume`](Self::resume).
    pub(crate) fn stop(&self, room: RoomId) {
        self.books().stopped.insert(room.as_u64());
    }

    /// Answers all that was asked meanwhile.
    pub(crate) fn resume(&self, room: RoomId) {
        self.change(|books| books.stopped.retain(|stopped| *stopped != room.as_u64()));
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.books());
        self.changed.notify_waiters();
    }

    async fn reach(&self, room: RoomId) {
        self.unless(|books| books.stopped.contains(&room.as_u64()))
            .await;
    }

    async fn unless(&self, is_held: impl Fn(&Books) -> bool) {
        if is_held(&self.books()) {
            self.change(|books| books.unanswered += 1);
            self.until(|books| !is_held(books)).await;
        }
    }

    async fn reach_peer(&self, peer: PeerId) {
        let room = self.books().peers.get(&peer.as_u64()).map(|peer| peer.room);
        if let Some(room) = room {
            self.reach(room).await;
        }
    }

    /// Waits until closings have made it so.
    pub(crate) async fn until(&self, condition: impl Fn(&Books) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(&self.books()) {
                return;
            }
            let waited = tokio::time::timeout(DEADLINE, changed).await;
            waited.expect("a change in time");
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("books")
    }

    pub(crate) fn connect(&self, peer: u64) {
        let room = self.books().room_of(peer);
        let peer = PeerId::from_u64(peer);
        self.tell(Event::PeerConnected { room, peer });
    }

    pub(crate) fn fail(&self, peer: u64, reason: PeerFailure) {
        let books = &mut *self.books();
        let room = books.room_of(peer);
        self.end_peer(books, peer);
        let peer = PeerId::from_u64(peer);
        self.tell(Event::PeerFailed { room, peer, reason });
    }

    /// The peer is gone and no event says so yet.
    pub(crate) fn lose(&self, peer: u64) {
        self.books().peers.remove(&peer);
    }

    /// Tells the event's room. One that is closed hears nothing.
    pub(crate) fn tell(&self, event: Event) {
        let room = event.room().expect("an event of a room");
        let mut rooms = self.rooms.lock().expect("rooms");
        if let Some(outlet) = rooms.get_mut(&room.as_u64()) {
            outlet.backlog.push(event);
            outlet.hand_over();
        }
    }

    /// The weight of the events that a room has no place for yet.
    pub(crate) fn waiting(&self, room: RoomId) -> usize {
        let mut rooms = self.rooms.lock().expect("rooms");
        let outlet = rooms.get_mut(&room.as_u64()).expect("a room");
        outlet.hand_over();
        outlet.backlog.weight()
    }

    fn tell_slots(&self, room: RoomId, viewer: (u64, u64), slots: Vec<Slot>) {
        let (peer, offers) = viewer;
        let peer = PeerId::from_u64(peer);
        self.tell(Event::SlotsChanged {
            room,
            peer,
            slots,
            offers,
        });
    }

    fn end_peer(&self, books: &mut Books, number: u64) {
        if let Some(peer) = books.peers.remove(&number) {
            for track in peer.published {
                self.end_track(books, peer.room, number, track.track);
            }
        }
    }

    fn end_track(&self, books: &mut Books, room: RoomId, publisher: u64, track: TrackId) {
        let peer = PeerId::from_u64(publisher);
        self.tell(Event::TrackEnded { room, peer, track });
        for (&number, viewer) in &mut books.peers {
            viewer.subscriptions.retain(|&wanted| wanted != track);
            for slot in viewer.slots.iter_mut().filter(|s| s.track == Some(track)) {
                slot.track = None;
                self.tell_slots(room, (number, viewer.offers), vec![slot.clone()]);
            }
        }
    }

    fn negotiate(
        &self,
        books: &mut Books,
        number: u64,
        offer: &ClientOffer,
    ) -> Result<Answer, SfuError> {
        let (mut lines, sdp) = (parse(&offer.sdp)?, &offer.sdp);
        let mut refused = Vec::new();
        lines.retain(|line| {
            let may = !line.sends || may_publish(&offer.may_publish, line);
            if !may {
                let media = format!("m-line {}", line.mid);
                refused.push(RefusedMedia {
                    mid: line.mid.clone(),
                    reason: SdpError::NotAllowed { media },
                });
            }
            may
        });
        let numbers = &mut books.numbers;
        let peer = books.peers.get_mut(&number).ok_or(SfuError::NoSuchPeer)?;
        let sends = |mid: &str| lines.iter().any(|line| line.sends && line.mid == mid);
        let (kept, gone) = std::mem::take(&mut peer.published)
            .into_iter()
            .partition(|track| sends(&track.mid));
        peer.published = kept;
        for line in &lines {
            let mut published = peer.published.iter_mut();
            let known = published.find(|track| track.mid == line.mid);
            if let Some(known) = known {
                known.codec = line.codec;
            } else if line.sends {
                *numbers += 1;
                peer.published.push(PublishedTrack {
                    mid: line.mid.clone(),
                    track: TrackId::from_u64(*numbers),
                    kind: line.kind,
                    codec: line.codec,
                    simulcast: line.simulcast,
                });
            }
            if !line.sends && !peer.slots.iter().any(|slot| slot.mid == line.mid) {
                peer.slots.push(Slot {
                    mid: line.mid.clone(),
                    kind: line.kind,
                    track: None,
                });
            }
        }
        let room = peer.room;
        for track in gone {
            self.end_track(books, room, number, track.track);
        }
        place(books, number);
        let peer = books.peers.get_mut(&number).ok_or(SfuError::NoSuchPeer)?;
        peer.offers += 1;
        Ok(Answer {
            sdp: format!("answer to {sdp}"),
            published: peer.published.clone(),
            refused,
            slots: peer.slots.clone(),
            needs: peer.needs,
            offers: peer.offers,
        })
    }
}

/// Gives waiting subscriptions the free slots. Returns the slots that changed.
fn place(books: &mut Books, number: u64) -> Vec<Slot> {
    let all = books.peers.values().flat_map(|peer| &peer.published);
    let kinds: BTreeMap<TrackId, MediaKind> = all.map(|t| (t.track, t.kind)).collect();
    let peer = books.peers.get_mut(&number).expect("peer");
    let mut changed = Vec::new();
    peer.needs = Needs::default();
    for &track in &peer.subscriptions {
        if peer.slots.iter().any(|slot| slot.track == Some(track)) {
            continue;
        }
        let kind = kinds[&track];
        let mut free = peer.slots.iter_mut();
        match free.find(|slot| slot.kind == kind && slot.track.is_none()) {
            Some(slot) => {
                slot.track = Some(track);
                changed.push(slot.clone());
            }
            None if kind == MediaKind::Audio => peer.needs.audio += 1,
            None => peer.needs.video += 1,
        }
    }
    changed
}

/// As the real one decides.
fn may_publish(rules: &MayPublish, line: &Line) -> bool {
    let usually = match line.kind {
        MediaKind::Audio => rules.audio,
        MediaKind::Video => rules.video,
    };
    usually != rules.except.contains(&(line.mid.clone(), line.kind))
}

struct Line {
    sends: bool,
    mid: String,
    kind: MediaKind,
    simulcast: bool,
    codec: &'static str,
}

fn parse(sdp: &str) -> Result<Vec<Line>, SfuError> {
    let junk = || SfuError::Sdp(SdpError::Syntax("line 1".into()));
    sdp.lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [direction, mid, kind, rest @ ..] = words.as_slice() else {
                return Err(junk());
            };
            Ok(Line {
                sends: match *direction {
                    "send" => true,
                    "recv" => false,
                    _ => return Err(junk()),
                },
                mid: (*mid).to_owned(),
                kind: match *kind {
                    "audio" => MediaKind::Audio,
                    "video" => MediaKind::Video,
                    _ => return Err(junk()),
                },
                simulcast: rest.contains(&"simulcast"),
                codec: match *kind {
                    "audio" => "opus",
                    _ if rest.contains(&"codec=H264") => "H264",
                    _ => "VP8",
                },
            })
        })
        .collect()
}

impl Media for FakeMedia {
    fn create_room(&self) -> Reply<'_, (RoomId, mpsc::Receiver<Event>)> {
        Box::pin(async {
            let books = &mut *self.books();
            if books.refuse_rooms > 0 {
                books.refuse_rooms -= 1;
                return Err(SfuError::Limit {
                    what: Limit::Rooms,
                    limit: 1,
                });
            }
            books.numbers += 1;
            books.rooms.insert(books.numbers);
            let (queue, events) = mpsc::channel(EVENTS);
            let outlet = Outlet {
                queue,
                backlog: EventBacklog::default(),
            };
            self.rooms
                .lock()
                .expect("rooms")
                .insert(books.numbers, outlet);
            Ok((RoomId::from_u64(books.numbers), events))
        })
    }

    fn join(&self, room: RoomId, join: Join) -> Reply<'_, (PeerId, Answer)> {
        Box::pin(async move {
            let offer = join.offer;
            if self.books().hang {
                pending::<()>().await;
            }
            self.reach(room).await;
            let books = &mut *self.books();
            parse(&offer.sdp)?;
            books.numbers += 1;
            let number = books.numbers;
            let peer = Peer {
                room,
                published: Vec::new(),
                slots: Vec::new(),
                subscriptions: Vec::new(),
                views: BTreeMap::new(),
                settings: BTreeMap::new(),
                cap: None,
                needs: Needs::default(),
                offers: 0,
                announced: join.announce,
                sender: join.sender,
                may_send_data: join.may_send_data,
                hear_data: join.hear_data,
            };
            books.peers.insert(number, peer);
            let answer = self.negotiate(books, number, &offer)?;
            Ok((PeerId::from_u64(number), answer))
        })
    }

    fn offer(&self, peer: PeerId, offer: ClientOffer) -> Reply<'_, Answer> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            self.negotiate(&mut self.books(), peer.as_u64(), &offer)
        })
    }

    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            let books = &mut *self.books();
            if books.overloaded > 0 {
                books.overloaded -= 1;
                return Err(SfuError::Overloaded);
            }
            let mut all = books.peers.values().flat_map(|peer| &peer.published);
            if !all.any(|published| published.track == track) {
                return Err(SfuError::NoSuchTrack);
            }
            let number = peer.as_u64();
            let viewer = books.peers.get_mut(&number).ok_or(SfuError::NoSuchPeer)?;
            if viewer.subscriptions.contains(&track) {
                return Ok(());
            }
            viewer.subscriptions.push(track);
            let (room, before, offers) = (viewer.room, viewer.needs, viewer.offers);
            let changed = place(books, number);
            if !changed.is_empty() {
                self.tell_slots(room, (number, offers), changed);
            }
            let needs = books.peers[&number].needs;
            if needs != before {
                self.tell(Event::NeedsChanged {
                    room,
                    peer,
                    needs,
                    offers,
                });
            }
            Ok(())
        })
    }

    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            let books = &mut *self.books();
            let number = peer.as_u64();
            let viewer = books.peers.get_mut(&number).ok_or(SfuError::NoSuchPeer)?;
            viewer.subscriptions.retain(|&wanted| wanted != track);
            viewer.views.remove(&track);
            for slot in viewer.slots.iter_mut().filter(|s| s.track == Some(track)) {
                slot.track = None;
                self.tell_slots(viewer.room, (number, viewer.offers), vec![slot.clone()]);
            }
            Ok(())
        })
    }

    /// Sets views as the real relay does: a track that is not subscribed to is skipped.
    fn set_views(&self, peer: PeerId, views: Vec<View>) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            let books = &mut *self.books();
            books.choose()?;
            let viewer = books.peers.get_mut(&peer.as_u64());
            let viewer = viewer.ok_or(SfuError::NoSuchPeer)?;
            for view in views {
                if viewer.subscriptions.contains(&view.track) {
                    viewer.views.insert(view.track, view);
                }
            }
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn set_track(&self, peer: PeerId, track: TrackId, settings: TrackSettings) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            self.unless(|books| books.hold_settings).await;
            let books = &mut *self.books();
            books.choose()?;
            let publisher = books.peers.get_mut(&peer.as_u64());
            let publisher = publisher.ok_or(SfuError::NoSuchPeer)?;
            if !publisher.published.iter().any(|own| own.track == track) {
                return Err(SfuError::NoSuchTrack);
            }
            publisher.settings.insert(track, settings);
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn set_cap(&self, peer: PeerId, cap: Cap) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            let books = &mut *self.books();
            books.choose()?;
            let viewer = books.peers.get_mut(&peer.as_u64());
            viewer.ok_or(SfuError::NoSuchPeer)?.cap = Some(cap);
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn timeline(&self, room: RoomId) -> Reply<'_, Vec<Decision>> {
        Box::pin(async move {
            self.reach(room).await;
            let books = self.books();
            if !books.rooms.contains(&room.as_u64()) {
                return Err(SfuError::NoSuchRoom);
            }
            Ok(books.decisions.clone())
        })
    }

    fn send_data(&self, room: RoomId, to: Option<PeerId>, data: ServerData) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach(room).await;
            self.change(|books| books.said.push((to.map(PeerId::as_u64), data)));
            Ok(())
        })
    }

    fn open_stream(&self, from: SocketAddr, _: StreamKind, _: Vec<u8>) -> Reply<'_, Stream> {
        self.change(|books| books.streams.push(from));
        Box::pin(std::future::ready(Err(SfuError::NoSuchPeer)))
    }

    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach_peer(peer).await;
            let books = &mut *self.books();
            self.end_peer(books, peer.as_u64());
            books.closed_peers += 1;
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn close_room(&self, room: RoomId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.reach(room).await;
            let books = &mut *self.books();
            if books.overloaded_closings > 0 {
                books.overloaded_closings -= 1;
                return Err(SfuError::Overloaded);
            }
            books.rooms.remove(&room.as_u64());
            books.peers.retain(|_, peer| peer.room != room);
            self.rooms.lock().expect("rooms").remove(&room.as_u64());
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn peer_stats(&self, peer: PeerId) -> Reply<'_, PeerStats> {
        Box::pin(async move {
            self.books().asked += 1;
            self.changed.notify_waiters();
            tokio::task::yield_now().await;
            self.reach_peer(peer).await;
            if self.books().answer_when_heard {
                let room = self.books().room_of(peer.as_u64());
                while self.waiting(room) > 0 {
                    tokio::task::yield_now().await;
                }
                // All places are free once the last event was taken.
                let queue = self.rooms.lock().expect("rooms")[&room.as_u64()]
                    .queue
                    .clone();
                let heard = queue.reserve_many(EVENTS).await;
                drop(heard.expect("somebody takes events"));
            }
            let books = self.books();
            let known = books.peers.get(&peer.as_u64());
            let known = known.ok_or(SfuError::NoSuchPeer)?;
            let mut bandwidth = BandwidthStats::default();
            (bandwidth.estimate, bandwidth.limited_by) = (Some(900_000), "delay");
            Ok(PeerStats {
                peer,
                room: known.room,
                connected: true,
                remote_addr: None,
                path: None,
                media_held: None,
                srtp_profile: None,
                rtt_ms: Some(1.5),
                packets_over_rate: 0,
                published: Vec::new(),
                subscriptions: known.subscriptions.iter().map(subscription).collect(),
                bandwidth,
            })
        })
    }

    fn totals(&self) -> Reply<'_, SfuStats> {
        Box::pin(async {
            let books = &mut *self.books();
            if books.overloaded > 0 {
                books.overloaded -= 1;
                return Err(SfuError::Overloaded);
            }
            let mut idle = WorkerStats::default();
            idle.drops.add(DropReason::UnknownAddress, 1);
            let mut busy = WorkerStats::default();
            busy.datagrams_received = 10;
            busy.datagrams_sent = 66;
            busy.messages_sent = 20;
            busy.run_lengths = [5, 4, 3, 2, 1];
            busy.padding_bytes = 7;
            busy.probe_packets = 4;
            busy.coalescing_us = 250.5;
            busy.bytes_received = 12_000;
            busy.bytes_sent = 70_000;
            busy.packets_forwarded = 60;
            busy.relayed_tracks = 8;
            busy.relay_packets_out = 9;
            busy.relay_packets_in = 11;
            busy.address_claims_refused = 12;
            busy.addresses_proven = 13;
            busy.addresses_unproven = 14;
            busy.addresses_rebound = 16;
            busy.stun_answers = 17;
            busy.media_held = [("silent", 15)].into();
            busy.drops.add(DropReason::SrtpAuthFailed, 3);
            busy.drops.add(DropReason::UnknownAddress, 2);
            busy.peer_count = books.peers.len();
            busy.subscriptions = books.peers.values().map(|p| p.subscriptions.len()).sum();
            let mut stats = SfuStats::default();
            stats.cipher = "ring";
            stats.linked_workers = 3;
            stats.links_refused = 2;
            stats.cache_bytes = 16;
            stats.cache_bytes_most = 17;
            stats.caches_refused = 18;
            stats.workers = vec![idle, busy];
            Ok(stats)
        })
    }

    fn workers(&self) -> Workers {
        Workers {
            count: 1,
            failed: Vec::new(),
        }
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.books().is_shut_down = true })
    }
}

fn subscription(&track: &TrackId) -> SubscriptionStats {
    SubscriptionStats {
        track,
        mid: None,
        layer: None,
        temporal: None,
        target: None,
        reason: "waiting_for_keyframe",
        allocated: 0,
        bitrate: 0,
        keyframe_requests: 0,
        packets: 0,
        bytes: 0,
        nacks_received: 0,
        retransmitted: 0,
        redundant: 0,
        fraction_lost: 0.0,
    }
}
