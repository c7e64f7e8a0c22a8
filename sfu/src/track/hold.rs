//! How firmly a stream holds its layer.

use std::time::{Duration, Instant};

/// Silence after which a stream gives way to another. Cameras in the dark send every 200 ms; a sender that restarts
/// under a new SSRC shows nothing for this long.
const SILENT: Duration = Duration::from_secs(1);

/// How firmly a stream holds its layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// The time at which a stream that only named itself last took the layer.
    taken_at: Option<Instant>,
    /// The time of the last packet of its stream; none if the stream is gone.
    heard_at: Option<Instant>,
}

impl Hold {
    /// Whether a stream that only names itself may take the layer.
    pub(crate) fn yields(&self, now: Instant) -> bool {
        let long_ago = |at: Option<Instant>| at.is_none_or(|at| now >= at + SILENT);
        long_ago(self.heard_at) && long_ago(self.taken_at)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        (self.taken_at, self.heard_at) = (Some(now), Some(now));
    }

    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Records that its stream is gone.
    pub(crate) fn leave(&mut self) {
        self.heard_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_away_when_its_stream_is_silent_or_gone_and_not_twice_at_once() {
        enum Happens {
            Taken,
            Heard,
            Gone,
        }
        use Happens::{Gone, Heard, Taken};
        for (what, history, yields_at) in [
            ("nobody was there", &[][..], 0),
            ("it speaks", &[(0, Taken), (4_900, Heard)], 5_900),
            ("it fell silent", &[(0, Taken), (500, Heard)], 1_500),
            (
                "it said goodbye",
                &[(0, Taken), (4_900, Heard), (4_950, Gone)],
                4_950,
            ),
            ("it came and went", &[(0, Taken), (10, Gone)], 1_000),
            ("it was announced and never came", &[(0, Gone)], 0),
            ("it was announced and speaks", &[(700, Heard)], 1_700),
            (
                "it speaks again",
                &[(0, Taken), (2_000, Gone), (2_100, Heard)],
                3_100,
            ),
        ] {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut hold = Hold::default();
            let mut last = 0;
            for (ms, happens) in history {
                last = *ms;
                match happens {
                    Taken => hold.take(at(*ms)),
                    Heard => hold.hear(at(*ms)),
                    Gone => hold.leave(),
                }
            }
            let mut times = last..10_000;
            assert_eq!(
                times.find(|ms| hold.yields(at(*ms))),
                Some(yields_at),
                "{what}"
            );
        }
    }
}
