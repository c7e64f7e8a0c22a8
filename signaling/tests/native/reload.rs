//! SIGHUP, and `tertulia --check`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_signaling::access::{Claims, Keys};
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::protocol::native::{ClientMessage, Join, ServerMessage};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout;

use crate::client::{Client, DEADLINE, chat, join};
use crate::process::{Process, failure, tertulia};
use crate::tls::Pair;

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// A server whose log is read.
pub(crate) struct Told {
    pub(crate) process: Process,
    log: Lines<BufReader<ChildStderr>>,
}

impl Told {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
        let mut command = tertulia(&[&ports, arguments].concat());
        command.env_remove("RUST_LOG").stderr(Stdio::piped());
        let mut process = Process::spawn(command).await;
        let log = process.child.stderr.take().expect("stderr");
        let log = BufReader::new(log).lines();
        Self { process, log }
    }

    /// The next line of the log with these words.
    pub(crate) async fn line(&mut self, words: &str) -> String {
        let found = async {
            loop {
                let line = self.log.next_line().await.expect("read");
                let line = line.expect("a line before the end");
                if line.contains(words) {
                    return line;
                }
            }
        };
        timeout(DEADLINE, found).await.expect(words)
    }

    /// Sends SIGHUP, and returns the line of the log about it.
    async fn reload(&mut self) -> String {
        self.process.signal("-HUP").await;
        self.line("settings ").await
    }
}

/// A JSON Web Key Set with these secrets, each of one byte 32 times.
fn set(secrets: &[u8]) -> String {
    let keys = secrets.iter().map(|byte| {
        // base64url of 32 equal bytes.
        let secret = secret(*byte);
        json!({"kty": "oct", "kid": byte.to_string(), "k": secret})
    });
    json!({"keys": keys.collect::<Vec<Value>>()}).to_string()
}

fn secret(byte: u8) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([byte; 32])
}

