//! Sockets over HTTP: whether events arrive at once, and polls are answered. A participant can join over polls, too.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::answer::{Answer, Unanswered, ask};
use super::connection::Way;
use super::health;
use super::report::{Row, Step};
use super::target::Target;
use crate::protocol::native::{ClientFrame, ClientMessage, ServerMessage};

/// The first event of a stream.
const OPEN: &[u8] = b"\"type\":\"open\"";

fn has_opened(body: &[u8]) -> bool {
    body.windows(OPEN.len()).any(|part| part == OPEN)
}

/// Makes a stream of events and ends it after the first.
pub(super) async fn events(way: &Way, within: Duration) -> Result<Answer, Unanswered> {
    let body = json!({"messages": []}).to_string();
    ask(way, "v1/http/events", Some(body), within, has_opened).await
}

pub(super) fn events_row(target: &Target, answer: &Result<Answer, Unanswered>) -> Row {
    let step = Step::Events;
    match answer {
        Ok(answer) if has_opened(&answer.body) => Row::ok(step, "the first event came"),
        Ok(answer)
            if answer.status == 200 && answer.content_type.starts_with("text/event-stream") =>
        {
            Row::failed(
                step,
                "events_held_back",
                "Something on the way holds back events until there are many: turn the buffering of answers off in the proxy (nginx: proxy_buffering off).",
            )
        }
        Ok(answer) => of_answer(target, step, answer),
        Err(unanswered) => health::of_none(target, step, unanswered),
    }
}

/// The body of an answer to a poll.
#[derive(Deserialize)]
struct Polled {
    connection: String,
    #[serde(default)]
    messages: Vec<ServerMessage>,
}

/// A socket that polls.
pub(super) struct Polls {
    connection: String,
    messages: Vec<ServerMessage>,
}

impl Polls {
    fn read(answer: &Answer) -> Option<Self> {
        let read: Polled = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then_some(Self {
            connection: read.connection,
            messages: read.messages,
        })
    }

    /// Sends a message, and returns what the server says within a moment.
    pub(super) async fn exchange(
        &mut self,
        way: &Way,
        message: ClientMessage,
        until: Instant,
        mut is_last: impl FnMut(&ServerMessage) -> bool,
    ) -> Vec<ServerMessage> {
        let frame = ClientFrame {
            id: Some(1),
            message,
        };
        let mut up = vec![json!(frame)];
        let mut heard = Vec::new();
        // A join has its answer after a poll or two.
        for batch in 1..=8 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.iter().any(&mut is_last) {
                break;
            }
            let wait_ms = u64::try_from(left.as_millis() / 2).unwrap_or_default();
            let mut body = json!({"connection": self.connection, "wait_ms": wait_ms});
            if !up.is_empty() {
                body["messages"] = std::mem::take(&mut up).into();
                body["batch"] = json!(batch);
            }
            let answer = ask(way, "v1/http/poll", Some(body.to_string()), left, never).await;
            let Some(polled) = answer.ok().as_ref().and_then(Self::read) else {
                break;
            };
            heard.extend(polled.messages);
        }
        heard
    }

    pub(super) async fn close(self, way: &Way, within: Duration) {
        let body = json!({"connection": self.connection, "close": true}).to_string();
        // The server ends a socket that is not polled by itself.
        let _ = ask(way, "v1/http/send", Some(body), within, never).await;
    }
}

fn never(_: &[u8]) -> bool {
    false
}

/// Makes a socket that polls, by a first poll with a message that is answered at once.
pub(super) async fn poll(way: &Way, within: Duration) -> Result<Answer, Unanswered> {
    let body = json!({"messages": [{"type": "ping", "id": 1}], "wait_ms": 1_000}).to_string();
    ask(way, "v1/http/poll", Some(body), within, never).await
}

