//! The clients of a proxy and their paths.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tertulia_sfu::testing::network::{Datagram, Models, Path, PathStats};

use super::{Command, CommandError, Settings, bind};

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    models: Models,
    /// The time at which it began, and the next of its changes.
    playing: Option<(Instant, usize)>,
    clients: HashMap<SocketAddr, Client>,
    joined: u64,
    /// Counters of forgotten clients.
    gone: (PathStats, PathStats),
    /// Events to be told.
    pub(super) happened: Vec<String>,
    /// The time until which the timer sleeps, if it does.
    pub(super) sleeps_until: Option<Instant>,
}

#[derive(Debug)]
struct Client {
    socket: Arc<UdpSocket>,
    up: Direction,
    down: Direction,
    last: Instant,
}

#[derive(Debug)]
struct Direction {
    path: Path,
    /// The counters up to the last call for statistics.
    total: PathStats,
}

/// The other work to be done.
pub(super) enum Woken {
    No,
    /// Something is due before the timer wakes.
    Earlier,
    /// A client is new: its socket wants to be listened to.
    Joined(Arc<UdpSocket>),
}

/// The counts of a client's paths.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClientStats {
    /// Its address.
    pub client: SocketAddr,
    /// The direction from it.
    pub up: DirectionStats,
    /// The direction to it.
    pub down: DirectionStats,
}

/// The counts of a path since it was last asked, and all in all where it says so.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct DirectionStats {
    /// Datagrams put on it.
    pub sent: u64,
    /// Lost at random or in bursts.
    pub lost: u64,
    /// Dropped by the full queue.
    pub dropped: u64,
    /// Arrived.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// The time that a datagram would wait for the rate now, in milliseconds.
    pub queue_ms: f64,
    /// The time that 95% of them waited at most, in milliseconds.
    pub queue_p95_ms: f64,
    /// Datagrams put on it since the client came.
    pub total_sent: u64,
    /// Datagrams, among these, that were lost or dropped.
    pub total_lost: u64,
    /// Bytes that arrived since.
    pub total_bytes: u64,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            models: settings.start,
            settings,
            playing: None,
            clients: HashMap::new(),
            joined: 0,
            gone: Default::default(),
            happened: Vec::new(),
            sleeps_until: None,
        }
    }

    /// Handles a client's datagram.
    pub(super) fn sent_up(
        &mut self,
        now: Instant,
        front: &UdpSocket,
        from: SocketAddr,
        payload: &[u8],
    ) -> io::Result<Woken> {
        let mut joined = None;
        if !self.clients.contains_key(&from) {
            if self.clients.len() >= self.settings.clients {
                return Ok(Woken::No);
            }
            joined = Some(self.join(now, from)?);
        }
        let woken = self.sent(now, front, from, payload, |client| &mut client.up);
        Ok(joined.map_or(woken, Woken::Joined))
    }

    /// Handles a datagram of the server for a client.
    pub(super) fn sent_down(
        &mut self,
        now: Instant,
        front: &UdpSocket,
        to: SocketAddr,
        payload: &[u8],
    ) -> Woken {
        self.sent(now, front, to, payload, |client| &mut client.down)
    }

    fn sent(
        &mut self,
        now: Instant,
        front: &UdpSocket,
        addr: SocketAddr,
        payload: &[u8],
        way: fn(&mut Client) -> &mut Direction,
    ) -> Woken {
        let Some(client) = self.clients.get_mut(&addr) else {
            return Woken::No;
        };
        // Paths look at no address.
        let datagram = Datagram {
            from: addr,
            to: self.settings.to,
            payload: payload.to_vec(),
        };
        way(client).path.send(now, datagram);
        client.last = now;
        client.deliver(now, front, addr);
        match (client.next_at(), self.sleeps_until) {
            (Some(next), Some(until)) if next < until => Woken::Earlier,
            _ => Woken::No,
        }
    }

    /// Whether a client still has this socket.
    pub(super) fn owns(&self, client: SocketAddr, socket: &Arc<UdpSocket>) -> bool {
        let client = self.clients.get(&client);
        client.is_some_and(|client| Arc::ptr_eq(&client.socket, socket))
    }

    /// Does everything due, and returns the time of the next work.
    pub(super) fn turn(&mut self, now: Instant, front: &UdpSocket) -> Option<Instant> {
        self.play(now);
        for (addr, client) in &mut self.clients {
            client.deliver(now, front, *addr);
        }
        let (idle, gone, happened) = (self.settings.idle, &mut self.gone, &mut self.happened);
        self.clients.retain(|addr, client| {
            let stays = now.saturating_duration_since(client.last) < idle;
            if !stays {
                gone.0.add(&client.up.finish());
                gone.1.add(&client.down.finish());
                happened.push(format!("client {addr} is idle and forgotten"));
            }
            stays
        });
        let clients = self.clients.values().filter_map(Client::next_at);
        clients.chain(self.next_change_at()).min()
    }

    pub(super) fn command(
        &mut self,
        now: Instant,
        command: &Command,
    ) -> Result<String, CommandError> {
        if *command == Command::Start {
            if self.settings.script.is_none() {
                return Err(CommandError::NoScript);
            }
            self.set_models(now, self.settings.start);
            self.playing = Some((now, 0));
            return Ok("the script starts".into());
        }
        let mut models = self.models;
        let text = command.apply(&mut models, &self.settings.start)?;
        self.set_models(now, models);
        Ok(text)
    }

    pub(super) fn stats(&mut self, now: Instant) -> Vec<ClientStats> {
        let mut all: Vec<ClientStats> = self
            .clients
            .iter_mut()
            .map(|(addr, client)| ClientStats {
                client: *addr,
                up: client.up.stats(now),
                down: client.down.stats(now),
            })
            .collect();
        all.sort_by_key(|stats| stats.client);
        all
    }

    pub(super) fn totals(&mut self, now: Instant) -> (usize, PathStats, PathStats) {
        let (mut up, mut down) = self.gone.clone();
        for client in self.clients.values_mut() {
            // Adds the counts not yet taken.
            client.up.stats(now);
            client.down.stats(now);
            up.add(&client.up.total);
            down.add(&client.down.total);
        }
        (self.joined as usize, up, down)
    }

    fn join(&mut self, now: Instant, from: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let any: IpAddr = match self.settings.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = bind(SocketAddr::new(any, 0))?;
        socket.connect(self.settings.to)?;
        let socket = Arc::new(socket);
        if self.joined == 0 && self.settings.script.is_some() {
            self.playing = Some((now, 0));
            self.happened.push("the script starts".into());
            self.play(now);
        }
        // Each client's paths draw their own random numbers. They are the same in each run in which
        // clients come in the same order.
        let seed = self.settings.seed.wrapping_add(self.joined.wrapping_mul(2));
        self.joined += 1;
        let client = Client {
            socket: Arc::clone(&socket),
            up: Direction::new(Path::new(self.models.up, seed)),
            down: Direction::new(Path::new(self.models.down, seed.wrapping_add(1))),
            last: now,
        };
        self.clients.insert(from, client);
        Ok(socket)
    }

    /// Makes the script's changes that are due.
    fn play(&mut self, now: Instant) {
        while self.next_change_at().is_some_and(|at| at <= now) {
            let (Some((began, next)), Some(script)) = (self.playing, &self.settings.script) else {
                return;
            };
            let change = &script.changes[next];
            let (models, text) = (change.models, format!("script: {}", change.text));
            self.playing = Some((began, next + 1));
            self.happened.push(text);
            self.set_models(now, models);
        }
    }

    fn next_change_at(&self) -> Option<Instant> {
        let (began, next) = self.playing?;
        let change = self.settings.script.as_ref()?.changes.get(next)?;
        Some(began + change.at)
    }

    fn set_models(&mut self, now: Instant, models: Models) {
        self.models = models;
        for client in self.clients.values_mut() {
            client.up.path.set_model_at(now, models.up);
            client.down.path.set_model_at(now, models.down);
        }
    }
}

