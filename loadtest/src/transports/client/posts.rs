//! Messages up by requests, as the browser client sends them: one request at a time, and the next one carries all that has
//! come together meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::super::browser::Page;
use super::super::requests::Requests;
use super::super::traffic::Traffic;

/// Messages of one request at most, as many as may wait.
const MOST_TOGETHER: usize = super::UNSENT;

/// The way up of a socket over HTTP.
pub(super) struct Posts {
    requests: Requests,
    /// The socket's name.
    connection: String,
    /// Number of the latest request with messages: one that comes twice is not taken again.
    batch: u64,
    /// Interval of signs of life, if the way down is none.
    ping_every: Option<Duration>,
}

impl Posts {
    pub(super) fn new(
        page: &Arc<Page>,
        traffic: &Arc<Traffic>,
        connection: String,
        ping_every: Option<Duration>,
    ) -> Self {
        Self {
            requests: Requests::new(page, traffic),
            connection,
            batch: 0,
            ping_every,
        }
    }

    /// Sends what is said, until there is nothing more to say; then it ends the socket.
    ///
    /// # Errors
    ///
    /// A request fails; in words.
    pub(super) async fn run(mut self, mut said: mpsc::Receiver<String>) -> Result<(), String> {
        let mut beat = self.ping_every.map(|every| {
            let mut beat = interval_at(Instant::now() + every, every);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        });
        let mut messages = Vec::with_capacity(MOST_TOGETHER);
        loop {
            tokio::select! {
                count = said.recv_many(&mut messages, MOST_TOGETHER) => {
                    if count == 0 {
                        let connection = &self.connection;
                        let body = format!(r#"{{"connection":"{connection}","close":true}}"#);
                        return self.requests.answer("send", body).await.map(drop);
                    }
                }
                () = tick(beat.as_mut()) => messages.push(r#"{"type":"ping"}"#.to_owned()),
            }
            self.batch += 1;
            let body = format!(
                r#"{{"connection":"{}","batch":{},"messages":[{}]}}"#,
                self.connection,
                self.batch,
                messages.join(",")
            );
            messages.clear();
            self.requests.answer("send", body).await?;
        }
    }
}

/// The next beat; never, if there is none. Cancel-safe.
async fn tick(beat: Option<&mut Interval>) {
    match beat {
        Some(beat) => _ = beat.tick().await,
        None => std::future::pending().await,
    }
}
