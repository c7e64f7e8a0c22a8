//! The embedder's handle: start workers, make rooms, join peers, hear events.

mod discovery;
mod driver;
mod failure;
pub(crate) mod pipe_table;
pub(crate) mod pipes;
pub(crate) mod placement;
mod room_events;
mod rooms;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::cache::CacheBudget;
use crate::client_offer::ClientOffer;
use crate::config::{Cipher, Limits, SfuConfig};
use crate::error::{Limit, SfuError, StartError};
use crate::event::{Answer, Event};
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::WorkerIx;
use crate::pipe::Data;
use crate::runtime::{
    self, MediaSocket, Poller, Seeds, Threads, Waker, interface_addresses, spawn_worker,
};
use crate::seat::Seat;
use crate::server_data::ServerData;
use crate::stats::{SfuStats, WorkerStats};
use crate::stream::{Opening, Stream};
use crate::tap::{TAPS, Tap, TapSettings};
use crate::transport::sdp::Offer;
use crate::transport::{
    Backend, Candidate, Certificate, SENDER_BYTES, Srtp, StreamKind, StreamOrigin,
    stun_local_ufrag, worker_of,
};
use crate::view::{Cap, TrackSettings, View};
use crate::worker::{Command, Named, WorkerConfig, read_offer};
use driver::{Driver, Load, Request};
use failure::or_failed;
use pipe_table::PipeTable;
use rooms::Rooms;

/// Commands that may wait for one worker. A command takes well under a millisecond, so that the last of these waits for
/// seconds. More is overload, and the caller is told so.
const COMMANDS: usize = 4_096;

/// A running media relay. Cheap to clone; the workers stop when [`shutdown`](Self::shutdown) is
/// called or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Sfu {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    workers: Vec<WorkerHandle>,
    candidates: Vec<Vec<SocketAddr>>,
    stopping: Arc<AtomicBool>,
    /// Each worker that has not ended has a receiver.
    alive: watch::Sender<()>,
    threads: Threads,
    caches: Arc<CacheBudget>,
    limits: Limits,
    backend: Backend,
    room_peers_per_worker: usize,
    rooms: Rooms,
    /// The number of taps.
    taps: Arc<AtomicUsize>,
    /// Held while a pipe is being laid between two workers.
    pipes: Mutex<PipeTable>,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::Sender<Request>,
    waker: Waker,
    load: Arc<Load>,
}

/// A participant's transport to create in a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Join {
    /// The client's SDP offer.
    pub offer: ClientOffer,
    /// Subscribe to every other peer's tracks in the room, present and future. Without it, call [`Sfu::subscribe`] for
    /// each.
    pub auto_subscribe: bool,
    /// Addresses announced to this client instead of the workers' own, one for each worker: for a proxy in front of
    /// this client alone. Empty: as configured.
    pub announce: Vec<SocketAddr>,
    /// The name told to receivers of its data channel messages ([`SENDER_PROTOCOL`](crate::SENDER_PROTOCOL)): at most
    /// 64 bytes, no line feed. Empty: its peer id.
    pub sender: String,
    /// Whether its data channel messages are passed on. If not, they are refused
    /// ([`DataRefusal::NotAllowed`](crate::DataRefusal::NotAllowed)).
    pub may_send_data: bool,
    /// Whether the receiver of the room's events hears its data channel messages too
    /// ([`Event::DataReceived`]).
    pub hear_data: bool,
}

impl Join {
    /// A transport for the client with this offer. It has no subscriptions at first, is told the workers' own
    /// addresses, is called by its peer id, and may send data.
    pub fn new(offer: impl Into<ClientOffer>) -> Self {
        Self {
            offer: offer.into(),
            auto_subscribe: false,
            announce: Vec::new(),
            sender: String::new(),
            may_send_data: true,
            hear_data: false,
        }
    }

    /// Sets whether it is subscribed to every other peer's tracks.
    #[must_use]
    pub fn with_auto_subscribe(mut self, auto_subscribe: bool) -> Self {
        self.auto_subscribe = auto_subscribe;
        self
    }

    /// Sets the addresses announced to this client, one for each worker.
    #[must_use]
    pub fn with_announce(mut self, announce: Vec<SocketAddr>) -> Self {
        self.announce = announce;
        self
    }

    /// Sets whether its data channel messages are passed on.
    #[must_use]
    pub fn with_may_send_data(mut self, may: bool) -> Self {
        self.may_send_data = may;
        self
    }

