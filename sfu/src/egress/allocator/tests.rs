use proptest::prelude::*;

use super::*;
use crate::track::ladder::Rung;

mod caps;
mod comebacks;

const FIRST: Priority = Priority {
    class: 0,
    rank: 0,
    comes_whole: true,
};
const SPEAKING: Priority = Priority { class: 2, ..FIRST };
const LAST: Priority = ranked(u16::MAX);

/// A priority in the last class.
const fn ranked(rank: u16) -> Priority {
    Priority {
        class: 3,
        rank,
        comes_whole: false,
    }
}

fn track(number: u64) -> TrackId {
    TrackId::new(0, number)
}

fn ladder(rates: &[u64]) -> Ladder {
    let mut ladder = Ladder::default();
    for (index, rate) in rates.iter().enumerate() {
        ladder.push(Rung {
            id: LayerId {
                spatial: index as u8,
                temporal: 0,
            },
            bitrate: rate * 1_000,
            height: 180 << index,
            alive: true,
            available: true,
            begins: false,
            late: false,
        });
    }
    ladder
}

fn request(slot: usize) -> LayerRequest {
    LayerRequest {
        slot,
        track: track(slot as u64),
        ladder: ladder(&[150, 500, 1_700]),
        order: Ranks::of(&[0, 1, 2]),
        priority: LAST,
        height: 0,
        paused: None,
        lacks_codec: false,
        most: None,
        current: None,
        shown: None,
    }
}

fn budget(kbit: u64) -> Budget {
    Budget {
        bitrate: kbit * 1_000,
        confirmed: kbit * 1_000,
        untried: false,
        congested: false,
        doubtful: false,
        waits: false,
        sound: 0,
        whole: kbit * 1_000,
    }
}

/// Runs a decision, and returns spatial layers and reasons.
fn decide(
    allocator: &mut Allocator,
    now: Instant,
    budget: Budget,
    requests: &mut [LayerRequest],
) -> Vec<(Option<u8>, &'static str)> {
    let allocations = allocator
        .allocate(now, budget, Cap::default(), requests)
        .to_vec();
    for (request, allocation) in requests.iter_mut().zip(&allocations) {
        request.current = allocation.layer;
    }
    allocations
        .iter()
        .map(|allocation| {
            (
                allocation.layer.map(|layer| layer.spatial),
                allocation.reason.code(),
            )
        })
        .collect()
}

#[test]
fn everybody_gets_the_lowest_layer_before_anybody_gets_more() {
    let now = Instant::now();
    let table: [(u64, &[Option<u8>]); 5] = [
        (100, &[None, None, None]),
        (400, &[Some(0), Some(0), None]),
        (950, &[Some(1), Some(0), Some(0)]),
        (1_750, &[Some(1), Some(1), Some(1)]),
        (6_000, &[Some(2), Some(2), Some(2)]),
    ];
    for (kbit, expected) in table {
        let mut requests = [request(0), request(1), request(2)];
        let granted = decide(&mut Allocator::default(), now, budget(kbit), &mut requests);
        let layers: Vec<_> = granted.iter().map(|(layer, _)| *layer).collect();
        assert_eq!(layers, expected, "{kbit}");
        let best =
            |(layer, reason): &(Option<u8>, &str)| (*layer == Some(2)) == (*reason == "best");
        assert!(granted.iter().all(best), "{granted:?}");
    }
}

#[test]
fn no_picture_goes_while_a_cut_may_be_taken_back_but_upper_layers_do() {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    decide(&mut allocator, start, budget(2_500), &mut requests);
    assert_eq!(requests[0].current.map(|layer| layer.spatial), Some(2));
    let doubtful = Budget {
        congested: true,
        doubtful: true,
        ..budget(100)
    };
    let granted = decide(&mut allocator, start, doubtful, &mut requests);
    assert_eq!(granted, [(Some(0), "bandwidth"), (Some(0), "bandwidth")]);
    // Layers that are not sent now are not granted meanwhile.
    requests[1].current = None;
    let granted = decide(&mut allocator, start, doubtful, &mut requests);
    assert_eq!(granted, [(Some(0), "bandwidth"), (None, "bandwidth")]);
    let granted = decide(&mut allocator, start, budget(100), &mut requests);
    assert_eq!(granted, [(None, "bandwidth"), (None, "bandwidth")]);
}

