//! Tests of the binary itself: its start, its end, and its error messages.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tertulia_signaling::access::new_key_set;
use tertulia_signaling::protocol::native::{ClientMessage, Moderate, ServerMessage};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::Client;
use crate::http::get;

/// Deadline for a start, on a machine busy with other things; a start takes some 50 ms when all is well.
const START_TIME: Duration = Duration::from_secs(20);
/// The time for as many joins as fill a queue.
const FLOOD_TIME: Duration = Duration::from_secs(60);
/// The time that a supervisor may count on.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A running server on ports the kernel chose. Killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
    /// Its line when it has started.
    line: String,
}

impl Process {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
        Self::spawn(tertulia(&[&ports, arguments].concat())).await
    }

    pub(crate) async fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("spawn");
        let stdout = child.stdout.take().expect("stdout");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_TIME, lines.next_line()).await;
        let line = line.expect("in time").expect("read").expect("a line");
        let (_, url) = line.split_once("://").expect("an address");
        let addr = url.split([' ', '"']).next().expect("an address");
        Self {
            child,
            addr: addr.parse().expect("an address"),
            line,
        }
    }

    pub(crate) async fn join(&self, name: &str) -> Client {
        let mut client = Client::connect(&self.url()).await;
        client.join("room", name).await;
        client
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.addr)
    }

    /// The address where counters are served.
    pub(crate) fn admin(&self) -> SocketAddr {
        let (_, admin) = self.line.rsplit_once("http://").expect("an address");
        let admin = admin.split('/').next().expect("an address");
        admin.parse().expect("an address")
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.expect("kill").success());
    }
}

/// A command whose signals are not ignored, though these tests may run under `nohup`.
fn attentive(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", program]);
    command
}

