//! Copies a viewer's subscriptions out for the statistics.

use std::time::Instant;

use super::forwarder::Forwarder;
use super::slot::Slot;
use super::subscriber::Subscriber;
use super::waiting::Waiting;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::stats::SubscriptionStats;
use crate::view::Reason;

impl Subscriber {
    /// Counters and states of its subscriptions, those that wait for an m-line last. `silenced` tells whether an audio
    /// track is not forwarded because others are louder. `unreachable`: media to the viewer is held.
    pub(crate) fn stats(
        &self,
        now: Instant,
        unreachable: bool,
        silenced: impl Fn(TrackId) -> bool,
    ) -> Vec<SubscriptionStats> {
        let carried = self.slots().filter_map(|(_, slot)| {
            let track = slot.track()?;
            let silenced = slot.kind == MediaKind::Audio && silenced(track);
            Some(slot.stats(now, track, unreachable, silenced))
        });
        let waiting = self.waiting().iter().map(Waiting::stats);
        carried.chain(waiting).collect()
    }
}

impl Slot {
    fn stats(
        &self,
        now: Instant,
        track: TrackId,
        unreachable: bool,
        silenced: bool,
    ) -> SubscriptionStats {
        let (layer, reason) = self.state();
        let target = self.forwarder.as_ref().and_then(Forwarder::target);
        SubscriptionStats {
            track,
            mid: Some(self.mid().to_owned()),
            layer: layer.map(|layer| usize::from(layer.spatial)),
            temporal: layer.map(|layer| layer.temporal),
            target: target.map(|layer| usize::from(layer.spatial)),
            reason: shown(reason, silenced, unreachable && layer.is_none()),
            allocated: self.allocation.map_or(0, |allocation| allocation.bitrate),
            bitrate: self.rate.measured(now),
            keyframe_requests: self.counters.keyframe_requests,
            packets: self.sent.packets,
            bytes: self.sent.bytes,
            nacks_received: self.counters.nacks_received,
            retransmitted: self.counters.retransmitted,
            redundant: self.counters.redundant,
            fraction_lost: self.counters.fraction_lost,
        }
    }
}

impl Waiting {
    fn stats(&self) -> SubscriptionStats {
        SubscriptionStats {
            track: self.source.id,
            mid: None,
            layer: None,
            temporal: None,
            target: None,
            reason: self.reason().code(),
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
}

/// The reason shown in place of a decision's. A decision knows neither who is louder nor that a viewer is `cut_off`; a
/// muted track is that first of all.
fn shown(reason: &'static str, silenced: bool, cut_off: bool) -> &'static str {
    if reason == Reason::Muted.code() {
        reason
    } else if cut_off {
        Reason::Unreachable.code()
    } else if silenced {
        Reason::Quiet.code()
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_muted_track_is_muted_and_nobody_is_quiet_who_is_cut_off() {
        for (reason, silenced, cut_off, expected) in [
            (Reason::Best, false, false, Reason::Best),
            (Reason::Best, true, false, Reason::Quiet),
            (Reason::Bandwidth, false, true, Reason::Unreachable),
            (Reason::Best, true, true, Reason::Unreachable),
            (Reason::Muted, true, true, Reason::Muted),
        ] {
            let found = shown(reason.code(), silenced, cut_off);
            assert_eq!(found, expected.code(), "{reason:?} {silenced} {cut_off}");
        }
    }
}
