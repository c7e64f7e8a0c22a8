//! Certificates of an authority (ACME), by Pebble, the test server of Let's Encrypt: <https://github.com/letsencrypt/pebble>.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tempfile::TempDir;
use tertulia_signaling::{Config, Node};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::client::{DEADLINE, chat};
use crate::fake_media::FakeMedia;
use crate::http::get;
use crate::tls::{Pair, Trusting};

/// The longest wait for an authority: an order takes two seconds, and one that fails is repeated after ten.
const PATIENCE: Duration = Duration::from_secs(60);

struct Pebble {
    _process: Child,
    folder: TempDir,
    /// The certificate of its own HTTPS.
    pair: Pair,
    directory: String,
    management: SocketAddr,
}

impl Pebble {
    /// One that looks for servers at this port.
    async fn start(port: u16) -> Self {
        let (pair, folder) = (Pair::new(), TempDir::new().expect("a folder"));
        let (address, management) = (free_address().await, free_address().await);
        let config = json!({"pebble": {
            "listenAddress": address.to_string(), "managementListenAddress": management.to_string(),
            "certificate": pair.cert(), "privateKey": pair.key(), "httpPort": 1, "tlsPort": port,
        }});
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let process = Command::new("pebble")
            .arg("-config")
            .arg(&file)
            // Neither waits nor refuses at random.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's package `pebble`");
        let deadline = Instant::now() + DEADLINE;
        for port in [address, management] {
            while TcpStream::connect(port).await.is_err() {
                assert!(Instant::now() < deadline, "pebble does not listen");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Self {
            _process: process,
            folder,
            pair,
            directory: format!("https://localhost:{}/dir", address.port()),
            management,
        }
    }

    /// The root of the certificates that it issues.
    async fn root(&self) -> CertificateDer<'static> {
        let answer = self.pair.trusting().get(self.management, "/roots/0").await;
        CertificateDer::from_pem_slice(answer.as_bytes()).expect("a certificate")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// The file of the certificate.
    fn kept(&self) -> PathBuf {
        let files = std::fs::read_dir(self.cache()).expect("a folder");
        let mut files = files.map(|file| file.expect("a file").path());
        let is_kept = |file: &PathBuf| file.display().to_string().contains("certificate-");
        files.find(is_kept).expect("a certificate")
    }

    /// A server that orders its certificate here.
    async fn server(&self, listener: TcpListener) -> Served {
        Served::start(listener, &self.directory, self.cache(), self.pair.cert()).await
    }
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    listener.local_addr().expect("an address")
}

struct Served {
    node: Node,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(listener: TcpListener, directory: &str, cache: PathBuf, root: PathBuf) -> Self {
        let config = Config {
            acme_domains: vec!["localhost".into()],
            acme_directory: directory.into(),
            acme_contact: Some("admin@example.org".into()),
            acme_cache: Some(cache),
            acme_root: Some(root),
            ..Config::default()
        };
        let builder = Node::builder().config(config);
        let node = builder.media(Arc::new(FakeMedia::new())).build();
        let node = node.expect("a node");
        let addr = listener.local_addr().expect("an address");
        let server = node.clone();
        let task = tokio::spawn(async move { match server.serve(listener).await {} });
        Self { node, addr, task }
    }

    /// Waits until a client that trusts these is served a certificate other than `not`, which it has already.
    async fn certificate(&self, trusting: &Trusting, not: Option<&[u8]>) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = trusting.connect(self.addr).await {
                let served = stream.get_ref().1.peer_certificates().expect("a chain");
                if Some(&*served[0]) != not {
                    return served[0].to_vec();
                }
            }
            assert!(Instant::now() < deadline, "no other certificate");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        self.node.shutdown().await;
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A certificate for `localhost` and its key in one text, of which a third of the time is left within a few seconds.
fn nearly_due() -> (CertificateDer<'static>, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let since = date_time_ymd(1970, 1, 1) + now - Duration::from_secs(2 * 3_600);
    params.not_before = since;
    params.not_after = since + Duration::from_secs(3 * 3_600 + 6);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("made");
    (made.der().clone(), key.serialize_pem() + &made.pem())
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

#[tokio::test]
async fn a_certificate_is_issued_kept_and_renewed_under_an_open_call() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("an address");
    let pebble = Pebble::start(addr.port()).await;
    let server = pebble.server(listener).await;
    let root = pebble.root().await;
    let trusting = Trusting::all([root.clone()], &["http/1.1"]);
    let issued = server.certificate(&trusting, None).await;
    let mut ada = trusting.join(addr, "Ada").await;
    ada.expect_ok(chat("hello")).await;
    // Many clients of TURN name no protocol.
    let silent = Trusting::all([root.clone()], &[]).connect(addr).await;
    assert!(silent.is_ok(), "{:?}", silent.err());
    assert!(
        Trusting::all([root.clone()], &["h2"])
            .connect(addr)
            .await
            .is_err()
    );
    let deadline = Instant::now() + DEADLINE;
    while server
        .node
        .certificate()
        .is_none_or(|it| it.der() != issued)
        || !pebble.cache().is_dir()
    {
        assert!(
            Instant::now() < deadline,
            "the node does not know its certificate"
        );
        sleep(Duration::from_millis(20)).await;
    }
    let deadline = Instant::now() + DEADLINE;
    while std::fs::read_dir(pebble.cache()).expect("a folder").count() < 2 {
        assert!(Instant::now() < deadline, "nothing is kept");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        (mode(&pebble.cache()), mode(&pebble.kept())),
        (0o700, 0o600)
    );
    server.stop().await;

    // What is kept serves again, and is renewed when it is due.
    let (due, text) = nearly_due();
    std::fs::write(pebble.kept(), text).expect("a file");
    let listener = TcpListener::bind(addr).await.expect("bind");
    let server = pebble.server(listener).await;
    let both = Trusting::all([root.clone(), due.clone()], &["http/1.1"]);
    let first = server.certificate(&both, None).await;
    let mut grace = both.join(addr, "Grace").await;
    let renewed = server.certificate(&trusting, Some(&due)).await;
    assert!(renewed != issued && renewed != *due);
    assert!(first == *due || first == renewed);
    grace.expect_ok(chat("still here")).await;
    server.stop().await;
}

#[tokio::test]
async fn without_an_authority_the_server_runs_and_says_why_it_has_no_certificate() {
    let (folder, pair) = (TempDir::new().expect("a folder"), Pair::new());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let nowhere = format!("https://localhost:{}/dir", free_address().await.port());
    let server = Served::start(listener, &nowhere, folder.path().join("cache"), pair.cert()).await;
    let admins = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let admin = admins.local_addr().expect("an address");
    let node = server.node.clone();
    tokio::spawn(async move { node.serve_admin(admins).await });
    assert!(pair.trusting().connect(server.addr).await.is_err());
    // Nor is there one for whoever asks as an authority does.
    let looks = Trusting::all([], &["acme-tls/1"])
        .connect(server.addr)
        .await;
    assert!(looks.is_err());
    assert_eq!(get(server.addr, "/").await.status, 307);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let stats: Value = serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
        if stats["tls_handshakes"]["failed"]["no_certificate"] == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{}", stats["tls_handshakes"]);
    }
    assert!(server.node.certificate().is_none());
    server.stop().await;
}