/// Who begins to speak waits for the moment that the others' pictures stay.
#[test]
fn no_picture_is_added_while_a_cut_may_be_taken_back() {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1), request(2)];
    decide(&mut allocator, start, budget(310), &mut requests);
    requests.swap(0, 2);
    assert_eq!(requests[0].current, None);
    requests[0].priority = SPEAKING;
    let doubtful = Budget {
        congested: true,
        doubtful: true,
        ..budget(250)
    };
    let granted = decide(&mut allocator, start, doubtful, &mut requests);
    let layers: Vec<_> = granted.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(layers, [None, Some(0), Some(0)]);
    let later = start + Duration::from_millis(400);
    let granted = decide(&mut allocator, later, budget(250), &mut requests);
    assert_eq!(granted[0].0, Some(0), "the speaker comes first then");
}

#[test]
fn a_screen_then_the_pinned_then_the_speaker_come_first_and_whole() {
    let now = Instant::now();
    let mut requests = [request(0), request(1), request(2), request(3)];
    requests[1].priority = SPEAKING;
    requests[2].priority = FIRST;
    requests[3].priority = ranked(0);
    let granted = decide(&mut Allocator::default(), now, budget(2_600), &mut requests);
    let layers: Vec<_> = granted.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(layers, [Some(0), Some(0), Some(2), Some(0)]);
    let granted = decide(&mut Allocator::default(), now, budget(330), &mut requests);
    let layers: Vec<_> = granted.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(layers, [None, Some(0), Some(0), None]);
    assert_eq!(granted[0].1, "bandwidth");
}

#[test]
fn no_more_than_the_place_on_the_screen_shows() {
    let now = Instant::now();
    for (height, expected) in [
        (0, (2, "best")),
        (180, (0, "size_hint")),
        (200, (0, "size_hint")),
        (300, (1, "size_hint")),
        (1_080, (2, "best")),
    ] {
        let mut requests = [request(0)];
        requests[0].height = height;
        let mut allocator = Allocator::default();
        let granted = decide(&mut allocator, now, budget(10_000), &mut requests);
        assert_eq!(granted, [(Some(expected.0), expected.1)], "{height}");
        assert_eq!(allocator.desired, allocator.allocated, "{height}");
    }
}

#[test]
fn what_is_not_to_be_seen_costs_nothing_and_says_why() {
    let now = Instant::now();
    let mut requests = [request(0), request(1), request(2)];
    requests[0].paused = Some(Reason::Hidden);
    requests[2].ladder = Ladder::default();
    let mut allocator = Allocator::default();
    let granted = decide(&mut allocator, now, budget(10_000), &mut requests);
    assert_eq!(
        granted,
        [
            (None, "hidden"),
            (Some(2), "best"),
            (None, "waiting_for_publisher")
        ]
    );
    assert_eq!(allocator.desired, 1_700_000);
}

#[test]
fn a_publisher_that_has_sent_nothing_yet_is_waited_for_and_one_that_stopped_is_named() {
    let now = Instant::now();
    let silent = |bitrate, height| {
        let mut ladder = ladder(&[150]);
        ladder.rungs_mut()[0] = Rung {
            bitrate,
            height,
            alive: false,
            available: false,
            ..ladder.rungs()[0]
        };
        ladder
    };
    for (ladder, expected) in [
        (Ladder::default(), "waiting_for_publisher"),
        (silent(0, 0), "waiting_for_publisher"),
        (silent(150_000, 0), "publisher"),
        (silent(0, 180), "publisher"),
    ] {
        let mut requests = [request(0)];
        requests[0].ladder = ladder;
        let granted = decide(
            &mut Allocator::default(),
            now,
            budget(10_000),
            &mut requests,
        );
        assert_eq!(granted, [(None, expected)], "{ladder:?}");
    }
}

