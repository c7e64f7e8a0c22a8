//! Golden files of everything that other programs read of the load tester: the JSON keys of its reports, its flags,
//! the names of its figures, and its summaries. `TERTULIA_GOLDEN=write` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tertulia_loadtest::crowd::{self, CrowdReport};
use tertulia_loadtest::mesh::{self, MeshReport};
use tertulia_loadtest::report::{self, Report};
use tertulia_loadtest::scenario::{self, BotKind, Scenario, catalog};
use tertulia_loadtest::sweep::{Ended, Objective, Over, Point, SweepReport, Verdict};
use tertulia_loadtest::transports::{self, TransportsReport};
use tertulia_signaling::{Config, Node};

/// Maps whose keys are data.
const MAPS: [&str; 3] = ["layer_residency", "run_lengths", "drops"];

/// Adds the paths of a value's leaves; an empty list or map adds none.
fn keys(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let data = MAPS.iter().any(|map| path.ends_with(map));
            for (key, value) in fields {
                let key = if data { "*" } else { key };
                keys(&format!("{path}.{key}"), value, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                keys(&format!("{path}[]"), value, found);
            }
        }
        _ => _ = found.insert(path.to_owned()),
    }
}

fn keys_of(values: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    values.iter().for_each(|value| keys("", value, &mut found));
    found
}

fn text_of(found: &BTreeSet<String>) -> String {
    found.iter().flat_map(|key| [key.as_str(), "\n"]).collect()
}

/// Compares with a file of `golden`, or writes it.
fn holds(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    if std::env::var_os("TERTULIA_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let first = golden
        .lines()
        .zip(text.lines())
        .find(|(one, other)| one != other);
    assert!(
        golden == text,
        "{name} differs, first at {first:?}; now it is\n{text}"
    );
}

/// Puts something into every empty field.
fn fill(key: &str, value: &mut Value) {
    match value {
        Value::Null if ["track", "cipher"].contains(&key) => *value = "x".into(),
        Value::Null => *value = 3.into(),
        Value::Bool(set) => *set = true,
        Value::Number(_) => *value = 7.into(),
        Value::String(text) if text.is_empty() => *text = key.to_owned(),
        Value::String(_) => {}
        Value::Array(values) => values.iter_mut().for_each(|value| fill(key, value)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| fill(key, value)),
    }
}

/// A report with a value in every field.
fn full() -> Value {
    let mut report = Report {
        invalid_reasons: vec![String::new()],
        encodings: vec![report::Encoding::default()],
        layer_residency: BTreeMap::from([("720".into(), 0.0)]),
        failures: vec![report::Failure::default()],
        missing_tracks: vec![report::MissingTrack::default()],
        violation_samples: vec![report::ViolationSample::default()],
        stages: vec![report::Stage::default()],
        churn: Some(report::ChurnOutcome::default()),
        floor: Some(report::Floor::default()),
        timeline: vec![report::Moment::default()],
        events: vec![report::Event::default()],
        ..Report::default()
    };
    report.generator.cores = vec![0];
    report.server.cores = vec![0];
    report.server.log = vec![String::new()];
    report.server.run_lengths = BTreeMap::from([("2-3".into(), 0)]);
    report.server.drops = BTreeMap::from([("queue_full".into(), 0)]);
    let mut report = json!(report);
    fill("", &mut report);
    let read: Report = serde_json::from_value(report).unwrap();
    json!(read)
}

/// Whether every field has something in it.
fn is_full(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty() && values.iter().all(is_full),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_full),
    }
}

fn swept() -> SweepReport {
    let point = || Point {
        load: 7,
        verdict: Verdict::Misses,
        unmet: vec!["loss is 1%".into()],
        figures: BTreeMap::from([("loss".into(), report::Spread::default())]),
        invalid_reasons: vec!["x".into()],
    };
    SweepReport {
        over: Some(Over::Rooms),
        ended: Some(Ended::Found),
        largest: Some(7),
        knee: Some(7),
        points: vec![point()],
        at_70: Some(point()),
        ..SweepReport::default()
    }
}

