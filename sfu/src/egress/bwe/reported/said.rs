//! The receiver's own estimate (REMB, draft-alvestrand-rmcat-remb-03), and the conditions under which it is a limit.
//!
//! The draft makes it a limit always: the total of the listed streams is to be kept below it. But a receiver measures
//! only the packets that come. libwebrtc's estimate stays below one and a half times their rate and grows by 8 % a
//! second, and so do similar ones: a receiver that is sent little states little, and a sender that obeyed to the letter
//! would stay there for ever. So the estimate is compared with the rate sent:
//!
//! - **Below it**, and lower than the estimate before, or not growing: it is a limit, at once.
//! - **Below it**, after more was tried ([`GRACE_US`]) or while it grows: it follows, and is waited for. If it does not
//!   move, it is no estimate but a wish: more is tried again after [`PAUSE_US`], twice as late each time, up to
//!   [`PAUSE_MAX_US`]. All of this is forgotten when it moves.
//! - **Below it**, and the first one received: the next one counts.
//! - **Below it**, just after a layer began ([`BURST_US`]): the layer's keyframe waits behind itself, and the estimate
//!   falls to a share of the rate that came before. The next one counts.
//! - **Near it**: it repeats the rate sent and says nothing.
//! - **Far above** all rates sent lately: the receiver knows more than that. It is a limit for the rates to try.
//! - **Next to nothing** ([`NOTHING`]): no video is wanted.
//!
//! More than the estimate is tried one layer at a time: the next not before the estimate has grown since the last
//! ([`Said::may_try`]).
//!
//! An estimate that is not repeated within [`STALE_US`] does not count any more.

/// Age from which on an estimate does not count: libwebrtc repeats it every second, and lower values at once.
const STALE_US: i64 = 5_000_000;
/// Rate below which no video is wanted: no video needs so little. libwebrtc never states less than 5 kbit/s.
const NOTHING: f64 = 5_000.0;
/// Ratio of the rate sent to the estimate up to which it is near: either side measures over a second, and headers may
/// count.
const NEAR: f64 = 1.15;
/// Ratio of the estimate to the rate sent above which it is far: a receiver that only repeats its rate states one and a
/// half times as much at most.
const FAR: f64 = 2.0;
/// Least distance for that, in bits a second, where little comes.
const FAR_AT_LEAST: f64 = 50_000.0;
/// Period of the highest rate sent, of which one or two count. An estimate may stay where a moment of a higher rate
/// took it.
const PEAK_US: i64 = 30_000_000;
/// Ratio to the estimate before below which it falls.
const FALLS: f64 = 0.95;
/// Ratio of the rate sent to a falling estimate above which it is below: after overuse libwebrtc states 85 % of the
/// rate.
const FALLEN: f64 = 1.08;
/// Time that an exceeded estimate may take until it grows: it is repeated every second.
const GRACE_US: i64 = 2_500_000;
/// Time after a layer began in which a falling estimate is waited for: libwebrtc measures the rate over a second.
const BURST_US: i64 = 1_200_000;
/// Share of the rate sent before that below which it is not waited for: a usual fall is to 85 %.
const DEEP: f64 = 0.7;
/// Time for which it counts as growing since it last did.
const GROWING_US: i64 = 1_500_000;
/// Ratio to the highest value since it last fell above which it grows: swings do not count.
const GROWS: f64 = 1.02;
/// Range within which an estimate that must not be exceeded has not moved: it swings by a tenth.
const STANDS: std::ops::RangeInclusive<f64> = 0.75..=1.1;
/// Time until it is exceeded once more: a try takes [`GRACE_US`], in which everything else may be late.
const PAUSE_US: i64 = 15_000_000;
const PAUSE_MAX_US: i64 = 240_000_000;

#[derive(Debug, Default)]
pub(super) struct Said {
    last: Option<(f64, i64)>,
    grew_at: Option<i64>,
    /// The highest value since it last fell.
    top: f64,
    /// More was sent when it was last received.
    is_exceeded: bool,
    /// The time at which more was last tried.
    tried_at: Option<i64>,
    /// It fell, and was waited for.
    fell: bool,
    limit: Option<f64>,
    refused: Option<Refused>,
    /// It has moved.
    moved: bool,
    /// The highest rate sent, of all streams, in this period and the one before. `since` is the beginning of this one.
    peaks: [f64; 2],
    since: i64,
}

/// An estimate that did not move when it was exceeded.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// The highest value received then.
    rate: f64,
    /// The time until which it is a limit.
    until: i64,
    pause: i64,
}

