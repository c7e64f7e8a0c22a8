//! The times that a picture moved and stood still, and its size.

use std::time::{Duration, Instant};

use tertulia_sfu::testing::oracle::OracleReport;

/// Six frames at 30 a second: what a viewer notices.
const FREEZE: Duration = Duration::from_millis(200);

/// The picture that a viewer of one stream saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Viewing {
    pub(crate) freezes: u64,
    pub(crate) frozen: Duration,
    /// Time at each picture height.
    pub(crate) residency: Vec<(u16, Duration)>,
    shown: u64,
    last: Option<Instant>,
    height: Option<u16>,
}

impl Viewing {
    /// Reads the oracle after a packet that came at `at`.
    pub(crate) fn observe(&mut self, oracle: &OracleReport, at: Instant) {
        if oracle.decodable_frames == self.shown {
            return;
        }
        self.shown = oracle.decodable_frames;
        if let Some(last) = self.last.replace(at) {
            let pause = at.saturating_duration_since(last);
            if pause > FREEZE {
                self.freezes += 1;
                self.frozen += pause;
            }
            if let Some(height) = self.height {
                self.spend(height, pause);
            }
        }
        self.height = oracle.dimensions.map(|(_, height)| height);
    }

    fn spend(&mut self, height: u16, time: Duration) {
        match self
            .residency
            .iter_mut()
            .find(|(known, _)| *known == height)
        {
            Some((_, spent)) => *spent += time,
            None => self.residency.push((height, time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_and_sizes() {
        let start = Instant::now();
        let mut viewing = Viewing::default();
        let mut oracle = OracleReport::default();
        for (ms, frames, height) in [
            (0, 1, 180),
            (33, 2, 180),
            (50, 2, 180),
            (66, 3, 720),
            (266, 4, 720),
            (500, 5, 720),
        ] {
            oracle.decodable_frames = frames;
            oracle.dimensions = Some((0, height));
            viewing.observe(&oracle, start + Duration::from_millis(ms));
        }
        assert_eq!(viewing.freezes, 1);
        assert_eq!(viewing.frozen, Duration::from_millis(234));
        let ms = Duration::from_millis;
        assert_eq!(viewing.residency, [(180, ms(66)), (720, ms(434))]);
    }
}