/// Joins with a token that this key signs.
async fn enter(process: &Process, key: u8) -> Result<Client, String> {
    let keys = Keys::from_json(&set(&[key])).expect("keys");
    let hour = Duration::from_secs(3_600);
    let token = keys.issue(&Claims::join("hall", Permissions::all()), hour, None);
    let wish = Join {
        token: Some(token.expect("a token")),
        ..join("hall", "Ada")
    };
    let mut client = Client::connect(&process.url()).await;
    match client.request(ClientMessage::Join(wish)).await {
        ServerMessage::Welcome(_) => Ok(client),
        ServerMessage::Error(refusal) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_that_of_the_next_connection_and_running_ones_go_on() {
    let mut pair = Pair::new();
    let (cert, key) = (pair.cert(), pair.key());
    let arguments = ["--tls-cert", text(&cert), "--tls-key", text(&key)];
    let mut server = Told::start(&arguments).await;
    let addr = server.process.addr;
    let first = pair.trusting();
    let mut ada = first.join(addr, "Ada").await;

    pair.renew();
    let second = pair.trusting();
    assert!(second.connect(addr).await.is_err(), "nothing is read yet");
    let said = server.reload().await;
    assert!(said.contains("settings reloaded"), "{said}");
    let mut grace = second.join(addr, "Grace").await;
    assert!(first.connect(addr).await.is_err(), "the first one is gone");

    // Of half a file, and of a key of another certificate, nothing is taken.
    let other = Pair::new();
    let whole = std::fs::read(&key).expect("a key");
    for wrong in [
        &whole[..whole.len() / 2],
        &std::fs::read(other.key()).expect("a key"),
    ] {
        std::fs::write(&key, wrong).expect("a file");
        let said = server.reload().await;
        assert!(
            said.contains("not reloaded") && said.contains(text(&key)),
            "{said}"
        );
        second.connect(addr).await.expect("the second one stays");
    }
    for client in [&mut ada, &mut grace] {
        client.expect_ok(chat("still here")).await;
    }
}

#[tokio::test]
async fn keys_are_replaced_and_a_bad_set_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "keys.json", &set(&[1, 2]));
    let mut server = Told::start(&["--keys", text(&file)]).await;
    let mut ada = enter(&server.process, 1).await.expect("admitted");
    assert_eq!(
        enter(&server.process, 3).await.err().as_deref(),
        Some("token_invalid")
    );

    write(&folder, "keys.json", &set(&[2, 3]));
    server.reload().await;
    assert_eq!(
        enter(&server.process, 1).await.err().as_deref(),
        Some("token_invalid")
    );
    for key in [2, 3] {
        enter(&server.process, key).await.expect("admitted");
    }

    for wrong in ["", "{\"keys\":[]}"] {
        write(&folder, "keys.json", wrong);
        let said = server.reload().await;
        assert!(
            said.contains("not reloaded") && said.contains("keys.json"),
            "{said}"
        );
        enter(&server.process, 3).await.expect("admitted");
    }
    std::fs::remove_file(&file).expect("remove");
    let said = server.reload().await;
    assert!(said.contains("not reloaded"), "the door stays shut: {said}");
    assert!(enter(&server.process, 9).await.is_err());
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn a_token_is_revoked_by_its_id_and_a_list_that_cannot_be_meant_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "keys.json", &set(&[1]));
    let mut server = Told::start(&["--keys", text(&file)]).await;
    let mut claims = Claims::join("hall", Permissions::all());
    claims.id = Some("lost".into());
    let keys = Keys::from_json(&set(&[1])).expect("keys");
    let token = keys.issue(&claims, Duration::from_secs(3_600), None);
    let token = token.expect("a token");
    let join = || {
        ClientMessage::Join(Join {
            token: Some(token.clone()),
            ..join("hall", "Ada")
        })
    };
    let mut ada = Client::connect(&server.process.url()).await;
    assert!(matches!(
        ada.request(join()).await,
        ServerMessage::Welcome(_)
    ));
    let mut revoking: Value = serde_json::from_str(&set(&[1])).expect("JSON");
    revoking["revoked"] = json!(["lost"]);
    write(&folder, "keys.json", &revoking.to_string());
    let said = server.reload().await;
    assert!(said.contains("keys=1 revoked=1"), "{said}");
    let mut late = Client::connect(&server.process.url()).await;
    assert_eq!(late.refusal(join()).await.code, "token_revoked");
    let said = server.line("join refused").await;
    let who = "address=127.0.0.1 token=\"lost\"";
    assert!(
        said.contains("token_revoked") && said.contains(who),
        "{said}"
    );
    assert!(!said.contains(token.as_str()), "{said}");
    enter(&server.process, 1).await.expect("others come in");
    revoking["revoked"] = json!([""]);
    write(&folder, "keys.json", &revoking.to_string());
    let said = server.reload().await;
    assert!(
        said.contains("not reloaded") && said.contains("`revoked`"),
        "{said}"
    );
    assert_eq!(late.refusal(join()).await.code, "token_revoked");
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn settings_are_read_again_and_those_for_the_next_start_are_named() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "tertulia.toml", "");
    let mut server = Told::start(&["--config", text(&file)]).await;
    let greeted = async |name: &str| {
        let mut client = Client::connect(&server.process.url()).await;
        client.join("hall", name).await.ice_servers.len()
    };
    assert_eq!(greeted("Ada").await, 0);

    let ice = "[[ice_servers]]\nurls = [\"stun:stun.example.org\"]\n";
    let origins = "allowed_origins = [\"https://app.example.org\"]\n";
    let fixed = "room_peers_per_worker = 7\nlog_filter = \"info,tertulia_signaling=debug\"\n";
    let limits = "[limits]\nrooms = 9\n";
    write(
        &folder,
        "tertulia.toml",
        &[fixed, origins, ice, limits].concat(),
    );
    server.reload().await;
    let said = server.line("at the next start").await;
    assert!(
        said.ends_with("room_peers_per_worker, limits.rooms"),
        "{said}"
    );
    // The filter lets through what `info` did not: a connection that ends in the middle of a request.
    drop(broken(server.process.addr).await);
    server.line("DEBUG").await;
    let mut grace = Client::connect_asking(
        &server.process.url(),
        &[("origin", "https://app.example.org")],
    )
    .await;
    assert_eq!(grace.join("hall", "Grace").await.ice_servers.len(), 1);

    for (wrong, named) in [
        ("[limits]\nroms = 1", "roms"),
        ("log_filter = \"tertulia=loud\"", "log_filter"),
        ("tls_cert = \"/none\"", "tls_cert"),
        ("open = maybe", "tertulia.toml"),
    ] {
        write(&folder, "tertulia.toml", wrong);
        let said = server.reload().await;
        assert!(said.contains("not reloaded"), "{said}");
        // A fault of TOML is told in several lines.
        if !said.contains(named) {
            server.line(named).await;
        }
    }
    grace.expect_ok(chat("still here")).await;
}

