//! The effects of hostile or missing reports on the estimate. The simulation tests reports of a real link.

use proptest::prelude::*;

use super::*;

const CONFIG: BweConfig = BweConfig {
    start: 1_000_000,
    min: 30_000,
    max: 10_000_000_000,
};
const DEMAND: Demand = Demand {
    allocated: 200_000,
    desired: 4_000_000,
    step: 550_000,
};

/// Sends 200 kbit/s to a receiver that reports every so many milliseconds, if at all; returns the estimate after some
/// seconds.
fn after(seconds: u64, reports_ms: Option<u64>) -> Estimate {
    let start = Instant::now();
    let mut estimator = ReportedEstimator::new(start, CONFIG);
    for step in 0..seconds * 50 {
        let now = start + Duration::from_millis(20 * step);
        estimator.set_demand(now, DEMAND);
        estimator.sent(now, 7, step as u16, 500);
        if estimator.poll_timeout().is_some_and(|at| at <= now) {
            estimator.handle_timeout(now);
        }
        assert!(
            estimator.poll_timeout().is_none_or(|at| at > now),
            "a deadline that stays"
        );
        if reports_ms.is_some_and(|ms| step > 0 && (20 * step).is_multiple_of(ms)) {
            let block = Block {
                ssrc: 7,
                highest: step as u16 - 1,
                lost: 0,
                fraction: 0.0,
            };
            estimator.report(now, &block, None, 200_000);
        }
    }
    estimator.estimate()
}

#[test]
fn who_never_reports_is_sent_little_and_who_does_soon_more() {
    let before = after(2, None);
    assert_eq!(
        (before.bitrate, before.limited_by, before.probed),
        (CONFIG.start, LimitedBy::Unknown, 0)
    );
    for seconds in [4, 60] {
        let silent = after(seconds, None);
        assert_eq!(
            (silent.bitrate, silent.limited_by, silent.probed),
            (MUTE as u64, LimitedBy::Loss, 0)
        );
    }
    for (what, seconds, reports_ms, least) in [
        ("once a second", 2, 1_000, 850_000),
        ("often", 2, 200, 850_000),
        ("rarely", 6, 5_000, 2_000_000),
    ] {
        let reported = after(seconds, Some(reports_ms));
        assert_eq!(reported.limited_by, LimitedBy::None, "{what}");
        assert!(reported.probed >= least, "{what}: {reported:?}");
    }
}

#[test]
fn who_is_sent_nothing_is_tried_with_the_least_now_and_then() {
    // All packets are lost from the second second on, and again three seconds' packets at a time.
    let start = Instant::now();
    let mut estimator = ReportedEstimator::new(start, CONFIG);
    let (mut sequence, mut came, mut tries) = (0_u16, 0_u16, Vec::new());
    let mut sends = true;
    let mut heard_again = None;
    for step in 0..60 * 50 {
        let now = start + Duration::from_millis(20 * step);
        let seconds = step as f64 / 50.0;
        let fits = estimator.estimate().bitrate >= DEMAND.step && !estimator.estimate().congested;
        let holds = estimator.estimate().bitrate >= DEMAND.step / 2;
        if !sends && fits {
            tries.push(seconds);
        }
        sends = if sends { holds } else { fits };
        let allocated = if sends { DEMAND.step } else { 0 };
        estimator.set_demand(
            now,
            Demand {
                allocated,
                ..DEMAND
            },
        );
        if sends {
            sequence += 1;
            estimator.sent(now, 7, sequence, 1_375);
            if !(2.0..40.0).contains(&seconds) {
                came = sequence;
            }
        }
        if estimator.poll_timeout().is_some_and(|at| at <= now) {
            estimator.handle_timeout(now);
        }
        if step % 50 == 49 && came > 0 {
            let block = Block {
                ssrc: 7,
                highest: came,
                lost: 0,
                fraction: 0.0,
            };
            estimator.report(now, &block, None, allocated);
        }
        if seconds > 40.0 && came == sequence && heard_again.is_none() && sends {
            heard_again = Some(seconds);
        }
    }
    assert!((3..=5).contains(&tries.len()), "{tries:?}");
    assert!(
        tries.windows(2).all(|pair| pair[1] - pair[0] > 5.0),
        "{tries:?}"
    );
    assert!(
        heard_again.is_some_and(|at| at < 46.0),
        "{heard_again:?}, {tries:?}"
    );
    assert!(estimator.estimate().bitrate >= DEMAND.step);
}

