//! Paths that change: what the earlier one did not carry says nothing about the next one.

use std::time::{Duration, Instant};

use crate::egress::bwe::{BandwidthEstimator, BweConfig, LimitedBy};
use crate::rtp::rtcp::TransportFeedback;

const STEP: Duration = Duration::from_millis(20);

/// A viewer that is sent 400 kbit/s.
struct Viewer {
    bwe: BandwidthEstimator,
    now: Instant,
    ticks: i64,
    sequence: u16,
    feedback_count: u8,
}

impl Viewer {
    fn new() -> Self {
        let now = Instant::now();
        let config = BweConfig {
            start: 1_000_000,
            min: 30_000,
            max: 20_000_000,
        };
        Self {
            bwe: BandwidthEstimator::new(now, config),
            now,
            ticks: 0,
            sequence: 0,
            feedback_count: 0,
        }
    }

    /// Sends packets for some time; with `heard` each is reported on.
    fn send(&mut self, time: Duration, heard: bool) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.ticks += 80;
            self.bwe.handle_timeout(self.now);
            self.bwe.packet_sent(self.now, self.sequence, 1_000, None);
            if heard {
                self.report(vec![Some(self.ticks)], self.sequence);
            }
            self.sequence += 1;
        }
    }

    fn report(&mut self, arrivals: Vec<Option<i64>>, base: u16) {
        let feedback = TransportFeedback {
            sender: 1,
            media: 2,
            feedback_count: self.feedback_count,
            base,
            arrivals,
        };
        self.bwe.feedback(self.now, &feedback);
        self.feedback_count = self.feedback_count.wrapping_add(1);
    }

    fn estimate(&self) -> u64 {
        self.bwe.estimate().bitrate
    }
}

#[test]
fn silence_of_the_earlier_path_is_no_fault_of_the_next() {
    for (seconds, is_deaf) in [(2, false), (4, false), (4, true)] {
        let mut viewer = Viewer::new();
        viewer.send(Duration::from_secs(5), true);
        let before = viewer.estimate();
        let first = viewer.sequence;
        viewer.send(Duration::from_secs(1), false);
        if is_deaf {
            viewer.bwe.set_deaf(viewer.now, true);
        }
        viewer.send(Duration::from_secs(seconds) - Duration::from_secs(1), false);
        assert!(viewer.bwe.path_changed(viewer.now));
        let moved = viewer.estimate();
        let what = format!("{seconds} s, deaf: {is_deaf}, {before} {moved}");
        assert!(moved >= before * 8 / 10, "{what}");
        // The losses over the earlier path are told of over the next one.
        let lost = vec![None; usize::from(viewer.sequence - first)];
        viewer.report(lost, first);
        viewer.send(Duration::from_secs(1), true);
        let estimate = viewer.bwe.estimate();
        assert!(estimate.bitrate >= moved, "{what}: {estimate:?}");
        assert!(
            estimate.loss < 0.1 && !estimate.congested,
            "{what}: {estimate:?}"
        );
    }
}

#[test]
fn a_path_that_changes_while_all_is_heard_leaves_the_estimate() {
    let mut viewer = Viewer::new();
    viewer.send(Duration::from_secs(5), true);
    let before = viewer.estimate();
    assert!(!viewer.bwe.path_changed(viewer.now));
    assert_eq!(viewer.estimate(), before);
    viewer.send(Duration::from_secs(5), true);
    assert!(viewer.estimate() >= before);
}

#[test]
fn a_connection_that_takes_less_is_sent_less_before_its_feedback_tells() {
    let mut viewer = Viewer::new();
    let estimate = |viewer: &Viewer| viewer.bwe.estimate().bitrate;
    // TCP begins slowly: nothing is known before the first feedback.
    viewer.bwe.takes_only(viewer.now, 50_000);
    assert!(estimate(&viewer) > 900_000);
    viewer.send(Duration::from_secs(3), true);
    let before = estimate(&viewer);
    assert!(before > 400_000, "{before}");

    // A connection that keeps up with more says nothing.
    viewer.bwe.takes_only(viewer.now, 2 * before);
    assert_eq!(estimate(&viewer), before);
    // One that takes three quarters is sent somewhat less than these.
    viewer.bwe.takes_only(viewer.now, before * 3 / 4);
    let after = estimate(&viewer);
    assert!(
        (before / 2..before * 3 / 4).contains(&after),
        "{before} {after}"
    );
    assert!(viewer.bwe.estimate().congested);
    assert_eq!(viewer.bwe.estimate().limited_by, LimitedBy::Delay);
    // The cut must show its effect before another.
    viewer.bwe.takes_only(viewer.now, 0);
    assert_eq!(estimate(&viewer), after);
    viewer.send(Duration::from_secs(1), true);
    let before = estimate(&viewer);
    // One that stands still may only have lost a segment.
    viewer.bwe.takes_only(viewer.now, 0);
    let after = estimate(&viewer);
    assert!(after.abs_diff(before / 2) < 2_000, "{before} {after}");
}
