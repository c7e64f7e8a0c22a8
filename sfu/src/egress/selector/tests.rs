use proptest::prelude::*;

use super::*;

const VP8_BASE: FrameInfo = FrameInfo {
    spatial: 0,
    temporal: 0,
    begins: true,
    ends: false,
    key: false,
    joins: false,
    needed: Targets::ALL,
    switches: Targets::NONE,
};
const KEY: FrameInfo = FrameInfo {
    key: true,
    switches: Targets::ALL,
    ..VP8_BASE
};

/// A frame of an upper temporal layer as VP8 describes it; `sync` means that it refers to layer 0 only.
fn upper(temporal: u8, sync: bool) -> FrameInfo {
    FrameInfo {
        temporal,
        joins: sync,
        needed: Targets::from(0, temporal),
        switches: if sync {
            Targets::column(temporal)
        } else {
            Targets::NONE
        },
        ..VP8_BASE
    }
}

fn layer(spatial: u8, temporal: u8) -> LayerId {
    LayerId { spatial, temporal }
}

struct Stream {
    selector: LayerSelector,
    time: u32,
}

impl Stream {
    fn new(simulcast: bool, target: LayerId) -> Self {
        let mut selector = LayerSelector::default();
        if simulcast {
            selector.set_order(Ranks::of(&[0, 1, 2]));
        }
        selector.set_target(Some(target));
        Self { selector, time: 0 }
    }

    fn at(&mut self, timestamp: u32, stream: usize, frame: &FrameInfo, torn: bool) -> Decision {
        self.select(timestamp, stream, frame, torn, false)
    }

    fn select(
        &mut self,
        timestamp: u32,
        stream: usize,
        frame: &FrameInfo,
        torn: bool,
        behind_gap: bool,
    ) -> Decision {
        let packet = Candidate {
            stream,
            timestamp,
            frame,
            switchable: frame.key && frame.spatial == 0,
            empty: false,
            behind_gap,
        };
        self.selector.select(packet, torn)
    }

    /// Sends a frame of the next picture, with packets before it missing.
    fn behind_gap(&mut self, frame: &FrameInfo) -> Decision {
        self.time += 3_000;
        self.select(self.time, 0, frame, false, true)
    }

    /// Sends a frame of the next picture.
    fn next(&mut self, stream: usize, frame: &FrameInfo) -> Decision {
        self.time += 3_000;
        self.at(self.time, stream, frame, false)
    }

    /// Sends another frame of the same picture.
    fn same(&mut self, frame: &FrameInfo) -> Decision {
        self.at(self.time, 0, frame, false)
    }
}

use Decision::{Drop, Forward, Hold, Skip, Switch};

#[test]
fn switches_at_the_targets_keyframe_and_sends_the_old_stream_until_then() {
    let mut s = Stream::new(true, layer(0, 0));
    assert_eq!(s.next(0, &VP8_BASE), Drop);
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(s.next(0, &KEY), Switch);
    assert_eq!(s.selector.awaits_keyframe_of(), None);
    s.selector.set_target(Some(layer(2, 0)));
    assert_eq!(s.next(2, &VP8_BASE), Drop);
    assert_eq!(s.next(0, &VP8_BASE), Forward);
    assert_eq!(s.next(1, &KEY), Drop);
    assert_eq!(s.at(s.time, 2, &KEY, true), Hold);
    assert_eq!(s.next(0, &VP8_BASE), Forward);
    assert_eq!(s.selector.current(), Some(layer(0, 0)));
    assert_eq!(s.next(2, &KEY), Switch);
    assert_eq!(s.selector.current(), Some(layer(2, 0)));
    assert_eq!(s.next(2, &KEY), Forward);
    assert_eq!(s.next(0, &KEY), Drop);
}

#[test]
fn a_stream_that_is_left_ends_with_the_frame_in_progress() {
    let mut s = Stream::new(true, layer(2, 0));
    assert_eq!(s.next(2, &KEY), Switch);
    // No other stream is to be sent, so that there is none to leave for.
    s.selector.leave();
    assert_eq!(s.next(2, &VP8_BASE), Forward);
    s.selector.set_target(Some(layer(0, 0)));
    s.selector.leave();
    assert_eq!(s.at(s.time, 2, &VP8_BASE, false), Forward);
    assert_eq!(s.next(2, &VP8_BASE), Drop);
    assert_eq!(s.selector.current(), None);
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(s.next(0, &KEY), Switch);
    assert_eq!(s.next(0, &VP8_BASE), Forward);
    // The change is taken back.
    s.selector.set_target(Some(layer(1, 0)));
    s.selector.leave();
    s.selector.set_target(Some(layer(0, 0)));
    assert_eq!(s.next(0, &VP8_BASE), Forward);
}

