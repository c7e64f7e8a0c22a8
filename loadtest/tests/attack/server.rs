//! The server's own binary, on ports of the kernel's choice.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tertulia_loadtest::bot::signaling::ServerUrl;
use tertulia_loadtest::server::process;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http;

/// A start takes some 50 ms on a machine that has nothing else to do.
const START: Duration = Duration::from_secs(20);

/// Timeouts short enough to be seen, and nothing else: limits are the defaults.
const TIMEOUTS: &str = "join_timeout_ms = 1500
write_timeout_ms = 1500
connect_timeout_ms = 5000
silence_ms = 2500
ping_interval_ms = 800
empty_room_ms = 200
";

/// These lines, and those of ours that they do not set.
fn limits(lines: &str) -> String {
    let set = |ours: &str| {
        let key = ours.split(' ').next().unwrap_or_default();
        lines.lines().any(|line| line.starts_with(key))
    };
    let ours = TIMEOUTS.lines().filter(|ours| !set(ours));
    ours.chain(lines.lines())
        .map(|line| format!("{line}\n"))
        .collect()
}

/// How a server is started. Attacks in a row that want the same share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// A shell's commands before it.
    pub(crate) before: &'static str,
    /// Lines of the settings file, before the section of limits.
    pub(crate) settings: &'static str,
    /// Lines in the section of limits.
    pub(crate) limits: &'static str,
    pub(crate) log: Log,
    /// Whether it speaks TLS, under a certificate made for it.
    pub(crate) tls: bool,
}

/// Where a server's log goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Log {
    File,
    /// A device that has no room, ever.
    Full,
    /// A file on a disk of 64 KiB, which takes root to make.
    SmallDisk,
    /// A pipe that nobody empties.
    Unread,
}

