//! Copies a published track out for the statistics.

use std::time::Instant;

use super::Track;
use crate::id::PeerId;
use crate::stats::{LayerStats, PublishedStats};
use crate::view::Reason;

impl Track {
    /// Its counters and states. `unable` are the viewers that cannot watch it.
    pub(crate) fn stats(&self, now: Instant, unable: &[(PeerId, Reason)]) -> PublishedStats {
        PublishedStats {
            track: self.id,
            kind: self.kind,
            codec: self.codec_in_use().map_or("", |codec| codec.codec.name()),
            layers: self
                .encodings()
                .map(|(index, layer)| LayerStats {
                    rid: layer.name.rid.clone(),
                    alive: layer.is_alive(),
                    wanted: self.demand.asks_for(index),
                    bitrate: layer.measured_bitrate(now),
                    height: Some(layer.height).filter(|height| *height > 0),
                    packets: layer.packets,
                    bytes: layer.bytes,
                    lost: layer.reception.lost(),
                    nacks_sent: layer.nacks_sent,
                    repaired: layer.repaired,
                })
                .collect(),
            keyframe_requests: self.layers.iter().map(|layer| layer.keyframes.sent()).sum(),
            streams_begun_anew: self.streams_begun_anew,
            packets_passed_over: self.packets_passed_over,
            unwatchable: unable
                .iter()
                .map(|(viewer, reason)| (*viewer, reason.code()))
                .collect(),
        }
    }
}
