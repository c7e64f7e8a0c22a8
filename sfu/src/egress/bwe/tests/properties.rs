use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{BandwidthEstimator, BweConfig, Demand};
use crate::rtp::rtcp::TransportFeedback;

const CONFIG: BweConfig = BweConfig {
    start: 1_000_000,
    min: 30_000,
    max: 50_000_000,
};

#[derive(Clone, Debug)]
enum Step {
    Send(u16, usize, Option<u8>),
    /// A packet with the next number, so that runs come about.
    SendNext(u8),
    Feedback(u8, u16, Vec<Option<i64>>),
    Report(u64),
    Demand(u64, u64),
    Timeout,
    Probe,
}

fn step() -> impl Strategy<Value = Step> {
    let ticks = prop_oneof![
        3 => (0..4_000_i64).prop_map(Some),
        2 => Just(None),
        1 => any::<i64>().prop_map(Some),
        1 => (0..1_i64 << 32).prop_map(Some),
    ];
    prop_oneof![
        2 => (any::<u16>(), 0..3_000_usize, any::<Option<u8>>()).prop_map(|(a, b, c)| Step::Send(a, b, c)),
        8 => (1..200_u8).prop_map(Step::SendNext),
        6 => (any::<u8>(), 0..2_000_u16, proptest::collection::vec(ticks.clone(), 0..60)).prop_map(|(a, b, c)| Step::Feedback(a, b, c)),
        1 => (any::<u8>(), any::<u16>(), proptest::collection::vec(ticks, 0..300)).prop_map(|(a, b, c)| Step::Feedback(a, b, c)),
        1 => any::<u64>().prop_map(Step::Report),
        2 => (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Step::Demand(a, b)),
        2 => (0..5_000_000_u64, 0..50_000_000_u64).prop_map(|(a, b)| Step::Demand(a, b)),
        3 => Just(Step::Timeout),
        3 => Just(Step::Probe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_feedback_leaves_the_estimate_within_its_bounds(
        steps in proptest::collection::vec((0..400_000_u64, step()), 0..150),
    ) {
        let mut now = Instant::now();
        let mut bwe = BandwidthEstimator::new(now, CONFIG);
        let (mut last, mut cluster) = (0_u16, None);
        for (elapsed, step) in steps {
            now += Duration::from_micros(elapsed);
            match step {
                Step::Send(sequence, bytes, probe) => {
                    last = sequence;
                    bwe.packet_sent(now, sequence, bytes, probe.or(cluster));
                }
                Step::SendNext(count) => for _ in 0..count {
                    last = last.wrapping_add(1);
                    bwe.packet_sent(now, last, 1_000, cluster);
                },
                Step::Feedback(feedback_count, back, arrivals) => {
                    let base = last.wrapping_sub(back);
                    bwe.feedback(now, &TransportFeedback { sender: 1, media: 2, feedback_count, base, arrivals });
                }
                Step::Report(rtt) => bwe.report(now, Duration::from_micros(rtt)),
                Step::Demand(allocated, desired) => bwe.set_demand(now, Demand { allocated, desired, step: 0 }),
                Step::Timeout => {
                    bwe.handle_timeout(now);
                    prop_assert!(bwe.poll_timeout().is_none_or(|due| due > now), "a deadline that stays");
                }
                Step::Probe => if let Some(probe) = bwe.poll_probe(now) {
                    prop_assert!(probe.bitrate > 0 && probe.bytes > 0 && probe.packets > 0);
                    cluster = Some(probe.cluster);
                },
            }
            let estimate = bwe.estimate();
            prop_assert!((CONFIG.min..=CONFIG.max).contains(&estimate.bitrate), "{estimate:?}");
            prop_assert!(estimate.probed <= estimate.bitrate);
            prop_assert!((0.0..=1.0).contains(&estimate.loss));
            prop_assert!(estimate.pacing <= 2 * CONFIG.max);
        }
    }
}

/// Faults that the test above once found.
#[test]
fn what_was_found_stays_away() {
    let start = Instant::now();
    let mut bwe = BandwidthEstimator::new(start, CONFIG);
    // The growth of the desired rate once overflowed.
    for desired in [u64::MAX, 0, u64::MAX] {
        let demand = Demand {
            allocated: 0,
            desired,
            step: 0,
        };
        bwe.set_demand(start, demand);
    }
    // Called long after several cuts for silence were due, it stayed due.
    bwe.packet_sent(start, 1, 1_000, None);
    bwe.feedback(
        start,
        &TransportFeedback {
            base: 1,
            arrivals: vec![Some(0)],
            ..TransportFeedback::default()
        },
    );
    bwe.packet_sent(start, 2, 1_000, None);
    let now = start + Duration::from_secs(20);
    bwe.handle_timeout(now);
    assert!(bwe.poll_timeout().is_none_or(|due| due > now));
}