#[test]
fn a_pause_ends_with_the_frame_in_progress() {
    let mut s = Stream::new(false, layer(0, 0));
    s.next(0, &KEY);
    assert_eq!(s.next(0, &VP8_BASE), Forward);
    s.selector.set_target(None);
    assert_eq!(s.selector.current(), None);
    assert_eq!(s.same(&VP8_BASE), Forward, "the rest of the frame");
    assert_eq!(s.next(0, &VP8_BASE), Drop);
    assert_eq!(s.same(&VP8_BASE), Drop);
    s.selector.set_target(Some(layer(0, 0)));
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(s.next(0, &VP8_BASE), Drop);
    assert_eq!(s.next(0, &KEY), Switch);
}

#[test]
fn frame_rates_fall_at_once_and_rise_at_frames_that_allow_it() {
    let mut s = Stream::new(false, layer(0, 2));
    assert_eq!(s.next(0, &KEY), Switch);
    assert_eq!(s.next(0, &upper(2, false)), Forward, "behind a keyframe");
    assert_eq!(s.next(0, &upper(1, false)), Forward);
    s.selector.set_target(Some(layer(0, 0)));
    assert_eq!(s.same(&upper(1, false)), Forward, "the rest of a frame");
    for frame in [upper(2, false), upper(1, true), upper(2, true)] {
        assert_eq!(s.next(0, &frame), Skip);
    }
    assert_eq!(s.next(0, &VP8_BASE), Forward);
    assert_eq!(s.selector.current(), Some(layer(0, 0)));
    s.selector.set_target(Some(layer(0, 2)));
    assert_eq!(
        s.selector.awaits_keyframe_of(),
        None,
        "no keyframe for that"
    );
    for (frame, decision) in [
        (upper(2, false), Skip),
        (upper(1, false), Skip),
        (upper(2, true), Skip),
        (upper(1, true), Forward),
        (upper(2, false), Skip),
        (VP8_BASE, Forward),
        (upper(2, true), Forward),
        (upper(1, false), Forward),
        (upper(2, false), Forward),
    ] {
        assert_eq!(s.next(0, &frame), decision, "{frame:?}");
    }
    assert_eq!(s.selector.current(), Some(layer(0, 2)));
}

#[test]
fn packets_are_decided_on_like_the_rest_of_their_frame() {
    let mut s = Stream::new(false, layer(0, 1));
    s.next(0, &KEY);
    s.next(0, &upper(1, false));
    let sent = s.time;
    s.selector.set_target(Some(layer(0, 0)));
    s.next(0, &VP8_BASE);
    s.next(0, &upper(1, false));
    let skipped = s.time;
    s.selector.set_target(Some(layer(0, 1)));
    s.next(0, &VP8_BASE);
    s.next(0, &upper(1, true));
    assert_eq!(s.at(sent, 0, &upper(1, false), false), Forward);
    assert_eq!(s.at(skipped, 0, &upper(1, false), false), Skip);
    // For a frame never seen, the layer sent at its time counts.
    assert_eq!(s.at(sent + 1, 0, &upper(1, false), false), Forward);
    assert_eq!(s.at(skipped + 1, 0, &upper(1, false), false), Skip);
    assert_eq!(s.at(s.time, 0, &VP8_BASE, false), Forward);
    assert_eq!(
        s.selector.current(),
        Some(layer(0, 1)),
        "late ones are no matter"
    );
}

/// The frames of a picture of three spatial layers. `inter`: lower ones are needed for upper ones.
fn picture(temporal: u8, key: bool, inter: bool) -> [FrameInfo; 3] {
    [0, 1, 2].map(|spatial| {
        let own = if spatial == 2 {
            Targets::from(spatial, temporal)
        } else {
            Targets::row(spatial, temporal)
        };
        let needed = if key || inter {
            Targets::from(spatial, temporal)
        } else {
            own
        };
        FrameInfo {
            spatial,
            temporal,
            ends: true,
            key: key && spatial == 0,
            needed,
            switches: match (key, temporal) {
                (true, _) => needed,
                (false, 0) => own,
                _ => Targets::NONE,
            },
            ..VP8_BASE
        }
    })
}