#[test]
fn down_at_once_and_up_when_calm_and_proven() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut allocator = Allocator::default();
    let mut requests = [request(0)];
    assert_eq!(
        decide(&mut allocator, at(0), budget(2_500), &mut requests)[0].0,
        Some(2)
    );
    let congested = Budget {
        congested: true,
        ..budget(600)
    };
    assert_eq!(
        decide(&mut allocator, at(20_000), congested, &mut requests),
        [(Some(1), "bandwidth")]
    );
    assert_eq!(
        decide(&mut allocator, at(20_500), budget(2_500), &mut requests)[0].0,
        Some(1),
        "not calm yet"
    );
    let unproven = Budget {
        confirmed: 900_000,
        ..budget(2_500)
    };
    assert_eq!(
        decide(&mut allocator, at(23_000), unproven, &mut requests)[0].0,
        Some(1),
        "nothing proves it"
    );
    assert_eq!(
        decide(&mut allocator, at(23_000), budget(2_500), &mut requests)[0].0,
        Some(2)
    );
}

/// The spatial layers alone.
fn layers(granted: &[(Option<u8>, &'static str)]) -> Vec<Option<u8>> {
    granted.iter().map(|(layer, _)| *layer).collect()
}

#[test]
fn after_a_cut_one_picture_at_a_time_gets_more() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1), request(2)];
    let before = decide(&mut allocator, at(0), budget(1_800), &mut requests);
    assert_eq!(layers(&before), [Some(1); 3], "nothing was cut yet");
    let narrow = decide(&mut allocator, at(20_000), budget(170), &mut requests);
    assert_eq!(layers(&narrow), [Some(0), None, None]);
    // With little room, one after the other. With much, all pictures at once, and then larger ones in turn, each as
    // large as fits at once.
    for (kbit, after, expected) in [
        (580, 37, [vec![Some(0), Some(0), None], vec![Some(0); 3]]),
        (
            4_000,
            80,
            [
                vec![Some(2), Some(0), Some(0)],
                vec![Some(2), Some(1), Some(0)],
            ],
        ),
    ] {
        let mut seen = Vec::new();
        for step in 0..30 {
            let now = at(after * 1_000 + step * 100);
            let granted = layers(&decide(&mut allocator, now, budget(kbit), &mut requests));
            if seen.last() != Some(&granted) {
                seen.push(granted);
            }
        }
        assert_eq!(seen[..2], expected, "{kbit}: {seen:?}");
    }
    let mut allocator = Allocator {
        cut_at: Some(at(0)),
        ..Allocator::default()
    };
    let mut requests = [request(0), request(1), request(2)];
    let granted = decide(&mut allocator, at(5_000), budget(1_000), &mut requests);
    let expected = [Some(1), Some(0), Some(0)];
    assert_eq!(layers(&granted), expected, "who joins does not wait");
}

#[test]
fn who_has_a_picture_keeps_it_whoever_spoke_last() {
    let now = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    (requests[0].priority, requests[1].priority) = (ranked(0), ranked(1));
    let first = decide(&mut allocator, now, budget(200), &mut requests);
    assert_eq!(layers(&first), [Some(0), None]);
    let later = now + Duration::from_secs(30);
    (requests[0].priority, requests[1].priority) = (ranked(1), ranked(0));
    let second = decide(&mut allocator, later, budget(200), &mut requests);
    assert_eq!(layers(&second), [Some(0), None]);
    // The present speaker comes first.
    requests[1].priority = SPEAKING;
    let third = decide(&mut allocator, later, budget(200), &mut requests);
    assert_eq!(layers(&third), [None, Some(0)]);
}

