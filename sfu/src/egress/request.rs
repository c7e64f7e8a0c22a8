//! Requests to the allocator, from facts of the call: how the viewer shows a track, what its publisher sends, and who
//! speaks.

use std::time::Instant;

use super::allocator::{LayerAllocation, LayerRequest, Priority};
use super::forwarder::Forwarder;
use super::slot::Slot;
use super::subscriber::Subscriber;
use crate::audio::Speech;
use crate::event::MediaKind;
use crate::id::{PeerId, TrackId};
use crate::track::ladder::{Ladder, LayerId, Ranks};
use crate::track::{Track, Tracks};
use crate::view::{Reason, TrackSettings, View};

/// A publisher's standing in a room, as one viewer has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) speech: Speech,
    /// The viewer is sent its camera: it is among the last speakers, or the room sends all.
    pub(crate) in_last_n: bool,
}

/// How many of a track's encodings come in a codec that the viewer lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lacks {
    None,
    Some,
    All,
}

impl Subscriber {
    /// Gathers the requests of its videos. `sounds` gets the audio tracks that were muted or unmuted: nothing else is
    /// ever decided about audio.
    pub(crate) fn layer_requests(
        &self,
        now: Instant,
        tracks: &Tracks,
        standing: impl Fn(PeerId) -> Standing,
        requests: &mut Vec<LayerRequest>,
        sounds: &mut Vec<LayerAllocation>,
    ) {
        for (index, slot) in self.slots() {
            let Some(forwarder) = &slot.forwarder else {
                continue;
            };
            let source = &forwarder.source;
            let Some(track) = tracks.get(source.index) else {
                continue;
            };
            if source.kind == MediaKind::Audio {
                let muted = track.settings.muted;
                sounds.extend(sound(index, source.id, slot.allocation, muted));
                continue;
            }
            let mut ladder = track.ladder(now);
            let lacks = leave_out_undecodable(&mut ladder, &track.order(), |encoding| {
                decodes(forwarder, track, encoding)
            });
            let view = self.view(source.id);
            let standing = standing(source.publisher);
            requests.push(LayerRequest {
                slot: index,
                track: source.id,
                ladder,
                order: track.order(),
                priority: priority(track.settings, &view, standing.speech),
                height: view.height,
                paused: paused(track.settings, &view, lacks, standing.in_last_n),
                lacks_codec: lacks == Lacks::Some,
                most: self.link().most(index),
                current: granted(slot, forwarder, &track.order()),
                shown: forwarder
                    .current()
                    .map(|layer| forwarder.translate(layer, &track.order())),
            });
        }
    }
}

/// Whether the viewer can decode an encoding, as far as its codec is known.
fn decodes(forwarder: &Forwarder, track: &Track, encoding: usize) -> bool {
    let payload_type = track.payload_type_of(encoding);
    payload_type.is_some_and(|payload_type| forwarder.decodes(payload_type))
}

/// The layer last granted, as the track numbers its layers now.
fn granted(slot: &Slot, forwarder: &Forwarder, order: &Ranks) -> Option<LayerId> {
    let layer = slot.allocation.and_then(|allocation| allocation.layer);
    layer.map(|layer| forwarder.translate(layer, order))
}

/// The allocation of an audio track that was muted or unmuted since the last one.
fn sound(
    slot: usize,
    track: TrackId,
    before: Option<LayerAllocation>,
    muted: bool,
) -> Option<LayerAllocation> {
    let paused = before.is_some_and(|before| before.layer.is_none());
    (paused != muted).then_some(LayerAllocation {
        slot,
        track,
        layer: (!muted).then(LayerId::default),
        bitrate: 0,
        reason: if muted { Reason::Muted } else { Reason::Best },
        is_late: false,
    })
}

/// Removes from a ladder the steps of encodings that the viewer cannot decode.
fn leave_out_undecodable(
    ladder: &mut Ladder,
    order: &Ranks,
    decodes: impl Fn(usize) -> bool,
) -> Lacks {
    let encodings = order.encodings().count();
    let decoded = order.encodings().filter(|layer| decodes(*layer)).count();
    if decoded == encodings {
        return Lacks::None;
    }
    for rung in ladder.rungs_mut() {
        if !order.encoding_of(rung.id).is_some_and(&decodes) {
            (rung.alive, rung.available) = (false, false);
        }
    }
    match decoded {
        0 => Lacks::All,
        _ => Lacks::Some,
    }
}

/// The reason that a video must not be sent, whatever the link carries. The publisher's reason comes first, then the
/// viewer's, then the room's, which holds neither for screens nor for pinned tracks.
fn paused(settings: TrackSettings, view: &View, lacks: Lacks, in_last_n: bool) -> Option<Reason> {
    if settings.muted {
        Some(Reason::Muted)
    } else if lacks == Lacks::All {
        Some(Reason::Codec)
    } else if !view.visible {
        Some(Reason::Hidden)
    } else if !settings.screen && !view.pinned && !in_last_n {
        Some(Reason::LastN)
    } else {
        None
    }
}

