//! Tests of sockets and threads over real loopback. Every wait ends with the awaited event; the
//! limits only keep a failing test from hanging.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::worker_thread::{Driven, spawn_worker};
use super::{MediaSocket, Poller, Waker};
use crate::transmit::{RunKey, SendReport, Transmits};
use crate::transport::path::Path;

const LIMIT: Duration = Duration::from_secs(20);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A plain socket, without GRO: it receives separate datagrams.
fn plain() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn read(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2_048];
    (0..count)
        .map(|_| {
            let (len, _) = socket.recv_from(&mut buffer).unwrap();
            buffer[..len].to_vec()
        })
        .collect()
}

fn receive(socket: &mut MediaSocket, budget: usize, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let poller = Poller::new().unwrap();
    let began = Instant::now();
    let mut got = Vec::new();
    while got.len() < count && began.elapsed() < LIMIT {
        let received = socket
            .recv_batch(budget, |from, datagram| got.push((from, datagram.to_vec())))
            .unwrap();
        assert!(received <= budget);
        if received < budget && got.len() < count {
            poller.wait(socket.as_fd(), Some(LIMIT)).unwrap();
        }
    }
    got
}

/// The `i`-th datagram of a test: `len` bytes that say which it is.
fn datagram(i: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (i * 31 + at) as u8).collect()
}

fn batch(packets: &[(SocketAddr, Vec<u8>)]) -> Transmits {
    let mut transmits = Transmits::new();
    let mut keys: Vec<(SocketAddr, RunKey)> = Vec::new();
    for (to, packet) in packets {
        let index = keys
            .iter()
            .position(|(addr, _)| addr == to)
            .unwrap_or_else(|| {
                keys.push((*to, RunKey::default()));
                keys.len() - 1
            });
        transmits.push(Path::Udp(*to), &mut keys[index].1, |buffer| {
            buffer[..packet.len()].copy_from_slice(packet);
            packet.len()
        });
    }
    transmits
}

/// Sends packets, all of which must be taken; the number of messages is the kernel's affair.
fn send_all(socket: &mut MediaSocket, packets: &[(SocketAddr, Vec<u8>)]) {
    let report = socket.send(&batch(packets));
    let bytes: usize = packets.iter().map(|(_, packet)| packet.len()).sum();
    assert_eq!(
        (report.packets, report.bytes),
        (packets.len() as u64, bytes as u64)
    );
    assert_eq!((report.dropped, report.refused), (0, 0));
    assert_eq!(report.run_lengths.iter().sum::<u64>(), report.messages);
}

/// Lengths of all kinds: runs for GSO, a run cut short, and no run.
const LENGTHS: [usize; 15] = [
    1_200, 1_200, 1_200, 700, 700, 90, 91, 92, 1_200, 1, 1, 1, 1_472, 1_472, 3,
];

#[test]
fn a_run_of_ten_equal_packets_arrives_as_ten_datagrams_with_gso_and_without() {
    let to = plain();
    let packets: Vec<_> = (0..10)
        .map(|i| (to.local_addr().unwrap(), datagram(i, 1_000)))
        .collect();
    for mut socket in [
        MediaSocket::bind(0).unwrap(),
        MediaSocket::bind(0).unwrap().without_gso(),
    ] {
        send_all(&mut socket, &packets);
        let got = read(&to, packets.len());
        assert!(got.iter().eq(packets.iter().map(|(_, packet)| packet)));
    }
}

#[test]
fn mixed_sizes_and_several_destinations_keep_their_order() {
    let destinations = [plain(), plain(), plain()];
    let packets: Vec<_> = (0..LENGTHS.len() * 12)
        .map(|i| {
            let to = destinations[i % 3].local_addr().unwrap();
            (to, datagram(i, LENGTHS[i / 3 % LENGTHS.len()]))
        })
        .collect();
    for mut socket in [
        MediaSocket::bind(0).unwrap(),
        MediaSocket::bind(0).unwrap().without_gso(),
    ] {
        send_all(&mut socket, &packets);
        for (i, destination) in destinations.iter().enumerate() {
            let expected = packets.iter().skip(i).step_by(3).map(|(_, packet)| packet);
            let got = read(destination, expected.len());
            assert!(got.iter().eq(expected));
        }
    }
}