#[test]
fn what_waited_for_too_long_is_less_for_a_while() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    let granted = decide(&mut allocator, at(0), budget(1_200), &mut requests);
    assert_eq!(layers(&granted), [Some(1), Some(1)]);
    // The last in line of the slots that need much makes way.
    assert_eq!(allocator.last_in_line(|_| true), Some(1));
    assert_eq!(allocator.last_in_line(|slot| slot == 0), Some(0));
    assert_eq!(allocator.last_in_line(|_| false), None);
    allocator.overran(at(20), 1);
    let granted = decide(&mut allocator, at(20), budget(1_200), &mut requests);
    assert_eq!(granted, [(Some(1), "bandwidth"), (Some(0), "bandwidth")]);
    let granted = decide(&mut allocator, at(40), budget(1_300), &mut requests);
    assert_eq!(layers(&granted), [Some(1), Some(1)]);
    // The lowest layer is not sent at all, and the time is longer.
    allocator.overran(at(40), 1);
    decide(&mut allocator, at(40), budget(1_100), &mut requests);
    allocator.overran(at(41), 1);
    let granted = decide(&mut allocator, at(50), budget(1_100), &mut requests);
    assert_eq!(granted[1], (None, "bandwidth"));
    allocator.overran(at(50), 7);
}

#[test]
fn a_lowest_layer_that_the_link_carries_easily_is_never_away_for_long() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (kbit, away) in [(400, [1, 1, 1]), (200, [1, 4, 16])] {
        let mut allocator = Allocator::default();
        let mut requests = [request(0)];
        decide(&mut allocator, at(0), budget(kbit), &mut requests);
        for (time, away) in (20..).step_by(40).zip(away) {
            assert_eq!(requests[0].current, Some(LayerId::default()), "{kbit}");
            allocator.overran(at(time), 0);
            for second in 0..away {
                let now = at(time + second);
                let granted = decide(&mut allocator, now, budget(kbit), &mut requests);
                assert_eq!(granted[0], (None, "bandwidth"), "{kbit} {second}");
            }
            // A layer that fits only just must fit for a while as well.
            let patient = if kbit == 400 { 0 } else { 6 };
            for second in 0..=patient {
                let now = at(time + away + second);
                decide(&mut allocator, now, budget(kbit), &mut requests);
            }
        }
    }
}

#[test]
fn a_link_that_carries_what_did_not_fit_is_another_link() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (kbit, taken) in [(2_050, false), (2_300, true)] {
        let mut allocator = Allocator::default();
        let mut requests = [request(0)];
        decide(&mut allocator, at(0), budget(2_500), &mut requests);
        // The upgrade did not last: many seconds of calm follow.
        decide(&mut allocator, at(5), budget(1_000), &mut requests);
        assert_eq!(requests[0].current.map(|layer| layer.spatial), Some(1));
        let granted = decide(&mut allocator, at(8), budget(kbit), &mut requests);
        assert_eq!(granted[0].0 == Some(2), taken, "{kbit}");
    }
}

#[test]
fn no_upgrade_is_to_blame_for_a_link_that_became_much_narrower() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (cut_to, blamed) in [(1_000, true), (600, false)] {
        let mut allocator = Allocator::default();
        let mut requests = [request(0), request(1)];
        requests[1].height = 180;
        decide(&mut allocator, at(0), budget(700), &mut requests);
        decide(&mut allocator, at(1), budget(2_500), &mut requests);
        decide(&mut allocator, at(5), budget(cut_to), &mut requests);
        let calm = allocator.calm_until().unwrap() - at(5);
        assert_eq!(calm == CALM_AGAIN, blamed, "{cut_to}: {calm:?}");
    }
}

#[test]
fn a_queue_that_is_emptied_takes_no_layer_that_nearly_fits() {
    let start = Instant::now();
    for (kbit, kept) in [(480, true), (450, false)] {
        let mut allocator = Allocator::default();
        let mut requests = [request(0)];
        decide(&mut allocator, start, budget(1_000), &mut requests);
        let congested = Budget {
            congested: true,
            ..budget(kbit)
        };
        let later = start + Duration::from_secs(30);
        let granted = decide(&mut allocator, later, congested, &mut requests);
        assert_eq!(granted[0].0 == Some(1), kept, "{kbit}");
    }
}

