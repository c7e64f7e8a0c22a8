//! One peer's counters, ready to be written as JSON once its tracks have their public names.

use std::net::SocketAddr;

use serde::Serialize;
use tertulia_sfu::{MediaKind, stats as relay};

use super::{Id, TrackId};

/// `T` names a track: the media plane's id, or the name clients know it by.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeerStats<T = TrackId> {
    pub connected: bool,
    pub remote_addr: Option<SocketAddr>,
    pub srtp_profile: Option<&'static str>,
    pub rtt_ms: Option<f64>,
    pub published: Vec<PublishedStats<T>>,
    pub subscriptions: Vec<SubscriptionStats<T>>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PublishedStats<T> {
    pub track: T,
    pub kind: &'static str,
    pub codec: &'static str,
    pub keyframe_requests: u64,
    /// Lowest first.
    pub layers: Vec<LayerStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LayerStats {
    pub rid: Option<String>,
    pub alive: bool,
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub nacks_sent: u64,
    pub repaired: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubscriptionStats<T> {
    pub track: T,
    pub mid: Option<String>,
    pub layer: Option<usize>,
    pub reason: &'static str,
    pub packets: u64,
    pub bytes: u64,
    pub nacks_received: u64,
    pub retransmitted: u64,
    pub fraction_lost: f64,
}

impl PeerStats<TrackId> {
    /// Replaces ids by names; a track without one has just ended and is left out.
    pub(crate) fn name_tracks<N>(self, name: impl Fn(TrackId) -> Option<N>) -> PeerStats<N> {
        PeerStats {
            connected: self.connected,
            remote_addr: self.remote_addr,
            srtp_profile: self.srtp_profile,
            rtt_ms: self.rtt_ms,
            published: self
                .published
                .into_iter()
                .filter_map(|stats| {
                    Some(PublishedStats {
                        track: name(stats.track)?,
                        kind: stats.kind,
                        codec: stats.codec,
                        keyframe_requests: stats.keyframe_requests,
                        layers: stats.layers,
                    })
                })
                .collect(),
            subscriptions: self
                .subscriptions
                .into_iter()
                .filter_map(|stats| {
                    Some(SubscriptionStats {
                        track: name(stats.track)?,
                        mid: stats.mid,
                        layer: stats.layer,
                        reason: stats.reason,
                        packets: stats.packets,
                        bytes: stats.bytes,
                        nacks_received: stats.nacks_received,
                        retransmitted: stats.retransmitted,
                        fraction_lost: stats.fraction_lost,
                    })
                })
                .collect(),
        }
    }
}

impl From<&relay::PeerStats> for PeerStats {
    fn from(stats: &relay::PeerStats) -> Self {
        Self {
            connected: stats.connected,
            remote_addr: stats.remote_addr,
            srtp_profile: stats.srtp_profile,
            rtt_ms: stats.rtt_ms,
            published: stats.published.iter().map(published).collect(),
            subscriptions: stats.subscriptions.iter().map(subscription).collect(),
        }
    }
}

fn published(stats: &relay::PublishedStats) -> PublishedStats<TrackId> {
    PublishedStats {
        track: Id::Relay(stats.track),
        kind: match stats.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        },
        codec: stats.codec,
        keyframe_requests: stats.keyframe_requests,
        layers: stats.layers.iter().map(layer).collect(),
    }
}

fn layer(stats: &relay::LayerStats) -> LayerStats {
    LayerStats {
        rid: stats.rid.clone(),
        alive: stats.alive,
        packets: stats.packets,
        bytes: stats.bytes,
        lost: stats.lost,
        nacks_sent: stats.nacks_sent,
        repaired: stats.repaired,
    }
}

fn subscription(stats: &relay::SubscriptionStats) -> SubscriptionStats<TrackId> {
    SubscriptionStats {
        track: Id::Relay(stats.track),
        mid: stats.mid.clone(),
        layer: stats.layer,
        reason: stats.reason,
        packets: stats.packets,
        bytes: stats.bytes,
        nacks_received: stats.nacks_received,
        retransmitted: stats.retransmitted,
        fraction_lost: stats.fraction_lost,
    }
}