/// A connection that has sent half a request.
async fn broken(addr: std::net::SocketAddr) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(addr).await.expect("connect");
    stream.write_all(b"GET / HT").await.expect("write");
    stream
}

/// The server is told of it by SIGHUP, too.
#[tokio::test]
async fn a_terminal_that_closes_ends_the_server() {
    let folder = TempDir::new().expect("a folder");
    let out = folder.path().join("out");
    let script = format!(
        "exec {} --listen 127.0.0.1:0 --media-port 0 --media-ip 127.0.0.1 --workers 1 >{}",
        env!("CARGO_BIN_EXE_tertulia"),
        out.display()
    );
    // It has a terminal of its own for the command, which closes with it.
    let mut terminal = Command::new("env")
        .args(["--default-signal=HUP", "script", "--quiet", "--command"])
        .args([&script, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("script");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let line = loop {
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        if said.ends_with('\n') {
            break said;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not start");
        tokio::task::yield_now().await;
    };
    let (_, addr) = line.split_once("http://").expect("an address");
    let addr = addr.split(' ').next().expect("an address");
    let mut ada = Client::connect(&format!("ws://{addr}/v1/ws")).await;
    ada.join("hall", "Ada").await;
    terminal.start_kill().expect("it runs");
    let reason = ada.find(|message| match message {
        ServerMessage::Bye { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "server_shutdown");
}

async fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = tertulia(&[&["--check"], arguments].concat());
    let run = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(DEADLINE, run).await.expect("an end").expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_check_says_that_all_is_good_and_takes_no_port() {
    let folder = TempDir::new().expect("a folder");
    let keys = write(&folder, "keys.json", &set(&[1]));
    let pair = Pair::new();
    let (cert, key) = (pair.cert(), pair.key());
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let listen = taken.local_addr().expect("an address").to_string();
    let all = [
        "--listen",
        &listen,
        "--keys",
        text(&keys),
        "--tls-cert",
        text(&cert),
        "--tls-key",
        text(&key),
    ];
    let good = (Some(0), "configuration is good\n".to_owned(), String::new());
    assert_eq!(check(&all).await, good);
    assert_eq!(check(&["--tls-self-signed"]).await, good);
    let (status, said, _) = check(&["--log", "json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (status, &said["fields"]["message"]),
        (Some(0), &"configuration is good".into())
    );
}

#[tokio::test]
async fn a_check_says_what_is_wrong() {
    let folder = TempDir::new().expect("a folder");
    let junk = write(&folder, "junk", "junk");
    let pair = Pair::new();
    let (cert, key) = (pair.cert(), pair.key());
    let (junk, cert, key) = (text(&junk), text(&cert), text(&key));
    for (arguments, named) in [
        (&["--config", junk][..], junk),
        (&["--keys", junk], junk),
        (&["--tls-cert", junk, "--tls-key", key], junk),
        (&["--tls-cert", cert, "--tls-key", junk], junk),
        (&["--tls-cert", cert], "tls_key"),
        (
            &["--tls-cert", cert, "--tls-key", key, "--tls-self-signed"],
            "tls_self_signed",
        ),
        (&["--listen", "0.0.0.0:0"], "--keys"),
        (&["--log-filter", "tertulia=loud"], "log_filter"),
        (&["--memory-mb", "1"], "memory_mb"),
        (
            &["--announce-for", "Ada=192.0.2.1:1,192.0.2.1:2"],
            "announce_for",
        ),
    ] {
        let said = failure(&[&["--check"], arguments].concat()).await;
        assert!(said.contains(named), "{arguments:?}: {said}");
        // A start says the same.
        let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
        if !arguments.contains(&"--listen") {
            let started = failure(&[&ports, arguments].concat()).await;
            assert!(started.contains(named), "{arguments:?}: {started}");
        }
    }
}
