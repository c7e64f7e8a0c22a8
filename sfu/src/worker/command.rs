//! What the control plane may ask of a worker, as values for the queue between them.

use std::time::Instant;

use tokio::sync::oneshot;

use super::Worker;
use crate::error::SfuError;
use crate::event::Answer;
use crate::id::{PeerId, RoomId, TrackId};
use crate::stats::{PeerStats, WorkerStats};

/// The answer to a command. Whoever asked may have gone meanwhile.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, SfuError>>;

/// One call on a worker.
#[derive(Debug)]
pub(crate) enum Command {
    CreateRoom {
        reply: Reply<RoomId>,
    },
    Join {
        room: RoomId,
        offer: String,
        auto_subscribe: bool,
        reply: Reply<(PeerId, Answer)>,
    },
    Offer {
        peer: PeerId,
        offer: String,
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
    ClosePeer {
        peer: PeerId,
        reply: Reply<()>,
    },
    CloseRoom {
        room: RoomId,
        reply: Reply<()>,
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

impl Worker {
    /// Does what a command says.
    pub(crate) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::CreateRoom { reply } => answer(reply, Ok(self.create_room())),
            Command::Join {
                room,
                offer,
                auto_subscribe,
                reply,
            } => {
                let result = self.join(now, room, &offer, auto_subscribe);
                let peer = result.as_ref().ok().map(|(peer, _)| *peer);
                // Whoever asked is gone: so is the peer nobody knows of.
                if reply.send(result).is_err()
                    && let Some(peer) = peer
                {
                    let _ = self.close_peer(now, peer);
                }
            }
            Command::Offer { peer, offer, reply } => answer(reply, self.offer(now, peer, &offer)),
            Command::Subscribe { peer, track, reply } => {
                answer(reply, self.subscribe(now, peer, track))
            }
            Command::Unsubscribe { peer, track, reply } => {
                answer(reply, self.unsubscribe(now, peer, track))
            }
            Command::ClosePeer { peer, reply } => {
                // Gone already is what was asked for.
                let _ = self.close_peer(now, peer);
                answer(reply, Ok(()));
            }
            Command::CloseRoom { room, reply } => {
                self.close_room(now, room);
                answer(reply, Ok(()));
            }
            Command::Stats { reply } => answer(reply, Ok(self.stats())),
            Command::Totals { reply } => answer(reply, Ok(self.totals())),
            Command::PeerStats { peer, reply } => answer(reply, self.peer_stats(peer)),
        }
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, SfuError>) {
    let _ = reply.send(result);
}