/// The beginning of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Risen {
    /// Microseconds since it began.
    pub(super) since: i64,
    /// Bits a second sent before, of the streams that the estimate covers.
    pub(super) before: f64,
}

impl Said {
    /// Handles an estimate, in bits a second. `sent` is sent of the streams it covers, and `all` together; more was
    /// last tried `tried` microseconds ago. True if less is to be sent.
    pub(super) fn take(
        &mut self,
        now: i64,
        rate: f64,
        (sent, all): (f64, f64),
        tried: Option<i64>,
        risen: Option<Risen>,
    ) -> bool {
        if now - self.since > PEAK_US {
            (self.since, self.peaks) = (now, [0.0, self.peaks[0]]);
        }
        self.peaks[0] = self.peaks[0].max(all).max(sent);
        let peak = self.peaks[0].max(self.peaks[1]);
        let before = self.last.filter(|(_, at)| now - at <= STALE_US);
        let before = before.map(|(rate, _)| rate);
        self.last = Some((rate, now));
        if before.is_some() && rate > GROWS * self.top + 200.0 {
            self.grew_at = Some(now);
        }
        if before.is_none() || !(FALLS * self.top..=GROWS * self.top + 200.0).contains(&rate) {
            self.top = rate;
        }
        let falls = before.is_some_and(|before| rate < FALLS * before);
        let grows = self.grew_at.is_some_and(|at| now - at <= GROWING_US);
        let exceeded = sent > if falls { FALLEN } else { NEAR } * rate;
        let stands = |refused: &Refused| STANDS.contains(&(rate / refused.rate));
        let before_moving = self.refused;
        self.refused = self.refused.filter(stands);
        self.moved = before_moving.is_some() && self.refused.is_none();
        let refused = self.refused.is_some_and(|refused| now < refused.until);
        let begins =
            risen.is_some_and(|risen| risen.since <= BURST_US && rate > DEEP * risen.before);
        self.fell &= risen.is_some_and(|risen| risen.since <= 2 * BURST_US) && !grows;
        // The first may be from before the present layer.
        let begins = begins || before.is_none();
        let is_limit = if rate < NOTHING || refused {
            true
        } else if !exceeded {
            rate > (FAR * peak).max(peak + FAR_AT_LEAST)
        } else if begins {
            self.fell |= falls;
            false
        } else {
            falls || self.fell || (!grows && tried.is_none_or(|tried| tried > GRACE_US))
        };
        let moved = tried.is_some_and(|tried| self.grew_at.is_some_and(|at| now - at <= tried));
        let fell = falls || self.fell;
        if is_limit && exceeded && !fell && !moved && tried.is_some() && before.is_some() {
            let pause = self.refused.map_or(PAUSE_US, |refused| 2 * refused.pause);
            let pause = pause.min(PAUSE_MAX_US);
            self.refused = Some(Refused {
                rate: rate.max(self.top).max(1.0),
                until: now + pause,
                pause,
            });
        }
        if is_limit {
            self.tried_at = None;
        }
        self.is_exceeded = exceeded;
        self.limit = is_limit.then_some(rate);
        is_limit && exceeded
    }

    /// The limit for the streams it covers, bits a second, if an estimate came lately.
    pub(super) fn limit(&self, now: i64) -> Option<f64> {
        let (_, at) = self.last?;
        self.limit.filter(|_| now - at <= STALE_US)
    }

    /// The last estimate if it is recent, limit or not.
    pub(super) fn stated(&self, now: i64) -> Option<f64> {
        let (rate, at) = self.last?;
        (now - at <= STALE_US).then_some(rate)
    }

    /// Whether it has just moved from a value that must not be exceeded.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Records that a rate above the estimate is tried.
    pub(super) fn try_more(&mut self, now: i64) {
        self.tried_at = Some(now);
    }

    /// The time of the last try above the estimate, if its result is not known yet.
    pub(super) fn tried_at(&self) -> Option<i64> {
        self.tried_at
    }

    /// Whether a rate above the estimate may be tried: the estimate has grown since the last try, or is not below the
    /// rate sent.
    pub(super) fn may_try(&self, now: i64) -> bool {
        let Some(at) = self.tried_at else {
            return self.refused.is_none_or(|refused| now >= refused.until);
        };
        let grew = self.grew_at.is_some_and(|grew| grew > at);
        let (_, said) = self.last.unwrap_or_default();
        grew || (said > at + GRACE_US && !self.is_exceeded)
    }

