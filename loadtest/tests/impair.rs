//! The impairment proxy: real sockets on loopback, and the program with its commands.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use tertulia_loadtest::cli::Cli;
use tertulia_loadtest::impair::{self, Proxy, Settings};
use tertulia_sfu::testing::network::{Models, PathModel, Script};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn models(up: &str, down: &str) -> Models {
    let mut models = Models::CLEAR;
    models.up.change(up, &models.up.clone()).unwrap();
    models.down.change(down, &models.down.clone()).unwrap();
    models
}

fn settings(to: SocketAddr, start: Models) -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        to,
        start,
        script: None,
        seed: 3,
        clients: 4,
        idle: Duration::from_secs(60),
    }
}

/// A client behind a proxy, and the server it has reached.
struct Wire {
    proxy: Proxy,
    client: UdpSocket,
    server: UdpSocket,
    /// The client's address as the server sees it.
    seen: SocketAddr,
}

impl Wire {
    fn new(start: Models) -> Self {
        let server = socket();
        let to = server.local_addr().unwrap();
        // The hello passes unharmed.
        let (proxy, _) = Proxy::start(settings(to, Models::CLEAR)).unwrap();
        let client = socket();
        client.connect(proxy.addr()).unwrap();
        client.send(b"hello").unwrap();
        let mut buffer = [0; 2_000];
        let (len, seen) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"hello");
        let wire = Self {
            proxy,
            client,
            server,
            seen,
        };
        for (direction, model) in [("up", start.up), ("down", start.down)] {
            let mut words = format!(
                "{direction} delay={}ms loss={}",
                model.delay.as_millis(),
                model.loss
            );
            if let Some(rate) = model.rate {
                words.push_str(&format!(" rate={rate} queue={}ms", model.queue.as_millis()));
            }
            wire.proxy.command(&words.parse().unwrap()).unwrap();
        }
        wire
    }

    /// Sends `count` numbered datagrams towards the client, and how many of them came and when.
    fn download(&self, count: u32, len: usize, every: Duration) -> Vec<(Duration, u32)> {
        let (server, seen) = (self.server.try_clone().unwrap(), self.seen);
        let start = Instant::now();
        let sender = std::thread::spawn(move || {
            for number in 0..count {
                let mut payload = vec![0; len];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                server.send_to(&payload, seen).unwrap();
                std::thread::sleep(
                    (start + every * (number + 1)).saturating_duration_since(Instant::now()),
                );
            }
        });
        let mut came = Vec::new();
        let mut buffer = [0; 2_000];
        self.client
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        while let Ok(len) = self.client.recv(&mut buffer) {
            assert!(len >= 4);
            came.push((
                start.elapsed(),
                u32::from_be_bytes(buffer[..4].try_into().unwrap()),
            ));
        }
        sender.join().unwrap();
        came
    }
}

#[test]
fn what_is_clear_passes_whole_and_in_order_both_ways() {
    let wire = Wire::new(Models::CLEAR);
    let came = wire.download(500, 1_200, MS / 2);
    let numbers: Vec<u32> = came.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    wire.client.send(&[7; 1_400]).unwrap();
    let mut buffer = [0; 2_000];
    let (len, from) = wire.server.recv_from(&mut buffer).unwrap();
    assert_eq!((len, from), (1_400, wire.seen));
    let stats = wire.proxy.stats();
    assert_eq!(
        (stats.len(), stats[0].up.delivered, stats[0].down.delivered),
        (1, 2, 500)
    );
}

#[test]
fn a_share_is_lost() {
    let wire = Wire::new(models("", "loss=20%"));
    let came = wire.download(2_000, 100, MS / 4);
    assert!((1_450..=1_750).contains(&came.len()), "{}", came.len());
    let stats = wire.proxy.stats();
    assert_eq!(stats[0].down.lost, 2_000 - came.len() as u64);
    assert_eq!(stats[0].up.lost, 0, "directions are apart");
}

