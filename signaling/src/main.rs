//! The `tertulia` server.

mod process;

/// The system's allocator keeps more after a peak, and maps 64 MB for each thread, which soon exhausts `ulimit -v`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use process::descriptors::{self, workers};
use process::log::Log;
use process::output;
use process::print;
use process::rates::Rates;
use process::reload::Reload;
use process::remote;
use process::stop::{LAST_LINES, Stop};
use serde_json::{Map, Value};
use tertulia_signaling::access::Access;
use tertulia_signaling::config::{Command, Flags, LogFormat, blamed_variable, unknown_variables};
use tertulia_signaling::{Config, LogCounts, Node};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tracing::{info, warn};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(
                LogFormat::Text,
                &format!("no threads for the server: {error}"),
            );
        }
    };
    let status = runtime.block_on(start());
    // Its threads may be at something that does not end, like a file of a folder that is gone.
    runtime.shutdown_background();
    status
}

async fn start() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) if error.use_stderr() => {
            let arguments: Vec<OsString> = std::env::args_os().collect();
            let blamed = blamed_variable(&error, &arguments).unwrap_or_default();
            if asks_for_json() {
                let sentence = format!("{error}{blamed}");
                output::failed(LogFormat::Json, None, sentence.trim_end());
            } else {
                // A closed stream takes no lines.
                let _ = error.print();
                let _ = write!(std::io::stderr(), "{blamed}");
            }
            return ExitCode::from(USAGE);
        }
        // Its help is for people.
        Err(error) => error.exit(),
    };
    let format = flags.log_format();
    if let Some(Command::Check(wanted)) = &flags.command {
        return match remote::report(wanted, flags.keys.as_deref()).await {
            Ok((text, status)) => output::reported(&text, status),
            Err(sentence) => fail(format, &sentence),
        };
    }
    if let Some(command) = flags.command.clone() {
        return match print::line(command, flags) {
            Ok(line) => output::printed(&line),
            Err(sentence) => fail(format, &sentence),
        };
    }
    let check = flags.check;
    let config = match Config::load(flags.clone()) {
        Ok(config) => config,
        Err(error) => return fail(format, &error.to_string()),
    };
    let format = config.log;
    if check {
        return match checked(&config) {
            Ok(()) => output::checked(format),
            Err(sentence) => fail(format, &sentence),
        };
    }
    let (log, rates, filter) = match output::log(format, config.log_filter.as_deref()) {
        Ok(log) => log,
        Err(error) => return fail(format, &format!("no thread for the log: {error}")),
    };
    let reload = Reload {
        flags,
        started: config.clone(),
        filter,
    };
    let ended = run(config, &log, rates, reload).await;
    if let Err(error) = &ended {
        output::failed(format, Some(&log), &error.to_string());
    }
    log.flush(LAST_LINES);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(
    mut config: Config,
    log: &Log,
    rates: Arc<Rates>,
    reload: Reload,
) -> Result<(), Box<dyn std::error::Error>> {
    for unknown in unknown_variables(variables()) {
        warn!("{unknown}");
    }
    config.check_listen()?;
    descriptors::provide(&mut config)?;
    serve(config, log, rates, reload).await
}

fn variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Does all of a start that takes no port and no thread.
fn checked(config: &Config) -> Result<(), String> {
    for unknown in unknown_variables(variables()) {
        output::warned(config.log, &unknown);
    }
    config.check_listen().map_err(|error| error.to_string())?;
    let certificate = Node::check(config).map_err(|error| error.to_string())?;
    if let Some(certificate) = certificate {
        let of_name = certificate.name_warning(&config.allowed_hosts);
        for warning in certificate.warning().into_iter().chain(of_name) {
            output::warned(config.log, &warning);
        }
    }
    Ok(())
}

/// Exit code for bad usage, as of clap for a bad flag.
const USAGE: u8 = 2;

/// Flags that cannot be read say so in the form that they ask for.
fn asks_for_json() -> bool {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let pairs = arguments.windows(2);
    let by_flag = arguments.iter().any(|argument| argument == "--log=json")
        || pairs
            .into_iter()
            .any(|pair| pair[0] == "--log" && pair[1] == "json");
    by_flag || std::env::var_os("TERTULIA_LOG").is_some_and(|value| value == "json")
}

fn fail(format: LogFormat, sentence: &str) -> ExitCode {
    output::failed(format, None, sentence);
    ExitCode::FAILURE
}