impl Client {
    fn next_at(&self) -> Option<Instant> {
        let paths = [self.up.path.next_arrival(), self.down.path.next_arrival()];
        paths.into_iter().flatten().min()
    }

    /// Sends on the datagrams that have arrived. Those that the kernel refuses are lost on the real
    /// network.
    fn deliver(&mut self, now: Instant, front: &UdpSocket, addr: SocketAddr) {
        while let Some(datagram) = self.up.path.receive(now) {
            let _ = self.socket.send(&datagram.payload);
        }
        while let Some(datagram) = self.down.path.receive(now) {
            let _ = front.send_to(&datagram.payload, addr);
        }
    }
}

impl Direction {
    fn new(path: Path) -> Self {
        Self {
            path,
            total: PathStats::default(),
        }
    }

    fn finish(&mut self) -> PathStats {
        self.total.add(&self.path.take_stats());
        std::mem::take(&mut self.total)
    }

    fn stats(&mut self, now: Instant) -> DirectionStats {
        let queue = self.path.queue_delay(now);
        let lately = self.path.take_stats();
        self.total.add(&lately);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        DirectionStats {
            sent: lately.sent,
            lost: lately.lost,
            dropped: lately.dropped,
            delivered: lately.delivered,
            delivered_bytes: lately.delivered_bytes,
            queue_ms: ms(queue),
            queue_p95_ms: ms(lately.queue_delay(0.95)),
            total_sent: self.total.sent,
            total_lost: self.total.lost + self.total.dropped,
            total_bytes: self.total.delivered_bytes,
        }
    }
}
