//! The largest load that still meets an objective, and the curve on the way there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use objective::Objective;
pub use page::page;
pub use search::{Ended, Range, Search, Verdict};

use crate::bot::publish::Video;
use crate::report::figures::FIGURES;
use crate::report::{Report, Spread};
use crate::scenario::{Scenario, generator_limited};

mod objective;
mod page;
mod search;
mod text;

/// Share of the largest load at which a server should be run for good.
const WORKING_SHARE: f64 = 0.7;

/// The search to run.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub over: Over,
    pub range: Range,
    pub objective: Objective,
    /// Runs of each load; their medians count.
    pub repeat: usize,
}

/// The parameter that grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Subscribers in each room.
    Subscribers,
    /// Publishers in each room.
    Publishers,
    Rooms,
    /// Video packets a second from each publisher.
    Rate,
}

/// The outcome of a sweep. Field names are stable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepReport {
    pub version: String,
    pub machine: String,
    pub scenario: String,
    /// The senders, receivers and media at the lightest load.
    pub circumstances: String,
    pub over: Option<Over>,
    pub objective: String,
    pub repeat: usize,
    pub ended: Option<Ended>,
    /// The largest load that met the objective.
    pub largest: Option<u64>,
    /// The largest load up to which delay p99 stayed below twice that of the lightest load.
    pub knee: Option<u64>,
    /// Points by load.
    pub points: Vec<Point>,
    /// The point at 70% of `largest`.
    pub at_70: Option<Point>,
}

/// The runs at one load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    pub load: u64,
    pub verdict: Verdict,
    /// Bounds of the objective that were not kept, and other faults.
    pub unmet: Vec<String>,
    /// Figures by the keys used in objectives.
    pub figures: BTreeMap<String, Spread>,
    /// The reasons why runs were not valid, each once.
    pub invalid_reasons: Vec<String>,
}

impl Sweep {
    /// Measures loads until the largest is known, then 70% of it. `measure` runs one; `progress` is
    /// told of each point. An interrupted run ends the sweep with the points so far.
    pub async fn run(
        &self,
        mut measure: impl AsyncFnMut(u64) -> io::Result<Report>,
        mut progress: impl FnMut(&Point),
    ) -> io::Result<SweepReport> {
        let mut search = Search::new(self.range);
        let mut sweep = SweepReport {
            over: Some(self.over),
            objective: self.objective.to_string(),
            repeat: self.repeat,
            ..SweepReport::default()
        };
        while let Some(load) = search.next() {
            let Some(point) = self.point(load, &mut measure, &mut sweep).await? else {
                break;
            };
            progress(&point);
            search.record(load, point.verdict);
            sweep.points.push(point);
        }
        sweep.points.sort_by_key(|point| point.load);
        sweep.ended = Some(search.ended());
        sweep.largest = search.largest();
        sweep.knee = knee(&sweep.points, sweep.largest);
        if let (Some(largest), false) = (sweep.largest, search.ended() == Ended::Interrupted) {
            let load = ((largest as f64 * WORKING_SHARE).round() as u64).max(1);
            let known = sweep
                .points
                .iter()
                .find(|point| point.load == load)
                .cloned();
            sweep.at_70 = match known {
                Some(point) => Some(point),
                None => self.point(load, &mut measure, &mut sweep).await?,
            };
            sweep.at_70.iter().for_each(progress);
        }
        Ok(sweep)
    }

    /// Runs one load; none if it was interrupted.
    async fn point(
        &self,
        load: u64,
        measure: &mut impl AsyncFnMut(u64) -> io::Result<Report>,
        sweep: &mut SweepReport,
    ) -> io::Result<Option<Point>> {
        let mut reports = Vec::new();
        for _ in 0..self.repeat.max(1) {
            let report = measure(load).await?;
            if report.interrupted {
                return Ok(None);
            }
            if sweep.version.is_empty() {
                sweep.version.clone_from(&report.version);
                sweep.machine.clone_from(&report.machine);
                sweep.scenario = crate::report::name(&report);
                sweep.circumstances = crate::report::circumstances(&report);
            }
            reports.push(report);
        }
        Ok(Some(self.judge(load, &reports)))
    }

