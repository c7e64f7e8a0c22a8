//! Caps: the most that the server and the viewer allow, whatever the link carries.

use super::*;

#[test]
fn a_cap_is_a_bound_whatever_the_link_carries() {
    let now = Instant::now();
    let requests = [request(0), request(1)];
    let cap = Cap {
        bitrate: Some(1_000_000),
        height: None,
    };
    let untried = Budget {
        untried: true,
        ..budget(50_000)
    };
    let mut allocator = Allocator::default();
    let total: u64 = allocator
        .allocate(now, untried, cap, &requests)
        .iter()
        .map(|allocation| allocation.bitrate)
        .sum();
    assert_eq!(total, 650_000, "rates swing: not all of the limit is used");
    let cap = Cap {
        bitrate: None,
        height: Some(360),
    };
    let allocations = allocator
        .allocate(now, budget(50_000), cap, &requests)
        .to_vec();
    assert!(allocations.iter().all(|allocation| {
        allocation.layer.is_some_and(|layer| layer.spatial == 1) && allocation.reason == Reason::Cap
    }));
}

#[test]
fn who_denies_more_is_told_the_server_or_the_link() {
    let now = Instant::now();
    // Link and cap in kbit/s, and whether every rate tried has fitted; the ladder is 150, 500, 1,700.
    let table = [
        (50_000, Some(600), false, (Some(1), "cap")),
        (50_000, Some(100), false, (None, "cap")),
        (50_000, Some(1_700), false, (Some(1), "cap")),
        (50_000, Some(1_950), false, (Some(2), "best")),
        (1_000, Some(600), false, (Some(1), "cap")),
        (400, Some(600), false, (Some(0), "bandwidth")),
        (100, Some(600), false, (None, "bandwidth")),
        (100, Some(120), false, (None, "bandwidth")),
        // The cap would allow the whole ladder, so that the link is the reason.
        (600, Some(2_000), false, (Some(1), "bandwidth")),
        (600, None, false, (Some(1), "bandwidth")),
        // The link has shown no limit yet.
        (300, Some(400), true, (Some(0), "cap")),
    ];
    for (kbit, cap, untried, expected) in table {
        let budget = Budget {
            untried,
            ..budget(kbit)
        };
        let cap = Cap {
            bitrate: cap.map(|kbit: u64| kbit * 1_000),
            height: None,
        };
        let allocation = Allocator::default().allocate(now, budget, cap, &[request(0)])[0];
        let told = (
            allocation.layer.map(|layer| layer.spatial),
            allocation.reason.code(),
        );
        assert_eq!(told, expected, "{kbit} kbit/s within {cap:?}");
    }
}

#[test]
fn what_the_server_denies_is_told_as_that_steadily() {
    let start = Instant::now();
    // Link in kbit/s and the lowest layer's rate, one decision after the other; the cap, and the reasons.
    type Case = (u64, &'static [(u64, u64)], &'static [&'static str]);
    let table: [Case; 5] = [
        // The lowest layer's rate swings around the cap.
        (
            120,
            &[
                (50_000, 150),
                (50_000, 115),
                (50_000, 100),
                (50_000, 125),
                (50_000, 140),
            ],
            &["cap"; 5],
        ),
        // The estimate swings around the cap, on a link that is never sent more.
        (
            600,
            &[(650, 150), (560, 150), (500, 150), (610, 150)],
            &["cap"; 4],
        ),
        (
            600,
            &[(650, 150), (400, 150), (560, 150)],
            &["cap", "bandwidth", "bandwidth"],
        ),
        (120, &[(100, 150), (110, 150)], &["bandwidth"; 2]),
        (120, &[(150, 150), (100, 150)], &["cap"; 2]),
    ];
    for (cap, steps, expected) in table {
        let cap = Cap {
            bitrate: Some(cap * 1_000),
            height: None,
        };
        let (mut allocator, mut requests) = (Allocator::default(), [request(0)]);
        for (at, ((link, lowest), expected)) in (0..).zip(steps.iter().zip(expected)) {
            requests[0].ladder = ladder(&[*lowest, 500, 1_700]);
            let now = start + Duration::from_secs(2 * at);
            let allocation = allocator.allocate(now, budget(*link), cap, &requests)[0];
            requests[0].current = allocation.layer;
            assert_eq!(
                allocation.reason.code(),
                *expected,
                "{cap:?}, decision {at}"
            );
            let kept = cap.bitrate.map(|most| percent(most, KEEP_SHARE));
            assert!(Some(allocation.bitrate) <= kept, "{cap:?}, decision {at}");
        }
    }
}

#[test]
fn under_a_cap_nothing_begins_that_may_be_too_much() {
    let now = Instant::now();
    let untried = Budget {
        untried: true,
        ..budget(1_000)
    };
    for (cap, height, rate, expected) in [
        (Some(400), 360, 0, (None, "cap")),
        (Some(400), 360, 60, (None, "cap")),
        (Some(500), 360, 0, (Some(0), "best")),
        (Some(1_000), 0, 0, (None, "cap")),
        (None, 360, 0, (Some(0), "best")),
    ] {
        let mut requests = [request(0)];
        requests[0].ladder = ladder(&[rate]);
        let rung = &mut requests[0].ladder.rungs_mut()[0];
        (rung.height, rung.begins) = (height, true);
        let cap = Cap {
            bitrate: cap.map(|kbit: u64| kbit * 1_000),
            height: None,
        };
        let allocation = Allocator::default().allocate(now, untried, cap, &requests)[0];
        let told = (
            allocation.layer.map(|layer| layer.spatial),
            allocation.reason.code(),
        );
        assert_eq!(told, expected, "{cap:?}, {height} lines, {rate} kbit/s");
    }
}
