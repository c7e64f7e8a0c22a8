//! One attack beside a call: its setting, the looks before, during and after it, and the bounds that must hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hostile::{Hostile, HostileConfig};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::call::{Call, Look};
use crate::http;
use crate::server::{Server, Start};
use crate::table::Row;

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) server: Start,
    pub(crate) run: Run,
}

type Run = for<'a> fn(&'a Arena) -> Pin<Box<dyn Future<Output = Said> + 'a>>;

/// Resident memory that may stay above that before an attack: allocators give back what they hold when they like.
const MAY_STAY: u64 = 64 << 20;
/// Time in which more than that is given back. The server's allocator, jemalloc, keeps freed pages for ten seconds, and gives
/// them back bit by bit.
const GIVES_BACK: Duration = Duration::from_secs(30);

impl Attack {
    pub(crate) const fn new(name: &'static str, run: Run) -> Self {
        Self {
            name,
            server: Start::PLAIN,
            run,
        }
    }

    /// On a server that is started so.
    pub(crate) const fn on(mut self, start: Start) -> Self {
        self.server = start;
        self
    }
}

/// An attack in words, and the server's answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) sent: String,
    pub(crate) answered: String,
}

impl Said {
    /// Fails unless the server's answer names a code.
    pub(crate) fn naming(self, code: &str) -> Self {
        assert!(self.answered.contains(code), "{}", self.answered);
        self
    }
}

pub(crate) fn said(sent: impl Into<String>, answered: impl Into<String>) -> Said {
    Said {
        sent: sent.into(),
        answered: answered.into(),
    }
}

/// A server and a call on it.
pub(crate) struct Arena {
    pub(crate) server: Server,
    pub(crate) call: Call,
    /// Whether attacks go on at length.
    pub(crate) long: bool,
    /// Attackers so far: each has an address of its own.
    attackers: AtomicU64,
}

impl Arena {
    /// An error says what the machine does not let us do.
    pub(crate) async fn open(start: Start, long: bool) -> Result<Self, String> {
        let server = Server::start(start).await?;
        let call = Call::start(server.url()).await;
        Ok(Self {
            server,
            call,
            long,
            attackers: AtomicU64::new(0),
        })
    }

    /// How long an attack that could go on for ever does.
    pub(crate) fn during(&self) -> Duration {
        Duration::from_millis(if self.long { 10_000 } else { 500 })
    }

