//! The figures of a run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tertulia_sfu::testing::network::PathModel;

use super::{Case, Kind};
use crate::harness::{Client, Screen};

/// Interval of samples.
pub(crate) const STEP: Duration = Duration::from_millis(20);
/// Time at the start that is not counted: both senders begin with a low estimate.
const WARM_UP: Duration = Duration::from_secs(8);
/// A pause between pictures from here on is a freeze.
const FREEZE: Duration = Duration::from_millis(500);
/// Over which the sent rate is taken.
const RATE_WINDOW: Duration = Duration::from_millis(250);
/// Payload bits a second that the publisher offers: its layers, and its audio.
pub(crate) const LAYERS: [u64; 3] = [150_000, 500_000, 1_700_000];
const SOUND: u64 = 32_000;
const TOP: (u16, u16) = (1_280, 720);

/// The rate that a layer, with the audio, takes of a link: RTP headers and SRTP tags are added.
pub(crate) fn needs(layer: Option<usize>) -> u64 {
    let video = layer.map_or(0, |layer| LAYERS[layer]);
    video * 105 / 100 + SOUND + 25_000
}

/// Figures of one run, or medians.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Figures {
    /// Mean error of the estimate, as a share of the link's rate; both are bounded by the rate that
    /// the sender could use.
    pub(crate) estimate_error: Option<f64>,
    /// Media that arrived, as a share of the most that the offered layers could use of the link.
    pub(crate) utilisation: f64,
    /// The 95th percentile of the wait at the bottleneck, in milliseconds.
    pub(crate) queue_p95_ms: f64,
    /// Time from the drop until the rate sent is under the link's, in seconds.
    pub(crate) under: Option<f64>,
    /// Time from the return until the top layer is shown again, in seconds.
    pub(crate) back: Option<f64>,
    pub(crate) switches_per_minute: f64,
    /// Pauses of the picture over half a second, and the longest pause in milliseconds.
    pub(crate) freezes: f64,
    pub(crate) longest_ms: f64,
    /// Frames that could be shown, as a share of those with any packet received.
    pub(crate) complete: f64,
    /// Violations that the oracle found.
    pub(crate) violations: u64,
    /// Time from the viewer's joining to the first picture, in seconds.
    pub(crate) first: Option<f64>,
}

/// Takes samples of a run.
pub(crate) struct Sampler {
    case: Case,
    start: Instant,
    error: f64,
    errors: u64,
    delivered: u64,
    carried: f64,
    bytes_before: Option<u64>,
    sent: VecDeque<(Instant, u64)>,
    under: Option<f64>,
    back: Option<f64>,
    dimensions: Option<(u16, u16)>,
    switches: u64,
    last_frame: Option<Instant>,
    freezes: u64,
    longest: Duration,
    first: Option<f64>,
    warm: bool,
}

impl Sampler {
    pub(crate) fn new(case: &Case, start: Instant) -> Self {
        Self {
            case: *case,
            start,
            error: 0.0,
            errors: 0,
            delivered: 0,
            carried: 0.0,
            bytes_before: None,
            sent: VecDeque::new(),
            under: None,
            back: None,
            dimensions: None,
            switches: 0,
            last_frame: None,
            freezes: 0,
            longest: Duration::ZERO,
            first: None,
            warm: false,
        }
    }

    /// Takes a sample of the viewer; `link` is the path of the script.
    pub(crate) fn sample(
        &mut self,
        now: Instant,
        client: &mut Client,
        link: PathModel,
        estimate: Option<u64>,
    ) {
        let time = now - self.start;
        if !self.warm && time >= WARM_UP {
            self.warm = true;
            client.down.take_stats();
        }
        let share = if link.rival.is_some() { 2 } else { 1 };
        let rate = link.rate.unwrap_or(u64::MAX) / share;
        self.frames(now, client);
        self.sent_rate(now, client, rate);
        let bytes: u64 = client.streams.values().map(|stream| stream.bytes).sum();
        let before = self.bytes_before.replace(bytes).unwrap_or(bytes);
        if !self.warm {
            return;
        }
        self.delivered += (bytes - before) * 8;
        self.carried += self.best(rate) * STEP.as_secs_f64();
        if let Some(estimate) = estimate {
            let top = needs(self.top());
            let (estimate, rate) = (estimate.min(top) as f64, rate.min(top) as f64);
            self.error += (estimate - rate).abs() / rate;
            self.errors += 1;
        }
        if let Some(back) = self.case.back.map(Duration::from_secs)
            && time >= back
            && self.back.is_none()
            && self.dimensions == Some(TOP)
        {
            self.back = Some((time - back).as_secs_f64());
        }
    }

    fn top(&self) -> Option<usize> {
        (self.case.kind != Kind::Sound).then_some(LAYERS.len() - 1)
    }

