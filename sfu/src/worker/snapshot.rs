//! Copies a worker's counters and states out.

use std::time::Instant;

use super::Worker;
use super::codecs::Watches;
use super::peer::Peer;
use crate::egress::{Forwarder, Waiting};
use crate::error::SfuError;
use crate::event::MediaKind;
use crate::id::{PeerId, TrackId};
use crate::stats::{LayerStats, PeerStats, PublishedStats, SubscriptionStats, WorkerStats};
use crate::track::audience::Unable;
use crate::track::{Track, Tracks};
use crate::transport::{Hold, Path};
use crate::view::Reason;

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
        let most = self.config.loudest_n;
        let silenced = most.zip(room).map(|(most, room)| (most, &room.loudest));
        peer_stats(now, peer, &self.tracks, &self.watches, |track| {
            silenced.is_some_and(|(most, loudest)| loudest.silences(now, most, track))
        })
    }
}

fn peer_stats(
    now: Instant,
    peer: &Peer,
    tracks: &Tracks,
    watches: &Watches,
    silenced: impl Fn(TrackId) -> bool,
) -> PeerStats {
    let unreachable = peer.transport.hold().is_some();
    let carried = peer.subscriber.slots().filter_map(|(_, slot)| {
        let (layer, mut reason) = slot.state();
        if slot.kind == MediaKind::Audio
            && reason != Reason::Muted.code()
            && slot.track().is_some_and(&silenced)
        {
            reason = Reason::Quiet.code();
        }
        if unreachable && layer.is_none() && reason != Reason::Muted.code() {
            reason = Reason::Unreachable.code();
        }
        let target = slot.forwarder.as_ref().and_then(Forwarder::target);
        Some(SubscriptionStats {
            track: slot.track()?,
            mid: Some(slot.mid().to_owned()),
            layer: layer.map(|layer| usize::from(layer.spatial)),
            temporal: layer.map(|layer| layer.temporal),
            target: target.map(|layer| usize::from(layer.spatial)),
            reason,
            allocated: slot.allocation.map_or(0, |allocation| allocation.bitrate),
            bitrate: slot.rate.bitrate(now),
            keyframe_requests: slot.counters.keyframe_requests,
            packets: slot.counters.packets,
            bytes: slot.counters.bytes,
            nacks_received: slot.counters.nacks_received,
            retransmitted: slot.counters.retransmitted,
            redundant: slot.counters.redundant,
            fraction_lost: slot.counters.fraction_lost,
        })
    });
    PeerStats {
        peer: peer.id,
        room: peer.room,
        connected: peer.transport.is_connected(),
        remote_addr: peer.transport.path().map(Path::mapped_addr),
        media_held: peer.transport.hold().map(Hold::code),
        srtp_profile: peer.transport.srtp_profile(),
        rtt_ms: peer.subscriber.rtt().map(|rtt| rtt.as_secs_f64() * 1e3),
        packets_over_rate: peer.publisher.packets_over_rate(),
        published: peer
            .publisher
            .tracks(tracks)
            .map(|(_, track)| published_stats(now, track, watches.unable(track.id)))
            .collect(),
        subscriptions: carried
            .chain(peer.subscriber.waiting().iter().map(waiting_stats))
            .collect(),
        bandwidth: peer.subscriber.link().stats(now),
    }
}

fn published_stats(now: Instant, track: &Track, unable: Option<&Unable>) -> PublishedStats {
    let unable = unable.into_iter().flat_map(|unable| &unable.named);
    PublishedStats {
        track: track.id,
        kind: track.kind,
        codec: track.codec_in_use().map_or("", |codec| codec.codec.name()),
        layers: track
            .encodings()
            .map(|(index, layer)| LayerStats {
                rid: layer.name.rid.clone(),
                alive: layer.is_alive(),
                wanted: track.demand.asks_for(index),
                bitrate: layer.bitrate(now),
                height: Some(layer.height).filter(|height| *height > 0),
                packets: layer.packets,
                bytes: layer.bytes,
                lost: layer.reception.lost(),
                nacks_sent: layer.nacks_sent,
                repaired: layer.repaired,
            })
            .collect(),
        keyframe_requests: track
            .layers
            .iter()
            .map(|layer| layer.keyframes.sent())
            .sum(),
        streams_begun_anew: track.streams_begun_anew,
        packets_passed_over: track.packets_passed_over,
        unwatchable: unable
            .map(|(viewer, reason)| (*viewer, reason.code()))
            .collect(),
    }
}

fn waiting_stats(waiting: &Waiting) -> SubscriptionStats {
    SubscriptionStats {
        track: waiting.source.id,
        mid: None,
        layer: None,
        temporal: None,
        target: None,
        reason: waiting.reason().code(),
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
