//! All that one peer is sent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use slab::Slab;

use super::forwarder::SourceTrack;
use super::slot::{Repair, Slot, SlotSeed};
use crate::event::{MediaKind, Needs};
use crate::id::TrackId;
use crate::place::Place;
use crate::rtp::rtcp::{ReportBlock, Rtcp};
use crate::transport::sdp::NegotiatedMedia;
use crate::view::{Cap, View};

/// A round trip beyond this is a report about something else.
const RTT_MAX: Duration = Duration::from_secs(10);

/// All that one peer is sent.
#[derive(Debug, Default)]
pub(crate) struct Subscriber {
    slots: Slab<Slot>,
    /// Subscriptions without a slot, oldest first.
    waiting: Vec<SourceTrack>,
    transport_sequence: u16,
    rtt: Option<Duration>,
    /// How the viewer shows what it is subscribed to.
    views: HashMap<TrackId, View>,
    cap: Cap,
}

/// What a viewer's feedback asks of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A keyframe of what the slot is sent or waits for.
    Keyframe {
        /// Where the track is.
        place: Place,
        layer: usize,
    },
    /// A packet again.
    Repair {
        /// The slot that lacks it.
        slot: usize,
        repair: Repair,
    },
}

impl Subscriber {
    /// The slots with their indexes.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots.iter()
    }

    /// One slot, to change.
    pub(crate) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// One slot with the sequence number its packets share with the other slots'.
    pub(crate) fn slot_with_sequence(&mut self, index: usize) -> Option<(&mut Slot, &mut u16)> {
        Some((self.slots.get_mut(index)?, &mut self.transport_sequence))
    }

    /// The slot of an m-line.
    pub(crate) fn slot_by_mid(&self, mid: &str) -> Option<(usize, &Slot)> {
        self.slots.iter().find(|(_, slot)| slot.mid == mid)
    }

    /// Subscriptions that wait for a slot.
    pub(crate) fn waiting(&self) -> &[SourceTrack] {
        &self.waiting
    }

    /// Tracks it is subscribed to, waiting ones included.
    pub(crate) fn subscriptions(&self) -> usize {
        let carried = self.slots.iter().filter(|(_, slot)| slot.track().is_some());
        carried.count() + self.waiting.len()
    }

    /// Round trip, from the viewer's reports.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Adds a slot; its index.
    pub(crate) fn insert_slot(
        &mut self,
        kind: MediaKind,
        seed: SlotSeed,
        media: NegotiatedMedia,
    ) -> usize {
        self.slots.insert(Slot::new(kind, seed, media))
    }

    /// An m-line stopped, or only pauses (`keep`); what it carried waits for another.
    pub(crate) fn release_slot(&mut self, index: usize, keep: bool) -> Option<SourceTrack> {
        let source = if keep {
            let slot = self.slots.get_mut(index)?;
            slot.pause();
            slot.free()
        } else {
            self.slots.try_remove(index)?.free()
        };
        self.waiting.splice(0..0, source.clone());
        source
    }

    /// Whether a track is subscribed, with a slot or without.
    pub(crate) fn is_subscribed(&self, track: TrackId) -> bool {
        self.waiting.iter().any(|source| source.id == track)
            || self
                .slots
                .iter()
                .any(|(_, slot)| slot.track() == Some(track))
    }

    /// Adds a subscription; [`fill`](Self::fill) finds it a slot.
    pub(crate) fn subscribe(&mut self, source: SourceTrack) {
        self.waiting.push(source);
    }

    /// Takes how a track is shown, if it is subscribed.
    pub(crate) fn set_view(&mut self, view: View) {
        if self.is_subscribed(view.track) {
            self.views.insert(view.track, view);
        }
    }

    /// Bounds all that is sent.
    pub(crate) fn set_cap(&mut self, cap: Cap) {
        self.cap = cap;
    }

    /// Removes a subscription; the slot it had and its source.
    pub(crate) fn unsubscribe(&mut self, track: TrackId) -> Option<(usize, SourceTrack)> {
        self.views.remove(&track);
        self.waiting.retain(|source| source.id != track);
        let (index, slot) = self
            .slots
            .iter_mut()
            .find(|(_, slot)| slot.track() == Some(track))?;
        Some((index, slot.free()?))
    }

    /// Gives free slots to waiting subscriptions, oldest first. Calls `assigned` with each.
    pub(crate) fn fill(&mut self, mut assigned: impl FnMut(usize, &mut Slot)) {
        for (index, slot) in &mut self.slots {
            if !slot.is_free() {
                continue;
            }
            let taken = self
                .waiting
                .iter()
                .position(|source| source.kind == slot.kind && slot.assign(source.clone()));
            if let Some(taken) = taken {
                self.waiting.remove(taken);
                assigned(index, slot);
            }
        }
    }

    /// m-lines that are missing. A free slot of the right kind that stayed free has no codec for
    /// what waits, and another would not have one either.
    pub(crate) fn needs(&self) -> Needs {
        let missing = |kind| {
            let waiting = self
                .waiting
                .iter()
                .filter(|source| source.kind == kind)
                .count();
            let free = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.kind == kind && slot.is_free())
                .count();
            u16::try_from(waiting.saturating_sub(free)).unwrap_or(u16::MAX)
        };
        Needs {
            audio: missing(MediaKind::Audio),
            video: missing(MediaKind::Video),
        }
    }

    /// Takes one RTCP packet about what is sent. `ntp` is our wall clock now.
    pub(crate) fn receive_rtcp(
        &mut self,
        now: Instant,
        ntp: u64,
        packet: &Rtcp,
        requests: &mut Vec<Request>,
    ) {
        match packet {
            Rtcp::ReceiverReport { reports, .. } | Rtcp::SenderReport { reports, .. } => {
                for report in reports {
                    self.report_received(ntp, report);
                }
            }
            Rtcp::Nack { media, lost, .. } => {
                if let Some((index, slot)) =
                    self.slots.iter_mut().find(|(_, slot)| slot.ssrc == *media)
                {
                    let mut repairs = Vec::new();
                    slot.locate(now, lost, &mut repairs);
                    requests.extend(repairs.into_iter().map(|repair| Request::Repair {
                        slot: index,
                        repair,
                    }));
                }
            }
            Rtcp::Pli { media, .. } => self.keyframe_wanted(*media, requests),
            Rtcp::Fir { entries, .. } => {
                for (media, _) in entries {
                    self.keyframe_wanted(*media, requests);
                }
            }
            _ => {}
        }
    }

    fn report_received(&mut self, ntp: u64, report: &ReportBlock) {
        let Some((_, slot)) = self
            .slots
            .iter_mut()
            .find(|(_, slot)| slot.ssrc == report.ssrc)
        else {
            return;
        };
        slot.report_received(report.fraction_lost);
        if report.last_sender_report != 0 {
            let units = ((ntp >> 16) as u32)
                .wrapping_sub(report.last_sender_report)
                .wrapping_sub(report.delay);
            let rtt = Duration::from_secs(1) * units / 65_536;
            if rtt < RTT_MAX {
                // Smoothed as TCP does (RFC 6298): one late report moves it by an eighth.
                self.rtt = Some(self.rtt.map_or(rtt, |before| (before * 7 + rtt) / 8));
            }
        }
    }

    fn keyframe_wanted(&mut self, ssrc: u32, requests: &mut Vec<Request>) {
        let slot = self
            .slots
            .iter()
            .find(|(_, slot)| slot.ssrc == ssrc)
            .map(|(_, slot)| slot);
        if let Some(forwarder) = slot.and_then(|slot| slot.forwarder.as_ref())
            && forwarder.source.kind == MediaKind::Video
            && let Some(layer) = forwarder
                .awaits_keyframe_of()
                .or_else(|| forwarder.selector.current())
        {
            let place = forwarder.source.place;
            requests.push(Request::Keyframe { place, layer });
        }
    }

    /// When [`poll_rtcp`](Self::poll_rtcp) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|(_, slot)| slot.sender.poll_timeout())
            .min()
    }

    /// Appends the reports due now.
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, cname: &str, rtcp: &mut Vec<u8>) {
        for (_, slot) in &mut self.slots {
            slot.poll_report(now, ntp, cname, rtcp);
        }
    }
}
