use proptest::prelude::*;

use super::*;

const CONFIG: BweConfig = BweConfig {
    start: 1_000_000,
    min: 30_000,
    max: 1_000_000_000,
};

/// A link with a queue, its estimator, and a source that sends what it is told to.
struct Loop {
    now: Instant,
    start: Instant,
    bwe: BandwidthEstimator,
    number: u16,
    /// Bits a second.
    rate: f64,
    delay: Duration,
    queue: Duration,
    busy_until: Instant,
    jitter: Duration,
    /// One in so many is lost; 0 none.
    lost: u32,
    random: u32,
    arrivals: Vec<(u16, Option<i64>)>,
    waiting: Vec<(Instant, TransportFeedback)>,
    desired: f64,
    /// Sum of the waits and packets, of the longest wait.
    longest: Duration,
}

impl Loop {
    fn new(rate: f64, desired: f64) -> Self {
        let start = Instant::now();
        Self {
            now: start,
            start,
            bwe: BandwidthEstimator::new(start, CONFIG),
            number: 65_000,
            rate,
            delay: Duration::from_millis(25),
            queue: Duration::from_millis(300),
            busy_until: start,
            jitter: Duration::ZERO,
            lost: 0,
            random: 1,
            arrivals: Vec::new(),
            waiting: Vec::new(),
            desired,
            longest: Duration::ZERO,
        }
    }

    fn random(&mut self) -> u32 {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.random >> 8
    }

    fn send(&mut self, bytes: usize, probe: Option<u8>) {
        self.bwe.packet_sent(self.now, self.number, bytes, probe);
        let start = self.busy_until.max(self.now);
        let wait = start - self.now;
        let lost = self.lost > 0 && self.random().is_multiple_of(self.lost);
        let arrival = (wait <= self.queue && !lost).then(|| {
            let sent = Duration::from_secs_f64((bytes + OVERHEAD) as f64 * 8.0 / self.rate);
            self.busy_until = start + sent;
            self.longest = self.longest.max(wait);
            let jitter = self.jitter * (self.random() % 1_000) / 1_000;
            let at = self.busy_until + self.delay + jitter - self.start;
            at.as_micros() as i64 / 250 + 77_000
        });
        self.arrivals.push((self.number, arrival));
        self.number = self.number.wrapping_add(1);
    }

    /// Whole layers, as a relay sends them, and feedback every 50 ms.
    fn run(&mut self, duration: Duration) {
        const LAYERS: [f64; 4] = [0.0, 150e3, 500e3, 1_700e3];
        let (end, mut credit) = (self.now + duration, 0.0);
        let mut step = 0;
        while self.now < end {
            self.now += Duration::from_millis(5);
            step += 1;
            let estimate = self.bwe.estimate();
            let fits = LAYERS
                .iter()
                .filter(|rate| **rate <= estimate.bitrate as f64 * 0.95 && **rate <= self.desired);
            let layer = fits.last().copied().unwrap_or(0.0);
            let demand = Demand {
                allocated: layer as u64 + 40_000,
                desired: self.desired as u64,
            };
            self.bwe.set_demand(self.now, demand);
            credit += (layer + 40e3) / 8.0 * 0.005;
            while credit > 1_000.0 {
                credit -= 1_000.0;
                self.send(1_000, None);
            }
            if let Some(probe) = self.bwe.poll_probe(self.now) {
                self.probe(probe);
            }
            // Who receives nothing has nothing to say.
            if step % 10 == 0 && self.arrivals.iter().any(|(_, arrival)| arrival.is_some()) {
                let feedback = TransportFeedback {
                    statuses: std::mem::take(&mut self.arrivals),
                    ..Default::default()
                };
                self.waiting
                    .push((self.now + 2 * self.delay + self.queue / 3, feedback));
            }
            self.bwe.handle_timeout(self.now);
            let due = self
                .waiting
                .iter()
                .take_while(|(at, _)| *at <= self.now)
                .count();
            for (_, feedback) in self.waiting.drain(..due).collect::<Vec<_>>() {
                self.bwe.feedback(self.now, &feedback);
            }
        }
    }

    fn probe(&mut self, probe: Probe) {
        let started = self.now;
        let mut sent = 0;
        for _ in 0..(probe.bytes / 1_000 + 1).max(probe.packets as usize) {
            self.now = started + Duration::from_secs_f64(sent as f64 * 8.0 / probe.bitrate as f64);
            self.send(1_000, Some(probe.cluster));
            sent += 1_000 + OVERHEAD;
        }
        self.now = started;
    }

    fn kbit(&self) -> u64 {
        self.bwe.estimate().bitrate / 1_000
    }
}

#[test]
fn a_link_wider_than_needed_is_found_within_two_seconds() {
    let mut sim = Loop::new(5e6, 1_800e3);
    sim.run(Duration::from_secs(2));
    assert!(sim.kbit() >= 1_800, "{}", sim.kbit());
    assert_eq!(sim.bwe.estimate().limited_by, LimitedBy::None);
    sim.run(Duration::from_secs(20));
    assert!(
        sim.kbit() >= 1_800 && sim.longest < Duration::from_millis(60),
        "{:?}",
        sim.longest
    );
}