#[test]
fn a_rate_spaces_and_a_delay_delays() {
    // The rate is twice what fits, for two seconds.
    let wire = Wire::new(models("", "rate=800k queue=100ms delay=50ms"));
    let came = wire.download(400, 1_000, 5 * MS);
    let (first, last) = (came[0].0, came[came.len() - 1].0);
    // 10 ms on the link and 50 of delay; machines under load are late, never early.
    assert!((60 * MS..160 * MS).contains(&first), "{first:?}");
    let rate = (came.len() - 1) as f64 * 8_000.0 / (last - first).as_secs_f64();
    assert!((700_000.0..830_000.0).contains(&rate), "{rate}");
    let stats = wire.proxy.stats()[0].down;
    assert!(stats.dropped > 100, "{stats:?}");
    assert!((70.0..=101.0).contains(&stats.queue_p95_ms), "{stats:?}");
}

#[test]
fn clients_are_apart_bounded_and_forgotten() {
    let server = socket();
    let start = models("", "");
    let mut settings = settings(server.local_addr().unwrap(), start);
    settings.clients = 2;
    settings.idle = 300 * MS;
    let (proxy, notices) = Proxy::start(settings).unwrap();
    let clients: Vec<UdpSocket> = (0..3).map(|_| socket()).collect();
    let mut buffer = [0; 100];
    let mut seen = Vec::new();
    for client in &clients[..2] {
        client.send_to(b"x", proxy.addr()).unwrap();
        seen.push(server.recv_from(&mut buffer).unwrap().1);
    }
    assert_ne!(seen[0], seen[1]);
    server.send_to(b"to the second", seen[1]).unwrap();
    let (len, from) = clients[1].recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..len], from),
        (&b"to the second"[..], proxy.addr())
    );
    // A third has no place until the others are forgotten.
    clients[2].send_to(b"x", proxy.addr()).unwrap();
    let forgotten = std::iter::from_fn(|| notices.recv_timeout(PATIENCE).ok())
        .filter(|notice| notice.text.contains("forgotten"))
        .take(2);
    assert_eq!(forgotten.count(), 2);
    clients[2].send_to(b"y", proxy.addr()).unwrap();
    let (len, _) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"y");
    assert_eq!(proxy.totals().0, 3);
}

#[test]
fn a_script_begins_with_the_first_client() {
    let server = socket();
    let mut settings = settings(server.local_addr().unwrap(), Models::CLEAR);
    let text =
        "[[change]]\nat = '100ms'\ndown = 'loss=10%'\n[[change]]\nat = '200ms'\ndown = 'reset'";
    settings.script = Some(Script::parse(text, Models::CLEAR).unwrap());
    let (proxy, notices) = Proxy::start(settings).unwrap();
    assert!(notices.recv_timeout(250 * MS).is_err(), "nobody is there");
    let client = socket();
    client.send_to(b"x", proxy.addr()).unwrap();
    let heard: Vec<_> = (0..4)
        .map(|_| notices.recv_timeout(PATIENCE).unwrap())
        .collect();
    let find = |text: &str| heard.iter().find(|notice| notice.text == text).unwrap().at;
    let began = find("the script starts");
    let (first, second) = (find("script: down loss=10%"), find("script: down reset"));
    assert!(
        first - began >= 99 * MS && second - began >= 199 * MS,
        "{heard:?}"
    );
    assert!(second - began < PATIENCE);
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia-loadtest"));
    command.arg("impair").args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn line(out: &mut BufReader<ChildStdout>, wanted: &str) -> String {
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if line.contains(wanted) {
            return line;
        }
        line.clear();
    }
    panic!("no line with {wanted:?}");
}

fn end(mut child: Child, signal: Signal) -> i32 {
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap().code().unwrap()
}

