//! Losses: a property of the path, or the sign of a queue that is full.
//!
//! libwebrtc's `LossBasedBweV2` fits an inherent loss and a bandwidth to observations of rate and loss. It caps the
//! inherent loss at some percent, and so collapses on a path that loses 10 % at any rate; and where the rate does not
//! vary its data cannot tell the two apart. Here the path itself is tested: losses beyond the inherent share call for a
//! probe at a higher rate. If more of it arrives than before, the link was not full, and the losses are inherent. If no
//! more arrives, or no answer comes, the rate is cut to the arriving one. If the losses go on as before after that cut,
//! they were inherent after all, and the cut is taken back. A probe lasts 20 ms and is not noticed; a cut is.
//!
//! Runs of losses are counted where that gives fewer: one burst on a radio link is one event.

/// Packets at which a window ends.
const PACKETS: u32 = 20;
/// Least length of a window, in microseconds.
const SPAN_US: i64 = 200_000;
/// Length of a window, in microseconds, at which a quarter of the packets is enough.
const SPAN_MAX_US: i64 = 1_000_000;
/// Time after a cut, in microseconds, in which packets may still find a full queue.
const DRAINS_US: i64 = 500_000;
/// Windows that are needed if evidence is weak.
const WINDOWS: usize = 5;
/// Tolerated losses.
const TOLERATED: f64 = 0.03;
/// Losses beyond the inherent ones from which on the rate is cut without a probe.
const SEVERE: f64 = 0.25;

/// The verdict on the losses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Verdict {
    Fine,
    /// More packets are lost than the path is known to lose: worth a probe.
    Suspicious,
    /// Far more packets are lost.
    Severe,
}

#[derive(Clone, Copy, Default, Debug)]
struct Window {
    since: Option<i64>,
    until: i64,
    packets: u32,
    bytes: u64,
    lost: u32,
    runs: u32,
}

impl Window {
    fn rate(&self) -> f64 {
        let span = self.until - self.since.unwrap_or(self.until);
        self.bytes as f64 * 8e6 / span.max(20_000) as f64
    }

    fn loss(&self) -> f64 {
        f64::from(self.lost) / f64::from(self.packets.max(1))
    }
}

/// A cut for losses whose effect is awaited.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: i64,
    rate: f64,
    loss: f64,
    /// The estimate before it.
    before: f64,
    windows: (u32, u32),
}

#[derive(Default, Debug)]
pub(super) struct Loss {
    window: Window,
    last_lost: bool,
    past: [Window; WINDOWS],
    filled: usize,
    average: Option<f64>,
    inherent: f64,
    cut: Option<Cut>,
    verdict: Option<Verdict>,
    /// An estimate to restore.
    restore: Option<f64>,
}

impl Loss {
    /// Adds a packet whose fate is settled.
    pub(super) fn add(&mut self, at: i64, bytes: u16, lost: bool) {
        let since = *self.window.since.get_or_insert(at);
        self.window.until = self.window.until.max(at);
        self.window.packets += 1;
        self.window.bytes += u64::from(bytes);
        if lost {
            self.window.lost += 1;
            self.window.runs += u32::from(!self.last_lost);
        }
        self.last_lost = lost;
        let span = at - since;
        if (self.window.packets >= PACKETS && span >= SPAN_US)
            || (self.window.packets >= PACKETS / 4 && span >= SPAN_MAX_US)
        {
            self.close();
        }
    }

    fn close(&mut self) {
        let window = std::mem::take(&mut self.window);
        self.past.rotate_right(1);
        self.past[0] = window;
        self.filled = (self.filled + 1).min(WINDOWS);
        let loss = window.loss();
        let average = self.average.unwrap_or(loss);
        self.average = Some(average + 0.3 * (loss - average));
        self.judge_cut(&window);
        let verdict = self.judge();
        if verdict == Verdict::Fine {
            let weight = if loss < self.inherent { 0.05 } else { 0.02 };
            self.inherent += weight * (loss - self.inherent);
        }
        self.verdict = Some(verdict);
    }

    fn judge(&self) -> Verdict {
        let expected = (self.inherent * 1.2 + TOLERATED).min(0.9);
        let beyond = |windows: &[Window]| {
            let (mut packets, mut lost, mut runs) = (0, 0, 0);
            for window in windows {
                packets += window.packets;
                lost += window.lost;
                runs += window.runs;
            }
            let (packets, lost) = (f64::from(packets), f64::from(lost));
            // A burst is one event, but one of some weight.
            let lost = lost.min(f64::from(runs) * 3.0);
            let noise = 2.0 * (packets * expected * (1.0 - expected)).sqrt();
            lost > packets * expected + noise + 1.0
        };
        let last = &self.past[0];
        if !beyond(&self.past[..1]) && !beyond(&self.past[..self.filled]) {
            Verdict::Fine
        } else if last.loss() > self.inherent + SEVERE && last.runs >= 4 {
            Verdict::Severe
        } else {
            Verdict::Suspicious
        }
    }

    /// Judges a cut by the windows sent after it.
    fn judge_cut(&mut self, window: &Window) {
        let Some(cut) = &mut self.cut else { return };
        if window.since.is_none_or(|since| since < cut.at + DRAINS_US) {
            return;
        }
        if window.rate() > 0.92 * cut.rate {
            // If no less is sent, the cut shows nothing.
            if window.until - cut.at > 5_000_000 {
                self.cut = None;
            }
            return;
        }
        cut.windows.0 += window.packets;
        cut.windows.1 += window.lost;
        let loss = f64::from(cut.windows.1) / f64::from(cut.windows.0);
        if cut.windows.0 >= 2 * PACKETS {
            if loss > 0.6 * cut.loss {
                self.inherent = self.inherent.max(loss.min(0.5));
                self.restore = Some(cut.before);
            }
            self.cut = None;
        }
    }

    /// Forgets losses, but not the path's inherent share.
    pub(super) fn restart(&mut self) {
        *self = Self {
            average: self.average,
            inherent: self.inherent,
            ..Self::default()
        };
    }

    /// The verdict on the latest window, once.
    pub(super) fn poll(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// An estimate to restore, as the cut from it did not help.
    pub(super) fn poll_restore(&mut self) -> Option<f64> {
        self.restore.take()
    }

    /// Records a cut because of losses.
    pub(super) fn note_cut(&mut self, at: i64, before: f64) {
        let last = &self.past[0];
        self.cut = Some(Cut {
            at,
            rate: last.rate(),
            loss: self.average.unwrap_or(0.0).max(last.loss()).min(0.9),
            before,
            windows: (0, 0),
        });
    }

    /// Attributes losses to the path: the link carried more than was sent when they occurred.
    pub(super) fn excuse(&mut self) {
        let windows = &self.past[..self.filled];
        let packets: u32 = windows.iter().map(|window| window.packets).sum();
        let lost: u32 = windows.iter().map(|window| window.lost).sum();
        let loss = f64::from(lost) / f64::from(packets.max(1));
        self.inherent = self.inherent.max(loss.min(0.5));
        self.cut = None;
    }

    /// The recent share of losses, 0 to 1.
    pub(super) fn average(&self) -> f64 {
        self.average.unwrap_or(0.0)
    }

    /// The estimated inherent share that the path loses at any rate, 0 to 1.
    pub(super) fn inherent(&self) -> f64 {
        self.inherent
    }

    /// The rate sent during the last window, bits a second.
    pub(super) fn rate(&self) -> f64 {
        self.past[0].rate()
    }
}