fn send(s: &mut Stream, picture: [FrameInfo; 3]) -> [bool; 3] {
    let mut first = true;
    picture.map(|frame| {
        let decision = if std::mem::take(&mut first) {
            s.next(0, &frame)
        } else {
            s.same(&frame)
        };
        matches!(decision, Forward | Switch)
    })
}

#[test]
fn picture_sizes_of_full_svc_fall_at_once_and_rise_at_a_keyframe() {
    let mut s = Stream::new(false, layer(2, 2));
    assert_eq!(send(&mut s, picture(0, true, true)), [true; 3]);
    assert_eq!(send(&mut s, picture(2, false, true)), [true; 3]);
    s.selector.set_target(Some(layer(1, 1)));
    assert_eq!(send(&mut s, picture(1, false, true)), [true, true, false]);
    assert!(
        s.selector
            .ends_picture(0, s.time, &picture(1, false, true)[1])
    );
    assert!(
        !s.selector
            .ends_picture(0, s.time, &picture(1, false, true)[0])
    );
    assert_eq!(send(&mut s, picture(2, false, true)), [false; 3]);
    assert_eq!(send(&mut s, picture(0, false, true)), [true, true, false]);
    assert_eq!(s.selector.awaits_keyframe_of(), None);
    s.selector.set_target(Some(layer(2, 2)));
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(send(&mut s, picture(0, false, true)), [true, true, false]);
    // The frame rate rises already.
    assert_eq!(send(&mut s, picture(2, false, true)), [true, true, false]);
    assert_eq!(send(&mut s, picture(0, true, true)), [true; 3]);
    assert_eq!(s.selector.awaits_keyframe_of(), None);
    assert_eq!(s.selector.current(), Some(layer(2, 2)));
}

#[test]
fn picture_sizes_that_do_not_need_each_other_change_at_keyframes_only() {
    let mut s = Stream::new(false, layer(1, 2));
    assert_eq!(send(&mut s, picture(0, true, false)), [true, true, false]);
    assert_eq!(send(&mut s, picture(2, false, false)), [false, true, false]);
    assert_eq!(send(&mut s, picture(0, false, false)), [false, true, false]);
    s.selector.set_target(Some(layer(0, 0)));
    // The old stream is thinned out meanwhile.
    assert_eq!(send(&mut s, picture(1, false, false)), [false; 3]);
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(send(&mut s, picture(0, false, false)), [false, true, false]);
    assert_eq!(send(&mut s, picture(0, true, false)), [true, false, false]);
    assert_eq!(send(&mut s, picture(0, false, false)), [true, false, false]);
    assert_eq!(s.selector.current(), Some(layer(0, 0)));
}

#[test]
fn pictures_that_come_late_are_decided_by_what_was_sent_then() {
    let mut s = Stream::new(false, layer(2, 2));
    send(&mut s, picture(0, true, true));
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for target in [layer(2, 2), layer(0, 1), layer(1, 0), layer(0, 0)] {
        s.selector.set_target(Some(target));
        send(&mut s, picture(0, false, true));
        let picked = s.selector.picked();
        known.push((s.time, picked));
        s.time += 3_000;
        missing.push((s.time, picked));
    }
    for (time, picked) in missing.into_iter().chain(known) {
        // The marker is where it was then, though the lowest frame comes last.
        for frame in picture(0, false, true).into_iter().rev() {
            let decision = s.at(time, 0, &frame, false);
            let sent = frame.spatial <= picked.spatial;
            assert_eq!(decision == Forward, sent, "{time} {frame:?}");
            assert_eq!(s.selector.sends(0, time, &frame), Some(sent));
            let ends = s.selector.ends_picture(0, time, &frame);
            assert_eq!(ends, frame.spatial == picked.spatial, "{time} {frame:?}");
        }
    }
    assert_eq!(
        s.selector.current(),
        Some(layer(0, 0)),
        "late ones are no matter"
    );
}

