//! Questions of operators about a room.

use super::actor::{Room, within};
use super::registry::Inspection;
use super::{ParticipantId, ParticipantStats, PeerStats, RoomStats};
use crate::media::SfuError;

impl Room {
    pub(super) async fn inspect(&mut self, question: Inspection) {
        // The requester may be gone.
        match question {
            Inspection::Stats(reply) => drop(reply.send(self.room_stats().await)),
            Inspection::Timeline(reply) => drop(reply.send(self.decisions().await)),
        }
    }

    /// Asks for one peer after the other: otherwise a full room would fill the workers' queues.
    async fn room_stats(&self) -> Result<RoomStats, SfuError> {
        let mut people: Vec<_> = self.participants.values().collect();
        people.sort_by_key(|participant| participant.order);
        let mut participants = Vec::with_capacity(people.len());
        for participant in people {
            participants.push(ParticipantStats {
                participant: participant.id.clone(),
                name: participant.name.clone(),
                peer: self.peer_stats(&participant.id).await?,
            });
        }
        Ok(RoomStats {
            room: self.name.as_str().to_owned(),
            participants,
        })
    }

    /// The counters of a peer; none without a transport.
    pub(super) async fn peer_stats(
        &self,
        id: &ParticipantId,
    ) -> Result<Option<PeerStats>, SfuError> {
        let Some(peer) = self.participants.get(id).and_then(|p| p.peer) else {
            return Ok(None);
        };
        match within(self.shared.media.peer_stats(peer)).await {
            Ok(stats) => {
                let viewer = |peer| self.peers.get(&peer).cloned();
                Ok(Some(PeerStats::named(
                    stats,
                    |track| self.name_of(track),
                    viewer,
                )))
            }
            // The peer failed; its event is on the way.
            Err(SfuError::NoSuchPeer | SfuError::WorkerFailed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
