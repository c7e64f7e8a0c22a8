//! A call without a relay: each person sends to all others.
//!
//! Arithmetic gives the load of a mesh on each person. A small real mesh, of the webrtc bots' peer connections on
//! loopback, shows that the arithmetic holds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bot::publish::Video;
use crate::generator;
use crate::report::figures::Unit;
use crate::server::process::Process;
use arithmetic::bitrate;
use pair::Pair;

mod arithmetic;
mod pair;

pub use arithmetic::Each;
pub use pair::MeshError;

/// Time for the jitter of joining, first keyframe requests and the like to be over.
const SETTLING: Duration = Duration::from_secs(1);

/// The largest mesh of the table.
const TABLE: std::ops::RangeInclusive<usize> = 2..=20;

/// A run agrees with the arithmetic when every person is this near to it. A second at either end
/// may hold a keyframe more or less, which in ten seconds is some hundredths.
const TOLERANCE: f64 = 0.1;

/// The mesh to run.
#[derive(Clone, Copy, Debug)]
pub struct Mesh {
    /// The number of people, from 2 on.
    pub people: usize,
    /// Video of one encoding: without a relay nobody can choose among several.
    pub video: Video,
    pub audio: bool,
    pub duration: Duration,
}

/// The outcome of a mesh. Field names are stable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshReport {
    pub version: String,
    pub machine: String,
    /// Everybody's media came, nothing was lost, and the arithmetic held.
    pub passed: bool,
    pub people: usize,
    pub video: String,
    pub audio: bool,
    pub seconds: f64,
    /// Rate of one person's media, RTP headers and payloads, from the clips.
    pub bitrate_mbit_s: f64,
    /// The arithmetic of this mesh.
    pub predicted: Each,
    /// Each person's own count of what was sent and received.
    pub measured: Vec<Measured>,
    pub connections: usize,
    pub packets_lost: u64,
    pub oracle_violations: u64,
    /// Processor time for each person, in cores: packets, SRTP and sockets, without any codec.
    pub cpu_cores_per_person: Option<f64>,
    /// The load of a person, sent and received, by how many there are.
    pub table: Vec<Row>,
}

/// One person of the real mesh.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    pub upload_mbit_s: f64,
    pub download_mbit_s: f64,
}

/// One size of a call.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    pub people: usize,
    pub mesh: Each,
    pub relay: Each,
}

impl Mesh {
    /// Builds the mesh, lets it talk, takes it down.
    ///
    /// # Errors
    ///
    /// A connection could not be made.
    pub async fn run(&self) -> Result<MeshReport, MeshError> {
        let mut pairs = Vec::new();
        for one in 0..self.people {
            for other in one + 1..self.people {
                let pair = Pair::connect(one, other, self.video, self.audio).await?;
                pairs.push(pair);
            }
        }
        let talking = Instant::now();
        for (index, pair) in pairs.iter_mut().enumerate() {
            // Frames of different connections are not to leave at the same instants.
            let turn = Duration::from_millis(33) * index as u32 / pairs_of(self.people);
            pair.publish(talking + turn).await;
        }
        tokio::time::sleep(SETTLING).await;
        let before = self.traffic(&pairs);
        let cpu = || Process::observe(std::process::id())?.cpu_seconds();
        let used = cpu();
        let began = Instant::now();
        tokio::time::sleep(self.duration).await;
        let seconds = began.elapsed().as_secs_f64();
        let after = self.traffic(&pairs);
        let used = cpu().and_then(|now| Some(now - used?));

        let mut report = MeshReport {
            version: env!("CARGO_PKG_VERSION").into(),
            machine: generator::machine(),
            people: self.people,
            video: self.video.to_string(),
            audio: self.audio,
            seconds,
            bitrate_mbit_s: bitrate(self.video, self.audio),
            connections: pairs.len(),
            cpu_cores_per_person: used.map(|used| used / seconds / self.people as f64),
            ..MeshReport::default()
        };
        let people = before.into_iter().zip(after);
        let measured = people.map(|((sent, received), (sent_now, received_now))| Measured {
            upload_mbit_s: (sent_now - sent) as f64 * 8e-6 / seconds,
            download_mbit_s: (received_now - received) as f64 * 8e-6 / seconds,
        });
        report.measured = measured.collect();
        let expected = self.tracks() * self.people * (self.people - 1);
        let mut arrived = 0;
        for pair in pairs {
            let (streams, lost, violations) = pair.close().await;
            arrived += streams;
            report.packets_lost += lost;
            report.oracle_violations += violations;
        }
        report.judge(arrived == expected);
        Ok(report)
    }

    fn tracks(&self) -> usize {
        usize::from(self.audio) + usize::from(self.video != Video::None)
    }

