//! A server's own counters: `GET /stats` of a Tertulia with `--admin-listen`. A server of another
//! make answers nothing, or something else; missing values stay missing.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Deserialize;

use crate::bot::signaling::ServerUrl;
use crate::http::{self, Trust};

/// Counters since the server began.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
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

/// The time that an answer may take: thousands of peers are summed up in it.
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

    /// A counter of all workers.
    pub fn sum(&self, counter: fn(&Worker) -> u64) -> u64 {
        self.workers.iter().map(counter).sum()
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
/// It does not answer with success in time.
pub async fn get(server: &ServerUrl, path: &str) -> io::Result<Vec<u8>> {
    let client = http::client(Trust::Nothing).map_err(io::Error::other)?;
    let asked = client.get(format!("{server}{path}")).timeout(PATIENCE);
    let answer = asked.send().await.map_err(io::Error::other);
    let mut answer = answer?.error_for_status().map_err(io::Error::other)?;
    http::body(&mut answer).await.map_err(io::Error::other)
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
        assert_eq!(stats.sum(|worker| worker.packets_forwarded), 91);
        assert_eq!(stats.sum(|worker| worker.messages_sent), 11);
        assert_eq!(stats.run_lengths()["1"], 6);
        assert_eq!(stats.drops["srtp_auth_failed"], 2);
        assert_eq!(
            serde_json::from_str::<Stats>("{}").unwrap(),
            Stats::default()
        );
        assert!(serde_json::from_str::<Stats>("7").is_err());
    }
}