    /// Sets whether the receiver of the room's events hears its data channel messages.
    #[must_use]
    pub fn with_hear_data(mut self, hears: bool) -> Self {
        self.hear_data = hears;
        self
    }

    /// Sets the name told to receivers of its data channel messages.
    #[must_use]
    pub fn with_sender(mut self, sender: impl Into<String>) -> Self {
        self.sender = sender.into();
        self
    }
}

impl Sfu {
    /// Checks settings as [`start`](Self::start) does, and binds nothing. Returns the number of media workers.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting that cannot work.
    pub fn check(config: &SfuConfig) -> Result<usize, StartError> {
        choose_backend(config.cipher)?;
        worker_count(config)
    }

    /// Binds the media ports and starts the workers.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a port in use, no certificate, a setting that cannot work.
    pub fn start(config: SfuConfig) -> Result<Self, StartError> {
        let count = worker_count(&config)?;
        let own = own_addresses(&config, interface_addresses)?;
        let backend = choose_backend(config.cipher)?;
        let certificate = Certificate::generate(backend).map_err(StartError::Certificate)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let alive = watch::Sender::new(());
        let mut seeds = Seeds::new();
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        let mut candidates = Vec::with_capacity(count);
        // Every port is bound before any thread starts: a failure leaves nothing behind.
        let sockets = bind_all(&config, count)?;
        runtime::warn_of_buffers(&sockets);
        let pollers = (0..count)
            .map(|_| Poller::new())
            .collect::<Result<Vec<_>, _>>()?;
        let caches = CacheBudget::new(config.limits.cache_bytes);
        let wakers: Arc<[Waker]> = pollers.iter().map(Poller::waker).collect();
        for (index, (mut socket, poller)) in sockets.into_iter().zip(pollers).enumerate() {
            let announced = announced(&config, &own, index, socket.port());
            let ips: Vec<IpAddr> = announced.iter().map(SocketAddr::ip).collect();
            socket.answer_from(&ips);
            let worker = WorkerConfig {
                index: index.into(),
                certificate: Arc::clone(&certificate),
                candidates: {
                    let udp = announced.iter().copied().map(Candidate::Udp);
                    let tcp = config.tcp_candidates.iter().copied().map(Candidate::Tcp);
                    udp.chain(tcp).collect()
                },
                stun_answers: config.stun_answers,
                limits: config.limits.clone(),
                caches: Arc::clone(&caches),
                viewer_cap: config.viewer_cap,
                last_n: config.last_n,
                loudest_n: config.loudest_n,
                clock: runtime::wall_clock(),
                seed: seeds.next(),
            };
            tracing::info!(worker = index, candidates = ?announced, "media worker starts");
            let waker = poller.waker();
            let wakers = Arc::clone(&wakers);
            let load = Arc::new(Load::default());
            let (commands, queue) = mpsc::channel(COMMANDS);
            let (driver_load, driver_stopping, driver_alive) =
                (Arc::clone(&load), Arc::clone(&stopping), alive.subscribe());
            let thread = spawn_worker(index, socket, poller, config.coalesce, move || {
                let (alive, load, stopping) = (driver_alive, driver_load, driver_stopping);
                Driver::new(worker, queue, alive, load, stopping, wakers)
            })?;
            workers.push(WorkerHandle {
                commands,
                waker,
                load,
            });
            threads.push(thread);
            candidates.push(announced);
        }
        let threads = Threads::new(threads);
        Ok(Self {
            inner: Arc::new(Inner {
                workers,
                candidates,
                stopping,
                alive,
                threads,
                limits: config.limits,
                caches,
                backend,
                room_peers_per_worker: config.room_peers_per_worker,
                rooms: Rooms::default(),
                taps: Arc::default(),
                pipes: Mutex::new(PipeTable::for_workers(count)),
            }),
        })
    }

    /// The addresses that each worker announces as its ICE candidates, for a start-up line or a health page.
    pub fn candidates(&self) -> &[Vec<SocketAddr>] {
        &self.inner.candidates
    }

