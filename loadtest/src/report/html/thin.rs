//! An hour of seconds on a page: moments put together until a chart has no more than it can show.

use super::super::Moment;

/// Points a chart has at most: one for every two units of its width.
const MAX_POINTS: usize = 240;

/// Moments of equal length.
#[derive(Clone, Debug)]
pub(crate) struct Thinned {
    /// The number of seconds that each stands for.
    pub(crate) seconds: usize,
    pub(crate) moments: Vec<Moment>,
}

/// Joins neighbouring seconds. Rates and shares become means, losses a mean too (so that the total
/// stays), `delay_p50_ms` the median and `delay_p99_ms` the worst of the seconds, memory and
/// participants the highest: faults stay visible.
pub(crate) fn thin(moments: &[Moment]) -> Thinned {
    let seconds = moments.len().div_ceil(MAX_POINTS).max(1);
    Thinned {
        seconds,
        moments: moments.chunks(seconds).map(together).collect(),
    }
}

fn together(seconds: &[Moment]) -> Moment {
    let [first, ..] = seconds else {
        return Moment::default();
    };
    let count = seconds.len() as f64;
    let mean = |of: fn(&Moment) -> f64| seconds.iter().map(of).sum::<f64>() / count;
    let rounded = |of: fn(&Moment) -> f64| mean(of).round() as u64;
    Moment {
        t_s: first.t_s,
        participants: seconds
            .iter()
            .map(|second| second.participants)
            .max()
            .unwrap_or(0),
        sent: rounded(|second| second.sent as f64),
        received: rounded(|second| second.received as f64),
        mbit_s: mean(|second| second.mbit_s),
        // Rounded up: a single loss is not to vanish.
        lost: mean(|second| second.lost as f64).ceil() as u64,
        delay_p50_ms: median(
            seconds
                .iter()
                .filter_map(|second| second.delay_p50_ms)
                .collect(),
        ),
        delay_p99_ms: highest(seconds.iter().filter_map(|second| second.delay_p99_ms)),
        server_cpu_share: known_mean(seconds.iter().filter_map(|second| second.server_cpu_share)),
        generator_cpu_share: known_mean(
            seconds
                .iter()
                .filter_map(|second| second.generator_cpu_share),
        ),
        server_rss_bytes: seconds
            .iter()
            .filter_map(|second| second.server_rss_bytes)
            .max(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn highest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.fold(None, |most, value| {
        Some(most.map_or(value, |most: f64| most.max(value)))
    })
}

fn known_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use proptest::prelude::*;

    #[test]
    fn a_short_run_stays_as_it_is() {
        let report = sample::report(60);
        let thinned = thin(&report.timeline);
        assert_eq!((thinned.seconds, thinned.moments), (1, report.timeline));
        assert!(thin(&[]).moments.is_empty());
    }

    #[test]
    fn the_worst_second_stays() {
        let mut moments = sample::report(3_600).timeline;
        moments[1_234].delay_p99_ms = Some(99.0);
        moments[77].lost = 1;
        let thinned = thin(&moments);
        assert_eq!((thinned.seconds, thinned.moments.len()), (15, 240));
        assert_eq!(thinned.moments[82].delay_p99_ms, Some(99.0));
        assert!(thinned.moments[5].lost > 0);
        let mean = |moments: &[Moment]| {
            moments.iter().map(|moment| moment.received).sum::<u64>() as f64 / moments.len() as f64
        };
        assert!((mean(&moments) / mean(&thinned.moments) - 1.0).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn never_more_than_can_be_shown(seconds in 0..20_000_usize) {
            let moments: Vec<_> = (0..seconds).map(|second| Moment { t_s: second as f64, ..Moment::default() }).collect();
            let thinned = thin(&moments);
            prop_assert!(thinned.moments.len() <= MAX_POINTS);
            prop_assert!(thinned.moments.len() * thinned.seconds >= seconds);
        }
    }
}
