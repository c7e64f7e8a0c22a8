//! A client by polls: long ones, which wait at the server, or plain ones at an interval.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::super::books::Ear;
use super::super::browser::Page;
use super::super::requests::Requests;
use super::super::traffic::Traffic;
use super::posts::Posts;

/// The time for which a long poll waits at the server: the longest that the protocol has, and what the browser client asks
/// for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// A client by polls, which is in a room.
pub(super) struct Polls {
    hearing: Hearing,
    posts: Posts,
}

/// Its way down.
struct Hearing {
    requests: Requests,
    ear: Ear,
    connection: String,
    /// Messages that have come.
    had: u64,
    /// The interval of plain polls; none: long ones.
    interval: Option<Duration>,
}

/// The answer to a poll.
#[derive(Deserialize)]
struct Answer<'a> {
    connection: String,
    after: u64,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    #[serde(default)]
    closed: bool,
}

impl Polls {
    /// Polls for the first time, and joins by that.
    ///
    /// # Errors
    ///
    /// The server refuses; in words.
    pub(super) async fn enter(
        page: &Arc<Page>,
        traffic: &Arc<Traffic>,
        join: String,
        ear: Ear,
        interval: Option<Duration>,
    ) -> Result<Self, String> {
        let mut requests = Requests::new(page, traffic);
        let wait_ms = LONGEST_WAIT.as_millis();
        let body = format!(r#"{{"messages":[{join}],"wait_ms":{wait_ms}}}"#);
        let bytes = requests.answer("poll", body).await?;
        let answer = Answer::read(&bytes)?;
        let connection = answer.connection.clone();
        let mut hearing = Hearing {
            requests,
            ear,
            connection: connection.clone(),
            had: 0,
            interval,
        };
        if !hearing.take(&answer)? {
            return Err("the first answer has no welcome".into());
        }
        // Each poll is a sign of life.
        let posts = Posts::new(page, traffic, connection, None);
        Ok(Self { hearing, posts })
    }

    /// Hears and says, until there is nothing more to say.
    ///
    /// # Errors
    ///
    /// A request fails; in words.
    pub(super) async fn stay(self, said: mpsc::Receiver<String>) -> Result<(), String> {
        tokio::select! {
            ended = self.hearing.run() => ended,
            ended = self.posts.run(said) => ended,
        }
    }
}

impl Hearing {
    async fn run(mut self) -> Result<(), String> {
        let mut beat = self.interval.map(beat);
        let wait_ms = match self.interval {
            Some(_) => 0,
            None => LONGEST_WAIT.as_millis(),
        };
        let body = format!(
            r#"{{"connection":"{}","wait_ms":{wait_ms}}}"#,
            self.connection
        );
        loop {
            if let Some(beat) = &mut beat {
                beat.tick().await;
            }
            let bytes = self.requests.answer("poll", body.clone()).await?;
            self.take(&Answer::read(&bytes)?)?;
        }
    }

    /// Takes an answer. Returns whether the welcome is in it.
    fn take(&mut self, answer: &Answer<'_>) -> Result<bool, String> {
        if answer.after != self.had {
            let (after, had) = (answer.after, self.had);
            return Err(format!(
                "an answer was lost: {had} messages came of {after}"
            ));
        }
        self.had += answer.messages.len() as u64;
        let mut is_in = false;
        for message in &answer.messages {
            is_in |= self.ear.hear(message.get())?;
        }
        match answer.closed {
            true => Err("the server closed it".into()),
            false => Ok(is_in),
        }
    }
}

impl<'a> Answer<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            let text = String::from_utf8_lossy(bytes);
            format!("the answer to a poll is {text:.100}: {error}")
        })
    }
}

/// The interval of plain polls. The first comes at any time within it, so that clients who join together do not ask together.
fn beat(interval: Duration) -> Interval {
    let first = interval.mul_f64(rand::rng().random());
    let mut beat = interval_at(Instant::now() + first, interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_server_writes_them() {
        let text = br#"{"connection":"AAAAAAAAAAAAAAAAAAAAAA","after":3,"messages":[{"type":"pong"},{"type":"ok","id":1}]}"#;
        let answer = Answer::read(text).unwrap();
        assert_eq!((answer.after, answer.closed), (3, false));
        let messages: Vec<_> = answer.messages.iter().map(|it| it.get()).collect();
        assert_eq!(messages, [r#"{"type":"pong"}"#, r#"{"type":"ok","id":1}"#]);
        let last = br#"{"connection":"A","after":0,"messages":[],"closed":true}"#;
        assert!(Answer::read(last).unwrap().closed);
        assert!(Answer::read(b"<html>").is_err());
    }
}