#[test]
fn a_link_at_the_edge_is_tried_more_and_more_rarely() {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0)];
    let mut switches = 0;
    let mut before = None;
    // The link is too narrow for the top layer while that is sent, and wide enough otherwise.
    for step in 0..6_000u64 {
        let now = start + Duration::from_millis(step * 100);
        let sent = requests[0].current.map(|layer| layer.spatial);
        let kbit = if sent == Some(2) && step % 10 == 9 {
            1_500
        } else {
            2_000
        };
        decide(&mut allocator, now, budget(kbit), &mut requests);
        switches += u32::from(before != Some(requests[0].current));
        before = Some(requests[0].current);
    }
    assert!(switches <= 30, "{switches} switches in ten minutes");
}

/// After a cut at 0 s and the calm that follows, feeds budgets and the middle layer's rates, both in kbit/s, five times
/// a second. Returns the time at which the layer is granted, in seconds.
fn taken_at(rounds: impl Iterator<Item = (u64, u64)>) -> Option<f64> {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0)];
    requests[0].ladder = ladder(&[150, 500]);
    decide(&mut allocator, start, budget(800), &mut requests);
    assert_eq!(requests[0].current.map(|layer| layer.spatial), Some(1));
    let cut = Duration::from_secs(30);
    decide(&mut allocator, start + cut, budget(200), &mut requests);
    assert_eq!(requests[0].current.map(|layer| layer.spatial), Some(0));
    let calm = cut + CALM;
    for (round, (kbit, rate)) in (0u32..).zip(rounds) {
        let after = Duration::from_millis(200) * round;
        requests[0].ladder = ladder(&[150, rate]);
        decide(
            &mut allocator,
            start + calm + after,
            budget(kbit),
            &mut requests,
        );
        if requests[0].current.map(|layer| layer.spatial) == Some(1) {
            return Some(after.as_secs_f64());
        }
    }
    None
}

#[test]
fn after_a_cut_what_fits_only_just_has_to_fit_for_a_while() {
    let patience = patience::PATIENCE.as_secs_f64();
    // With room to spare it is granted at once, and with little room once it has fitted for long enough.
    assert_eq!(taken_at((0..100).map(|_| (640, 500))), Some(0.0));
    assert_eq!(taken_at((0..100).map(|_| (600, 500))), Some(patience));
    // A layer that swings by a tenth every 3 s fits in each of its troughs, and is never granted.
    let swings = (0..400).map(|round| (600, if round % 15 < 7 { 500 } else { 550 }));
    assert_eq!(taken_at(swings), None);
    // A layer that fits when the estimate peaks is not granted either.
    let peaks = (0..400).map(|round| (if round % 15 < 7 { 600 } else { 560 }, 500));
    assert_eq!(taken_at(peaks), None);
    // An earlier interruption does not count any more.
    let late = (0..100).map(|round| (600, if round < 10 { 550 } else { 500 }));
    assert_eq!(taken_at(late), Some(2.0 + patience));
}

#[test]
fn a_link_that_was_never_cut_needs_no_patience() {
    let mut requests = [request(0)];
    requests[0].ladder = ladder(&[150, 500]);
    decide(
        &mut Allocator::default(),
        Instant::now(),
        budget(600),
        &mut requests,
    );
    assert_eq!(requests[0].current.map(|layer| layer.spatial), Some(1));
}

#[test]
fn a_picture_that_stands_still_goes_on_with_what_comes() {
    let now = Instant::now();
    // The layer shown, the layers of three that arrive, and those that would if wanted; the layer granted.
    for (shown, alive, available, expected) in [
        (Some(2), [true, false, true], [true, true, true], Some(2)),
        (Some(2), [true, false, false], [true, true, false], Some(0)),
        (Some(2), [true, true, false], [true, true, false], Some(1)),
        (Some(0), [true, false, false], [true, true, false], Some(1)),
        (None, [true, false, false], [true, true, false], Some(1)),
        // Nothing arrives: a publisher that paused all layers is asked for the best.
        (Some(2), [false; 3], [true, true, true], Some(2)),
    ] {
        let mut requests = [request(0)];
        requests[0].shown = shown.map(|spatial| LayerId {
            spatial,
            temporal: 0,
        });
        for (rung, (alive, available)) in requests[0]
            .ladder
            .rungs_mut()
            .iter_mut()
            .zip(alive.into_iter().zip(available))
        {
            (rung.alive, rung.available) = (alive, available);
        }
        let granted = decide(
            &mut Allocator::default(),
            now,
            budget(10_000),
            &mut requests,
        );
        assert_eq!(granted[0].0, expected, "{shown:?} {alive:?} {available:?}");
    }
}

