//! Users by a secret, at coturn.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{IceSecret, IceServer};

const DEADLINE: Duration = Duration::from_secs(60);

/// A TURN server that is stopped again.
struct Coturn {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start(secret: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("a port").port();
        drop(free);
        let place = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new("turnserver")
            .args([
                "-n",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--use-auth-secret",
            ])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .args(["--allow-loopback-peers", "--realm=turn.example.org"])
            .arg(format!("--static-auth-secret={secret}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--pidfile={}", place("pid")))
            .arg(format!("--userdb={}", place("db")))
            .arg(format!("--log-file={}", place("log")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of Debian's package coturn");
        let server = Self {
            child,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::yield_now();
        }
        server
    }

    /// Whether it gives this user a relayed address, over TCP.
    fn takes(&self, user: (Option<String>, Option<String>)) -> bool {
        let (Some(name), Some(password)) = user else {
            panic!("{user:?}");
        };
        let status = Command::new("turnutils_uclient")
            .args(["-t", "-c", "-y", "-n", "1", "-m", "1", "-u", &name])
            .args(["-w", &password, "-p", &self.port.to_string(), "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.expect("turnutils_uclient").success()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn coturn_takes_users_by_its_secret_for_their_time() {
    let coturn = Coturn::start("north");
    let server = |secret: &str| IceServer {
        secret: Some(IceSecret::from(secret)),
        ttl_s: Some(60),
        ..IceServer::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a time").as_secs();
    assert!(coturn.takes(server("north").user_of("pa_1", now)));
    assert!(!coturn.takes(server("south").user_of("pa_1", now)));
    assert!(!coturn.takes(server("north").user_of("pa_1", now - 70)));
}