    /// Payload bits a second that the layers offered make of a link.
    fn best(&self, rate: u64) -> f64 {
        let Some(top) = self.top() else {
            return SOUND.min(rate) as f64;
        };
        // Over a narrow uplink the publisher cannot send all layers at once.
        let fits = |layer: &usize| match self.case.kind {
            Kind::PublisherUplink => {
                (0..=*layer).map(|each| needs(Some(each))).sum::<u64>() <= rate
            }
            _ => needs(Some(*layer)) <= rate,
        };
        match (0..=top).rev().find(fits) {
            Some(layer) => (LAYERS[layer] + SOUND) as f64,
            None => rate as f64,
        }
    }

    fn frames(&mut self, now: Instant, client: &Client) {
        let Some((_, stream)) = client.video() else {
            return;
        };
        let screen = &stream.screen;
        if screen.dimensions != self.dimensions {
            // The way up to the first good layer is not held against anybody.
            self.switches += u64::from(self.dimensions.is_some() && self.warm);
            self.dimensions = screen.dimensions;
        }
        let Some(last) = screen.last else {
            return;
        };
        if self.last_frame.is_none() {
            self.first = Some((now - self.start).as_secs_f64());
        }
        self.pause(last);
    }

    /// The next frame after the last came then.
    fn pause(&mut self, at: Instant) {
        if let Some(before) = self.last_frame.replace(at) {
            let pause = at.saturating_duration_since(before);
            self.longest = self.longest.max(pause);
            self.freezes += u64::from(pause > FREEZE);
        }
    }

    fn sent_rate(&mut self, now: Instant, client: &Client, rate: u64) {
        let Some(drop) = self.case.drop.map(Duration::from_secs) else {
            return;
        };
        let dropped = self.start + drop;
        if now < dropped || self.under.is_some() {
            return;
        }
        let bytes = client.down.stats().sent_bytes;
        self.sent.push_back((now, bytes));
        while self
            .sent
            .get(1)
            .is_some_and(|(at, _)| *at + RATE_WINDOW <= now)
        {
            self.sent.pop_front();
        }
        if let Some((at, first)) = self.sent.front()
            && *at + RATE_WINDOW <= now
        {
            let sent = (bytes - first) as f64 * 8.0 / (now - *at).as_secs_f64();
            if sent <= rate as f64 {
                self.under = Some((now - dropped).as_secs_f64());
            }
        }
    }

    /// The run is over.
    pub(crate) fn finish(mut self, now: Instant, client: &Client) -> Figures {
        if self.last_frame.is_some() {
            self.pause(now);
        }
        let counted = (now - self.start).saturating_sub(WARM_UP).as_secs_f64();
        let video = client.video().map(|(_, stream)| &stream.screen);
        let share = |screen: &Screen| screen.shown as f64 / screen.begun.max(1) as f64;
        let violations = client.streams.values();
        let lasts = (now - self.start).as_secs_f64();
        let never = |at: Option<u64>| at.map(|at| lasts - at as f64);
        Figures {
            estimate_error: (self.errors > 0).then(|| self.error / self.errors as f64),
            utilisation: self.delivered as f64 / self.carried.max(1.0),
            queue_p95_ms: client.down.stats().queue_delay(0.95).as_secs_f64() * 1e3,
            // A time never reached counts as all the time there was.
            under: self.under.or(never(self.case.drop)),
            back: self.back.or(never(self.case.back)),
            switches_per_minute: self.switches as f64 * 60.0 / counted,
            freezes: self.freezes as f64,
            longest_ms: self.longest.as_secs_f64() * 1e3,
            complete: video.map_or(1.0, share),
            violations: violations
                .map(|stream| stream.report().violation_count)
                .sum(),
            first: self.first,
        }
    }
}

/// The median of each figure.
pub(crate) fn median(runs: &[Figures]) -> Option<Figures> {
    let of = |figure: &dyn Fn(&Figures) -> Option<f64>| -> Option<f64> {
        let mut values: Vec<f64> = runs.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (lower, upper) = (values.len().checked_sub(1)? / 2, values.len() / 2);
        Some((values[lower] + values[upper]) / 2.0)
    };
    Some(Figures {
        estimate_error: of(&|run| run.estimate_error),
        utilisation: of(&|run| Some(run.utilisation))?,
        queue_p95_ms: of(&|run| Some(run.queue_p95_ms))?,
        under: of(&|run| run.under),
        back: of(&|run| run.back),
        switches_per_minute: of(&|run| Some(run.switches_per_minute))?,
        freezes: of(&|run| Some(run.freezes))?,
        longest_ms: of(&|run| Some(run.longest_ms))?,
        complete: of(&|run| Some(run.complete))?,
        // Violations are added up: one in any run is one too many.
        violations: runs.iter().map(|run| run.violations).sum(),
        first: of(&|run| run.first),
    })
}
