//! The binary itself: how it starts, stops and says what is wrong.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tertulia_signaling::protocol::native::ServerMessage;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::Client;
use crate::http::get;

/// For a machine busy with other things; a start takes some 50 ms when all is well.
const START_TIME: Duration = Duration::from_secs(20);
/// What a supervisor may count on.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A running server on ports the kernel chose. Killed when dropped.
struct Process {
    child: Child,
    addr: SocketAddr,
    /// What it says when it has started.
    line: String,
}

impl Process {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
        let mut child = tertulia(&[&ports, arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        let stdout = child.stdout.take().expect("stdout");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_TIME, lines.next_line()).await;
        let line = line.expect("in time").expect("read").expect("a line");
        let (_, url) = line.split_once("http://").expect("an address");
        let addr = url.split(' ').next().expect("an address");
        Self {
            child,
            addr: addr.parse().expect("an address"),
            line,
        }
    }

    async fn join(&self, name: &str) -> Client {
        let mut client = Client::connect(&format!("ws://{}/v1/ws", self.addr)).await;
        client.join("room", name).await;
        client
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }
}

/// Settings come from these arguments alone.
fn tertulia(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    for (name, _) in std::env::vars() {
        if name.starts_with("TERTULIA_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--media-ip", "127.0.0.1", "--workers", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs to its end, which must be a failure, and returns what it says of it.
async fn failure(arguments: &[&str]) -> String {
    let run = tertulia(arguments).stderr(Stdio::piped()).output();
    let Output { status, stderr, .. } = timeout(START_TIME, run)
        .await
        .expect("an end")
        .expect("run");
    let said = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test]
async fn it_serves_the_page_and_calls_and_stops_when_told_to() {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start().await;
        let mut ada = process.join("Ada").await;
        let mut grace = process.join("Grace").await;
        let health = get(process.addr, "/healthz").await;
        let health: serde_json::Value = serde_json::from_str(&health.body).expect("JSON");
        assert_eq!(
            (&health["status"], &health["participants"]),
            (&"ok".into(), &2.into())
        );
        let page = get(process.addr, "/").await;
        assert_eq!(
            (page.status, page.headers["content-type"].as_str()),
            (200, "text/html; charset=utf-8")
        );
        assert!(page.body.contains("<script"), "{:.200}", page.body);

        process.signal(signal).await;
        let told = async {
            for client in [&mut ada, &mut grace] {
                let reason = client.find(|message| match message {
                    ServerMessage::Bye { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                assert_eq!(reason.await, "server_shutdown");
            }
            assert_eq!(ada.closed().await, Some(CloseCode::Away));
            assert_eq!(grace.closed().await, Some(CloseCode::Away));
        };
        let (status, ()) = tokio::join!(timeout(STOP_TIME, process.child.wait()), told);
        assert_eq!(status.expect("in time").expect("wait").code(), Some(0));
    }
}

#[tokio::test]
async fn counters_are_served_where_it_is_told_to() {
    let process = Process::start_with(&["--admin-listen", "127.0.0.1:0"]).await;
    let (_, admin) = process.line.rsplit_once("http://").expect("an address");
    let admin = admin.split('/').next().expect("an address");
    let reply = get(admin.parse().expect("an address"), "/stats").await;
    let stats: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(stats["workers"].as_array().map(Vec::len), Some(1));
    assert_eq!(stats["workers"][0]["peers"], 0);
}

#[tokio::test]
async fn an_occupied_port_is_named_with_its_flag() {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let addr = tcp.local_addr().expect("address").to_string();
    let said = failure(&["--listen", &addr, "--media-port", "0"]).await;
    assert!(said.contains(&addr) && said.contains("--listen"), "{said}");
    let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
    let said = failure(&[&ports[..], &["--admin-listen", &addr]].concat()).await;
    assert!(
        said.contains(&addr) && said.contains("--admin-listen"),
        "{said}"
    );

    let udp = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
    let port = udp.local_addr().expect("address").port().to_string();
    let said = failure(&["--listen", "127.0.0.1:0", "--media-port", &port]).await;
    assert!(
        said.contains(&port) && said.contains("--media-port"),
        "{said}"
    );
}

/// A settings file that is removed again.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_bad_settings_file_is_named_with_what_is_wrong_in_it() {
    let name = format!("tertulia-process-{}.toml", std::process::id());
    let file = File(std::env::temp_dir().join(name));
    let path = file.0.to_str().expect("name");
    for (text, named) in [
        ("listne = \"127.0.0.1:0\"", "`listne`"),
        ("[limits]\nroms = 1", "`roms`"),
        ("listen = 8080", "listen"),
        ("[limits]\nrooms = 0", "limits.rooms"),
    ] {
        std::fs::write(&file.0, text).expect("file");
        let said = failure(&["--config", path]).await;
        assert!(said.contains(named), "{text}: {said}");
    }
    std::fs::remove_file(&file.0).expect("remove");
    let said = failure(&["--config", path]).await;
    assert!(said.contains(path), "{said}");
}