#[test]
fn what_was_sent_of_a_stream_is_known_when_it_is_sent_again() {
    let mut s = Stream::new(true, layer(1, 0));
    s.next(1, &KEY);
    s.next(1, &upper(1, false));
    let (left_out, missing) = (s.time, s.time + 1_000);
    s.next(1, &VP8_BASE);
    s.selector.set_target(Some(layer(0, 2)));
    assert_eq!(s.next(0, &KEY), Switch);
    s.selector.set_target(Some(layer(1, 2)));
    assert_eq!(s.next(1, &KEY), Switch);
    assert_eq!(s.next(1, &upper(1, false)), Forward);
    for (time, sent) in [(left_out, false), (missing, false), (s.time, true)] {
        assert_eq!(s.selector.sends(1, time, &upper(1, false)), Some(sent));
    }
    assert_eq!(s.selector.sends(1, missing, &VP8_BASE), Some(true));
    assert_eq!(
        s.selector.sends(2, missing, &VP8_BASE),
        None,
        "never was sent"
    );
    for _ in 0..100 {
        s.next(1, &VP8_BASE);
    }
    assert_eq!(s.selector.sends(1, missing, &VP8_BASE), None, "forgotten");
}

/// A layer that is not sent may have frames that have not come. They are left out when they do, so that frames
/// referring to them cannot be sent.
#[test]
fn layers_do_not_rise_behind_a_gap() {
    for (gap, decision) in [(false, Forward), (true, Skip)] {
        let mut s = Stream::new(false, layer(0, 2));
        s.next(0, &KEY);
        s.selector.set_target(Some(layer(0, 0)));
        s.next(0, &VP8_BASE);
        // A frame of layer 1 is missing here, or there is none.
        s.selector.set_target(Some(layer(0, 2)));
        let upper = upper(2, false);
        let found = if gap {
            s.behind_gap(&upper)
        } else {
            s.next(0, &upper)
        };
        assert_eq!(found, decision);
        assert_eq!(s.selector.awaits_keyframe_of(), None);
    }
    // If spatial layers need each other, the lower ones are sent all along.
    for (inter, current) in [(true, layer(0, 0)), (false, layer(1, 0))] {
        let mut s = Stream::new(false, layer(1, 0));
        let [lowest, ..] = picture(0, false, inter);
        send(&mut s, picture(0, true, inter));
        send(&mut s, picture(0, false, inter));
        send(&mut s, picture(0, true, inter));
        s.selector.set_target(Some(layer(0, 0)));
        let decision = s.behind_gap(&lowest);
        assert_eq!(decision == Forward, inter);
        assert_eq!(s.selector.current(), Some(current));
    }
}

#[test]
fn the_lowest_frame_of_a_keyframe_brings_no_layer_that_was_left_out_before_it_came() {
    let mut s = Stream::new(false, layer(0, 0));
    send(&mut s, picture(0, true, true));
    let [lowest, middle, _] = picture(0, true, true);
    assert_eq!(s.next(0, &middle), Skip);
    assert_eq!(s.same(&lowest), Forward);
    s.selector.set_target(Some(layer(1, 0)));
    assert_eq!(s.selector.awaits_keyframe_of(), Some(0));
    assert_eq!(send(&mut s, picture(0, false, true)), [true, false, false]);
}

proptest! {
    #[test]
    fn a_viewer_never_sees_a_stream_from_its_middle(
        steps in prop::collection::vec(
            (0usize..3, any::<bool>(), any::<bool>(), prop::option::of(prop::option::of(0u8..3))), 1..200),
    ) {
        let mut s = Stream::new(true, layer(0, 0));
        let mut shown = None;
        for (stream, keyframe, torn, target) in steps {
            if let Some(target) = target {
                s.selector.set_target(target.map(|spatial| layer(spatial, 0)));
            }
            s.time += 3_000;
            let frame = if keyframe { KEY } else { VP8_BASE };
            match s.at(s.time, stream, &frame, torn) {
                Decision::Switch => {
                    prop_assert!(keyframe);
                    prop_assert!(!torn || shown.is_none());
                    shown = Some(stream);
                }
                Decision::Forward => prop_assert_eq!(shown, Some(stream)),
                Decision::Drop if shown == Some(stream) => shown = None,
                Decision::Hold | Decision::Drop | Decision::Skip => {}
            }
        }
    }
}
