//! The requests of the control plane to a worker, as values for the queue between them.

use std::time::Instant;

use tokio::sync::oneshot;

use super::Worker;
use super::data::Named;
use crate::error::SfuError;
use crate::event::Answer;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::WorkerIx;
use crate::pipe::Data;
use crate::seat::Seat;
use crate::stats::{Decision, PeerStats, WorkerStats};
use crate::tap::{Tap, TapSettings};
use crate::transport::sdp::Offer;
use crate::transport::{Candidate, Path};
use crate::view::{Cap, TrackSettings, View};

/// The answer to a command. Its receiver may be gone.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, SfuError>>;

/// One call on a worker.
#[derive(Debug)]
pub(crate) enum Command {
    CreateRoom {
        reply: Reply<RoomId>,
    },
    /// The room grows to this worker; it has these parts already.
    OpenPart {
        room: RoomId,
        parts: Vec<WorkerIx>,
        reply: Reply<()>,
    },
    /// The room has grown to another worker.
    AddPart {
        room: RoomId,
        part: WorkerIx,
        reply: Reply<()>,
    },
    Join {
        room: RoomId,
        offer: Box<Offer>,
        auto_subscribe: bool,
        announce: Option<Candidate>,
        named: Named,
        seat: Seat,
        reply: Reply<(PeerId, Answer)>,
    },
    Offer {
        peer: PeerId,
        offer: Box<Offer>,
        reply: Reply<Answer>,
    },
    Subscribe {
        peer: PeerId,
        track: TrackId,
        reply: Reply<()>,
    },
    Unsubscribe {
        peer: PeerId,
        track: TrackId,
        reply: Reply<()>,
    },
    SetViews {
        peer: PeerId,
        views: Vec<View>,
        reply: Reply<()>,
    },
    SetTrack {
        peer: PeerId,
        track: TrackId,
        settings: TrackSettings,
        reply: Reply<()>,
    },
    SetCap {
        peer: PeerId,
        cap: Cap,
        reply: Reply<()>,
    },
    SendData {
        /// Everybody in the room if there is none.
        to: Option<PeerId>,
        data: Data,
        reply: Reply<()>,
    },
    Timeline {
        room: RoomId,
        reply: Reply<Vec<Decision>>,
    },
    ClosePeer {
        peer: PeerId,
        reply: Reply<()>,
    },
    CloseRoom {
        room: RoomId,
        reply: Reply<()>,
    },
    Tap {
        track: TrackId,
        settings: TapSettings,
        seat: Seat,
        reply: Reply<Tap>,
    },
    Discover {
        server: Path,
        reply: Reply<Option<Candidate>>,
    },
    Stats {
        reply: Reply<WorkerStats>,
    },
    Totals {
        reply: Reply<WorkerStats>,
    },
    PeerStats {
        peer: PeerId,
        reply: Reply<PeerStats>,
    },
}

/// A reply held until the other workers have the change and placement counts it.
#[derive(Debug)]
pub(crate) enum Held {
    Room(Reply<RoomId>, RoomId),
    Join(Reply<(PeerId, Answer)>, Result<(PeerId, Answer), SfuError>),
    Offer(Reply<Answer>, Result<Answer, SfuError>),
    Done(Reply<()>, Result<(), SfuError>),
}

impl Worker {
    /// Carries out a command. A held answer is given by [`answer`](Self::answer), once everything that
    /// [`poll_control`](Self::poll_control) yields has been handed over.
    pub(crate) fn handle_command(&mut self, now: Instant, command: Command) -> Option<Held> {
        match command {
            Command::CreateRoom { reply } => {
                let room = self.create_room();
                return Some(Held::Room(reply, room));
            }
            Command::OpenPart { room, parts, reply } => {
                self.open_part(room, &parts);
                return Some(Held::Done(reply, Ok(())));
            }
            Command::AddPart { room, part, reply } => {
                return Some(Held::Done(reply, self.add_part(room, part)));
            }
            Command::Join {
                room,
                offer,
                auto_subscribe,
                announce,
                named,
                seat,
                reply,
            } => {
                let result = self.join(now, room, *offer, auto_subscribe, announce, seat);
                if let Ok((peer, _)) = &result {
                    self.name_sender(*peer, &named);
                }
                return Some(Held::Join(reply, result));
            }
            Command::Offer { peer, offer, reply } => {
                return Some(Held::Offer(reply, self.offer(now, peer, *offer)));
            }
            Command::Subscribe { peer, track, reply } => {
                answer(reply, self.subscribe(now, peer, track))
            }
            Command::Unsubscribe { peer, track, reply } => {
                answer(reply, self.unsubscribe(now, peer, track))
            }
            Command::SetViews { peer, views, reply } => {
                answer(reply, self.set_views(now, peer, &views))
            }
            Command::SetTrack {
                peer,
                track,
                settings,
                reply,
            } => {
                // Other workers forward the track too: they are told before the requester.
                let result = self.set_track(now, peer, track, settings);
                return Some(Held::Done(reply, result));
            }
            Command::SetCap { peer, cap, reply } => answer(reply, self.set_cap(now, peer, cap)),
            Command::SendData { to, data, reply } => answer(reply, self.send_data(now, to, &data)),
            Command::Timeline { room, reply } => answer(reply, self.timeline(room)),
            Command::ClosePeer { peer, reply } => {
                // A peer already gone counts as closed.
                let _ = self.close_peer(now, peer);
                answer(reply, Ok(()));
            }
            Command::CloseRoom { room, reply } => {
                self.close_room(now, room);
                answer(reply, Ok(()));
            }
            Command::Tap {
                track,
                settings,
                seat,
                reply,
            } => answer(reply, self.tap(now, track, &settings, seat)),
            Command::Discover { server, reply } => self.discover(now, server, reply),
            Command::Stats { reply } => answer(reply, Ok(self.stats(now))),
            Command::Totals { reply } => answer(reply, Ok(self.totals())),
            Command::PeerStats { peer, reply } => answer(reply, self.peer_stats(now, peer)),
        }
        None
    }

    /// Gives a held answer.
    pub(crate) fn answer(&mut self, now: Instant, held: Held) {
        match held {
            Held::Join(reply, result) => {
                let peer = result.as_ref().ok().map(|(peer, _)| *peer);
                // The requester is gone, so nobody knows the new peer: it is closed.
                if reply.send(result).is_err()
                    && let Some(peer) = peer
                {
                    let _ = self.close_peer(now, peer);
                }
            }
            Held::Room(reply, room) => {
                // The requester is gone: nobody else will close the room.
                if reply.send(Ok(room)).is_err() {
                    self.close_room(now, room);
                }
            }
            Held::Offer(reply, result) => answer(reply, result),
            Held::Done(reply, result) => answer(reply, result),
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, SfuError>) {
    let _ = reply.send(result);
}