    /// Creates a room on the least loaded worker that has not failed. The receiver yields the room's
    /// [`Event`]s, and ends when the room is closed or the relay is shut down.
    ///
    /// No worker waits for the receiver: commands are answered whether it is read or not, so that one task may do
    /// both, and other rooms do not notice. More than 128 events wait at the worker, where of states that follow
    /// each other the last is kept ([`EventBacklog`](crate::EventBacklog)). Where much waits the room's joins and
    /// offers are refused as [`SfuError::Overloaded`]. Where more waits for all rooms of a worker than it has
    /// memory for, the room with most is closed there ([`Event::RoomFailed`]). Without a receiver nothing waits.
    ///
    /// # Errors
    ///
    /// [`SfuError::Limit`], [`SfuError::Overloaded`], [`SfuError::Stopped`]; [`SfuError::WorkerFailed`]: no worker
    /// is left.
    pub async fn create_room(&self) -> Result<(RoomId, mpsc::Receiver<Event>), SfuError> {
        self.create_room_placed().await
    }

    /// Creates a peer from a client's offer. A room that has outgrown its workers
    /// ([`SfuConfig::room_peers_per_worker`]) first grows to another one, if that is less loaded; the peer stays on the
    /// worker where it was created. A worker for which [`Join::announce`] has no address announces its own.
    ///
    /// # Errors
    ///
    /// [`SfuError::Sdp`], [`SfuError::NoSuchRoom`], [`SfuError::Limit`], [`SfuError::Overloaded`],
    /// [`SfuError::Stopped`], [`SfuError::WorkerFailed`]. Nothing was created then.
    pub async fn join(&self, room: RoomId, join: Join) -> Result<(PeerId, Answer), SfuError> {
        let Join {
            offer,
            auto_subscribe,
            announce,
            sender,
            may_send_data,
            hear_data,
        } = join;
        check_sender(&sender)?;
        let offer = self.read(&offer)?;
        let named = Named {
            sender,
            may_send_data,
            hear_data,
        };
        self.join_placed(room, offer, auto_subscribe, &announce, named)
            .await
    }

    /// Renegotiates. The client offers, the server answers; m-lines keep their places.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join), and [`SfuError::NoSuchPeer`]. Nothing changed then. After
    /// [`SfuError::WorkerFailed`] the peer is gone; another [`join`](Self::join) replaces it.
    pub async fn offer(
        &self,
        peer: PeerId,
        offer: impl Into<ClientOffer>,
    ) -> Result<Answer, SfuError> {
        let offer = self.read(&offer.into())?;
        self.ask(peer.worker(), |reply| Command::Offer { peer, offer, reply })
            .await
    }

    /// Forwards `track` to `peer`. Takes a free slot at once, or asks for m-lines by
    /// [`Event::NeedsChanged`]. Subscribing twice is no error.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], [`SfuError::NoSuchTrack`], [`SfuError::Overloaded`],
    /// [`SfuError::Stopped`].
    pub async fn subscribe(&self, peer: PeerId, track: TrackId) -> Result<(), SfuError> {
        self.ask(peer.worker(), |reply| Command::Subscribe {
            peer,
            track,
            reply,
        })
        .await
    }

