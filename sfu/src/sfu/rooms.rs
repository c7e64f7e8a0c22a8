//! The rooms with their parts, from which a handle finds the worker for a peer. Used at joins and closes, never for a
//! packet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::sync::{Mutex, mpsc};

use super::Sfu;
use super::driver::{Load, Request};
use super::failure::or_failed;
use super::pipe_table::TableFull;
use super::placement::{Choice, PartLoad, choose};
use super::room_events::ROOM_EVENTS;
use crate::error::{Limit, SfuError};
use crate::event::{Answer, Event};
use crate::id::{PeerId, RoomId};
use crate::index::WorkerIx;
use crate::pipe::{Data, RingEnd};
use crate::seat::Seat;
use crate::stats::Decision;
use crate::transport::Candidate;
use crate::transport::sdp::Offer;
use crate::worker::{Command, Named};

/// All rooms.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: DashMap<RoomId, Parts>,
    /// Seats of rooms that exist or are asked for.
    seats: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Parts {
    parts: Vec<Part>,
    /// The way to the room's receiver, for parts to come. None once the relay was shut down.
    events: Option<mpsc::Sender<Event>>,
    /// Held while the room grows or closes, which takes several workers' answers.
    changing: Arc<Mutex<()>>,
    _seat: Seat,
}

#[derive(Debug)]
struct Part {
    worker: WorkerIx,
    /// Seats of peers there and on their way.
    seats: Arc<AtomicUsize>,
    /// All other parts know of this one. Until then no peer is placed there.
    open: bool,
}

impl Rooms {
    /// Nothing comes any more.
    pub(super) fn end_events(&self) {
        for mut room in self.rooms.iter_mut() {
            room.events = None;
        }
    }
}

impl Part {
    fn new(worker: WorkerIx, open: bool) -> Self {
        Self {
            worker,
            seats: Arc::default(),
            open,
        }
    }

    fn peers(&self) -> usize {
        self.seats.load(Ordering::Relaxed)
    }
}

/// The place of a join, before a worker is asked.
enum Plan {
    Go {
        worker: WorkerIx,
        seat: Seat,
        /// Counts as load of the worker until that counts the peer itself.
        coming: Seat,
    },
    Grow(WorkerIx),
}

impl Sfu {
    pub(super) async fn create_room_placed(
        &self,
    ) -> Result<(RoomId, mpsc::Receiver<Event>), SfuError> {
        let rooms = &self.inner.rooms;
        let limit = self.inner.limits.rooms;
        let seat = Seat::take_of(&rooms.seats, limit).ok_or(SfuError::Limit {
            what: Limit::Rooms,
            limit,
        })?;
        let (events, receiver) = mpsc::channel(ROOM_EVENTS);
        let (worker, room) = self.create_room_somewhere(&events).await?;
        let parts = Parts {
            parts: vec![Part::new(worker, true)],
            events: Some(events),
            changing: Arc::default(),
            _seat: seat,
        };
        rooms.rooms.insert(room, parts);
        Ok((room, receiver))
    }

    /// Creates a room on the least loaded worker. A worker that fails meanwhile is not asked again.
    async fn create_room_somewhere(
        &self,
        events: &mpsc::Sender<Event>,
    ) -> Result<(WorkerIx, RoomId), SfuError> {
        let mut failed = Vec::new();
        loop {
            let loads = self.inner.indexes().zip(self.loads());
            let living = loads.filter_map(|(worker, load)| Some((load?, worker)));
            let least = living.filter(|(_, worker)| !failed.contains(worker)).min();
            let (_, least) = least.ok_or_else(|| self.end_reason())?;
            // Counted at once, so that many rooms made at a time spread.
            let _coming = Seat::take(&self.inner.workers[usize::from(least)].load.coming);
            let events = events.clone();
            let created = self.request(least, |reply| Request::CreateRoom(events, reply));
            match created.await {
                Err(SfuError::WorkerFailed) => failed.push(least),
                room => return Ok((least, room?)),
            }
        }
    }