#[test]
fn the_program_takes_commands_and_ends_with_a_summary() {
    let server = socket();
    let to = server.local_addr().unwrap().to_string();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--delay-up",
        "1ms",
        "--every",
        "200ms",
    ];
    let mut child = program(&arguments).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    let first = line(&mut out, "impair: ");
    let addr: SocketAddr = first.split_whitespace().nth(1).unwrap().parse().unwrap();
    let client = socket();
    client.send_to(b"x", addr).unwrap();
    server.recv_from(&mut [0; 10]).unwrap();
    line(&mut out, "1 sent, 0 lost");
    writeln!(input, "down rate=500k loss=5%\nnonsense\nreset").unwrap();
    line(&mut out, " down rate=500k loss=5%");
    line(&mut out, " both reset");
    assert_eq!(end(child, Signal::INT), 0);
    line(&mut out, "ends; 1 clients");
    line(&mut out, "up: 1 sent, 0 lost, 0 dropped, 1 bytes delivered");
}

#[test]
fn statistics_are_json_lines() {
    let server = socket();
    let to = server.local_addr().unwrap().to_string();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--json-stats",
        "-",
        "--every",
        "0",
    ];
    let mut child = program(&arguments).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "down loss=5%").unwrap();
    let change: serde_json::Value = serde_json::from_str(&line(&mut out, "happened")).unwrap();
    assert_eq!(change["happened"], "down loss=5%");
    assert_eq!(end(child, Signal::TERM), 0);
    let summary: serde_json::Value = serde_json::from_str(&line(&mut out, "clients")).unwrap();
    assert_eq!(
        (&summary["clients"], &summary["down"]["sent"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    let script = std::env::temp_dir().join(format!("impair-{}.toml", std::process::id()));
    std::fs::write(&script, "[[change]]\nat = '1s'\ndown = 'rate=fast'\n").unwrap();
    let there = ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"];
    for (more, expected) in [
        (
            vec!["--rate-down", "fast"],
            "--rate-down: rate: `fast` is not a rate",
        ),
        (
            vec!["--loss-up", "5"],
            "--loss-up: loss: `5` is not a share",
        ),
        (vec!["--burst-down", "5%"], "a share and a mean length"),
        (vec!["--clients", "0"], "--clients must not be 0"),
        (vec!["--script", "/nonexistent"], "/nonexistent"),
        (
            vec!["--script", script.to_str().unwrap()],
            "change 1: down: rate: `fast`",
        ),
        (vec!["--speed", "1"], "--speed"),
    ] {
        let output = program(&[&there[..], &more].concat()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {error}");
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    std::fs::remove_file(&script).unwrap();
}

/// The blocks of the README in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let rest = include_str!("../README.md").split(&begin).skip(1);
    rest.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_readme_shows_what_the_program_takes() {
    let lines = blocks("sh").into_iter().flat_map(str::lines);
    let impairs = lines.filter(|line| line.starts_with("tertulia-loadtest impair"));
    let parsed = impairs.map(|line| Cli::try_parse_from(line.split(' ')).unwrap());
    assert_eq!(parsed.count(), 2);
    let [script] = blocks("toml")[..] else {
        panic!("one script")
    };
    let script = Script::parse(script, Models::CLEAR).unwrap();
    assert_eq!((script.seed, script.changes.len()), (Some(7), 2));
    assert_eq!(script.changes[1].models, script.start);
    let [input] = blocks("text")[..] else {
        panic!("one example of input")
    };
    for line in input.lines().filter(|line| *line != "stats") {
        let command: Result<impair::Command, _> = line.parse();
        assert!(command.is_ok(), "{command:?}");
    }
    for name in PathModel::SETTINGS {
        let rows = include_str!("../README.md").lines();
        let row = rows.filter_map(|row| row.strip_prefix(&format!("| `{name}` | `")));
        for value in row.map(|row| row.split('`').next().unwrap()) {
            PathModel::CLEAR.clone().set(name, value).unwrap();
        }
        assert!(include_str!("../README.md").contains(&format!("| `{name}` |")));
    }
}