    /// Stops forwarding `track` to `peer` and frees its slot. Not being subscribed is no error.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Result<(), SfuError> {
        self.ask(peer.worker(), |reply| Command::Unsubscribe {
            peer,
            track,
            reply,
        })
        .await
    }

    /// Ends a peer and its tracks. No [`Event::PeerFailed`] follows, its tracks end with
    /// [`Event::TrackEnded`]. A peer already gone is no error.
    ///
    /// # Errors
    ///
    /// [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn close_peer(&self, peer: PeerId) -> Result<(), SfuError> {
        let closed = self.ask(peer.worker(), |reply| Command::ClosePeer { peer, reply });
        or_failed(closed.await)
    }

    /// Ends a room and its peers. A room already gone is no error.
    ///
    /// # Errors
    ///
    /// [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn close_room(&self, room: RoomId) -> Result<(), SfuError> {
        self.close_room_everywhere(room).await
    }

    /// Counters and states of everything, copied out.
    ///
    /// # Errors
    ///
    /// [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn stats(&self) -> Result<SfuStats, SfuError> {
        self.collect(|reply| Command::Stats { reply }).await
    }

    /// Counters and states as in [`stats`](Self::stats), without the list of peers: cheap enough to ask a full server
    /// for every second.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn totals(&self) -> Result<SfuStats, SfuError> {
        self.collect(|reply| Command::Totals { reply }).await
    }

    /// Sets how a viewer shows tracks; tracks that are not named keep their setting. A track that the viewer is not (or
    /// no longer) subscribed to is skipped.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], or the server is overloaded or stopped.
    pub async fn set_views(&self, peer: PeerId, views: Vec<View>) -> Result<(), SfuError> {
        self.ask(peer.worker(), |reply| Command::SetViews {
            peer,
            views,
            reply,
        })
        .await
    }

    /// Sets the facts of a published track that its packets do not tell. `peer` is its publisher.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], [`SfuError::NoSuchTrack`], or the server is overloaded or stopped.
    pub async fn set_track(
        &self,
        peer: PeerId,
        track: TrackId,
        settings: TrackSettings,
    ) -> Result<(), SfuError> {
        self.ask(peer.worker(), |reply| Command::SetTrack {
            peer,
            track,
            settings,
            reply,
        })
        .await
    }

    /// Sets a viewer's cap, within [`SfuConfig::viewer_cap`], the cap for all.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], or the server is overloaded or stopped.
    pub async fn set_cap(&self, peer: PeerId, cap: Cap) -> Result<(), SfuError> {
        self.ask(peer.worker(), |reply| Command::SetCap { peer, cap, reply })
            .await
    }

    /// Sends a data channel message to `to`, or to every peer in the room. Who has not opened the channel, or does not
    /// keep up, does not get it; that is counted as `data_undelivered`.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchRoom`], [`SfuError::NoSuchPeer`]; [`SfuError::Limit`]: the message or its sender's name is too
    /// long; or the server is overloaded or stopped.
    pub async fn send_data(
        &self,
        room: RoomId,
        to: Option<PeerId>,
        message: ServerData,
    ) -> Result<(), SfuError> {
        check_sender(&message.sender)?;
        let limit = self.inner.limits.data_message_bytes;
        if message.payload.len() > limit {
            let what = Limit::DataMessageBytes;
            return Err(SfuError::Limit { what, limit });
        }
        let data = Data::of(room, message);
        match to {
            None => self.send_data_everywhere(data).await,
            Some(peer) => {
                self.ask(peer.worker(), |reply| Command::SendData { to, data, reply })
                    .await
            }
        }
    }

    /// The latest decisions in a room, with their reasons, oldest first. Bounded: the oldest are dropped.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchRoom`], or the server is overloaded or stopped.
    pub async fn timeline(&self, room: RoomId) -> Result<Vec<crate::stats::Decision>, SfuError> {
        self.timeline_everywhere(room).await
    }

    /// Opens a stream for a connection that brings datagrams of a client: ICE-TCP (RFC 6544), where each has two bytes of
    /// length before it (RFC 4571), or TURN (RFC 8656). `from` is the client's address, for TURN the relayed one, and `first`
    /// the first datagram: a STUN check (RFC 8489) which names a peer of this relay and is signed with its password. Nothing is
    /// kept of a connection before that.
    ///
    /// The relay tells clients of the address by [`SfuConfig::tcp_candidates`]; the embedder listens there.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`]: the datagram is no check, or one for nobody, or not authentic: close the connection.
    /// [`SfuError::Limit`]: the worker has 1,024 streams; [`SfuError::Overloaded`], [`SfuError::Stopped`],
    /// [`SfuError::WorkerFailed`].
    pub async fn open_stream(
        &self,
        from: SocketAddr,
        kind: StreamKind,
        first: &[u8],
    ) -> Result<Stream, SfuError> {
        let worker = stun_local_ufrag(first).and_then(worker_of);
        let worker = worker.ok_or(SfuError::NoSuchPeer)?;
        let opening = Opening {
            origin: StreamOrigin { from, kind },
            first: first.to_vec(),
        };
        self.request(worker, |reply| Request::OpenStream { opening, reply })
            .await
    }

    /// Gives a track's decrypted packets to the caller, from now on, beside its viewers. The track may have no viewer,
    /// and be on any worker. See [`Tap`].
    ///
    /// A tap costs its worker a copy of each packet, and keeps the layers that it takes published. A muted track gives
    /// nothing until it is unmuted. A tap that is read too slowly loses packets
    /// ([`TapPacket::missed`](crate::TapPacket::missed)); nothing else notices.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchTrack`]; [`SfuError::Limit`]: the track has 8 taps, or the process 256;
    /// [`SfuError::Overloaded`], [`SfuError::Stopped`], [`SfuError::WorkerFailed`].
    pub async fn tap(&self, track: TrackId, settings: TapSettings) -> Result<Tap, SfuError> {
        let (what, limit) = (Limit::Taps, TAPS);
        let seat = Seat::take_of(&self.inner.taps, limit);
        let seat = seat.ok_or(SfuError::Limit { what, limit })?;
        let worker = track.worker();
        if self.inner.worker(worker).is_none() {
            return Err(SfuError::NoSuchTrack);
        }
        self.ask(worker, |reply| Command::Tap {
            track,
            settings,
            seat,
            reply,
        })
        .await
    }

    /// Counters and states of one peer, copied out.
    ///
    /// # Errors
    ///
    /// [`SfuError::NoSuchPeer`], [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn peer_stats(&self, peer: PeerId) -> Result<crate::stats::PeerStats, SfuError> {
        self.ask(peer.worker(), |reply| Command::PeerStats { peer, reply })
            .await
    }

    /// Tells every peer that its transport ends (DTLS close_notify), stops the workers and joins
    /// their threads.
    pub async fn shutdown(&self) {
        self.inner.stop();
        // A worker stops within one turn, so that this waits for milliseconds. A worker's failure was logged where it
        // happened.
        self.inner.threads.join().await;
        self.inner.rooms.end_events();
    }

    /// Returns when no worker is left: all have failed, or the relay was shut down. Cancel-safe.
    pub async fn ended(&self) {
        self.inner.alive.closed().await;
    }

    fn read(&self, offer: &ClientOffer) -> Result<Box<Offer>, SfuError> {
        let ClientOffer { sdp, may_publish } = offer;
        let mut offer = read_offer(sdp, &self.inner.limits)?;
        offer.restrict(may_publish);
        Ok(Box::new(offer))
    }

    async fn collect(
        &self,
        command: fn(oneshot::Sender<Result<WorkerStats, SfuError>>) -> Command,
    ) -> Result<SfuStats, SfuError> {
        let mut workers = Vec::with_capacity(self.inner.workers.len());
        for worker in self.inner.indexes() {
            workers.push(match self.ask(worker, command).await {
                Err(SfuError::WorkerFailed) => WorkerStats {
                    failed: true,
                    ..WorkerStats::default()
                },
                stats => stats?,
            });
        }
        let pipes = self.inner.pipes.lock().await;
        Ok(SfuStats {
            cipher: self.inner.backend.name(),
            linked_workers: pipes.pairs(),
            links_refused: pipes.refused(),
            cache_bytes: self.inner.caches.used(),
            cache_bytes_most: self.inner.caches.bytes(),
            caches_refused: self.inner.caches.refused(),
            workers,
        })
    }

    async fn ask<T>(
        &self,
        worker: WorkerIx,
        command: impl FnOnce(oneshot::Sender<Result<T, SfuError>>) -> Command,
    ) -> Result<T, SfuError> {
        self.request(worker, |reply| Request::Command(command(reply)))
            .await
    }

    async fn request<T>(
        &self,
        worker: WorkerIx,
        request: impl FnOnce(oneshot::Sender<Result<T, SfuError>>) -> Request,
    ) -> Result<T, SfuError> {
        // A worker index out of range comes from an id that no worker made.
        let worker = self.inner.worker(worker);
        let worker = worker.ok_or(SfuError::NoSuchPeer)?;
        let (reply, answer) = oneshot::channel();
        worker
            .commands
            .try_send(request(reply))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SfuError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => self.end_reason(),
            })?;
        worker.waker.wake();
        answer.await.map_err(|_| self.end_reason())?
    }
}