/// The row about polls, and the socket.
pub(super) fn poll_row(
    target: &Target,
    answer: &Result<Answer, Unanswered>,
) -> (Row, Option<Polls>) {
    let step = Step::Polling;
    match answer {
        Ok(answer) => match Polls::read(answer) {
            Some(polls) => (Row::ok(step, "a poll was answered"), Some(polls)),
            None => (of_answer(target, step, answer), None),
        },
        Err(unanswered) => (health::of_none(target, step, unanswered), None),
    }
}

/// A refusal of the server's own.
#[derive(Deserialize)]
struct Refused {
    code: String,
    message: String,
}

/// The row of an answer that makes no socket, whether the server refuses or somebody else answers.
pub(super) fn of_answer(target: &Target, step: Step, answer: &Answer) -> Row {
    let Ok(Refused { code, message }) = serde_json::from_slice(&answer.body) else {
        return health::of_another(target, step, answer);
    };
    let found = format!("{code}: {message}");
    let row = match code.as_str() {
        "origin_refused" => Row::failed(
            step,
            "origin_refused",
            format!(
                "The server takes the page at {} for another site's: let the proxy pass the header Host on, or name this origin in allowed_origins.",
                target.origin()
            ),
        ),
        "host_refused" => Row::failed(
            step,
            "host_refused",
            format!(
                "The server is not to be asked by the name {}: add it to allowed_hosts.",
                target.host()
            ),
        ),
        "bad_upgrade" => Row::failed(
            step,
            "no_upgrade",
            "A proxy takes the upgrade to a WebSocket away, so that clients use slower ways: let it pass the headers Upgrade and Connection on, over HTTP/1.1.",
        ),
        _ => Row::failed(
            step,
            "refused",
            format!(
                "The server refuses with `{code:.40}`: look that code up in PROTOCOL.md, and into the server's log."
            ),
        ),
    };
    row.found(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Result<Answer, Unanswered> {
        Ok(Answer {
            status,
            content_type: content_type.into(),
            body: body.into(),
            ..Answer::default()
        })
    }

    #[test]
    fn each_outcome_has_its_row() {
        let target: Target = "https://call.example.org".parse().expect("a target");
        let stream = "text/event-stream";
        for (answer, events, polling) in [
            (
                answer(
                    200,
                    stream,
                    "data: {\"type\":\"open\",\"connection\":\"c\"}\n\n",
                ),
                "ok",
                "not_tertulia",
            ),
            (answer(200, stream, ""), "events_held_back", "not_tertulia"),
            (
                answer(200, "text/html", "hello"),
                "not_tertulia",
                "not_tertulia",
            ),
            (answer(404, "text/html", ""), "not_here", "not_here"),
            (
                answer(
                    200,
                    "application/json",
                    r#"{"connection":"c","after":0,"messages":[{"type":"pong"}]}"#,
                ),
                "not_tertulia",
                "ok",
            ),
            (
                answer(200, "application/json", r#"{"connection":7}"#),
                "not_tertulia",
                "not_tertulia",
            ),
            (
                answer(
                    403,
                    "application/json",
                    r#"{"code":"origin_refused","message":"m"}"#,
                ),
                "origin_refused",
                "origin_refused",
            ),
            (
                answer(
                    421,
                    "application/json",
                    r#"{"code":"host_refused","message":"m"}"#,
                ),
                "host_refused",
                "host_refused",
            ),
            (
                answer(
                    426,
                    "application/json",
                    r#"{"code":"bad_upgrade","message":"m"}"#,
                ),
                "no_upgrade",
                "no_upgrade",
            ),
            (
                answer(
                    503,
                    "application/json",
                    r#"{"code":"server_full","message":"m"}"#,
                ),
                "refused",
                "refused",
            ),
            (Err(Unanswered::Closed), "http_closed", "http_closed"),
        ] {
            assert_eq!(events_row(&target, &answer).code, events, "{answer:?}");
            let (row, polls) = poll_row(&target, &answer);
            assert_eq!(
                (row.code, polls.is_some()),
                (polling, polling == "ok"),
                "{answer:?}"
            );
        }
    }
}