    /// How many of these there were a second, if they took as long as an attack lasts.
    pub(crate) fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.during().as_secs_f64()
    }

    /// As many as an attack takes, or enough of them to see that it is met.
    pub(crate) fn many(&self, long: usize, short: usize) -> usize {
        if self.long { long } else { short }
    }

    /// An address that nobody else comes from.
    pub(crate) fn address(&self) -> Ipv4Addr {
        let number = self.attackers.fetch_add(1, Ordering::Relaxed) as u16;
        Ipv4Addr::from([127, 1, (number / 250) as u8, (number % 250 + 2) as u8])
    }

    /// Sends at `rate` a second for as long as an attack lasts; returns how often it did. `act` is told how many are
    /// due, 4,096 at most.
    pub(crate) async fn pace(&self, rate: u64, mut act: impl FnMut(u64)) -> u64 {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = 0;
        while start.elapsed() < self.during() {
            ticks.tick().await;
            let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
            let now = due.saturating_sub(done).min(4_096);
            act(now);
            done += now;
        }
        done
    }

    /// A peer in the room of the call, or in another; `change` says what it is to have.
    pub(crate) async fn hostile(
        &self,
        room: &str,
        change: impl FnOnce(&mut HostileConfig),
    ) -> Hostile {
        let mut config = HostileConfig::new(self.server.url().clone(), room, "hostile");
        change(&mut config);
        Hostile::join(&config).await.expect("a join")
    }

    /// Datagrams that the kernel dropped since the server did not take them in time.
    pub(crate) fn kernel_drops(&self, media: SocketAddr) -> u64 {
        let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
        let port = format!(":{:04X}", media.port());
        let drops = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let of = words.nth(1)?.ends_with(&port);
            of.then(|| words.last()?.parse::<u64>().ok()).flatten()
        });
        drops.sum()
    }

    /// A counter of `/stats`, by its path.
    pub(crate) async fn count(&self, path: &str) -> u64 {
        self.server
            .stats()
            .await
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// The datagrams that the server has dropped so far, by cause.
    pub(crate) async fn drops(&self) -> BTreeMap<String, u64> {
        let stats = self.server.stats().await;
        serde_json::from_value(stats["drops"].clone()).expect("counts")
    }

    /// Waits until a counter is what is asked for, or fails.
    pub(crate) async fn until(&self, what: &str, path: &str, is: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + http::PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let count = self.count(path).await;
            if is(count) {
                return count;
            }
            assert!(Instant::now() < deadline, "{what}: {path} is {count}");
        }
    }

    async fn standing(&self) -> Standing {
        let stats = self.server.stats().await;
        let number = |path| {
            stats
                .pointer(path)
                .and_then(Value::as_u64)
                .unwrap_or_default()
        };
        Standing {
            rooms: number("/rooms"),
            participants: number("/participants"),
            peers: number("/workers/0/peers"),
            descriptors: self.server.descriptors(),
        }
    }

    /// Runs an attack, and says how the call and the server fared.
    pub(crate) async fn bear(&mut self, attack: &Attack) -> (Row, Vec<String>) {
        let before = self.notes().await;
        let began = Instant::now();
        self.call.measure.begin(attack.name, began);
        let peak = AtomicU64::new(before.rss);
        let mut faults = Vec::new();
        let run = AssertUnwindSafe((attack.run)(self)).catch_unwind();
        let outcome = tokio::select! {
            outcome = run => outcome,
            unwell = self.watch(&peak) => Err(Box::new(unwell) as Box<_>),
        };
        let said = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            faults.push(text.unwrap_or_else(|| "it panicked".into()));
            said("", "")
        });
        self.call.measure.end(attack.name, Instant::now());
        if !self.server.is_alive() {
            faults.push("the server has ended".into());
            return (Row::of(attack.name, &said), faults);
        }
        faults.extend(self.stand(before.standing).await);
        self.calm().await;
        let after = self.notes().await;
        let call = after.look.since(&before.look);
        faults.extend(call.faults());
        faults.extend(self.call.failures());
        faults.extend(self.server.faults());
        let stays = self.memory_below(before.rss + MAY_STAY, after.rss).await;
        if stays > before.rss + MAY_STAY {
            faults.push(format!(
                "{} MB stay, of {} before",
                stays >> 20,
                before.rss >> 20
            ));
        }
        let row = Row {
            delivery: call.delivery(),
            freezes: call.freezes(),
            late: call.late(),
            rss: Some([before.rss, peak.into_inner().max(after.rss), stays]),
            cpu: Some((after.cpu - before.cpu) / began.elapsed().as_secs_f64()),
            ..Row::of(attack.name, &said)
        };
        (row, faults)
    }

    /// Asks for its health all the while, and takes note of its memory. Returns when it is not well.
    async fn watch(&self, peak: &AtomicU64) -> String {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            for _ in 0..4 {
                looks.tick().await;
                peak.fetch_max(
                    self.server.process.rss_quick().unwrap_or_default(),
                    Ordering::Relaxed,
                );
            }
            let health = http::get(self.server.admin, "/healthz").await;
            match health {
                Ok(answer) if answer.status == 200 => {}
                other => return format!("/healthz: {other:?}"),
            }
        }
    }

    /// Waits until all is as it was before.
    async fn stand(&self, before: Standing) -> Option<String> {
        let deadline = Instant::now() + http::PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let now = self.standing().await;
            if now.is_back_to(&before) {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("{now:?} stay, of {before:?} before"));
            }
        }
    }

    /// Waits until the server's memory is within `most` bytes, for [`GIVES_BACK`] at most; returns the memory of then. `now` is
    /// what it has at first.
    async fn memory_below(&self, most: u64, now: u64) -> u64 {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let deadline = Instant::now() + GIVES_BACK;
        let mut stays = now;
        while stays > most && Instant::now() < deadline {
            looks.tick().await;
            stays = self.server.process.rss_quick().unwrap_or(stays);
        }
        stays
    }

    /// Lets what was asked for again arrive, before gaps are taken for lost: nothing tells that there are none any more.
    async fn calm(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    async fn notes(&mut self) -> Notes {
        Notes {
            standing: self.standing().await,
            look: self.call.look().await,
            rss: self.server.process.rss_quick().unwrap_or_default(),
            cpu: self.server.process.cpu_seconds().unwrap_or_default(),
        }
    }
}

struct Notes {
    standing: Standing,
    look: Look,
    rss: u64,
    cpu: f64,
}

/// Things that attackers could leave behind.
#[derive(Clone, Copy, Debug)]
struct Standing {
    rooms: u64,
    participants: u64,
    peers: u64,
    descriptors: usize,
}

impl Standing {
    fn is_back_to(&self, before: &Self) -> bool {
        // A connection of ours may be under way in either look.
        self.rooms <= before.rooms
            && self.participants == before.participants
            && self.peers == before.peers
            && self.descriptors <= before.descriptors + 2
    }
}

/// A socket of somebody who is nobody's peer.
pub(crate) fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    socket
}
