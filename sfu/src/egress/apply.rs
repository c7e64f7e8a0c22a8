//! Carries a decision out at a viewer's slots, and finds the news in it.

use std::time::Instant;

use super::allocator::{LayerAllocation, LayerRequest};
use super::slot::Slot;
use super::subscriber::Subscriber;
use crate::event::{MediaKind, SubscriptionState};
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::track::ladder::{LayerId, Ranks};
use crate::view::Reason;

/// The consequences of a decision beyond the viewer's own slots.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The states that differ from those that the viewer was told.
    pub(crate) news: Vec<SubscriptionState>,
    /// Tracks of which the viewer is, or is to be, sent another layer.
    pub(crate) wants: Vec<TrackIx>,
    /// Tracks that the viewer cannot decode any more, or can again.
    pub(crate) decodable: Vec<TrackId>,
}

/// A layer and the reason for it, as a viewer is told them.
type Told = (Option<LayerId>, Reason);

/// The consequences for one slot.
struct Change {
    /// The track whose layers are wanted otherwise.
    wants: Option<TrackIx>,
    /// The layer being sent stops at once.
    stops: bool,
    /// Something that the viewer was not told.
    news: Option<News>,
}

struct News {
    told: Told,
    /// Whether the viewer can decode the track has changed.
    decodable: bool,
}

impl Subscriber {
    /// Points the slots at the layers of a decision. Allocations of audio come first and have no request: audio has one
    /// layer, and no order.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        requests: &[LayerRequest],
        allocations: &[LayerAllocation],
    ) -> Applied {
        let congested = self.link().is_congested();
        let mut applied = Applied::default();
        let (mut stopped, mut muted) = (Vec::new(), Vec::new());
        let sounds = allocations.len().saturating_sub(requests.len());
        let orders = requests.iter().map(|request| Some(request.order));
        let orders = std::iter::repeat_n(None, sounds).chain(orders);
        for (order, allocation) in orders.zip(allocations) {
            let slot = self.slot_mut(allocation.slot);
            let Some(change) = slot.and_then(|slot| slot.apply(order, allocation, congested))
            else {
                continue;
            };
            applied.wants.extend(change.wants);
            if change.stops {
                stopped.push(allocation.slot);
            }
            let Some(news) = change.news else {
                continue;
            };
            if news.decodable {
                applied.decodable.push(allocation.track);
            }
            if allocation.reason == Reason::Muted {
                muted.push(allocation.slot);
            }
            let (layer, reason) = news.told;
            applied.news.push(SubscriptionState {
                track: allocation.track,
                layer: layer.map(|layer| layer.spatial),
                temporal: layer.map(|layer| layer.temporal),
                reason,
            });
        }
        let pacer = &mut self.link_mut().pacer;
        for slot in muted {
            pacer.forget_slot(slot);
        }
        for slot in stopped {
            pacer.skip(now, slot);
        }
        applied
    }
}

impl Slot {
    /// Points at the layer of a decision; none if the slot carries no track.
    fn apply(
        &mut self,
        order: Option<Ranks>,
        allocation: &LayerAllocation,
        congested: bool,
    ) -> Option<Change> {
        let before = self.allocation.replace(*allocation);
        if before.is_some_and(|before| before.reason == Reason::Muted) {
            self.resume();
        }
        let forwarder = self.forwarder.as_mut()?;
        if let Some(order) = order {
            forwarder.set_order(order);
        }
        let told = told(allocation, forwarder.current());
        let told_before = self.told.replace(told);
        let layer = pointed_at(allocation, forwarder.target());
        let retargets = forwarder.target() != layer;
        forwarder.set_target(layer);
        // Packets that the link cannot carry would only wait, and everything behind them.
        let stops = congested && layer < forwarder.current();
        if stops {
            forwarder.stop();
        }
        if allocation.reason == Reason::Muted {
            forwarder.halt();
        }
        let is_news = retargets || told_before != Some(told);
        let was_undecodable = before.is_some_and(|before| before.is_undecodable());
        Some(Change {
            wants: (retargets || stops).then_some(forwarder.source.index),
            stops,
            news: is_news.then_some(News {
                told,
                decodable: was_undecodable != allocation.is_undecodable(),
            }),
        })
    }