/// The order of a viewer's videos. This is the only place that gives classes a meaning:
///
/// | class | the video | upgraded first |
/// |---|---|---|
/// | 0 | shows a screen: everybody talks about it, and it is unreadable when small | yes |
/// | 1 | is pinned by the viewer | yes |
/// | 2 | shows somebody who speaks now | yes |
/// | 3 | is any other, by the number of tracks that were heard since its publisher | no |
fn priority(settings: TrackSettings, view: &View, speech: Speech) -> Priority {
    let (class, rank) = match speech {
        _ if settings.screen => (0, 0),
        _ if view.pinned => (1, 0),
        Speech::Now => (2, 0),
        Speech::Before(others) => (3, u16::try_from(others).unwrap_or(u16::MAX)),
        Speech::Never => (3, u16::MAX),
    };
    Priority {
        class,
        rank,
        comes_whole: class < 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::track::ladder::Rung;

    fn settings(muted: bool, screen: bool) -> TrackSettings {
        TrackSettings { muted, screen }
    }

    fn view(visible: bool, pinned: bool) -> View {
        View {
            visible,
            pinned,
            ..View::of(TrackId::new(0, 1))
        }
    }

    #[test]
    fn the_first_reason_counts() {
        use Lacks::{All, Some as Part};
        let none = Lacks::None;
        for (muted, lacks, visible, screen, pinned, in_last_n, expected) in [
            (false, none, true, false, false, true, None),
            (true, All, false, false, false, false, Some(Reason::Muted)),
            (false, All, false, false, false, false, Some(Reason::Codec)),
            (false, Part, true, false, false, true, None),
            (
                false,
                Part,
                false,
                false,
                false,
                false,
                Some(Reason::Hidden),
            ),
            (false, none, false, true, true, true, Some(Reason::Hidden)),
            (false, none, true, false, false, false, Some(Reason::LastN)),
            (false, none, true, true, false, false, None),
            (false, none, true, false, true, false, None),
            (true, none, true, true, true, true, Some(Reason::Muted)),
        ] {
            let found = paused(
                settings(muted, screen),
                &view(visible, pinned),
                lacks,
                in_last_n,
            );
            assert_eq!(
                found, expected,
                "{muted} {lacks:?} {visible} {screen} {pinned} {in_last_n}"
            );
        }
    }

    #[test]
    fn screens_come_before_pins_before_speakers_before_the_rest() {
        use Speech::{Before, Never, Now};
        let of =
            |screen, pinned, speech| priority(settings(false, screen), &view(true, pinned), speech);
        let in_order = [
            of(true, false, Never),
            of(false, true, Never),
            of(false, false, Now),
            of(false, false, Before(0)),
            of(false, false, Before(7)),
            of(false, false, Never),
        ];
        assert!(in_order.is_sorted_by(|a, b| a < b), "{in_order:?}");
        assert_eq!(in_order.map(|priority| priority.class), [0, 1, 2, 3, 3, 3]);
        let whole = in_order.map(|priority| priority.comes_whole);
        assert_eq!(whole, [true, true, true, false, false, false]);
        // The first that holds counts.
        assert_eq!(of(true, true, Now), of(true, false, Never));
        assert_eq!(of(false, true, Now), of(false, true, Before(3)));
        assert_eq!(of(false, false, Before(usize::MAX)).rank, u16::MAX);
    }

    #[test]
    fn audio_is_decided_when_it_is_muted_or_unmuted() {
        let track = TrackId::new(0, 1);
        let mute = sound(2, track, None, true).expect("news");
        assert_eq!((mute.slot, mute.layer), (2, None));
        assert_eq!(mute.reason, Reason::Muted);
        assert_eq!(sound(2, track, Some(mute), true), None);
        let unmute = sound(2, track, Some(mute), false).expect("news");
        assert_eq!(unmute.layer, Some(LayerId::default()));
        assert_eq!(unmute.reason, Reason::Best);
        assert_eq!(sound(2, track, Some(unmute), false), None);
        assert_eq!(sound(2, track, None, false), None);
    }

    proptest! {
        /// Steps stay as they are if the viewer decodes their encoding, and cannot be chosen otherwise.
        #[test]
        fn a_ladder_keeps_what_the_viewer_decodes(
            steps in 1u8..4,
            order in Just(vec![0usize, 1, 2]).prop_shuffle(),
            decoded in prop::collection::vec(any::<bool>(), 3),
        ) {
            let order = Ranks::of(&order[..usize::from(steps)]);
            let mut ladder = Ladder::default();
            for spatial in 0..steps {
                ladder.push(Rung {
                    id: LayerId { spatial, temporal: 0 },
                    bitrate: 1_000,
                    alive: true,
                    available: true,
                    ..Rung::default()
                });
            }
            let lacks = leave_out_undecodable(&mut ladder, &order, |encoding| decoded[encoding]);
            let mut left = 0;
            for rung in ladder.rungs() {
                let decodes = order.encoding_of(rung.id).is_some_and(|encoding| decoded[encoding]);
                prop_assert_eq!((rung.alive, rung.available), (decodes, decodes));
                left += u8::from(decodes);
            }
            let expected = match left {
                0 => Lacks::All,
                left if left == steps => Lacks::None,
                _ => Lacks::Some,
            };
            prop_assert_eq!(lacks, expected);
        }
    }
}
