//! A server of our own, which does not outlive us.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{admin, cores};
use crate::bot::signaling::ServerUrl;
use crate::bot::tap::lock;
use crate::scenario::Spawn;

/// A running child. Dropping it kills it, so that no way out leaves it behind.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pub url: ServerUrl,
    /// The address where it answers `GET /stats`, if it can.
    pub admin: Option<ServerUrl>,
    pub workers: usize,
    log: Log,
    _files: Files,
}

/// The last lines of the server's output.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

const LOG_LINES: usize = 40;

/// Time until `/healthz` is answered. A start takes milliseconds; choosing a cipher by measuring, some more.
const START: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(20);

/// Limits that a load test may exceed and a server's defaults forbid.
const CONFIGURATION: &str = "[limits]\nconnections = 60000\nhttp_connections = 60000\nrooms = 60000\n\
    participants_per_room = 20000\nmessages_per_second = 1000\nmessage_burst = 20000\n\
    outgoing_queue = 65536\nconnections_per_address = 0\njoins_per_minute_per_address = 0\n";

impl Child {
    /// Starts a server on free ports of loopback and waits until it answers.
    ///
    /// # Errors
    ///
    /// There is no such program, the cores do not exist, or it does not start; the error holds the end of its log.
    pub async fn start(spawn: &Spawn) -> io::Result<Self> {
        let binary = match &spawn.binary {
            Some(binary) => binary.clone(),
            None => default_binary()?,
        };
        let all = cores::allowed(0)?;
        let pinned = if spawn.cores.is_empty() {
            all
        } else {
            spawn.cores.clone()
        };
        let workers = spawn.workers.unwrap_or(pinned.len());
        let [http, admin] = free_ports()?;
        let file = |ending: &str| {
            let name = format!("tertulia-loadtest-{}-{}", std::process::id(), http.port());
            std::env::temp_dir().join(format!("{name}.{ending}"))
        };
        let mut files = Files::default();
        let configuration = files.write(file("toml"), CONFIGURATION)?;
        let (output, writer) = io::pipe()?;
        let takes_admin = understands(&binary, "--admin-listen");
        let mut command = Command::new(&binary);
        command
            .arg("--config")
            .arg(&configuration)
            .args(["--listen", &http.to_string()])
            .args(["--media-ip", "127.0.0.1", "--media-port", "0"])
            .args(["--workers", &workers.to_string()])
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        if takes_admin {
            command.args(["--admin-listen", &admin.to_string()]);
        }
        let mut url = url_of("http", http)?;
        if spawn.tls {
            let own = rcgen::generate_simple_self_signed([http.ip().to_string()]);
            let own = own.map_err(io::Error::other)?;
            let certificate = files.write(file("pem"), &own.cert.pem())?;
            let key = files.write(file("key"), &own.signing_key.serialize_pem())?;
            command.arg("--tls-cert").arg(&certificate);
            command.arg("--tls-key").arg(&key);
            let trusting = url_of("https", http)?.trusting(Some(&certificate));
            url = trusting.map_err(io::Error::other)?;
        }
        command.args(&spawn.arguments);
        let process = start_pinned(command, pinned);
        let process = process.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", binary.display()))
        })?;
        let admin = takes_admin.then(|| url_of("http", admin)).transpose()?;
        let mut child = Self {
            process,
            url,
            admin,
            workers,
            log: Log::default(),
            _files: files,
        };
        let log = child.log.clone();
        std::thread::spawn(move || log.follow(output));
        child.wait_until_healthy().await?;
        Ok(child)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The last lines it said.
    pub fn log(&self) -> Vec<String> {
        lock(&self.log.0).iter().cloned().collect()
    }

    /// Whether it answers. Over TLS, whether it is listening: each listener is there once all are.
    async fn is_healthy(&self) -> bool {
        match self.url.is_secure() {
            false => admin::get(&self.url, "/healthz").await.is_ok(),
            true => match self.url.resolve().await {
                Ok(address) => tokio::net::TcpStream::connect(address).await.is_ok(),
                Err(_) => false,
            },
        }
    }

    async fn wait_until_healthy(&mut self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + START;
        loop {
            if self.is_healthy().await {
                return Ok(());
            }
            let ended = self.process.try_wait()?;
            if ended.is_none() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            let what = match ended {
                Some(status) => format!("the server ended at once ({status})"),
                None => format!("the server does not answer within {START:?}"),
            };
            // Time to read its last lines.
            tokio::time::sleep(RETRY).await;
            return Err(io::Error::other(format!(
                "{what}\n{}",
                self.log().join("\n")
            )));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Files that are removed when this is dropped.
#[derive(Debug, Default)]
struct Files(Vec<PathBuf>);

impl Files {
    /// Writes a file that only its owner may read.
    fn write(&mut self, path: PathBuf, text: &str) -> io::Result<PathBuf> {
        self.0.push(path.clone());
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn url_of(scheme: &str, address: SocketAddr) -> io::Result<ServerUrl> {
    let url = format!("{scheme}://{address}").parse();
    url.map_err(io::Error::other)
}

impl Log {
    fn follow(&self, stream: impl Read) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = lock(&self.0);
            if log.len() == LOG_LINES {
                log.pop_front();
            }
            log.push_back(line);
        }
    }
}

/// See [`cores`].
fn start_pinned(mut command: Command, cores: Vec<usize>) -> io::Result<std::process::Child> {
    let starting = std::thread::spawn(move || {
        cores::pin_thread(&cores)?;
        command.spawn()
    });
    starting
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the server could not be started")))
}

/// Beside this program, else where Cargo puts it.
fn default_binary() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let candidates = [
        this.with_file_name("tertulia"),
        PathBuf::from("target/release/tertulia"),
    ];
    let found = candidates.iter().find(|path| path.is_file());
    found.cloned().ok_or_else(|| {
        let message = "no `tertulia` beside this program: build it (cargo build --release) or name it with --server-binary";
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// Whether a server has an option: older ones, and other people's, may not.
fn understands(binary: &Path, option: &str) -> bool {
    let help = Command::new(binary)
        .arg("--help")
        .stdin(Stdio::null())
        .output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(option))
}

/// Two ports that are free at this instant.
fn free_ports() -> io::Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (first, second) = (bind()?, bind()?);
    Ok([first.local_addr()?, second.local_addr()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::process::Process;

    /// A program in place of a server.
    fn script(name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_child_that_ends_says_why() {
        let binary = script("tertulia-ends", "echo no luck today >&2; exit 3");
        let spawn = Spawn {
            binary: Some(binary.clone()),
            ..Spawn::default()
        };
        let error = Child::start(&spawn).await.unwrap_err().to_string();
        std::fs::remove_file(binary).unwrap();
        assert!(
            error.contains("exit status: 3") && error.contains("no luck today"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_missing_program_or_core_is_an_error() {
        let nowhere = Spawn {
            binary: Some("/nowhere/tertulia".into()),
            ..Spawn::default()
        };
        let error = Child::start(&nowhere).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/tertulia"), "{error}");
        let no_core = Spawn {
            cores: vec![1_000],
            ..nowhere
        };
        let error = Child::start(&no_core).await.unwrap_err().to_string();
        assert!(error.contains("cores 1000"), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_child_is_gone() {
        // It would run for an hour; dropping the future that waits for it must end it.
        let file = std::env::temp_dir().join(format!("tertulia-pid-{}", std::process::id()));
        let text = format!("echo $$ > {}; exec sleep 3600", file.display());
        let binary = script(
            "tertulia-sleeps",
            &format!("[ \"$1\" = --help ] && exit 0\n{text}"),
        );
        let spawn = Spawn {
            binary: Some(binary.clone()),
            ..Spawn::default()
        };
        let mut starting = Box::pin(Child::start(&spawn));
        let pid = loop {
            let wait = tokio::time::timeout(RETRY, &mut starting).await;
            assert!(wait.is_err(), "nobody answers");
            let pid = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse::<u32>() {
                break pid;
            }
        };
        assert!(Process::observe(pid).unwrap().alive());
        drop(starting);
        assert!(Process::observe(pid).is_none());
        std::fs::remove_file(binary).unwrap();
        std::fs::remove_file(file).unwrap();
    }
}
