//! TURN with coturn's client, `turnutils_uclient`: whom it does not reach, how often, and what that opens.
//!
//! `turnutils_uclient` writes no form of an address but those of `inet_pton`, and takes an IPv4 address in IPv6 for one of IPv6. Others are
//! written by hand in the tests of the state machine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tertulia_signaling::protocol::native::IceServer;
use tokio::process::Command;
use tokio::time::timeout;

use crate::http::get;
use crate::process::Process;
use crate::tls::Pair;
use crate::turn::Turn;

/// More than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs until an answer is taken as final: the client asks for a pair of ports half of the time, and three of four of its
/// channels are none any more since RFC 8656.
const TRIES: usize = 400;
/// Allocations of a participant.
const QUOTA: usize = 12;

/// A server with a participant in it, and how coturn's client gets there.
struct Bench {
    process: Process,
    turn: IceServer,
    flags: Vec<&'static str>,
}

impl Bench {
    /// Runs the client until it has its answer from the server; what it says of that.
    async fn says(&self, flags: &[&str]) -> String {
        for _ in 0..TRIES {
            let (user, password) = (&self.turn.username, &self.turn.credential);
            let output = Command::new("turnutils_uclient")
                .args(&self.flags)
                .args(["-v", "-n", "1", "-m", "1"])
                .args(flags)
                .args(["-u", user.as_deref().expect("a name")])
                .args(["-w", password.as_deref().expect("a password")])
                .args(["-p", &self.process.addr.port().to_string(), "127.0.0.1"])
                .kill_on_drop(true)
                .output();
            let output = timeout(PATIENCE, output).await.expect("in time");
            let output = output.expect("turnutils_uclient, of Debian's package coturn");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            let error = text.lines().find(|line| line.contains("error "));
            match error {
                Some(line) if line.contains(" 508 ") || line.contains("bind: error 400 ") => {}
                Some(line) => return line.to_owned(),
                None => return text,
            }
        }
        panic!("it never asks for what there is");
    }

    async fn refused(&self) -> Value {
        let stats = get(self.process.admin(), "/stats").await.body;
        let mut stats: Value = serde_json::from_str(&stats).expect("JSON");
        stats["turn"]["refused"].take()
    }

    /// Descriptors that the server has open, by kind: `tcp`, `udp`, and others by their names.
    fn open(&self) -> BTreeMap<String, usize> {
        let pid = self.process.child.id().expect("it runs");
        let inodes = |table: &str| -> Vec<String> {
            let tables = [table.to_owned(), format!("{table}6")].into_iter();
            let text: String = tables
                .filter_map(|table| {
                    std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()
                })
                .collect();
            let inodes = text
                .lines()
                .filter_map(|line| line.split_whitespace().nth(9));
            inodes.map(|inode| format!("socket:[{inode}]")).collect()
        };
        let (tcp, udp) = (inodes("tcp"), inodes("udp"));
        let mut open = BTreeMap::new();
        for file in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("files") {
            let Ok(name) = std::fs::read_link(file.expect("a file").path()) else {
                // Closed meanwhile.
                continue;
            };
            let name = name.display().to_string();
            let kind = match &name {
                it if tcp.contains(it) => "tcp".to_owned(),
                it if udp.contains(it) => "udp".to_owned(),
                it => it.split('[').next().unwrap_or_default().to_owned(),
            };
            *open.entry(kind).or_default() += 1;
        }
        open
    }