impl Start {
    pub(crate) const PLAIN: Self = Self {
        before: ":",
        settings: "",
        limits: "",
        log: Log::File,
        tls: false,
    };
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) process: process::Process,
    log: PathBuf,
    /// Its address, with the certificate to trust there.
    url: ServerUrl,
    tls: Option<Arc<ClientConfig>>,
    disk: Option<Disk>,
    /// The log that nobody reads, kept open.
    _unread: Option<tokio::process::ChildStderr>,
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// Starts one; an error says what the machine does not let us do.
    pub(crate) async fn start(start: Start) -> Result<Self, String> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("tertulia-attack-{}-{number}", std::process::id());
        let file = |end: &str| std::env::temp_dir().join(format!("{name}.{end}"));
        let (settings, mut log) = (file("toml"), file("log"));
        let disk = match start.log {
            Log::SmallDisk => Some(Disk::mount(file("disk"))?),
            _ => None,
        };
        if let Some(Disk(folder)) = &disk {
            log = folder.join("log");
        }
        let text = format!("{}\n[limits]\n{}", start.settings, limits(start.limits));
        std::fs::write(&settings, text).expect("a file");
        let stderr = match start.log {
            Log::File | Log::SmallDisk => std::fs::File::create(&log).expect("a file").into(),
            Log::Full => {
                let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
                full.map_err(|error| format!("/dev/full: {error}"))?.into()
            }
            Log::Unread => Stdio::piped(),
        };
        let certificate = start.tls.then(|| Certificate::make(&file));
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TERTULIA_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["-c", &format!("{} && exec \"$0\" \"$@\"", start.before)])
            .arg(binary())
            .args(["--listen", &format!("127.0.0.1:{}", port(&start))])
            .args(["--media-port", "0"])
            .args(["--media-ip", "127.0.0.1", "--workers", "1"])
            .args(["--admin-listen", "127.0.0.1:0", "--config"])
            .arg(&settings)
            .args(certificate.iter().flat_map(Certificate::flags))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("a server");
        let unread = child.stderr.take();
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line = timeout(START, lines.next_line()).await;
        let line = line.expect("in time").expect("read");
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let line = line.unwrap_or_else(|| panic!("the server does not start: {}", said()));
        std::fs::remove_file(&settings).expect("it was there");
        let mut urls = line.split("://").skip(1).map(|rest| {
            let end = rest.find([' ', '/', '"', ',', ')']).unwrap_or(rest.len());
            rest[..end].parse().expect("an address")
        });
        let addr: SocketAddr = urls.next().expect("an address");
        let scheme = if start.tls { "https" } else { "http" };
        let url: ServerUrl = format!("{scheme}://{addr}").parse().expect("a URL");
        let ca_file = certificate.as_ref().map(|it| it.certificate.as_path());
        let url = url.trusting(ca_file).expect("a certificate");
        let pid = child.id().expect("it runs");
        Ok(Self {
            addr,
            url,
            tls: certificate.map(|it| it.trusted()),
            admin: urls.last().expect("an address for counters"),
            process: process::Process::observe(pid).expect("/proc"),
            child,
            log,
            disk,
            _unread: unread,
        })
    }

    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Connects from `from`, over TLS if it speaks that.
    pub(crate) async fn connect(
        &self,
        from: Ipv4Addr,
        change: impl FnOnce(&TcpSocket),
    ) -> io::Result<Box<dyn Stream>> {
        let plain = http::connect(from, self.addr, change).await?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(plain));
        };
        let name = ServerName::from(self.addr.ip());
        let shaken = TlsConnector::from(Arc::clone(config)).connect(name, plain);
        Ok(Box::new(shaken.await?))
    }

    /// Opens a WebSocket on a connection from `from`, whose socket `change` prepares.
    pub(crate) async fn upgrade(
        &self,
        from: Ipv4Addr,
        change: impl FnOnce(&TcpSocket),
    ) -> Result<WebSocketStream<Box<dyn Stream>>, String> {
        let not_connected = |error: io::Error| format!("not connected: {error}");
        let stream = self.connect(from, change).await.map_err(not_connected)?;
        let address = format!("{}/v1/ws", self.url).replacen("http", "ws", 1);
        match client_async(address, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let code = body["code"].as_str().map(str::to_owned);
                Err(code.unwrap_or_else(|| response.status().to_string()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Its counters.
    pub(crate) async fn stats(&self) -> Value {
        let answer = http::get(self.admin, "/stats").await.expect("counters");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The bytes of its log, if it goes to a file.
    pub(crate) fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |file| file.len())
    }

    /// Lines of its log that tell of a fault of its own.
    pub(crate) fn faults(&self) -> Vec<String> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| line.contains("panicked"));
        lines.map(str::to_owned).collect()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Files and sockets that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.process.pid);
        std::fs::read_dir(directory).map_or(0, Iterator::count)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended before its disk does.
        let _ = self.child.start_kill();
        while matches!(self.child.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        if self.disk.is_none() {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// The port to listen at, of which the kernel has the choice; with ICE-TCP it has to be known before.
fn port(start: &Start) -> u16 {
    if !start.settings.contains("ice_tcp") {
        return 0;
    }
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    free.local_addr().expect("a port").port()
}

/// A connection below a WebSocket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The files of a certificate that signs itself. Removed when dropped: the server has read them when it says that it is
/// open.
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make(file: &dyn Fn(&str) -> PathBuf) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (certificate, key) = (file("crt"), file("key"));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        Self { certificate, key }
    }

    fn flags(&self) -> [&OsStr; 4] {
        let (certificate, key) = (self.certificate.as_os_str(), self.key.as_os_str());
        [
            "--tls-cert".as_ref(),
            certificate,
            "--tls-key".as_ref(),
            key,
        ]
    }

    /// A client's settings, that trust it alone.
    fn trusted(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.certificate).expect("a file") {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().expect("TLS");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        for file in [&self.certificate, &self.key] {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A disk of 64 KiB.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: PathBuf) -> Result<Self, String> {
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            Ok(output) => {
                let _ = std::fs::remove_dir(&folder);
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(format!("a small disk takes root: {said}"))
            }
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(&self.0).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }
}

/// The program to attack: `TERTULIA_BIN`, or where Cargo puts it.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TERTULIA_BIN") {
        return named.into();
    }
    let this = std::env::current_exe().expect("this program");
    let built = this.parent().and_then(Path::parent).expect("a folder");
    let built = built.join("tertulia");
    assert!(
        built.is_file(),
        "{} is missing: build it with `cargo build -p tertulia-signaling`, or name one in TERTULIA_BIN",
        built.display()
    );
    built
}