#[test]
fn keys_of_reports_are_as_they_were() {
    let full = full();
    assert!(is_full(&full), "every field is read back");
    holds("run-keys.txt", &text_of(&keys_of(&[full])));
    holds("sweep-keys.txt", &text_of(&keys_of(&[json!(swept())])));
    let mesh = MeshReport {
        measured: vec![mesh::Measured::default()],
        table: vec![mesh::Row::default()],
        ..MeshReport::default()
    };
    holds("mesh-keys.txt", &text_of(&keys_of(&[json!(mesh)])));
    let crowd = CrowdReport {
        steps: vec![crowd::Step::default()],
        ..CrowdReport::default()
    };
    holds("crowd-keys.txt", &text_of(&keys_of(&[json!(crowd)])));
    let compared = TransportsReport {
        measured: vec![transports::Measured {
            invalid_reasons: vec![String::new()],
            ..transports::Measured::default()
        }],
        ..TransportsReport::default()
    };
    let compared = text_of(&keys_of(&[json!(compared)]));
    holds("transports-keys.txt", &compared);
}

#[test]
fn figures_are_named_as_they_were() {
    let error = "nonesuch<1".parse::<Objective>().unwrap_err();
    let (_, names) = error.split_once("there are ").unwrap();
    holds("figures.txt", &names.replace(", ", "\n"));
}

async fn small(bot: BotKind) -> Report {
    let node = Node::start(Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        media_port: 0,
        workers: 1,
        ..Config::default()
    });
    let node = node.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = node.router();
    let http = tokio::spawn(async move { axum::serve(listener, router).await });
    let (name, settings) = catalog::load("small").unwrap();
    let scenario = Scenario {
        bot,
        url: url.parse().unwrap(),
        duration: Duration::from_secs(2),
        ..settings.scenario(&name).unwrap()
    };
    let report = scenario::run(&scenario, std::future::pending(), |_| {}).await;
    node.shutdown().await;
    http.abort();
    report.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_runs_have_the_keys_and_no_others() {
    let all = keys_of(&[full()]);
    for bot in [BotKind::Webrtc, BotKind::Wire] {
        let report = json!(small(bot).await);
        let found = keys_of(std::slice::from_ref(&report));
        // An absent part is null where a present one has fields.
        let part = |key: &String| {
            all.iter()
                .any(|other| other.starts_with(&format!("{key}.")))
        };
        let strange: Vec<_> = found.difference(&all).filter(|key| !part(key)).collect();
        assert!(strange.is_empty(), "{strange:?}");
        // Lists that a short good run leaves empty have no keys to show.
        let lists = [
            "encodings",
            "failures",
            "missing_tracks",
            "violation_samples",
            "stages",
            "churn",
            "floor",
            "invalid_reasons",
            "run_lengths",
            "drops",
            "layer_residency",
            "log",
            "server.cores",
        ];
        let missing: Vec<_> = all
            .difference(&found)
            .filter(|key| !lists.iter().any(|list| key.contains(list)))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia-loadtest"));
    command
        .args(words)
        .env("COLUMNS", "100")
        .stdin(Stdio::piped());
    command
}

fn said(words: &[&str]) -> String {
    let output = program(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn flags_are_as_they_were() {
    let mut text = said(&["--help"]);
    for command in [
        "run",
        "scenarios",
        "report",
        "compare",
        "sweep",
        "mesh",
        "crowd",
        "transports",
        "impair",
    ] {
        let help = said(&[command, "--help"]);
        write!(text, "\n== {command}\n{help}").unwrap();
    }
    holds("help.txt", &text);
    holds("scenarios.txt", &said(&["scenarios"]));
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn summaries_are_as_they_were() {
    let mut other = full();
    other["server"]["cpu_ns_per_packet"] = 4.into();
    other["machine"] = "another".into();
    let (a, b) = (
        Scratch::new("a.json", &full().to_string()),
        Scratch::new("b.json", &other.to_string()),
    );
    let sweep = Scratch::new("sweep.json", &json!(swept()).to_string());
    let names = |text: String| {
        let prefix = format!("{}-", std::process::id());
        text.replace(&prefix, "")
    };
    holds("run.txt", &said(&["report", a.path()]));
    holds(
        "compare.txt",
        &names(said(&["compare", a.path(), b.path(), "--force"])),
    );
    holds("sweep.txt", &said(&["report", sweep.path()]));
}

#[test]
fn keys_of_an_impaired_path_are_as_they_were() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    let stats = Scratch::new("stats.json", "");
    let mut child = program(&[
        "impair",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--every",
        "50ms",
        "--json-stats",
        stats.path(),
    ])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |wanted: &str| loop {
        let line = lines.next().expect("the program says it").unwrap();
        if line.contains(wanted) {
            return line;
        }
    };
    let first = until("impair: ");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .send_to(b"x", first.split_whitespace().nth(1).unwrap())
        .unwrap();
    until("1 sent, 0 lost");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&stats.0).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    holds("impair-keys.txt", &text_of(&keys_of(&lines)));
}