    fn judge(&self, load: u64, reports: &[Report]) -> Point {
        let figures: BTreeMap<String, Spread> = FIGURES
            .iter()
            .filter_map(|figure| {
                let spread = Spread::of(reports.iter().filter_map(figure.value))?;
                Some((figure.key.to_owned(), spread))
            })
            .collect();
        let mut unmet = self.objective.unmet(&figures);
        let most = |of: fn(&Report) -> bool| {
            reports.iter().filter(|report| of(report)).count() * 2 > reports.len()
        };
        if most(|report| report.join_failed + report.dropped > 0) {
            unmet.push("not everybody got in and stayed".into());
        }
        let verdict = match unmet.is_empty() {
            _ if most(generator_limited) => Verdict::GeneratorLimited,
            true => Verdict::Meets,
            false => Verdict::Misses,
        };
        let mut invalid_reasons: Vec<String> = Vec::new();
        for reason in reports.iter().flat_map(|report| &report.invalid_reasons) {
            if !invalid_reasons.contains(reason) {
                invalid_reasons.push(reason.clone());
            }
        }
        Point {
            load,
            verdict,
            unmet,
            figures,
            invalid_reasons,
        }
    }
}

fn knee(points: &[Point], largest: Option<u64>) -> Option<u64> {
    let delay = |point: &Point| Some(point.figures.get("delay_p99")?.median);
    let lightest = delay(points.first()?)?;
    let calm = points
        .iter()
        .filter(|point| point.verdict != Verdict::GeneratorLimited)
        .take_while(|point| delay(point).is_some_and(|delay| delay < 2.0 * lightest));
    calm.map(|point| point.load).last().min(largest)
}

impl Over {
    /// The scenario at a load.
    pub fn apply(self, scenario: &Scenario, load: u64) -> Scenario {
        let mut scenario = scenario.clone();
        let count = usize::try_from(load).unwrap_or(usize::MAX);
        match self {
            Self::Subscribers => scenario.subscribers = count,
            Self::Publishers => scenario.publishers = count,
            Self::Rooms => scenario.rooms = count,
            Self::Rate => scenario.video = paced(scenario.video, load),
        }
        scenario
    }
}

/// Video of so many packets a second, as near as whole frames come to it.
fn paced(video: Video, rate: u64) -> Video {
    const MAX_FRAMES: u64 = 1_000;
    const MAX_PACKETS: u64 = 100;
    let (wanted, packet_bytes) = match video {
        Video::Trace {
            packets_per_frame,
            packet_bytes,
            ..
        } => (u64::from(packets_per_frame), packet_bytes),
        _ => (10, 1_200),
    };
    // Longer frames where there cannot be more of them, shorter where one would be too long.
    let packets = wanted
        .min(rate)
        .max(rate.div_ceil(MAX_FRAMES))
        .clamp(1, MAX_PACKETS);
    let frames = ((rate + packets / 2) / packets).clamp(1, MAX_FRAMES);
    Video::Trace {
        packets_per_frame: packets as u16,
        frames_per_second: frames as u16,
        packet_bytes,
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscribers => "subscribers in each room",
            Self::Publishers => "publishers in each room",
            Self::Rooms => "rooms",
            Self::Rate => "video packets a second from each publisher",
        })
    }
}

/// `subscribers=10..1000`, with `:STEPS` after it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OverRange(pub Over, pub Range);