    pub(super) async fn join_placed(
        &self,
        room: RoomId,
        offer: Box<Offer>,
        auto_subscribe: bool,
        announce: &[SocketAddr],
        named: Named,
    ) -> Result<(PeerId, Answer), SfuError> {
        // A room grows by one worker at a time, and cannot grow more often than there are workers.
        for _ in 0..self.inner.workers.len() {
            let Plan::Grow(worker) = self.plan(room, true)? else {
                break;
            };
            match self.grow(room, worker).await {
                Ok(()) => {}
                // Another worker is chosen next.
                Err(SfuError::WorkerFailed) => {}
                // The room's own workers can still take the peer. That is so too if there can be no pipe between one of
                // them and the new worker.
                Err(SfuError::Overloaded) => break,
                Err(error) => return Err(error),
            }
        }
        let Plan::Go {
            worker,
            seat,
            coming,
        } = self.plan(room, false)?
        else {
            return Err(SfuError::Overloaded);
        };
        let joined = self
            .ask(worker, |reply| Command::Join {
                room,
                offer,
                auto_subscribe,
                announce: announce
                    .get(usize::from(worker))
                    .copied()
                    .map(Candidate::Udp),
                named,
                seat,
                reply,
            })
            .await;
        drop(coming);
        joined
    }

    pub(super) async fn close_room_everywhere(&self, room: RoomId) -> Result<(), SfuError> {
        let entry = self.inner.rooms.rooms.get(&room);
        let Some(changing) = entry.map(|entry| Arc::clone(&entry.changing)) else {
            return Ok(());
        };
        let _changing = changing.lock().await;
        let parts: Vec<WorkerIx> = match self.inner.rooms.rooms.get(&room) {
            Some(entry) => entry.parts.iter().map(|part| part.worker).collect(),
            None => return Ok(()),
        };
        // The entry is removed once all parts have closed; after an error the room stays listed, to be closed again.
        for worker in parts {
            let closed = self.ask(worker, |reply| Command::CloseRoom { room, reply });
            or_failed(closed.await)?;
        }
        self.inner.rooms.rooms.remove(&room);
        Ok(())
    }

    /// Sends a message to all peers of a room, by way of any part that has not failed.
    pub(super) async fn send_data_everywhere(&self, data: Data) -> Result<(), SfuError> {
        let room = data.room;
        let entry = self.inner.rooms.rooms.get(&room);
        let entry = entry.ok_or(SfuError::NoSuchRoom)?;
        let mut parts = entry.parts.iter().filter(|part| part.open);
        let part = parts.find(|part| !self.has_failed(part.worker));
        let worker = part.map(|part| part.worker);
        drop(entry);
        let worker = worker.ok_or_else(|| self.end_reason())?;
        self.ask(worker, |reply| Command::SendData {
            to: None,
            data,
            reply,
        })
        .await
    }

    /// The decisions of a room's workers, in order of time.
    pub(super) async fn timeline_everywhere(
        &self,
        room: RoomId,
    ) -> Result<Vec<Decision>, SfuError> {
        let entry = self.inner.rooms.rooms.get(&room);
        let entry = entry.ok_or(SfuError::NoSuchRoom)?;
        let parts: Vec<WorkerIx> = entry.parts.iter().map(|part| part.worker).collect();
        drop(entry);
        let mut decisions = Vec::new();
        for worker in parts {
            let decided = self.ask(worker, |reply| Command::Timeline { room, reply });
            match decided.await {
                Err(SfuError::WorkerFailed) => {}
                decided => decisions.extend(decided?),
            }
        }
        decisions.sort_by_key(|decision| decision.at_ms);
        Ok(decisions)
    }

    /// The place for the room's next peer; without `may_grow` an existing part.
    fn plan(&self, room: RoomId, may_grow: bool) -> Result<Plan, SfuError> {
        // Locked for writing: if two joins see one seat left, one takes it.
        let entry = self.inner.rooms.rooms.get_mut(&room);
        let mut entry = entry.ok_or(SfuError::NoSuchRoom)?;
        entry.parts.retain(|part| !self.has_failed(part.worker));
        let limit = self.inner.limits.peers_per_room;
        if entry.parts.iter().map(Part::peers).sum::<usize>() >= limit {
            return Err(SfuError::Limit {
                what: Limit::PeersPerRoom,
                limit,
            });
        }
        let open = entry.parts.iter().filter(|part| part.open);
        let parts: Vec<PartLoad> = open
            .map(|part| PartLoad {
                worker: part.worker,
                peers: part.peers(),
            })
            .collect();
        let bound = if may_grow {
            self.inner.room_peers_per_worker
        } else {
            usize::MAX
        };
        let worker = match choose(&parts, &self.loads(), bound) {
            Some(Choice::Grow(worker)) => return Ok(Plan::Grow(worker)),
            Some(Choice::Part(worker)) => worker,
            None => return Err(self.end_reason()),
        };
        let part = entry.parts.iter().find(|part| part.worker == worker);
        let part = part.ok_or(SfuError::NoSuchRoom)?;
        Ok(Plan::Go {
            worker,
            seat: Seat::take(&part.seats),
            coming: Seat::take(&self.inner.workers[usize::from(worker)].load.coming),
        })
    }