async fn serve(
    config: Config,
    log: &Log,
    rates: Arc<Rates>,
    reload: Reload,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut stop = Stop::listen(config.log, log.clone())?;
    let listener = bind(config.listen, "--listen")?;
    let admin = match config.admin_listen {
        Some(address) => Some(bind(address, "--admin-listen")?),
        None => None,
    };
    let format = config.log;
    let address = listener.local_addr()?;
    let media = media_line(&config);
    let access = match config.keys {
        Some(_) => Access::Tokens,
        None => Access::Open,
    };
    let self_signed = config.tls_self_signed;
    let hosts = config.allowed_hosts.clone();
    let url = match config.has_tls() {
        true => format!("https://{address}"),
        false => format!("http://{address}"),
    };
    let mut places = format!("media on {media}");
    let mut facts = Map::from_iter([
        ("version".to_owned(), Value::from(VERSION)),
        ("url".to_owned(), url.clone().into()),
        ("media".to_owned(), media.into()),
        ("access".to_owned(), access.as_str().into()),
    ]);
    if let Some(admin) = &admin {
        let address = admin.local_addr()?;
        let counters = format!("http://{address}/stats");
        if !is_private(address.ip()) {
            warn!(
                "whoever reaches {counters} reads the counters and the addresses of participants: bind --admin-listen to \
                 loopback or a private network"
            );
        }
        places += &format!(", counters on {counters}");
        facts.insert("counters".to_owned(), counters.into());
    }
    let counts = log.clone();
    let log_counts = move || LogCounts {
        lost: counts.lost(),
        left_out: rates.left_out(),
    };
    let node = Node::builder()
        .config(config)
        .log_counts(log_counts)
        .build()?;
    if let Some(certificate) = node.certificate() {
        let of_name = certificate.name_warning(&hosts);
        let fingerprint = certificate.fingerprint();
        facts.insert("certificate".to_owned(), fingerprint.into());
        match self_signed {
            true => info!(
                "self-signed certificate: browsers ask once whether it is meant; its SHA-256 fingerprint is {fingerprint}"
            ),
            false => info!(fingerprint, "certificate read"),
        }
        for warning in certificate.warning().into_iter().chain(of_name) {
            warn!("{warning}");
        }
    }
    if access == Access::Open {
        info!(
            "open: whoever reaches {url} may join any room; --keys makes a join need an access token"
        );
    }
    if access == Access::Tokens {
        places += ", a join needs an access token";
    }
    let sentence = format!("Tertulia {VERSION}: listening on {url} ({places})");
    output::started(format, &sentence, facts);
    // Neither ends but by a panic.
    let mut servers = JoinSet::new();
    let server = node.clone();
    servers.spawn(async move { server.serve(listener).await });
    if let Some(listener) = admin {
        let server = node.clone();
        servers.spawn(async move { server.serve_admin(listener).await });
    }
    let reloads = stop.reloads();
    let outcome = until_over(
        stop.wait(),
        node.media_ended(),
        &mut servers,
        reload.attend(&reloads, &node),
    )
    .await;
    stop.begin();
    node.shutdown().await;
    outcome
}

/// Returns when the server is to stop: it is `told` to, or has nothing left to serve with. It waits for all of these at
/// once, for a reload may hang for as long as a disk does.
async fn until_over(
    told: impl Future<Output = ()>,
    media_ended: impl Future<Output = ()>,
    servers: &mut JoinSet<Infallible>,
    reloads: impl Future<Output = Infallible>,
) -> Result<(), Box<dyn std::error::Error>> {
    tokio::select! {
        () = told => Ok(()),
        () = media_ended => Err("every media worker has failed".into()),
        Some(ended) = servers.join_next() => match ended? {},
        never = reloads => match never {},
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Connections that the kernel holds until they are accepted, as far as `net.core.somaxconn` allows. Of those beyond it the
/// first packet is dropped, and sent again a second later: by 128, which is usual, a storm of one client made all others wait.
const WAITING_CONNECTIONS: u32 = 4_096;

fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let bound = (|| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A server that starts again must not wait for the connections of the one before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING_CONNECTIONS)
    })();
    bound.map_err(|error: std::io::Error| {
        format!("cannot listen on {address}: {error} (choose another {flag})")
    })
}

/// Whether only this machine or a private network reaches an address: loopback, RFC 1918, RFC 4193, link-local.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    }
}

fn media_line(config: &Config) -> String {
    if !config.media_announce.is_empty() {
        let announced = config.media_announce.iter().map(ToString::to_string);
        return format!("UDP {}", announced.collect::<Vec<_>>().join(", "));
    }
    let workers = workers(config);
    let first = config.media_port;
    let last = usize::from(first) + workers - 1;
    let ports = match (first, workers) {
        (0, _) => "ports the kernel chooses".to_owned(),
        (_, 1) => format!("port {first}"),
        _ => format!("ports {first} to {last}"),
    };
    let addresses = match config.media_ip.as_slice() {
        [] if !config.media_interfaces.is_empty() || !config.media_networks.is_empty() => {
            let networks = config.media_networks.iter().map(ToString::to_string);
            let chosen = config.media_interfaces.iter().cloned().chain(networks);
            format!("this machine in {}", chosen.collect::<Vec<_>>().join(", "))
        }
        [] => "every address of this machine".to_owned(),
        ips => ips
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!("UDP {ports} of {addresses}")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reload_that_hangs_holds_up_neither_a_stop_nor_the_end_of_the_media() {
        let mut servers = JoinSet::new();
        servers.spawn(pending());
        let hangs = Notify::new();
        let reload = async || {
            hangs.notify_one();
            pending().await
        };
        let within = Duration::from_secs(20);
        let stopped = until_over(hangs.notified(), pending(), &mut servers, reload());
        let stopped = timeout(within, stopped).await.expect("in time");
        assert!(stopped.is_ok());
        let failed = until_over(pending(), hangs.notified(), &mut servers, reload());
        let failed = timeout(within, failed).await.expect("in time");
        assert!(failed.is_err());
    }

    #[test]
    fn the_admin_listener_is_private_on_loopback_and_in_private_networks() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("169.254.1.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("::ffff:10.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_private(parsed), private, "{address}");
        }
    }
}