    /// Points audio at its one layer, unless it is muted.
    pub(crate) fn begin_sound(&mut self) {
        let allocation = self.allocation;
        let sends = allocation.is_none_or(|allocation| allocation.layer.is_some());
        if self.kind == MediaKind::Audio
            && sends
            && let Some(forwarder) = &mut self.forwarder
        {
            forwarder.set_target(Some(LayerId::default()));
        }
    }

    /// Whether nothing of its track is sent because the viewer cannot decode it.
    pub(crate) fn is_undecodable(&self) -> bool {
        let allocation = self.allocation;
        allocation.is_some_and(|allocation| allocation.is_undecodable())
    }
}

impl LayerAllocation {
    /// Whether nothing is sent because the viewer cannot decode the track.
    fn is_undecodable(&self) -> bool {
        self.layer.is_none() && self.reason == Reason::Codec
    }
}

/// The state to tell a viewer who is sent `current`. A layer that is overdue is not the one sent.
fn told(allocation: &LayerAllocation, current: Option<LayerId>) -> Told {
    let layer = match allocation.is_late {
        true => current,
        false => allocation.layer,
    };
    (layer, allocation.reason)
}

/// The layer to aim at, after `target`. A stream that has stopped may resume where it was.
fn pointed_at(allocation: &LayerAllocation, target: Option<LayerId>) -> Option<LayerId> {
    match allocation.reason {
        Reason::Publisher | Reason::NotStarted => allocation.layer.or(target),
        _ => allocation.layer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(spatial: u8) -> LayerId {
        LayerId {
            spatial,
            temporal: 0,
        }
    }

    fn allocation(spatial: Option<u8>, reason: Reason) -> LayerAllocation {
        LayerAllocation {
            slot: 0,
            track: TrackId::new(0, 1),
            layer: spatial.map(layer),
            bitrate: 0,
            reason,
            is_late: false,
        }
    }

    #[test]
    fn a_stream_that_has_stopped_may_resume_where_it_was() {
        for (granted, reason, target, expected) in [
            (Some(1), Reason::Best, None, Some(1)),
            (Some(1), Reason::Publisher, Some(2), Some(1)),
            (None, Reason::Publisher, Some(2), Some(2)),
            (None, Reason::NotStarted, Some(0), Some(0)),
            (None, Reason::NotStarted, None, None),
            (None, Reason::Bandwidth, Some(2), None),
            (None, Reason::Muted, Some(2), None),
            (None, Reason::Codec, Some(2), None),
        ] {
            let found = pointed_at(&allocation(granted, reason), target.map(layer));
            assert_eq!(found, expected.map(layer), "{granted:?} {reason:?}");
        }
    }

    #[test]
    fn a_layer_that_is_late_is_not_told_as_sent() {
        let on_time = allocation(Some(2), Reason::Bandwidth);
        let late = LayerAllocation {
            is_late: true,
            ..allocation(Some(2), Reason::Publisher)
        };
        for current in [None, Some(layer(0))] {
            let sent = (Some(layer(2)), Reason::Bandwidth);
            assert_eq!(told(&on_time, current), sent);
            assert_eq!(told(&late, current), (current, Reason::Publisher));
        }
    }

    #[test]
    fn only_a_track_without_any_layer_is_undecodable() {
        for (granted, reason, expected) in [
            (None, Reason::Codec, true),
            // A larger picture comes in another codec.
            (Some(0), Reason::Codec, false),
            (None, Reason::Bandwidth, false),
        ] {
            let allocation = allocation(granted, reason);
            assert_eq!(allocation.is_undecodable(), expected, "{reason:?}");
        }
    }
}