#[derive(Clone, Debug)]
enum Step {
    Send(u32, u16, usize),
    SendNext(u8),
    Report(u32, u16, i32, f64, Option<(u64, u64)>, u64),
    Newest(i32, f64, u64),
    Remb(u64, bool, u64, u64),
    Demand(u64, u64, u64),
    Timeout,
}

fn step() -> impl Strategy<Value = Step> {
    let trip = proptest::option::of((0..60_000_u64, 0..60_000_u64));
    prop_oneof![
        2 => (0..4_u32, any::<u16>(), 0..3_000_usize).prop_map(|(a, b, c)| Step::Send(a, b, c)),
        6 => (1..100_u8).prop_map(Step::SendNext),
        3 => (0..4_u32, any::<u16>(), any::<i32>(), 0.0..1.0, trip, any::<u64>())
            .prop_map(|(a, b, c, d, e, f)| Step::Report(a, b, c, d, e, f)),
        4 => (0..100_i32, 0.0..1.0, 0..10_000_000_u64).prop_map(|(a, b, c)| Step::Newest(a, b, c)),
        2 => (any::<u64>(), any::<bool>(), any::<u64>(), any::<u64>())
            .prop_map(|(a, b, c, d)| Step::Remb(a, b, c, d)),
        2 => (0..3_000_000_u64, any::<bool>(), 0..3_000_000_u64, 0..3_000_000_u64)
            .prop_map(|(a, b, c, d)| Step::Remb(a, b, c, d)),
        2 => (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, c)| Step::Demand(a, b, c)),
        2 => (0..5_000_000_u64, 0..5_000_000_u64, 0..5_000_000_u64)
            .prop_map(|(a, b, c)| Step::Demand(a, b, c)),
        3 => Just(Step::Timeout),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_reports_leave_the_estimate_within_its_bounds(
        steps in proptest::collection::vec((0..400_000_u64, step()), 0..150),
    ) {
        let mut now = Instant::now();
        let mut estimator = ReportedEstimator::new(now, CONFIG);
        let mut last = 0_u16;
        for (elapsed, step) in steps {
            now += Duration::from_micros(elapsed);
            match step {
                Step::Send(ssrc, sequence, bytes) => estimator.sent(now, ssrc, sequence, bytes),
                Step::SendNext(count) => for _ in 0..count {
                    last = last.wrapping_add(1);
                    estimator.sent(now, 1, last, 1_000);
                },
                Step::Report(ssrc, highest, lost, fraction, trip, sending) => {
                    let trip = trip.map(|(took, delay)| RoundTrip {
                        took: Duration::from_millis(took),
                        delay: Duration::from_millis(delay),
                    });
                    let block = Block { ssrc, highest, lost, fraction };
                    estimator.report(now, &block, trip, sending);
                }
                Step::Newest(lost, fraction, sending) => {
                    let block = Block { ssrc: 1, highest: last, lost, fraction };
                    estimator.report(now, &block, None, sending);
                }
                Step::Remb(bitrate, whole, listed, sending) => {
                    estimator.remb(now, bitrate, (whole, listed), sending);
                }
                Step::Demand(allocated, desired, step) => {
                    estimator.set_demand(now, Demand { allocated, desired, step });
                }
                Step::Timeout => {
                    estimator.handle_timeout(now);
                    prop_assert!(
                        estimator.poll_timeout().is_none_or(|due| due > now),
                        "a deadline that stays"
                    );
                }
            }
            let estimate = estimator.estimate();
            prop_assert!((CONFIG.min..=CONFIG.max).contains(&estimate.bitrate), "{estimate:?}");
            prop_assert!(estimate.probed <= estimate.bitrate);
            prop_assert!((0.0..=1.0).contains(&estimate.loss));
            prop_assert!(estimate.pacing <= 2 * CONFIG.max);
        }
    }
}