    /// The bytes that each person has sent and received.
    fn traffic(&self, pairs: &[Pair]) -> Vec<(u64, u64)> {
        let mut people = vec![(0, 0); self.people];
        for (person, sent, received) in pairs.iter().flat_map(Pair::traffic) {
            people[person].0 += sent;
            people[person].1 += received;
        }
        people
    }
}

fn pairs_of(people: usize) -> u32 {
    (people * (people - 1) / 2).max(1) as u32
}

impl MeshReport {
    fn judge(&mut self, everything_came: bool) {
        self.predicted = Each::in_mesh(self.people, self.bitrate_mbit_s);
        self.table = TABLE
            .map(|people| Row {
                people,
                mesh: Each::in_mesh(people, self.bitrate_mbit_s),
                relay: Each::with_relay(people, self.bitrate_mbit_s),
            })
            .collect();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() <= TOLERANCE;
        let holds = self.measured.iter().all(|measured| {
            near(measured.upload_mbit_s, self.predicted.upload_mbit_s)
                && near(measured.download_mbit_s, self.predicted.download_mbit_s)
        });
        self.passed =
            everything_came && holds && self.packets_lost == 0 && self.oracle_violations == 0;
    }

    /// The exit status of a run.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.passed)
    }

    /// The lowest, the mean and the highest over the people.
    fn measured(&self, of: fn(&Measured) -> f64) -> String {
        let values = || self.measured.iter().map(of);
        let mean = values().sum::<f64>() / self.measured.len().max(1) as f64;
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(0.0, f64::max);
        let unit = Unit::MegabitsPerSecond;
        let (low, high) = (unit.parts(low).0, unit.parts(high).0);
        format!("{} ({low} to {high})", unit.show(mean))
    }
}

impl fmt::Display for MeshReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mbit = |value: f64| Unit::MegabitsPerSecond.show(value);
        let Self {
            people,
            connections,
            video,
            ..
        } = self;
        let audio = if self.audio { "on" } else { "off" };
        let (seconds, one) = (self.seconds, mbit(self.bitrate_mbit_s));
        writeln!(
            f,
            "mesh of {people}: {connections} connections, {video} video, audio {audio}, {seconds:.1} s; one person's media is {one}"
        )?;
        let upload = self.measured(|person| person.upload_mbit_s);
        let download = self.measured(|person| person.download_mbit_s);
        for (name, measured, predicted) in [
            ("upload  ", upload, self.predicted.upload_mbit_s),
            ("download", download, self.predicted.download_mbit_s),
        ] {
            writeln!(
                f,
                "  {name}  {measured} each; by arithmetic {}",
                mbit(predicted)
            )?;
        }
        let (lost, violations) = (self.packets_lost, self.oracle_violations);
        writeln!(f, "  packets   {lost} lost, {violations} oracle violations")?;
        if let Some(cores) = self.cpu_cores_per_person {
            let share = Unit::Share.show(cores);
            writeln!(f, "  cpu       {share} of a core each, without any codec")?;
        }
        f.write_str(
            "\n| people | upload in a mesh | encoders in a mesh | upload with a relay | download, either way |\n\
             |---:|---:|---:|---:|---:|\n",
        )?;
        for Row {
            people,
            mesh,
            relay,
        } in &self.table
        {
            let (up, encoders) = (mesh.upload_mbit_s, mesh.encoders);
            let (once, down) = (relay.upload_mbit_s, relay.download_mbit_s);
            writeln!(
                f,
                "| {people} | {up:.1} Mbit/s | {encoders} | {once:.1} Mbit/s | {down:.1} Mbit/s |"
            )?;
        }
        write!(f, "\n{}", if self.passed { "passed" } else { "FAILED" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_people_send_twice_what_one_has() {
        let mesh = Mesh {
            people: 3,
            video: Video::P180,
            audio: true,
            duration: Duration::from_secs(4),
        };
        let report = mesh.run().await.unwrap();
        assert!(report.passed, "{report:#?}");
        assert_eq!((report.connections, report.measured.len()), (3, 3));
        assert_eq!(report.predicted.upload_mbit_s, 2.0 * report.bitrate_mbit_s);
        assert_eq!(report.table.len(), 19);
        let text = report.to_string();
        assert!(
            text.contains("\n| 20 | ") && text.ends_with("passed"),
            "{text}"
        );
    }

    #[test]
    fn what_is_off_by_more_than_the_tolerance_fails() {
        for (share, passed) in [(1.0, true), (0.92, true), (0.85, false), (1.2, false)] {
            let mut report = MeshReport {
                people: 3,
                bitrate_mbit_s: 1.0,
                ..MeshReport::default()
            };
            report.measured = vec![
                Measured {
                    upload_mbit_s: 2.0 * share,
                    download_mbit_s: 2.0,
                };
                3
            ];
            report.judge(true);
            assert_eq!(report.passed, passed, "{share}");
            report.judge(false);
            assert!(!report.passed);
        }
    }
}
