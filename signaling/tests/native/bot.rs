//! The bot of `docs/examples`, which was written from the protocol alone, against the binary.
//!
//! Needs a Python with `loadtest/tests/requirements.txt`, named by `TERTULIA_AIORTC_PYTHON`; `.ci/test` makes one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::http::get;
use crate::process::Process;

/// Deadline for each thing awaited. Encoders and decoders run in Python, on a machine busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bot {
    process: Child,
    /// None once it was closed.
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// All that it has printed so far.
    heard: Vec<Value>,
}

impl Bot {
    /// Returns once it has joined and its data channel is open.
    async fn start(python: &OsStr, server: &Process, name: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/bot.py");
        let mut process = Command::new(python)
            .args([script, &server.url(), "room", name])
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("TERTULIA_AIORTC_PYTHON starts");
        let mut bot = Self {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().expect("stdout")).lines(),
            process,
            heard: Vec::new(),
        };
        bot.until(|bot| bot.has(|event| event["type"] == "open"))
            .await;
        bot
    }

    /// Reads on until this is so.
    async fn until(&mut self, so: impl Fn(&Self) -> bool) {
        while !so(self) {
            let line = timeout(PATIENCE, self.output.next_line()).await;
            match line.expect("a line in time").expect("text") {
                Some(line) => self.heard.push(serde_json::from_str(&line).expect("JSON")),
                None => {
                    let said = self.said().await;
                    panic!("{said} after {:#?}", self.heard);
                }
            }
        }
    }

    async fn said(&mut self) -> String {
        let mut said = String::new();
        let mut errors = self.process.stderr.take().expect("stderr");
        errors.read_to_string(&mut said).await.expect("text");
        said
    }

    fn has(&self, is: impl Fn(&Value) -> bool) -> bool {
        self.heard.iter().any(is)
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.heard.iter().filter(move |event| event["type"] == kind)
    }

    /// Its participant id.
    fn id(&self) -> String {
        let welcome = self.of_type("welcome").next().expect("a welcome");
        text(&welcome["participant"])
    }

    /// The tracks that it publishes, in the order of its m-lines: sound, then the picture.
    fn tracks(&self) -> Vec<String> {
        let answer = self.of_type("answer").next().expect("an answer");
        let published = answer["published"].as_array().expect("a list");
        published
            .iter()
            .map(|track| text(&track["track"]))
            .collect()
    }

    /// Whether frames of this track were decoded, on the m-line that carries it.
    fn sees(&self, track: &str) -> bool {
        let mut carried = HashMap::new();
        for event in &self.heard {
            for slot in event["slots"].as_array().into_iter().flatten() {
                carried.insert(text(&slot["mid"]), slot["track"].clone());
            }
            if event["type"] == "frames" && carried[&text(&event["mid"])] == track {
                return true;
            }
        }
        false
    }

    /// Whether this was said in the chat: a participant id, a line feed, and words, as data is written.
    fn hears_chat(&self, said: &str) -> bool {
        self.of_type("chat").any(|event| {
            let message = &event["message"];
            format!(
                "{}\n{}",
                text(&message["participant"]),
                text(&message["text"])
            ) == said
        })
    }

    fn data(&self) -> Vec<String> {
        self.of_type("data")
            .map(|event| text(&event["data"]))
            .collect()
    }

    async fn say(&mut self, words: &str) {
        let line = format!("{words}\n");
        let input = self.input.as_mut().expect("an open input");
        input.write_all(line.as_bytes()).await.expect("write");
    }

    /// Ends its input, which makes it leave, and waits for its end.
    async fn leave(&mut self) {
        self.input = None;
        self.until(|bot| bot.has(|event| event["type"] == "bye" && event["reason"] == "left"))
            .await;
        let ended = timeout(PATIENCE, self.process.wait()).await;
        let status = ended.expect("an end in time").expect("a status");
        let said = self.said().await;
        assert!(status.success() && !said.contains("Traceback"), "{said}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

#[tokio::test]
async fn two_bots_receive_each_other_and_leave_nothing_behind() {
    let Some(python) = std::env::var_os("TERTULIA_AIORTC_PYTHON") else {
        eprintln!("skipped: TERTULIA_AIORTC_PYTHON names no Python with aiortc");
        return;
    };
    let server = Process::start_with(&[]).await;
    let mut ada = Bot::start(&python, &server, "Ada").await;
    let mut grace = Bot::start(&python, &server, "Grace").await;

    let (of_ada, of_grace) = (ada.tracks(), grace.tracks());
    assert_eq!((of_ada.len(), of_grace.len()), (2, 2));
    ada.until(|bot| of_grace.iter().all(|track| bot.sees(track)))
        .await;
    grace
        .until(|bot| of_ada.iter().all(|track| bot.sees(track)))
        .await;

    ada.say("¿Qué tal?").await;
    grace.say("Well.").await;
    let (from_ada, from_grace) = (
        format!("{}\n¿Qué tal?", ada.id()),
        format!("{}\nWell.", grace.id()),
    );
    for (bot, data) in [(&mut ada, &from_grace), (&mut grace, &from_ada)] {
        for said in [&from_ada, &from_grace] {
            bot.until(|bot| bot.hears_chat(said)).await;
        }
        bot.until(|bot| !bot.data().is_empty()).await;
        assert_eq!(bot.data(), [data.as_str()]);
    }

    ada.leave().await;
    let left = json!({"type": "participant_left", "participant": ada.id(), "reason": "left"});
    grace.until(|bot| bot.has(|event| *event == left)).await;
    grace.leave().await;
    let health = get(server.addr, "/healthz").await;
    let health: Value = serde_json::from_str(&health.body).expect("JSON");
    assert_eq!(health["participants"], 0);
}