    /// Nobody but the media is reached; there are as many allocations as there may be, and none has opened anything.
    async fn holds(self, allocations: impl AsyncFn() -> Turn) {
        let own_port = self.process.addr.port().to_string();
        for (peer, port) in [
            ("10.0.0.1", "80"),
            ("192.168.0.1", "80"),
            ("127.0.0.2", "80"),
            ("169.254.169.254", "80"),
            ("224.0.0.1", "80"),
            ("8.8.8.8", "53"),
        ] {
            // By a permission, and by a channel.
            for by in [&["-s"][..], &[]] {
                let flags = [&["-e", peer, "-r", port], by].concat();
                let said = self.says(&flags).await;
                assert!(said.contains(" 403 "), "{flags:?}: {said}");
            }
        }
        // The server's own port for HTTP: it is asked for a channel to it.
        let said = self.says(&["-e", "127.0.0.1", "-r", &own_port]).await;
        assert!(said.contains(" 403 "), "{said}");
        // It asks for an allocation of IPv6 then, and finds that a peer of IPv4 is none for that.
        for by in [&["-s"][..], &[]] {
            let flags = [&["-e", "::ffff:127.0.0.1"], by].concat();
            let said = self.says(&flags).await;
            assert!(said.contains(" 443 "), "{said}");
            let flags = [&["-e", "::ffff:0:0"], by].concat();
            let said = self.says(&flags).await;
            assert!(said.contains(" 443 "), "{said}");
            let said = self.says(&[&["-e", "64:ff9b::7f00:1"], by].concat()).await;
            assert!(said.contains(" 403 "), "{said}");
        }
        // From one client to another by their relayed addresses.
        let said = self.says(&["-y"]).await;
        assert!(said.contains(" 403 "), "{said}");
        assert!(self.refused().await["peer"].as_u64() >= Some(17));

        let before = self.open();
        let mut standing = Vec::new();
        for _ in 0..QUOTA {
            let mut turn = allocations().await;
            turn.allocate().await.expect("allocated");
            standing.push(turn);
        }
        let said = self.says(&["-s", "-e", "10.0.0.1"]).await;
        assert!(said.contains(" 486 "), "{said}");
        let mut expected = before.clone();
        *expected.entry("tcp".to_owned()).or_default() += QUOTA;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.open() != expected {
            let open = self.open();
            assert!(
                tokio::time::Instant::now() < deadline,
                "{open:?} {before:?}"
            );
            tokio::task::yield_now().await;
        }
        assert!(before["udp"] >= 1, "the media: {before:?}");
        drop(standing);
    }
}

/// A server with TURN, started with these arguments. Participants may be silent for as long as the test takes.
async fn start(arguments: &[&str]) -> Process {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "[limits]\nsilence_ms = 600000").expect("written");
    let config = ["--config", file.path().to_str().expect("a path")];
    let always = [
        "--turn",
        "--media-ip",
        "::1",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    Process::start_with(&[&config[..], &always, arguments].concat()).await
}

#[tokio::test]
async fn it_reaches_nobody_but_the_media_over_tcp() {
    let process = start(&[]).await;
    let mut client = crate::client::Client::connect(&process.url()).await;
    let [turn] = &client.join("room", "Ana").await.ice_servers[..] else {
        panic!("no TURN");
    };
    let (turn, addr) = (turn.clone(), process.addr);
    let bench = Bench {
        process,
        turn: turn.clone(),
        flags: vec!["-t", "-c"],
    };
    bench.holds(async || Turn::connect(addr, &turn).await).await;
    drop(client);
}

#[tokio::test]
async fn it_reaches_nobody_but_the_media_over_tls() {
    let pair = Pair::new();
    let (cert, key) = (pair.cert(), pair.key());
    let (cert, key) = (
        cert.to_str().expect("a path"),
        key.to_str().expect("a path"),
    );
    let process = start(&["--tls-cert", cert, "--tls-key", key]).await;
    let addr = process.addr;
    let stream = pair.trusting().connect(addr).await.expect("a handshake");
    let url = format!("ws://localhost:{}/v1/ws", addr.port());
    let mut client = crate::client::Client::over(stream, url)
        .await
        .expect("upgrade");
    let [turn] = &client.join("room", "Ana").await.ice_servers[..] else {
        panic!("no TURN");
    };
    let turn = turn.clone();
    let bench = Bench {
        process,
        turn: turn.clone(),
        flags: vec!["-t", "-S", "-c"],
    };
    let over_tls = async || {
        let io = pair.trusting().connect(addr).await;
        Turn::over(io.expect("a handshake"), addr, &turn)
    };
    bench.holds(over_tls).await;
    drop(client);
}