#[test]
fn a_drop_is_noticed_and_a_return_is_found() {
    let mut sim = Loop::new(3e6, 1_800e3);
    sim.run(Duration::from_secs(20));
    assert!((2_000..3_600).contains(&sim.kbit()), "{}", sim.kbit());
    sim.rate = 600e3;
    sim.run(Duration::from_millis(900));
    assert!(sim.kbit() <= 640, "{}", sim.kbit());
    sim.run(Duration::from_secs(20));
    assert!((430..=700).contains(&sim.kbit()), "{}", sim.kbit());
    sim.longest = Duration::ZERO;
    sim.run(Duration::from_secs(20));
    assert!(
        sim.longest < Duration::from_millis(220),
        "{:?}",
        sim.longest
    );
    sim.rate = 3e6;
    sim.run(Duration::from_secs(8));
    assert!(sim.kbit() >= 1_800, "{}", sim.kbit());
}

#[test]
fn what_is_lost_by_chance_is_not_held_against_the_link() {
    for one_in in [50, 20, 10] {
        let mut sim = Loop::new(4e6, 1_800e3);
        sim.lost = one_in;
        sim.run(Duration::from_secs(30));
        assert!(sim.kbit() >= 1_600, "one in {one_in}: {}", sim.kbit());
    }
}

#[test]
fn a_full_queue_too_short_to_be_seen_as_delay_is() {
    let mut sim = Loop::new(1e6, 1_800e3);
    sim.queue = Duration::from_millis(18);
    sim.run(Duration::from_secs(40));
    assert!((450..1_400).contains(&sim.kbit()), "{}", sim.kbit());
    assert!(sim.bwe.estimate().loss < 0.15);
}

#[test]
fn jitter_is_no_queue() {
    let mut sim = Loop::new(4e6, 1_800e3);
    sim.jitter = Duration::from_millis(30);
    sim.run(Duration::from_secs(30));
    assert!(sim.kbit() >= 1_800, "{}", sim.kbit());
    assert!(!sim.bwe.estimate().congested);
}

#[test]
fn without_feedback_less_and_less_is_believed_and_it_recovers() {
    let mut sim = Loop::new(4e6, 1_800e3);
    sim.run(Duration::from_secs(5));
    let before = sim.kbit();
    sim.lost = 1;
    sim.run(Duration::from_secs(6));
    assert!(sim.kbit() < before / 3, "{} of {before}", sim.kbit());
    sim.lost = 0;
    sim.run(Duration::from_secs(10));
    assert!(sim.kbit() >= 1_800, "{}", sim.kbit());
}

#[test]
fn remb_counts_until_better_is_known() {
    let start = Instant::now();
    let mut bwe = BandwidthEstimator::new(start, CONFIG);
    bwe.remb(start, 400_000);
    let estimate = bwe.estimate();
    assert_eq!(
        (estimate.bitrate, estimate.limited_by),
        (400_000, LimitedBy::Remb)
    );
    let mut sim = Loop::new(4e6, 1_800e3);
    sim.run(Duration::from_secs(5));
    let before = sim.kbit();
    sim.bwe.remb(sim.now, 100_000);
    assert_eq!(sim.kbit(), before);
}

proptest! {
    #[test]
    fn no_feedback_breaks_it(
        steps in prop::collection::vec(
            (0u64..3_000, 0u16..300, any::<u16>(), prop::collection::vec(prop::option::of(any::<i64>()), 0..40)),
            1..60,
        ),
    ) {
        let mut now = Instant::now();
        let mut bwe = BandwidthEstimator::new(now, CONFIG);
        let mut number = 0u16;
        for (wait, sent, base, statuses) in steps {
            now += Duration::from_millis(wait);
            for _ in 0..sent {
                bwe.packet_sent(now, number, 1_200, number.is_multiple_of(7).then_some(1));
                number = number.wrapping_add(1);
            }
            let base = if base % 2 == 0 { number.wrapping_sub(base % 64) } else { base };
            let statuses = statuses.into_iter().enumerate();
            let statuses = statuses.map(|(at, arrival)| (base.wrapping_add(at as u16), arrival)).collect();
            bwe.feedback(now, &TransportFeedback { statuses, ..Default::default() });
            bwe.set_demand(now, Demand { allocated: 100_000, desired: u64::from(base) * 10_000 });
            bwe.handle_timeout(now);
            let _ = bwe.poll_probe(now);
            let estimate = bwe.estimate();
            prop_assert!((CONFIG.min..=CONFIG.max).contains(&estimate.bitrate), "{}", estimate.bitrate);
            prop_assert!((0.0..=1.0).contains(&estimate.loss));
        }
    }
}
