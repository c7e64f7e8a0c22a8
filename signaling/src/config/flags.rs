//! Settings on the command line and in the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use serde::Deserialize;

use super::command::Command;
use super::{AnnounceFor, CipherSetting, Host, LogFormat};
use crate::clients::Network;

/// A WebRTC relay for group calls: rooms, signaling and the page, in one process.
#[derive(Clone, Debug, Parser)]
#[command(name = "tertulia", version)]
pub struct Flags {
    /// Settings file (TOML)
    #[arg(long, env = "TERTULIA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address for HTTP and WebSocket [default: 127.0.0.1:8080]
    #[arg(long, env = "TERTULIA_LISTEN", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// Address for counters, open to whoever reaches it: loopback or a private network [default: none]
    #[arg(long, env = "TERTULIA_ADMIN_LISTEN", value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub admin_listen: Option<SocketAddr>,
    /// Address announced for media, or a name with all of its addresses; repeatable [default: the addresses of this
    /// machine]
    #[arg(
        long,
        env = "TERTULIA_MEDIA_IP",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub media_ip: Vec<Host>,
    /// Network interface whose addresses are announced where no --media-ip is given; repeatable [default: every one]
    #[arg(
        long = "media-interface",
        env = "TERTULIA_MEDIA_INTERFACES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub media_interfaces: Vec<String>,
    /// Network of which this machine's addresses are announced where no --media-ip is given; repeatable [default: every
    /// one]
    #[arg(
        long = "media-network",
        env = "TERTULIA_MEDIA_NETWORKS",
        value_name = "IP[/BITS]",
        value_delimiter = ','
    )]
    pub media_networks: Vec<Network>,
    /// STUN server that is asked, from the media ports, which addresses clients reach them by (`stun:HOST:PORT`)
    /// [default: none]
    #[arg(long, env = "TERTULIA_MEDIA_DISCOVER", value_name = "URL")]
    pub media_discover: Option<String>,
    /// Tell strangers who ask the media ports by STUN which address they have [default: true]
    #[arg(
        long,
        env = "TERTULIA_MEDIA_STUN_ANSWERS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub media_stun_answers: Option<bool>,
    /// UDP port of the first media worker [default: 10000]
    #[arg(long, env = "TERTULIA_MEDIA_PORT", value_name = "PORT")]
    pub media_port: Option<u16>,
    /// Take media over TCP too, on the address for HTTP, from those whose network lets no UDP through [default: where
    /// clients reach that address themselves]
    #[arg(
        long,
        env = "TERTULIA_ICE_TCP",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub ice_tcp: Option<bool>,
    /// Be a TURN server too, on the address for HTTP, by which participants reach the media and nothing else
    /// [default: where clients reach that address themselves]
    #[arg(
        long,
        env = "TERTULIA_TURN",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub turn: Option<bool>,
    /// Host and port that participants are told for --turn, with `turns:` before them if a proxy in front ends TLS [default: those
    /// of the page]
    #[arg(long, env = "TERTULIA_TURN_ADDRESS", value_name = "HOST:PORT")]
    pub turn_address: Option<String>,
    /// Media addresses, one for each media thread, told to participants of a display name instead of
    /// the real ones (`NAME=ADDRESS:PORT[,...]`): for an impairment proxy; repeatable
    #[arg(
        long,
        env = "TERTULIA_ANNOUNCE_FOR",
        value_name = "NAME=ADDRESS:PORT",
        value_delimiter = ';'
    )]
    pub announce_for: Vec<AnnounceFor>,
    /// Media threads, 0 for one for each core [default: 0]
    #[arg(long, env = "TERTULIA_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Participants of a room from which on it spreads to a further media thread [default: 50]
    #[arg(long, env = "TERTULIA_ROOM_PEERS_PER_WORKER", value_name = "N")]
    pub room_peers_per_worker: Option<usize>,
    /// MB of memory that the server may hold, 0 for three quarters of what there is [default: 0]
    #[arg(long, env = "TERTULIA_MEMORY_MB", value_name = "MB")]
    pub memory_mb: Option<u64>,
    /// Microseconds a busy media thread may hold packets back, 0 for never [default: 400]
    #[arg(long, env = "TERTULIA_COALESCE_US", value_name = "N")]
    pub coalesce_us: Option<u32>,
    /// Library that seals media [default: auto, the faster one on this machine]
    #[arg(long, env = "TERTULIA_CIPHER", value_enum)]
    pub cipher: Option<CipherSetting>,
    /// Bits a second that any viewer is sent at most [default: no bound]
    #[arg(long, env = "TERTULIA_MAX_VIEWER_BITRATE", value_name = "BITS")]
    pub max_viewer_bitrate: Option<u64>,
    /// Lines of the largest picture that any viewer is sent [default: no bound]
    #[arg(long, env = "TERTULIA_MAX_VIEWER_HEIGHT", value_name = "LINES")]
    pub max_viewer_height: Option<u16>,
    /// Others whose cameras a viewer is sent at most, of those who spoke last [default: no bound]
    #[arg(long, env = "TERTULIA_LAST_N", value_name = "N")]
    pub last_n: Option<usize>,
    /// Microphones of a room that are forwarded at most, the loudest [default: no bound]
    #[arg(long, env = "TERTULIA_LOUDEST_N", value_name = "N")]
    pub loudest_n: Option<usize>,
    /// Serve the page from this folder
    #[arg(long, env = "TERTULIA_WEB_DIR", value_name = "DIR")]
    pub web_dir: Option<PathBuf>,
    /// Origin of another site whose pages may hold calls here, e.g. `https://app.example.org`; repeatable
    #[arg(
        long = "allowed-origin",
        env = "TERTULIA_ALLOWED_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<String>,
    /// Name that the server may be asked by, beside addresses and names without a dot; repeatable [default: for
    /// WebSockets any, for counters none]
    #[arg(
        long = "allowed-host",
        env = "TERTULIA_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<String>,
    /// Take X-Forwarded-Host for Host: for a proxy that sets or removes it [default: false]
    #[arg(
        long,
        env = "TERTULIA_TRUST_FORWARDED_HOST",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub trust_forwarded_host: Option<bool>,
    /// Proxy, or network of proxies, whose X-Forwarded-For says where a client is; repeatable
    #[arg(
        long = "trusted-proxy",
        env = "TERTULIA_TRUSTED_PROXIES",
        value_name = "IP[/BITS]",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,
    /// Each connection of --trusted-proxy begins with a header of the PROXY protocol, version 2: for proxies of TCP
    /// [default: false]
    #[arg(
        long,
        env = "TERTULIA_PROXY_PROTOCOL",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub proxy_protocol: Option<bool>,
    /// File with the keys of access tokens, a JSON Web Key Set: joins need a token then [default: the set in
    /// TERTULIA_KEYS, if there is one]
    #[arg(long, env = "TERTULIA_KEYS_FILE", value_name = "FILE", global = true)]
    pub keys: Option<PathBuf>,
    /// Let anybody join any room, though others reach the address [default: false]
    #[arg(
        long,
        env = "TERTULIA_OPEN",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub open: Option<bool>,
    /// File with the certificate chain (PEM) of the public listener, which then speaks TLS alone: HTTPS and wss
    #[arg(long, env = "TERTULIA_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key (PEM, not encrypted) of --tls-cert
    #[arg(long, env = "TERTULIA_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate made at the start, about which browsers ask once: for a local network
    /// [default: false]
    #[arg(
        long,
        env = "TERTULIA_TLS_SELF_SIGNED",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub tls_self_signed: Option<bool>,
    /// Name of this server, for which a certificate is ordered by ACME and renewed: port 443 of the name must lead to --listen.
    /// You agree to the authority's terms; repeatable
    #[arg(
        long = "acme-domain",
        env = "TERTULIA_ACME_DOMAINS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub acme_domains: Vec<String>,
    /// Directory of the authority [default: that of Let's Encrypt]
    #[arg(long, env = "TERTULIA_ACME_DIRECTORY", value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Mail address by which the authority may write [default: none]
    #[arg(long, env = "TERTULIA_ACME_CONTACT", value_name = "ADDRESS")]
    pub acme_contact: Option<String>,
    /// Folder in which account and certificate of ACME are kept
    #[arg(long, env = "TERTULIA_ACME_CACHE", value_name = "DIR")]
    pub acme_cache: Option<PathBuf>,
    /// File with the roots (PEM) of the authority's own HTTPS [default: those of browsers]
    #[arg(long, env = "TERTULIA_ACME_ROOT", value_name = "FILE")]
    pub acme_root: Option<PathBuf>,
    /// Seconds for which a participant stays after its connection is lost, 0 for none [default: 30]
    #[arg(long, env = "TERTULIA_RECONNECT_GRACE", value_name = "SECONDS")]
    pub reconnect_grace: Option<u64>,
    /// Log format [default: text]
    #[arg(long, env = "TERTULIA_LOG", value_enum)]
    pub log: Option<LogFormat>,
    /// Filter of log lines, such as info,tertulia_signaling=debug [default: that of RUST_LOG, or info]
    #[arg(long, env = "TERTULIA_LOG_FILTER", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Check settings, keys and certificate, say what is wrong or that nothing is, and end
    #[arg(long)]
    pub check: bool,
    /// Something else to do than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Flags {
    /// The format of the log, as far as it is known before the settings are read, whose errors are logged in it.
    pub fn log_format(&self) -> LogFormat {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Log {
            log: LogFormat,
        }
        let of_file = || {
            let text = std::fs::read_to_string(self.config.as_ref()?).ok()?;
            toml::from_str(&text).ok()
        };
        let Log { log } = of_file().unwrap_or_default();
        self.log.unwrap_or(log)
    }
}

/// Parses the address of a listener: an IP address and a port.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let example = match text.rsplit_once(':') {
        // A name may have several addresses, and a listener has one.
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
        _ => "127.0.0.1:8080 or [::1]:8080".to_owned(),
    };
    let address = text.parse();
    address.map_err(|_| format!("not an IP address with a port, such as {example}"))
}