impl Inner {
    /// A worker, if there is one with this index.
    fn worker(&self, worker: WorkerIx) -> Option<&WorkerHandle> {
        self.workers.get(usize::from(worker))
    }

    /// The indexes of all workers, in order.
    fn indexes(&self) -> impl Iterator<Item = WorkerIx> + use<> {
        (0..self.workers.len()).map(WorkerIx::from)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.waker.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check_sender(name: &str) -> Result<(), SfuError> {
    let limit = SENDER_BYTES;
    if name.len() > limit || name.contains('\n') {
        let what = Limit::SenderBytes;
        return Err(SfuError::Limit { what, limit });
    }
    Ok(())
}

fn worker_count(config: &SfuConfig) -> Result<usize, StartError> {
    /// The worker's index has 16 bits in every id; no machine comes near.
    const MAX: usize = 1_024;
    let count = if config.workers == 0 {
        runtime::cores()
    } else {
        config.workers
    };
    if count > MAX {
        return Err(StartError::Config(format!(
            "{count} workers are more than {MAX}"
        )));
    }
    if config.media_port != 0 && usize::from(config.media_port) + count > 1 + usize::from(u16::MAX)
    {
        let port = config.media_port;
        return Err(StartError::Config(format!(
            "{count} workers from media port {port} on do not fit below 65536"
        )));
    }
    if !config.announce.is_empty() && config.announce.len() != count {
        let given = config.announce.len();
        return Err(StartError::Config(format!(
            "{given} announced addresses for {count} workers"
        )));
    }
    Ok(count)
}

/// The cipher of the settings; for [`Cipher::Auto`] the fastest, which differs by CPU.
fn choose_backend(cipher: Cipher) -> Result<Backend, StartError> {
    let named = |name| Backend::ALL.iter().find(|backend| backend.name() == name);
    let wanted = match cipher {
        Cipher::Ring => named("ring"),
        Cipher::AwsLcRs => named("aws-lc-rs"),
        Cipher::Auto => None,
    };
    if cipher != Cipher::Auto && wanted.is_none() {
        return Err(StartError::Config(format!(
            "cipher {cipher:?} is not built in"
        )));
    }
    let sealing = Backend::ALL.iter().filter_map(|backend| {
        let seal = Srtp::sealing(*backend)?;
        Some(Box::new(seal) as Box<dyn FnMut()>)
    });
    let measured = runtime::nanoseconds_each(&mut sealing.collect::<Vec<_>>());
    let costs = || Backend::ALL.iter().zip(&measured);
    let fastest = costs().min_by(|(_, a), (_, b)| a.total_cmp(b));
    let chosen = wanted.or(fastest.map(|(backend, _)| backend));
    let chosen = chosen.copied().unwrap_or_default();
    let costs: Vec<String> = costs()
        .map(|(backend, cost)| format!("{} {cost:.0} ns", backend.name()))
        .collect();
    tracing::info!(
        cipher = chosen.name(),
        sealing_1200_bytes = costs.join(", "),
        "SRTP AES-GCM"
    );
    Ok(chosen)
}

fn bind_all(config: &SfuConfig, count: usize) -> Result<Vec<MediaSocket>, StartError> {
    (0..count)
        .map(|index| {
            let port = if config.media_port == 0 {
                0
            } else {
                config.media_port + index as u16
            };
            MediaSocket::bind(port).map_err(|source| {
                let addr = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
                StartError::Bind { addr, source }
            })
        })
        .collect()
}

/// The addresses of this machine's interfaces, announced where the settings name none for a worker.
fn own_addresses(
    config: &SfuConfig,
    of_interfaces: impl FnOnce() -> Vec<IpAddr>,
) -> Result<Vec<IpAddr>, StartError> {
    if !config.media_ips.is_empty() || !config.announce.is_empty() {
        return Ok(config.media_ips.clone());
    }
    let own = of_interfaces();
    if own.is_empty() {
        return Err(StartError::NoAddress);
    }
    if own.iter().all(IpAddr::is_loopback) {
        tracing::warn!(
            "no network interface but loopback has an address: only clients on this machine reach the media \
             (bring an interface up and start again, or announce addresses)"
        );
    }
    Ok(own)
}

fn announced(config: &SfuConfig, own: &[IpAddr], index: usize, port: u16) -> Vec<SocketAddr> {
    if let Some(addr) = config.announce.get(index) {
        return vec![*addr];
    }
    own.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_address_to_announce_nothing_starts() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let named = SfuConfig {
            media_ips: vec![ip],
            ..SfuConfig::default()
        };
        let elsewhere = SfuConfig {
            announce: vec![SocketAddr::new(ip, 1)],
            ..SfuConfig::default()
        };
        for (config, of_interfaces, expected) in [
            (SfuConfig::default(), vec![], None),
            (SfuConfig::default(), vec![ip], Some(vec![ip])),
            (named, vec![], Some(vec![ip])),
            (elsewhere, vec![], Some(vec![])),
        ] {
            let own = own_addresses(&config, || of_interfaces);
            match (own, expected) {
                (Ok(own), Some(expected)) => assert_eq!(own, expected),
                (Err(StartError::NoAddress), None) => {}
                (own, expected) => panic!("{own:?}, not {expected:?}"),
            }
        }
    }
}