impl FromStr for OverRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write subscribers|publishers|rooms|rate=FROM..TO[:STEPS]";
        let (name, range) = text.split_once('=').ok_or(FORM)?;
        let over = <Over as ValueEnum>::from_str(name, false)
            .map_err(|_| format!("`{name}` does not grow: {FORM}"))?;
        let steps = range.split_once(':');
        let (range, steps) = steps.map_or((range, None), |(range, steps)| (range, Some(steps)));
        let (from, to) = range.split_once("..").ok_or(FORM)?;
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("`{text}` is no load: {FORM}"))
        };
        let (from, to) = (number(from)?, number(to)?);
        if from == 0 || to < from || to > 100_000 {
            return Err(format!("`{range}` is no range from 1 to 100000: {FORM}"));
        }
        let steps = match steps.map(str::parse::<u32>) {
            None => None,
            Some(Ok(steps @ 2..=100)) => Some(steps),
            Some(_) => return Err(format!("2 to 100 steps: {FORM}")),
        };
        Ok(Self(
            over,
            Range {
                steps,
                ..Range::new(from, to)
            },
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::sample;

    /// A server whose delay grows like a queue's, full at `capacity`; its generator at `generator`.
    pub(crate) fn measured(load: u64, capacity: f64, generator: f64) -> Report {
        let mut report = sample::report(10);
        let use_share = load as f64 / capacity;
        let waiting = 1.0 / (1.0 - use_share.min(0.99));
        report.forward_delay_ms =
            sample::percentiles(0.1 * waiting, 0.4 * waiting, 0.5 * waiting, 2.0 * waiting);
        report.server.cpu_share = Some(use_share.min(1.0));
        report.window.packets_received = load * 2_000;
        report.window.packets_lost = match use_share > 1.0 {
            true => (load as f64 * 2_000.0 * (1.0 - 1.0 / use_share)) as u64,
            false => 0,
        };
        report.packets_expected = report.window.packets_received + report.window.packets_lost;
        report.generator.cpu_share = Some((load as f64 / generator).min(1.0));
        report
    }

    pub(crate) async fn swept(capacity: f64, generator: f64) -> SweepReport {
        let sweep = Sweep {
            over: Over::Subscribers,
            range: Range::new(10, 1_000),
            objective: "loss<0.1%,delay_p99<5ms".parse().unwrap(),
            repeat: 3,
        };
        let mut runs = 0;
        let measure = async |load| {
            runs += 1;
            Ok(measured(load, capacity, generator))
        };
        let mut told = 0;
        let report = sweep.run(measure, |_| told += 1).await.unwrap();
        assert_eq!(runs % 3, 0);
        assert!(told >= report.points.len());
        report
    }

    #[tokio::test]
    async fn the_curve_the_knee_and_the_working_point() {
        let report = swept(300.0, 10_000.0).await;
        // 0.5 ms / (1 - use) reaches 5 ms at nine tenths of the capacity.
        let largest = report.largest.unwrap();
        assert!((257..270).contains(&largest), "{largest}");
        assert_eq!(report.ended, Some(Ended::Found));
        // Doubled at half the capacity.
        let knee = report.knee.unwrap();
        assert!((80..=155).contains(&knee), "{knee}");
        let at_70 = report.at_70.unwrap();
        assert_eq!(at_70.load, (largest as f64 * 0.7).round() as u64);
        assert_eq!(at_70.verdict, Verdict::Meets);
        assert!(
            report
                .points
                .windows(2)
                .all(|pair| pair[0].load < pair[1].load)
        );
        assert_eq!(report.points[0].figures["delay_p99"].runs, 3);
    }

    #[tokio::test]
    async fn a_full_generator_ends_it_and_is_named() {
        let report = swept(10_000.0, 200.0).await;
        assert_eq!(report.ended, Some(Ended::GeneratorLimited));
        let largest = report.largest.unwrap();
        assert!((180..=190).contains(&largest), "{largest}");
    }

    #[tokio::test]
    async fn an_interrupted_sweep_keeps_what_it_has() {
        let sweep = Sweep {
            over: Over::Rooms,
            range: Range::new(1, 64),
            objective: "loss<0.1%".parse().unwrap(),
            repeat: 1,
        };
        let measure = async |load| {
            let mut report = measured(load, 1_000.0, 1_000.0);
            report.interrupted = load > 4;
            Ok(report)
        };
        let report = sweep.run(measure, |_| {}).await.unwrap();
        assert_eq!(report.ended, Some(Ended::Interrupted));
        assert_eq!((report.points.len(), report.largest), (3, Some(4)));
        assert_eq!(report.at_70, None);
    }

    #[test]
    fn ranges_are_read() {
        let range = |text: &str| text.parse::<OverRange>();
        assert_eq!(
            range("subscribers=10..1000"),
            Ok(OverRange(Over::Subscribers, Range::new(10, 1_000)))
        );
        assert_eq!(range("rate=100..20000:6").unwrap().1.steps, Some(6));
        for text in [
            "",
            "rooms",
            "rooms=1",
            "rooms=0..4",
            "rooms=9..4",
            "people=1..2",
            "rooms=1..4:1",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_becomes_whole_frames() {
        for (rate, expected) in [
            (1_000, "trace:10x100x1200"),
            (5, "trace:5x1x1200"),
            (25_000, "trace:25x1000x1200"),
            (1_234, "trace:10x123x1200"),
        ] {
            assert_eq!(paced(Video::P720, rate).to_string(), expected);
        }
        let small: Video = "trace:1x50x200".parse().unwrap();
        assert_eq!(paced(small, 500).to_string(), "trace:1x500x200");
    }
}
