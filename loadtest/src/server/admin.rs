//! A server's own counters: `GET /stats` of a Tertulia with `--admin-listen`. A server of another
//! make answers nothing, or something else; missing values stay missing.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bot::signaling::ServerUrl;

/// Counters since the server began.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub uptime_s: Option<f64>,
    pub cipher: Option<String>,
    pub participants: Option<u64>,
    pub workers: Vec<Worker>,
    /// Drops by cause, those of the workers included.
    pub drops: BTreeMap<String, u64>,
}

/// One media thread.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub datagrams_sent: u64,
    /// Messages to the kernel; a GSO run is one.
    pub messages_sent: u64,
    pub packets_forwarded: u64,
    /// Messages by the number of datagrams in them.
    pub run_lengths: BTreeMap<String, u64>,
    pub subscriptions: u64,
}

/// No answer may be longer, and none may take longer: thousands of peers are summed up in it.
const MAX_BYTES: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(2);

impl Stats {
    /// Asks a server for its counters.
    ///
    /// # Errors
    ///
    /// It does not answer, or not with such an object.
    pub async fn fetch(server: &ServerUrl) -> io::Result<Self> {
        let body = get(server, "/stats").await?;
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    /// Packets forwarded by all workers.
    pub fn packets_forwarded(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.packets_forwarded)
            .sum()
    }

    /// Tracks sent to viewers.
    pub fn subscriptions(&self) -> u64 {
        self.workers.iter().map(|worker| worker.subscriptions).sum()
    }

    /// Datagrams and kernel messages of all workers.
    pub fn sent(&self) -> (u64, u64) {
        let workers = self.workers.iter();
        workers.fold((0, 0), |(datagrams, messages), worker| {
            (
                datagrams + worker.datagrams_sent,
                messages + worker.messages_sent,
            )
        })
    }

    /// Messages of all workers by the number of datagrams in each.
    pub fn run_lengths(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (length, count) in self.workers.iter().flat_map(|worker| &worker.run_lengths) {
            *all.entry(length.clone()).or_default() += count;
        }
        all
    }
}

/// The body of a server's answer to `GET path`.
///
/// # Errors
///
/// It does not answer with 200 in time.
pub async fn get(server: &ServerUrl, path: &str) -> io::Result<Vec<u8>> {
    let ask = async {
        let mut stream = TcpStream::connect(server.authority()).await?;
        // HTTP/1.0: the answer ends where the connection does, and comes in one piece.
        let (prefix, host) = (server.prefix(), server.authority());
        let request = format!("GET {prefix}{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_BYTES).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer: io::Result<Vec<u8>> = tokio::time::timeout(PATIENCE, ask).await?;
    body(&answer?).ok_or_else(|| io::Error::other(format!("{server}{path} is not answered")))
}

fn body(answer: &[u8]) -> Option<Vec<u8>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = answer.split(|&byte| byte == b' ').nth(1)?;
    (status == b"200").then(|| answer[end + 4..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_unknown_does_no_harm() {
        let text = r#"{"uptime_s":3.5,"rooms":1,"participants":3,"cipher":"ring","later":{},
            "workers":[
              {"index":0,"datagrams_sent":100,"messages_sent":10,"packets_forwarded":90,
               "run_lengths":{"1":5,"8-15":5},"coalescing_us":0.5,"peers":2,"subscriptions":4,"drops":{}},
              {"datagrams_sent":1,"messages_sent":1,"packets_forwarded":1,"run_lengths":{"1":1}}],
            "drops":{"srtp_auth_failed":2}}"#;
        let stats: Stats = serde_json::from_str(text).unwrap();
        assert_eq!(stats.packets_forwarded(), 91);
        assert_eq!(stats.sent(), (101, 11));
        assert_eq!(stats.run_lengths()["1"], 6);
        assert_eq!(stats.drops["srtp_auth_failed"], 2);
        assert_eq!(
            serde_json::from_str::<Stats>("{}").unwrap(),
            Stats::default()
        );
        assert!(serde_json::from_str::<Stats>("7").is_err());
    }

    #[test]
    fn only_success_has_a_body() {
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"),
            Some(b"{}".to_vec())
        );
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\n\r\n{}"), None);
        assert_eq!(body(b"SSH-2.0"), None);
        assert_eq!(body(b""), None);
    }
}