#[test]
fn a_new_speaker_takes_from_others_without_proof() {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    requests[0].priority = SPEAKING;
    assert_eq!(
        decide(&mut allocator, start, budget(2_180), &mut requests)
            .iter()
            .map(|(layer, _)| *layer)
            .collect::<Vec<_>>(),
        [Some(2), Some(0)]
    );
    requests[0].priority = ranked(0);
    requests[1].priority = SPEAKING;
    let unproven = Budget {
        confirmed: 0,
        ..budget(2_180)
    };
    let granted = decide(&mut allocator, start, unproven, &mut requests);
    assert_eq!(
        granted.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(),
        [Some(0), Some(2)]
    );
}

proptest! {
    #[test]
    fn never_more_than_the_budget_and_never_an_upgrade_before_a_lowest_layer(
        kbit in 0u64..20_000,
        congested: bool,
        doubtful: bool,
        rows in prop::collection::vec((1u64..400, 1u64..4, 1u64..4, 0u16..1_200, 0u8..6, prop::option::of(0u8..3)), 0..30),
    ) {
        let now = Instant::now();
        let requests: Vec<LayerRequest> = rows.iter().enumerate().map(|(slot, (low, middle, top, height, kind, current))| LayerRequest {
            slot,
            track: track(slot as u64),
            ladder: ladder(&[*low, low * (1 + middle), low * (1 + middle) * (1 + top)]),
            order: Ranks::of(&[0, 1, 2]),
            priority: match kind { 0 => FIRST, 1 => SPEAKING, 2 => ranked(3), _ => LAST },
            height: *height,
            paused: (*kind == 5).then_some(Reason::Hidden),
            lacks_codec: false,
            most: None,
            current: current.map(|spatial| LayerId { spatial, temporal: 0 }),
            shown: None,
        }).collect();
        let mut allocator = Allocator::default();
        let allocations = allocator.allocate(now, Budget { congested, doubtful, ..budget(kbit) }, Cap::default(), &requests).to_vec();
        let total: u64 = allocations.iter().map(|allocation| allocation.bitrate).sum();
        let kept = percent(percent(kbit * 1_000, KEEP_SHARE), LOWEST_SHARE);
        // A cut that may be taken back leaves lowest layers that were sent, and adds none.
        let rows = || requests.iter().zip(&allocations);
        let held: u64 = rows()
            .filter(|(request, allocation)| doubtful && request.current.is_some() && allocation.layer.is_some_and(|layer| layer.spatial == 0))
            .map(|(_, allocation)| allocation.bitrate)
            .sum();
        prop_assert!(total <= kept.max(held), "{} > {}", total, kept);
        prop_assert!(!doubtful || rows().all(|(request, allocation)| request.current.is_some() || allocation.layer.is_none()));
        prop_assert_eq!(total, allocator.allocated);
        prop_assert!(allocator.allocated <= allocator.desired);
        for (request, allocation) in requests.iter().zip(&allocations) {
            prop_assert!(request.paused.is_none() || allocation.layer.is_none());
            if request.paused.is_none() && allocation.layer.is_none() {
                prop_assert_eq!(allocation.reason, Reason::Bandwidth);
            }
        }
    }

    #[test]
    fn the_same_wishes_get_the_same(kbit in 100u64..20_000, count in 1usize..20) {
        let start = Instant::now();
        let mut requests: Vec<LayerRequest> = (0..count).map(request).collect();
        let mut allocator = Allocator::default();
        let first = decide(&mut allocator, start, budget(kbit), &mut requests);
        for second in 1..20 {
            let again = decide(&mut allocator, start + Duration::from_secs(second), budget(kbit), &mut requests);
            prop_assert_eq!(&again, &first);
        }
    }
}