    /// The time at which the estimate stops counting.
    pub(super) fn until(&self) -> Option<i64> {
        let (_, at) = self.last?;
        self.limit.map(|_| at + STALE_US + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_held_against_what_is_sent() {
        const S: i64 = 1_000_000;
        // Time, estimate, rate sent, time of the last try; whether less is to be sent, and the limit.
        type Step = (i64, f64, f64, Option<i64>, bool, Option<f64>);
        let cases: [(&str, &[Step]); 12] = [
            (
                "a limit that nobody reaches",
                &[(0, 8e6, 1e6, None, false, Some(8e6))],
            ),
            (
                "the first is far less than is sent",
                &[
                    (0, 5e5, 2e6, None, false, None),
                    (S, 5e5, 2e6, None, true, Some(5e5)),
                ],
            ),
            (
                "it repeats what is sent",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S, 2.3e5, 1.6e5, None, false, None),
                ],
            ),
            (
                "and follows what is tried",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S, 2.35e5, 5e5, Some(S / 2), false, None),
                    (2 * S, 2.5e5, 5e5, Some(3 * S / 2), false, None),
                    (3 * S, 2.7e5, 5e5, Some(5 * S / 2), false, None),
                    (4 * S, 2.9e5, 5e5, Some(7 * S / 2), false, None),
                    (9 * S / 2, 4.5e5, 5e5, Some(4 * S), false, None),
                ],
            ),
            (
                "or does not",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S, 2.3e5, 5e5, Some(S / 2), false, None),
                    (3 * S, 2.3e5, 5e5, Some(5 * S / 2 + 1), true, Some(2.3e5)),
                    // It is a wish, and known as one from now on.
                    (9 * S / 2, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (6 * S, 4e5, 2.5e5, None, false, None),
                ],
            ),
            (
                "or only swings, and is tried again later, and then later still",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S, 2.2e5, 5e5, Some(S / 2), false, None),
                    (2 * S, 2.3e5, 5e5, Some(3 * S / 2), false, None),
                    (4 * S, 2.25e5, 5e5, Some(7 * S / 2), true, Some(2.25e5)),
                    (8 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (13 * S, 2.2e5, 1.5e5, None, false, Some(2.2e5)),
                    (18 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (19 * S, 2.2e5, 1.5e5, None, false, None),
                    (20 * S, 2.3e5, 5e5, Some(S / 2), false, None),
                    (22 * S, 2.3e5, 5e5, Some(5 * S / 2 + 1), true, Some(2.3e5)),
                    (27 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (32 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (37 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (42 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (47 * S, 2.3e5, 1.5e5, None, false, Some(2.3e5)),
                    (52 * S, 2.3e5, 1.5e5, None, false, None),
                ],
            ),
            (
                "overuse",
                &[
                    (0, 2e6, 1.7e6, None, false, None),
                    (S / 5, 8.5e5, 1.7e6, None, true, Some(8.5e5)),
                    (S, 8.6e5, 5e5, None, false, None),
                ],
            ),
            (
                "a keyframe waits for itself",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S / 2, 1.6e5, 4e5, Some(S / 4), false, None),
                    (3 * S / 2, 1.7e5, 5e5, Some(5 * S / 4), false, None),
                    (5 * S / 2, 1.9e5, 5e5, Some(9 * S / 4), false, None),
                ],
            ),
            (
                "it was no keyframe",
                &[
                    (0, 2.3e5, 1.5e5, None, false, None),
                    (S / 2, 1.6e5, 4e5, Some(S / 4), false, None),
                    (3 * S / 2, 1.6e5, 5e5, Some(5 * S / 4), true, Some(1.6e5)),
                ],
            ),
            (
                "no video is wanted",
                &[
                    (0, 0.0, 2e5, None, true, Some(0.0)),
                    (S, 0.0, 0.0, None, false, Some(0.0)),
                    (2 * S, 1.0, 0.0, None, false, Some(1.0)),
                ],
            ),
            (
                "no more than the largest number",
                &[(0, u64::MAX as f64, 1e6, None, false, Some(u64::MAX as f64))],
            ),
            ("nothing is sent", &[(0, 3e4, 0.0, None, false, None)]),
        ];
        for (what, steps) in cases {
            let mut said = Said::default();
            for (at, rate, sent, tried, less, limit) in steps {
                let risen = tried.map(|since| Risen {
                    since,
                    before: 1.5e5,
                });
                assert_eq!(
                    said.take(*at, *rate, (*sent, *sent), *tried, risen),
                    *less,
                    "{what} at {at}"
                );
                assert_eq!(said.limit(*at), *limit, "{what} at {at}");
            }
            let (last, ..) = steps[steps.len() - 1];
            assert_eq!(said.limit(last + STALE_US + 1), None, "{what}: stale");
        }
    }
}