    /// Makes a part on `worker`. It opens when every other part knows of it and has told it of its tracks, so that no
    /// peer there can ask for an unknown track. If the call is cancelled, the next one goes on where it stopped; a part
    /// already made is closed with the room.
    async fn grow(&self, room: RoomId, worker: WorkerIx) -> Result<(), SfuError> {
        let entry = self.inner.rooms.rooms.get(&room);
        let changing = entry.map(|entry| Arc::clone(&entry.changing));
        let changing = changing.ok_or(SfuError::NoSuchRoom)?;
        let _changing = changing.lock().await;
        let (parts, events) = {
            let entry = self.inner.rooms.rooms.get(&room);
            let entry = entry.ok_or(SfuError::NoSuchRoom)?;
            let open = entry.parts.iter().filter(|part| part.open);
            let parts = open.map(|part| part.worker).collect::<Vec<_>>();
            (parts, entry.events.clone().ok_or(SfuError::Stopped)?)
        };
        if parts.contains(&worker) {
            return Ok(());
        }
        for other in &parts {
            self.lay_pipe(worker, *other).await?;
        }
        {
            let entry = self.inner.rooms.rooms.get_mut(&room);
            let mut entry = entry.ok_or(SfuError::NoSuchRoom)?;
            if entry.parts.iter().all(|part| part.worker != worker) {
                entry.parts.push(Part::new(worker, false));
            }
        }
        let known = parts.clone();
        self.request(worker, |reply| Request::OpenPart {
            room,
            parts: known,
            events,
            reply,
        })
        .await?;
        for other in parts {
            let told = self.ask(other, |reply| Command::AddPart {
                room,
                part: worker,
                reply,
            });
            // A part that has failed meanwhile has nothing more to tell.
            or_failed(told.await)?;
        }
        if let Some(mut entry) = self.inner.rooms.rooms.get_mut(&room) {
            let mut parts = entry.parts.iter_mut();
            if let Some(part) = parts.find(|part| part.worker == worker) {
                part.open = true;
            }
        }
        let (worker, home) = (usize::from(worker), usize::from(room.worker()));
        tracing::info!(%room, worker, home, "room grew");
        Ok(())
    }
}

impl Sfu {
    /// Lays a pipe between two workers, unless they have one. [`SfuError::Overloaded`] if all memory for rings is
    /// used up.
    async fn lay_pipe(&self, one: WorkerIx, other: WorkerIx) -> Result<(), SfuError> {
        let mut pipes = self.inner.pipes.lock().await;
        let ends = match pipes.plan(one, other) {
            Ok(Some(sizes)) => RingEnd::pair(sizes),
            Ok(None) => return Ok(()),
            Err(TableFull) => {
                if pipes.refused().is_power_of_two() {
                    tracing::warn!(
                        one = usize::from(one),
                        other = usize::from(other),
                        pipes = pipes.pairs(),
                        refused = pipes.refused(),
                        "all memory for rings between workers is used up: a room does not grow to a \
                         further worker (fewer workers need fewer rings)"
                    );
                }
                return Err(SfuError::Overloaded);
            }
        };
        for (worker, other, end) in [(one, other, ends.0), (other, one, ends.1)] {
            let end = Box::new(end);
            self.request(worker, |reply| Request::TakePipe { other, end, reply })
                .await?;
        }
        pipes.laid(one, other);
        tracing::debug!(
            one = usize::from(one),
            other = usize::from(other),
            pipes = pipes.pairs(),
            "pipe laid between workers"
        );
        Ok(())
    }
}

impl Load {
    /// A number for comparing workers: peers cost, rooms will have some, and so will those asked for.
    pub(super) fn weight(&self) -> usize {
        let [rooms, peers, coming] =
            [&self.rooms, &self.peers, &self.coming].map(|count| count.load(Ordering::Relaxed));
        rooms + peers + coming
    }
}
