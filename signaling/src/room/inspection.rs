//! Questions of operators about a room.

use super::actor::Room;
use super::participant::Participant;
use super::registry::Inspection;
use super::stats::TrackOf;
use super::{ParticipantId, ParticipantStats, PeerStats, RoomStats, SocketKind};
use crate::media::{PeerId, SfuError, stats};

impl Room {
    pub(super) fn inspect(&mut self, question: Inspection) {
        // The requester may be gone.
        match question {
            Inspection::Stats(reply) => self.room_stats(|stats| drop(reply.send(stats))),
            Inspection::Timeline(reply) => {
                self.decisions(|_, timeline| drop(reply.send(timeline)));
            }
            Inspection::Snapshot(reply) => drop(reply.send(self.snapshot())),
        }
    }

    /// Everybody, in the order they joined.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Participant> {
        let ids = self.by_order.values();
        ids.filter_map(|id| self.participants.get(id))
    }

    /// Asks for one peer after the other: otherwise a full room would fill the workers' queues.
    fn room_stats(&mut self, then: impl FnOnce(Result<RoomStats, SfuError>) + Send + 'static) {
        let known = |participant: &Participant| ParticipantStats {
            participant: participant.id.clone(),
            name: participant.name.clone(),
            away: participant.is_away,
            socket: participant.socket.map(SocketKind::as_str),
            peer: None,
        };
        let people: Vec<_> = self.in_order().map(known).collect();
        let peers: Vec<_> = self.in_order().map(|it| it.peer).collect();
        self.ask(
            move |media| {
                Box::pin(async move {
                    let mut all = Vec::with_capacity(peers.len());
                    for peer in peers {
                        all.push(match peer {
                            Some(peer) => unless_gone(media.peer_stats(peer).await)?,
                            None => None,
                        });
                    }
                    Ok::<_, SfuError>(all)
                })
            },
            move |room, all| {
                then(all.map(|all| {
                    let people = people.into_iter().zip(all);
                    let participants = people.map(|(known, stats)| ParticipantStats {
                        peer: stats.map(|stats| room.name_stats(stats)),
                        ..known
                    });
                    RoomStats {
                        room: room.name.as_str().to_owned(),
                        participants: participants.collect(),
                    }
                }));
            },
        );
    }

    /// The counters of a peer; none without a transport.
    pub(super) fn peer_stats(
        &mut self,
        id: &ParticipantId,
        then: impl FnOnce(&mut Room, Result<Option<PeerStats>, SfuError>) + Send + 'static,
    ) {
        let peer: Option<PeerId> = self.participants.get(id).and_then(|p| p.peer);
        let Some(peer) = peer else {
            return then(self, Ok(None));
        };
        self.ask(
            move |media| media.peer_stats(peer),
            move |room, stats| {
                let stats = unless_gone(stats);
                let named = stats.map(|stats| stats.map(|stats| room.name_stats(stats)));
                then(room, named);
            },
        );
    }

    fn name_stats(&self, stats: stats::PeerStats) -> PeerStats {
        let viewer = |peer| self.peers.get(&peer).cloned();
        let of_track = |id| {
            let (publisher, name) = self.tracks.get(&id)?;
            let tracks = &self.participants.get(publisher)?.tracks;
            let info = &tracks.iter().find(|track| track.id == id)?.info;
            Some(TrackOf {
                name: name.clone(),
                publisher: publisher.clone(),
                source: info.source,
                kind: info.kind,
            })
        };
        PeerStats::named(stats, of_track, viewer)
    }
}

/// The counters of a peer; none if it failed, and its event is on the way.
fn unless_gone<T>(stats: Result<T, SfuError>) -> Result<Option<T>, SfuError> {
    match stats {
        Ok(stats) => Ok(Some(stats)),
        Err(SfuError::NoSuchPeer | SfuError::WorkerFailed) => Ok(None),
        Err(error) => Err(error),
    }
}
