//! Copies a worker's counters and states out.

use std::time::Instant;

use super::Worker;
use super::peer::Peer;
use crate::error::SfuError;
use crate::id::PeerId;
use crate::stats::{PeerStats, WorkerStats};
use crate::transport::{Hold, Path};

impl Worker {
    /// Counters and states of the worker and its peers.
    pub(crate) fn stats(&self, now: Instant) -> WorkerStats {
        WorkerStats {
            peers: self
                .peers
                .iter()
                .map(|(_, peer)| self.stats_of(now, peer))
                .collect(),
            ..self.totals()
        }
    }

    /// Counters alone: a copy of every peer's state would delay packets at each call.
    pub(crate) fn totals(&self) -> WorkerStats {
        WorkerStats {
            datagrams_received: self.counters.datagrams_received,
            datagrams_sent: self.counters.datagrams_sent,
            bytes_received: self.counters.bytes_received,
            bytes_sent: self.counters.bytes_sent,
            messages_sent: self.counters.messages_sent,
            run_lengths: self.counters.run_lengths,
            packets_forwarded: self.counters.packets_forwarded,
            relayed_tracks: self
                .tracks
                .iter()
                .filter(|(_, track)| track.piped().is_some())
                .count(),
            relay_packets_out: self.batches.packets(),
            relay_packets_in: self.counters.relay_packets_in,
            padding_bytes: self.counters.padding_bytes,
            probe_packets: self.counters.probe_packets,
            coalescing_us: self.counters.coalescing.as_secs_f64() * 1e6,
            address_claims_refused: self.counters.paths.claims_refused,
            addresses_proven: self.counters.paths.proven,
            addresses_unproven: self.counters.paths.unproven,
            addresses_rebound: self.counters.paths.rebound,
            stun_answers: self.counters.stun_answers,
            media_held: self.counters.media_held.clone(),
            drops: self.counters.drops.clone(),
            peer_count: self.peers.len(),
            subscriptions: self
                .peers
                .iter()
                .map(|(_, peer)| peer.subscriber.subscriptions())
                .sum(),
            ..WorkerStats::default()
        }
    }

    /// Counters and states of one peer.
    pub(crate) fn peer_stats(&self, now: Instant, peer: PeerId) -> Result<PeerStats, SfuError> {
        let index = self.by_id.get(&peer).ok_or(SfuError::NoSuchPeer)?;
        self.peers
            .get(*index)
            .map(|peer| self.stats_of(now, peer))
            .ok_or(SfuError::NoSuchPeer)
    }

    fn stats_of(&self, now: Instant, peer: &Peer) -> PeerStats {
        let room = self.rooms.get(&peer.room);
        let loudest = self.config.loudest_n.zip(room);
        let silenced =
            |track| loudest.is_some_and(|(most, room)| room.loudest.silences(now, most, track));
        let unreachable = peer.transport.hold().is_some();
        let published = peer.publisher.tracks(&self.tracks).map(|(_, track)| {
            let unable = self.watches.unable(track.id);
            track.stats(now, unable.map_or(&[][..], |unable| &unable.named[..]))
        });
        PeerStats {
            peer: peer.id,
            room: peer.room,
            connected: peer.transport.is_connected(),
            remote_addr: peer.transport.path().map(Path::mapped_addr),
            path: peer.transport.path().map(Path::code),
            media_held: peer.transport.hold().map(Hold::code),
            srtp_profile: peer.transport.srtp_profile(),
            rtt_ms: peer.subscriber.rtt().map(|rtt| rtt.as_secs_f64() * 1e3),
            packets_over_rate: peer.publisher.packets_over_rate(),
            published: published.collect(),
            subscriptions: peer.subscriber.stats(now, unreachable, silenced),
            bandwidth: peer.subscriber.link().stats(now),
        }
    }
}