/// A server whose settings come from these arguments alone.
pub(crate) fn tertulia(arguments: &[&str]) -> Command {
    let mut command = attentive(env!("CARGO_BIN_EXE_tertulia"));
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

/// Runs a process to its end, which must be a failure, and returns its error message.
pub(crate) async fn failure(arguments: &[&str]) -> String {
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
    for signal in ["-TERM", "-INT", "-QUIT"] {
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
    let reply = get(process.admin(), "/stats").await;
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
        (
            "[[ice_servers]]\nurls = [\"stun:a\"]\n[[ice_servers]]\nurls = [\"turn:b\"]",
            "ice_servers[1].urls[0]: `turn:b` needs a `username`",
        ),
    ] {
        std::fs::write(&file.0, text).expect("file");
        let said = failure(&["--config", path]).await;
        assert!(said.contains(named), "{text}: {said}");
    }
    std::fs::remove_file(&file.0).expect("remove");
    let said = failure(&["--config", path]).await;
    assert!(said.contains(path), "{said}");
}

/// The server, started by a shell that does `before` first, on ports the kernel chooses.
fn from_shell(before: &str, arguments: &[&str]) -> Command {
    let script = format!("{before}; exec \"$0\" \"$@\"");
    let mut command = attentive("sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_tertulia")])
        .args(["--listen", "127.0.0.1:0", "--media-port", "0"])
        .args(["--media-ip", "127.0.0.1", "--workers", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(crate) async fn stopped(process: &mut Process) -> Option<i32> {
    process.signal("-TERM").await;
    let status = timeout(STOP_TIME, process.child.wait()).await;
    status.expect("in time").expect("wait").code()
}

/// The most media threads possible, some of them with peers.
#[tokio::test]
async fn a_thousand_media_threads_with_calls_stop_in_time() {
    const OFFER: &str =
        include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
    let mut command = attentive(env!("CARGO_BIN_EXE_tertulia"));
    command
        .args(["--listen", "127.0.0.1:0", "--media-port", "0"])
        .args(["--media-ip", "127.0.0.1", "--workers", "1000"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut process = Process::spawn(command).await;
    let mut clients = Vec::new();
    for room in 0..20 {
        let mut client = Client::connect(&process.url()).await;
        client.join(&format!("room-{room}"), "Ada").await;
        client.offer(OFFER).await;
        clients.push(client);
    }
    assert_eq!(stopped(&mut process).await, Some(0));
    for client in clients {
        assert_eq!(client.closed().await, Some(CloseCode::Away));
    }
}

#[tokio::test]
async fn a_storm_of_connections_is_held_until_they_are_accepted() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a number");
    let most: usize = most.trim().parse().expect("a number");
    let process = Process::start().await;
    // It accepts nothing. A connection for which there is no room waits for ever.
    process.signal("-STOP").await;
    let mut storm = Vec::new();
    for _ in 0..most.min(500) {
        let connected = timeout(START_TIME, TcpStream::connect(process.addr)).await;
        storm.push(connected.expect("there is room").expect("connected"));
    }
    process.signal("-CONT").await;
    assert_eq!(get(process.addr, "/healthz").await.status, 200);
}

#[tokio::test]
async fn under_nohup_it_outlives_its_terminal() {
    let mut process = Process::spawn(from_shell("trap '' HUP", &[])).await;
    let mut ada = process.join("Ada").await;
    process.signal("-HUP").await;
    // A goodbye would come before anything that is asked for now.
    assert!(ada.told().await.is_empty());
    assert_eq!(stopped(&mut process).await, Some(0));
}

#[tokio::test]
async fn it_says_goodbye_even_if_nobody_reads_what_it_logs() {
    let mut command = from_shell(":", &[]);
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    drop(process.child.stderr.take());
    let mut ada = process.join("Ada").await;
    process.signal("-TERM").await;
    let reason = ada.find(|message| match message {
        ServerMessage::Bye { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "server_shutdown");
    let status = timeout(STOP_TIME, process.child.wait()).await;
    assert_eq!(status.expect("in time").expect("wait").code(), Some(0));
}

/// Every log line fails to be written, in every thread.
#[tokio::test]
async fn a_full_log_disk_ends_nothing() {
    const OFFER: &str =
        include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
    for format in ["text", "json"] {
        let before = "export RUST_LOG=debug";
        let mut command = from_shell(before, &["--log", format]);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        command.stderr(full.expect("a device"));
        let mut process = Process::spawn(command).await;
        for name in ["Ada", "Grace", "Barbara"] {
            let mut client = process.join(name).await;
            assert_eq!(client.offer(OFFER).await.published.len(), 2);
            client.expect_ok(crate::client::chat("hello")).await;
        }
        assert_eq!(get(process.addr, "/healthz").await.status, 200);
        assert_eq!(stopped(&mut process).await, Some(0));
    }
}

/// A supervisor's pipe is never emptied.
#[tokio::test]
async fn a_log_reader_that_stops_reading_holds_up_nothing() {
    let name = format!("tertulia-log-{}.toml", std::process::id());
    let file = File(std::env::temp_dir().join(name));
    std::fs::write(&file.0, "[limits]\njoins_per_minute_per_address = 0").expect("file");
    let path = file.0.to_str().expect("name");
    let arguments = ["--admin-listen", "127.0.0.1:0", "--config", path];
    let mut command = from_shell(":", &arguments);
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let stderr = process.child.stderr.take().expect("stderr");
    let admin = process.admin();
    // The pipe holds 64 KiB and the queue 1 MiB; a room made and left is some 700 bytes.
    let lost = async {
        loop {
            let stats: serde_json::Value =
                serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
            if stats["log_lines_lost"].as_u64().expect("a number") > 0 {
                break;
            }
            for number in 0..100 {
                let mut client = Client::connect(&format!("ws://{}/v1/ws", process.addr)).await;
                client.join(&format!("room-{number}"), "Ada").await;
            }
        }
    };
    timeout(FLOOD_TIME, lost).await.expect("a full queue");
    let mut ada = process.join("Ada").await;
    ada.expect_ok(crate::client::chat("hello")).await;

    let mut lines = BufReader::new(stderr).lines();
    let told = async {
        while let Some(line) = lines.next_line().await.expect("read") {
            if line.contains("log lines are missing here") {
                return true;
            }
        }
        false
    };
    assert!(timeout(START_TIME, told).await.expect("in time"));
    // The pipe is not read any more.
    assert_eq!(stopped(&mut process).await, Some(0));
}

/// Whether a process handles SIGTERM, which is bit 14 of its mask.
fn catches_term(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("hexadecimal");
    mask >> 14 & 1 == 1
}

/// Here all threads of the runtime but one are fine, and that one is stuck for good in the line that says that
/// the server has started.
#[tokio::test]
async fn the_hard_stop_comes_whatever_hangs() {
    let (held, mut full) = std::io::pipe().expect("a pipe");
    let stdout = full.try_clone().expect("a pipe");
    // The thread ends when `held` is dropped.
    std::thread::spawn(move || std::io::Write::write_all(&mut full, &[b' '; 4 << 20]));
    let mut command = from_shell(":", &[]);
    let mut child = command
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let first = timeout(START_TIME, lines.next_line()).await;
    first.expect("in time").expect("read").expect("a line");
    let pid = child.id().expect("it runs").to_string();
    // The first line may come before a signal is waited for, which would end it then.
    let waits = async {
        while !catches_term(&pid) {
            tokio::task::yield_now().await;
        }
    };
    timeout(START_TIME, waits).await.expect("it takes signals");
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(sent.expect("kill").success());
    let status = timeout(STOP_TIME, child.wait()).await;
    assert_eq!(status.expect("in time").expect("wait").code(), Some(1));
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.expect("read") {
        said.push(line);
    }
    let last = said.last().map(String::as_str);
    assert_eq!(last, Some("tertulia: stopped without finishing"));
    drop(held);
}

#[tokio::test]
async fn no_filter_tells_passwords_or_chat_and_a_bad_one_is_named() {
    const OFFER: &str =
        include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
    let line = OFFER.lines().find(|line| line.starts_with("a=ice-pwd:"));
    let password = &line.expect("a password")[10..];
    for (filter, bad) in [
        ("trace", false),
        (
            "tungstenite=trace,tokio_tungstenite=trace,dimpl=trace,axum=trace",
            false,
        ),
        ("tertulia=loud", true),
    ] {
        let mut command = from_shell(&format!("export RUST_LOG={filter}"), &[]);
        command.stderr(Stdio::piped());
        let mut process = Process::spawn(command).await;
        let mut stderr = process.child.stderr.take().expect("stderr");
        let mut ada = process.join("Ada").await;
        let answer = ada.offer(OFFER).await;
        ada.expect_ok(crate::client::chat("our secret")).await;
        assert_eq!(stopped(&mut process).await, Some(0));
        let mut said = String::new();
        stderr.read_to_string(&mut said).await.expect("text");
        let line = answer
            .sdp
            .lines()
            .find(|line| line.starts_with("a=ice-pwd:"));
        let ours = &line.expect("a password")[10..];
        for secret in [password, ours, "our secret"] {
            assert!(!said.contains(secret), "{filter}: {secret}");
        }
        assert_eq!(said.contains("RUST_LOG cannot be read"), bad, "{said}");
    }
}

/// The message of each line, which is JSON.
fn messages(lines: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(lines).expect("text");
    let message = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(
            json["timestamp"].is_string() && json["level"].is_string(),
            "{line}"
        );
        json["fields"]["message"].as_str().expect(line).to_owned()
    };
    text.lines().map(message).collect()
}

#[tokio::test]
async fn a_json_log_is_json_on_both_streams_from_the_first_line_to_the_last() {
    let mut command = from_shell(":", &["--log", "json"]);
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let started = messages(process.line.as_bytes());
    assert!(started[0].contains("listening on http://"), "{started:?}");
    let facts: serde_json::Value = serde_json::from_str(&process.line).expect("JSON");
    let url = format!("http://{}", process.addr);
    assert_eq!(facts["fields"]["url"], url);
    let mut stderr = process.child.stderr.take().expect("stderr");
    let ada = process.join("Ada").await;
    process.signal("-TERM").await;
    // The lines after an impatient second signal.
    process.signal("-TERM").await;
    let mut logged = Vec::new();
    let read = timeout(STOP_TIME, stderr.read_to_end(&mut logged)).await;
    read.expect("in time").expect("read");
    drop(ada);
    let logged = messages(&logged);
    assert!(
        logged.iter().any(|line| line == "told to stop"),
        "{logged:?}"
    );

    for (arguments, status, named) in [
        (&["--log", "json", "--listen", "here"][..], 2, "here"),
        (&["--log=json", "--workers", "9999"], 1, "workers"),
        (&["--log", "json", "--config", "/none"], 1, "/none"),
    ] {
        let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
        let ports = if named == "here" { &ports[2..] } else { &ports };
        let given: Vec<&str> = arguments.iter().chain(ports).copied().collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
        let run = command.args(given).stdin(Stdio::null()).output();
        let Output {
            status: ended,
            stderr,
            stdout,
        } = timeout(START_TIME, run)
            .await
            .expect("an end")
            .expect("run");
        let said = messages(&stderr);
        assert!(
            said.last().is_some_and(|line| line.contains(named)),
            "{said:?}"
        );
        assert_eq!((ended.code(), messages(&stdout).len()), (Some(status), 0));
    }
}

#[tokio::test]
async fn a_name_that_the_server_is_not_asked_by_is_in_the_log() {
    let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
    let named = ["--allowed-host", "call.example.org"];
    let mut command = tertulia(&[&ports[..], &named].concat());
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let mut stderr = process.child.stderr.take().expect("stderr");
    let request = "POST /v1/ws HTTP/1.1\r\nHost: evil.example.org\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut stream = TcpStream::connect(process.addr).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("reply");
    assert!(reply.contains("host_refused"), "{reply}");
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut logged = String::new();
    stderr.read_to_string(&mut logged).await.expect("text");
    let line = logged.lines().find(|line| line.contains("allowed_hosts"));
    assert!(
        line.is_some_and(|line| line.contains("evil.example.org")),
        "{logged}"
    );
}

#[tokio::test]
async fn a_server_with_keys_says_at_its_start_that_a_join_needs_a_token() {
    let mut command = tertulia(&["--listen", "127.0.0.1:0", "--media-port", "0"]);
    command.env("TERTULIA_KEYS", new_key_set("1"));
    let process = Process::spawn(command).await;
    assert!(
        process.line.contains("a join needs an access token"),
        "{}",
        process.line
    );
    let open = Process::start().await;
    assert!(!open.line.contains("token"), "{}", open.line);
}

#[tokio::test]
async fn a_refused_value_of_the_environment_is_called_so() {
    let named = |said: &str| said.contains("environment variable TERTULIA_LISTEN");
    for (variable, flags, blames) in [
        ("localhost:8080", &[][..], true),
        ("localhost:8080", &["--log", "json"], true),
        ("127.0.0.1:0", &["--listen", "localhost:8080"], false),
        ("127.0.0.1:0", &["--listen=localhost:8080"], false),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
        command.env("TERTULIA_LISTEN", variable).args(flags);
        let run = command.stdin(Stdio::null()).output();
        let ended = timeout(START_TIME, run).await.expect("an end");
        let ended = ended.expect("run");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("127.0.0.1:8080"), "{said}");
        assert_eq!(named(&said), blames, "{said}");
    }
}

#[tokio::test]
async fn a_refused_switch_of_the_environment_is_called_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    command.env("TERTULIA_OPEN", "maybe").stdin(Stdio::null());
    let ended = timeout(START_TIME, command.output()).await.expect("an end");
    let ended = ended.expect("run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("environment variable TERTULIA_OPEN"),
        "{said}"
    );
}

#[tokio::test]
async fn an_argument_that_is_no_text_is_refused_in_words() {
    let no_text = OsStr::from_bytes(b"--listen=\xff");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    let run = command.arg(no_text).stdin(Stdio::null()).output();
    let ended = timeout(START_TIME, run).await.expect("an end");
    let ended = ended.expect("run");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error:"), "{said}");
}

#[tokio::test]
async fn a_misspelt_variable_is_named() {
    let mut command = from_shell(
        "export TERTULIA_LISTNE=0.0.0.0:1 TERTULIA_SERVICE_HOST=10.0.0.1",
        &[],
    );
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let mut stderr = process.child.stderr.take().expect("stderr");
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.expect("text");
    assert!(
        said.contains("TERTULIA_LISTNE is no setting: TERTULIA_LISTEN"),
        "{said}"
    );
    assert!(!said.contains("SERVICE_HOST"), "{said}");
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_to_what_connections_need_or_they_are_fewer() {
    let mut process = Process::spawn(from_shell("ulimit -Sn 64", &[])).await;
    let pid = process.child.id().expect("it runs");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let mut files = limits
        .lines()
        .filter(|line| line.starts_with("Max open files"));
    let files: Vec<&str> = files.next().expect("files").split_whitespace().collect();
    let (soft, hard): (u64, u64) = (
        files[3].parse().expect("a number"),
        files[4].parse().expect("a number"),
    );
    assert!(soft == hard || soft > 20_000, "{soft} of {hard}");
    assert_eq!(stopped(&mut process).await, Some(0));

    let mut command = from_shell("ulimit -Sn 64; ulimit -Hn 400", &[]);
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let mut stderr = process.child.stderr.take().expect("stderr");
    let mut clients = Vec::new();
    while let Ok(client) = Client::try_connect(&format!("ws://{}/v1/ws", process.addr)).await {
        clients.push(client);
    }
    // It has as many connections as it said, and goes on.
    assert_eq!(get(process.addr, "/healthz").await.status, 200);
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.expect("text");
    let room = format!("leaves room for {}:", clients.len());
    assert!(
        said.contains("limits.connections is 20000") && said.contains(&room),
        "{said}"
    );

    let mut command = from_shell("ulimit -n 30", &[]);
    command.stderr(Stdio::piped());
    let run = timeout(START_TIME, command.output()).await;
    let Output { status, stderr, .. } = run.expect("an end").expect("run");
    let said = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("LimitNOFILE") && !said.contains("panicked"),
        "{said}"
    );
}

#[tokio::test]
async fn each_action_of_a_moderator_is_one_line_with_the_ids_of_all() {
    let mut command = from_shell(":", &["--log", "json"]);
    command.stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let mut stderr = process.child.stderr.take().expect("stderr");
    let mut ada = process.join("Ada").await;
    let mut grace = process.join("Grace").await;
    let remove = |whom: &Client| {
        ClientMessage::Moderate(Moderate::Remove {
            participant: whom.id.clone(),
        })
    };
    let refusal = grace.refusal(remove(&ada)).await;
    assert_eq!(refusal.code, "not_allowed");
    let mute = Moderate::Mute {
        track: "t".repeat(100),
    };
    let refusal = ada.refusal(ClientMessage::Moderate(mute)).await;
    assert_eq!(refusal.code, "no_such_track");
    ada.expect_ok(remove(&grace)).await;
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut logged = String::new();
    stderr.read_to_string(&mut logged).await.expect("text");
    let lines = logged.lines().filter_map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).expect(line);
        let fields = json["fields"].clone();
        fields["action"].is_string().then_some(fields)
    });
    let expected = [
        serde_json::json!({
            "message": "moderation refused", "room": "room", "actor": grace.id, "action": "remove",
            "code": "not_allowed", "subject": ada.id,
        }),
        serde_json::json!({
            "message": "moderation refused", "room": "room", "actor": ada.id, "action": "mute",
            "code": "no_such_track", "track": "t".repeat(64),
        }),
        serde_json::json!({
            "message": "moderated", "room": "room", "actor": ada.id, "action": "remove",
            "subject": grace.id,
        }),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_page_by_which_nobody_joins_is_no_fault_in_the_log() {
    let name = format!("tertulia-nobody-joins-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "[limits]\njoin_timeout_ms = 2000\n").expect("written");
    let path = file.to_str().expect("a path");
    let logged = ["--log", "json", "--log-filter", "debug"];
    let mut command = from_shell(":", &[&["--config", path], &logged[..]].concat());
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    std::fs::remove_file(&file).expect("it was there");
    let mut stderr = process.child.stderr.take().expect("stderr");
    let mut client = Client::connect(&process.url()).await;
    assert_eq!(client.next_refusal().await.code, "join_timeout");
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut logged = String::new();
    stderr.read_to_string(&mut logged).await.expect("text");
    let lines = logged.lines().filter_map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).expect(line);
        let message = json["fields"]["message"].as_str()?;
        message.starts_with("connection ended").then(|| {
            let address = json["fields"]["address"].clone();
            (json["level"].clone(), message.to_owned(), address)
        })
    });
    let expected = (
        "DEBUG".into(),
        "connection ended: nobody joined by it in time".to_owned(),
        "127.0.0.1".into(),
    );
    assert_eq!(lines.collect::<Vec<_>>(), [expected]);
}
