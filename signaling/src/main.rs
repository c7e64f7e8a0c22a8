//! The `tertulia` server.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tertulia_signaling::config::{Flags, LogFormat};
use tertulia_signaling::{Config, Node};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

/// Without `RUST_LOG`. rtc-dtls warns of every extension of DTLS 1.3 that a browser's ClientHello has.
const LOG_FILTER: &str = "info,rtc_dtls=error";

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::load(Flags::parse()) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    log(config.log);
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tertulia: {error}");
    ExitCode::FAILURE
}

/// Logs go to stderr. `RUST_LOG` filters them, e.g. `tertulia_signaling=debug`.
fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let mut stop = StopSignals::listen()?;
    let listener = bind(config.listen, "--listen").await?;
    let admin = match config.admin_listen {
        Some(address) => Some(bind(address, "--admin-listen").await?),
        None => None,
    };
    let url = format!("http://{}", listener.local_addr()?);
    let mut places = format!("media on {}", media_line(&config));
    if let Some(admin) = &admin {
        places += &format!(", counters on http://{}/stats", admin.local_addr()?);
    }
    let node = Node::start(config)?;
    println!(
        "Tertulia {}: open {url} ({places})",
        env!("CARGO_PKG_VERSION")
    );
    // Neither ends but by a panic.
    let mut servers = JoinSet::new();
    let server = node.clone();
    servers.spawn(async move { server.serve(listener).await });
    if let Some(listener) = admin {
        let server = node.clone();
        servers.spawn(async move { server.serve_admin(listener).await });
    }
    tokio::select! {
        () = stop.wait() => {}
        Some(ended) = servers.join_next() => match ended? {},
    }
    tokio::select! {
        () = node.shutdown() => {}
        () = tokio::time::sleep(HARD_STOP) => eprintln!("tertulia: stopped without finishing"),
        () = stop.wait() => eprintln!("tertulia: stopped at once"),
    }
    Ok(())
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error} (choose another {flag})"))
}

/// Beyond what [`Node::shutdown`] takes; a supervisor's patience is usually longer.
const HARD_STOP: Duration = Duration::from_secs(4);

fn media_line(config: &Config) -> String {
    if !config.media_announce.is_empty() {
        let announced = config.media_announce.iter().map(ToString::to_string);
        return format!("UDP {}", announced.collect::<Vec<_>>().join(", "));
    }
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        workers => workers,
    };
    let first = config.media_port;
    let last = usize::from(first) + workers - 1;
    let ports = match (first, workers) {
        (0, _) => "ports the kernel chooses".to_owned(),
        (_, 1) => format!("port {first}"),
        _ => format!("ports {first} to {last}"),
    };
    let addresses = match config.media_ip.as_slice() {
        [] => "every address of this machine".to_owned(),
        ips => ips
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!("UDP {ports} of {addresses}")
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
