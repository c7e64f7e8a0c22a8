//! The server's own binary, on ports of the kernel's choice.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tertulia_loadtest::server::process;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

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
    };
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) process: process::Process,
    log: PathBuf,
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
        let mut command = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TERTULIA_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["-c", &format!("{} && exec \"$0\" \"$@\"", start.before)])
            .arg(binary())
            .args(["--listen", "127.0.0.1:0", "--media-port", "0"])
            .args(["--media-ip", "127.0.0.1", "--workers", "1"])
            .args(["--admin-listen", "127.0.0.1:0", "--config"])
            .arg(&settings)
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
        let mut urls = line.split("http://").skip(1).map(|rest| {
            let end = rest.find([' ', '/', '"', ',', ')']).unwrap_or(rest.len());
            rest[..end].parse().expect("an address")
        });
        let pid = child.id().expect("it runs");
        Ok(Self {
            addr: urls.next().expect("an address"),
            admin: urls.last().expect("an address for counters"),
            process: process::Process::observe(pid).expect("/proc"),
            child,
            log,
            disk,
            _unread: unread,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn websocket(&self) -> String {
        format!("ws://{}/v1/ws", self.addr)
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