#[test]
fn coalesced_datagrams_are_split_again_however_small_the_budget() {
    for budget in [1, 7, 64] {
        let mut from = MediaSocket::bind(0).unwrap();
        let mut to = MediaSocket::bind(0).unwrap();
        let packets: Vec<_> = (0..60)
            .map(|i| (at(to.port()), datagram(i, LENGTHS[i % LENGTHS.len()])))
            .chain((0..30).map(|i| (at(to.port()), datagram(i, 1_000))))
            .collect();
        send_all(&mut from, &packets);
        let got = receive(&mut to, budget, packets.len());
        assert_eq!(got.len(), packets.len());
        for ((sender, got), (_, sent)) in got.iter().zip(&packets) {
            assert_eq!(*sender, at(from.port()), "plain IPv4, never mapped");
            assert_eq!(got, sent);
        }
    }
}

#[test]
fn both_families_reach_one_port() {
    let mut socket = MediaSocket::bind(0).unwrap();
    for ip in ["127.0.0.1", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let Ok(client) = UdpSocket::bind((ip, 0)) else {
            // A kernel without IPv6.
            assert!(ip.is_ipv6());
            continue;
        };
        client.send_to(b"ping", (ip, socket.port())).unwrap();
        let client_addr = client.local_addr().unwrap();
        let got = receive(&mut socket, 64, 1);
        assert_eq!(got, vec![(client_addr, b"ping".to_vec())]);
        let packets = vec![(client_addr, b"pong".to_vec())];
        send_all(&mut socket, &packets);
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let mut buffer = [0; 8];
        let (len, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"pong");
        assert_eq!(from, SocketAddr::new(ip, socket.port()));
    }
}

#[test]
fn a_pinned_source_is_where_answers_come_from() {
    // Every address of 127/8 is this machine's, and the route would pick 127.0.0.1.
    for mut socket in [
        MediaSocket::bind(0).unwrap(),
        MediaSocket::bind(0).unwrap().without_gso(),
        MediaSocket::bind_v4(0).unwrap(),
    ] {
        socket.pin("127.0.0.9".parse().unwrap());
        let client = plain();
        let packets: Vec<_> = (0..4)
            .map(|i| (client.local_addr().unwrap(), datagram(i, 500)))
            .collect();
        send_all(&mut socket, &packets);
        for _ in &packets {
            let (_, from) = client.recv_from(&mut [0; 512]).unwrap();
            assert_eq!(
                from,
                SocketAddr::new("127.0.0.9".parse().unwrap(), socket.port())
            );
        }
    }
}

#[test]
fn a_destination_that_cannot_be_reached_costs_the_others_nothing() {
    let to = plain();
    let good = to.local_addr().unwrap();
    // Broadcast is refused without SO_BROADCAST.
    let bad: SocketAddr = "255.255.255.255:9".parse().unwrap();
    let packets: Vec<_> = (0..20)
        .flat_map(|i| [(bad, datagram(i, 300)), (good, datagram(i, 300))])
        .collect();
    let mut socket = MediaSocket::bind(0).unwrap();
    for _ in 0..20 {
        let sent = socket.send(&batch(&packets));
        assert_eq!((sent.packets, sent.refused, sent.dropped), (20, 20, 0));
        read(&to, 20);
    }
    assert!(socket.segments(), "refusals of a destination are not GSO's");
}

#[test]
fn messages_refused_as_segments_go_out_one_by_one_and_that_is_remembered() {
    let to = plain();
    let packets: Vec<_> = (0..8)
        .map(|i| (to.local_addr().unwrap(), datagram(i, 900)))
        .collect();
    let mut socket = MediaSocket::bind(0).unwrap();
    socket.refuse_segments();
    for _ in 0..16 {
        assert!(socket.segments(), "one path's refusals are not enough");
        send_all(&mut socket, &packets);
        let got = read(&to, packets.len());
        assert!(got.iter().eq(packets.iter().map(|(_, packet)| packet)));
    }
    assert!(!socket.segments());
    send_all(&mut socket, &packets);
}

/// Answers datagrams with themselves, and commands on a channel.
struct Echo {
    out: Vec<(SocketAddr, Vec<u8>)>,
    commands: mpsc::Receiver<&'static str>,
    answers: mpsc::Sender<String>,
    turns: Arc<AtomicUsize>,
    timeouts: u32,
    next_timeout: Option<Instant>,
    /// Commands never end.
    busy: bool,
    stopping: bool,
}

impl Driven for Echo {
    fn handle_datagram(&mut self, _: Instant, from: Path, datagram: &mut [u8]) {
        let Path::Udp(from) = from else {
            return;
        };
        self.out.push((from, datagram.to_vec()));
    }

    fn handle_commands(&mut self, now: Instant, time: &mut dyn FnMut() -> bool) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        while self.busy && time() {}
        while let Ok(command) = self.commands.try_recv() {
            match command {
                "thread" => {
                    let name = std::thread::current().name().unwrap_or("").to_owned();
                    self.answers.send(name).unwrap();
                }
                "timeouts" => {
                    self.turns.store(0, Ordering::Relaxed);
                    self.timeouts = 5;
                    self.next_timeout = Some(now);
                }
                "busy" => {
                    self.busy = true;
                    self.next_timeout = None;
                    self.answers.send(String::new()).unwrap();
                }
                "stop" => self.stopping = true,
                other => panic!("unknown command {other}"),
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        assert!(self.next_timeout.is_some_and(|at| at <= now));
        self.timeouts -= 1;
        self.next_timeout = (self.timeouts > 0).then(|| now + Duration::from_millis(5));
        if self.timeouts == 0 {
            let turns = self.turns.load(Ordering::Relaxed);
            self.answers.send(turns.to_string()).unwrap();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next_timeout
    }

    fn backlog(&self) -> usize {
        self.out.len()
    }

    fn flush(&mut self, _: Instant, out: &mut Transmits) -> bool {
        assert!(out.is_empty());
        *out = batch(&std::mem::take(&mut self.out));
        false
    }

    fn sent(&mut self, report: &SendReport) {
        assert_eq!(report.refused, 0);
    }

    fn should_stop(&self) -> bool {
        self.stopping
    }

    fn fail(&mut self) {
        self.timeouts = 2;
        panic!("its state is broken");
    }

    /// Two attempts are needed.
    fn last_words(&mut self) -> bool {
        self.timeouts = self.timeouts.saturating_sub(1);
        self.answers.send("last words".to_owned()).unwrap();
        self.timeouts > 0
    }
}

struct Running {
    port: u16,
    waker: Waker,
    commands: mpsc::Sender<&'static str>,
    answers: mpsc::Receiver<String>,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start() -> Self {
        let socket = MediaSocket::bind(0).unwrap();
        let port = socket.port();
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        let (commands, command_queue) = mpsc::channel();
        let (answer_queue, answers) = mpsc::channel();
        let thread = spawn_worker(7, socket, poller, Duration::ZERO, move || Echo {
            out: Vec::new(),
            commands: command_queue,
            answers: answer_queue,
            turns: Arc::default(),
            timeouts: 0,
            next_timeout: None,
            busy: false,
            stopping: false,
        })
        .unwrap();
        Self {
            port,
            waker,
            commands,
            answers,
            thread,
        }
    }

    fn command(&self, command: &'static str) {
        self.commands.send(command).unwrap();
        self.waker.wake();
    }

    fn stop(self) {
        self.command("stop");
        self.thread.join().unwrap().unwrap();
    }
}

/// The commands of a turn end when their time is over, however many there are.
#[test]
fn datagrams_are_answered_among_commands_without_end() {
    let running = Running::start();
    running.command("busy");
    running.answers.recv().unwrap();
    let client = plain();
    for i in 0..50 {
        let sent = datagram(i, 100);
        client.send_to(&sent, at(running.port)).unwrap();
        running.waker.wake();
        assert_eq!(read(&client, 1), [sent]);
    }
    running.stop();
}

#[test]
fn a_worker_serves_datagrams_and_commands_and_stops() {
    let worker = Running::start();
    let client = plain();
    for i in 0..200 {
        client.send_to(&datagram(i, 100), at(worker.port)).unwrap();
        if i % 20 == 19 {
            let got = read(&client, 20);
            let expected: Vec<_> = (i - 19..=i).map(|i| datagram(i, 100)).collect();
            assert_eq!(got, expected);
        }
    }
    worker.command("thread");
    assert_eq!(
        worker.answers.recv_timeout(LIMIT).unwrap(),
        "tertulia-media-7"
    );
    worker.stop();
}

#[test]
fn a_worker_sleeps_between_timeouts() {
    let worker = Running::start();
    worker.command("timeouts");
    let turns: u32 = worker.answers.recv_timeout(LIMIT).unwrap().parse().unwrap();
    // One turn for each timeout, and a wake-up or two.
    assert!(turns <= 8, "{turns} turns for 5 timeouts");
    worker.stop();
}

#[test]
fn a_panic_ends_the_thread_and_is_reported() {
    let worker = Running::start();
    worker.command("no such thing");
    let panic = worker.thread.join().unwrap_err();
    assert_eq!(
        panic.downcast_ref::<String>().map(String::as_str),
        Some("unknown command no such thing")
    );
    // Though the first step fails, too.
    for _ in 0..2 {
        assert_eq!(worker.answers.recv().unwrap(), "last words");
    }
    assert!(worker.answers.recv().is_err(), "what it drove is gone too");
}
