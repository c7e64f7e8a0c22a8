//! The one schema of settings. Flags win over the environment (`TERTULIA_*`), that over the TOML
//! file (`--config`), that over the defaults. `signaling/tertulia.toml` shows every key.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::access::{Keys, KeysError};
use crate::clients::Network;
use crate::tls::CertificateError;
use crate::{files, names};

mod addresses;
mod check;
mod command;
mod door;
mod environment;
mod flags;
mod ice_server;
mod log;
mod over_tcp;
mod reload;
mod tls;
mod turn;

pub use addresses::Host;
pub use command::{CHECK_TOKEN_VARIABLE, CheckUrl, Command, NewKey, NewToken, Source};
pub use door::KEYS_VARIABLE;
pub use environment::{blamed_variable, unknown_variables};
pub use flags::Flags;
pub use ice_server::{IceSecret, IceServer, TURN_SECRET_VARIABLE};
pub(crate) use ice_server::{TurnAddress, turn_server};
use over_tcp::OverTcp;

/// Bytes of a file of settings: far more than all of them take.
const FILE_BYTES: usize = 1 << 20;
/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Everything that can be set. An unknown key in the file is an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address for HTTP and WebSocket.
    pub listen: SocketAddr,
    /// Address for counters. Unauthenticated: bind it to loopback or a private network. None by default.
    pub admin_listen: Option<SocketAddr>,
    /// Addresses announced to clients for media, the preferred first; in the file also names, which have their addresses
    /// of the start. Empty: the addresses of this machine.
    #[serde(deserialize_with = "addresses::media_ip")]
    pub media_ip: Vec<IpAddr>,
    /// Network interfaces whose addresses are announced, where `media_ip` names none. Empty: every one.
    pub media_interfaces: Vec<String>,
    /// Networks of which this machine's addresses are announced, where `media_ip` names none. Empty: every one.
    pub media_networks: Vec<Network>,
    /// A STUN server, like `stun:stun.example.org:3478`, that is asked which addresses clients reach the workers by. None:
    /// nobody is asked.
    pub media_discover: Option<String>,
    /// Whether the media ports answer STUN requests without credentials, at most 100 a second for each worker.
    pub media_stun_answers: bool,
    /// Worker `i` receives media on UDP port `media_port + i`.
    pub media_port: u16,
    /// Whether media is taken over TCP too, on the address for HTTP (RFC 6544): for clients whose network lets no UDP
    /// through. [`load`](Self::load) turns it on where clients reach that address themselves and nothing says otherwise; a
    /// node whose router is mounted elsewhere has no such address.
    pub ice_tcp: bool,
    /// Whether the address for HTTP is a TURN server too (RFC 8656), by which participants reach the media workers and
    /// nothing else. [`load`](Self::load) turns it on as it does `ice_tcp`, and with `turn_address`.
    pub turn: bool,
    /// Host and port of the TURN server that participants are told. None: those by which each asked for the page. `turns:` before
    /// them says that a proxy in front ends TLS, `turn:` that there is no TLS.
    pub turn_address: Option<String>,
    /// Announced instead of the workers' own addresses, one for each worker: for a proxy in front.
    #[serde(deserialize_with = "addresses::media_announce")]
    pub media_announce: Vec<SocketAddr>,
    /// Participants, by display name, that are told other addresses, one for each worker: for an impairment proxy
    /// before a few of them. Names are not proven, so that this keeps nobody out.
    pub announce_for: Vec<AnnounceFor>,
    /// Media threads; 0 means one for each core.
    pub workers: usize,
    /// Participants of one room on one media worker from which on it spreads to a further one.
    pub room_peers_per_worker: usize,
    /// Memory that the process may hold, in MB; 0 means three quarters of the machine's memory for it.
    pub memory_mb: u64,
    /// The time that a busy media worker may hold packets back, in microseconds, so that more leave at a
    /// time.
    pub coalesce_us: u32,
    /// The cipher that seals SRTP.
    pub cipher: CipherSetting,
    /// Any viewer is sent this much at most, all media together, bits a second.
    pub max_viewer_bitrate: Option<u64>,
    /// The largest picture that any viewer is sent, in lines; the lowest layer is sent nevertheless.
    pub max_viewer_height: Option<u16>,
    /// Largest number of others whose cameras are sent to a viewer: the last speakers.
    pub last_n: Option<usize>,
    /// Largest number of microphones of a room that are forwarded: the loudest.
    pub loudest_n: Option<usize>,
    /// Tighter bounds for viewers in some rooms, by name.
    pub room_caps: RoomCaps,
    /// Serve the page from this folder instead of out of the binary.
    pub web_dir: Option<PathBuf>,
    /// The form of log lines.
    pub log: LogFormat,
    /// Filter of log lines, as of `RUST_LOG`. None: `info`, without the noise of others.
    pub log_filter: Option<String>,
    /// Origins of other sites whose pages may open a WebSocket, e.g. `https://app.example.org`.
    /// The server's own origin always may.
    pub allowed_origins: Vec<String>,
    /// Names that the server may be asked by, beside addresses and names without a dot. The admin listener takes no
    /// others; a WebSocket takes any while there are none here.
    pub allowed_hosts: Vec<String>,
    /// Whether `X-Forwarded-Host` replaces `Host` as the name that a page was asked for by: for a proxy that sets or
    /// removes it.
    pub trust_forwarded_host: bool,
    /// Proxies whose `X-Forwarded-For` says where a client is, for the limits of each address.
    pub trusted_proxies: Vec<Network>,
    /// Whether each connection of `trusted_proxies` begins with a header of the PROXY protocol, version 2, which says where its
    /// client is: for proxies of TCP.
    pub proxy_protocol: bool,
    /// A file with the keys of access tokens, a JSON Web Key Set. With keys, joins need a token.
    pub keys_file: Option<PathBuf>,
    /// The keys of access tokens; [`load`](Self::load) reads them from `keys_file` or `TERTULIA_KEYS`.
    #[serde(skip)]
    pub keys: Option<Keys>,
    /// Whether anybody may join any room, on an address that others reach.
    pub open: bool,
    /// A file with the certificate chain of the public listener, in PEM, the server's own certificate first. With it
    /// the listener speaks TLS alone.
    pub tls_cert: Option<PathBuf>,
    /// A file with the private key of `tls_cert`, in PEM and not encrypted.
    pub tls_key: Option<PathBuf>,
    /// Whether the public listener speaks TLS with a certificate made at the start, about which browsers ask.
    pub tls_self_signed: bool,
    /// Names that lead to this server. A certificate for them is ordered from an authority (ACME, RFC 8555), and renewed, by the
    /// public listener itself, whose port is 443 to the world. Who sets it agrees to the authority's terms.
    pub acme_domains: Vec<String>,
    /// The authority's directory.
    pub acme_directory: String,
    /// An address of mail by which the authority may write.
    pub acme_contact: Option<String>,
    /// The folder for the account and the certificate, with their keys.
    pub acme_cache: Option<PathBuf>,
    /// A file with the roots (PEM) of the authority's own HTTPS. None: those of browsers.
    pub acme_root: Option<PathBuf>,
    /// Told to clients in `welcome`, for those behind firewalls that need TURN.
    pub ice_servers: Vec<IceServer>,
    /// Bounds on the resources that clients may use.
    pub limits: Limits,
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The library that encrypts media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CipherSetting {
    /// The faster one on this machine.
    #[default]
    Auto,
    /// `ring`.
    Ring,
    /// `aws-lc-rs`, if it is built in.
    AwsLcRs,
}

/// Bounds for the viewers in a room, within those for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomCap {
    /// All media together that a viewer is sent, in bits a second.
    pub max_viewer_bitrate: Option<u64>,
    /// Height of the largest picture that a viewer is sent, in pixels; the lowest layer is sent nevertheless.
    pub max_viewer_height: Option<u16>,
}

/// Tighter bounds, by the room's name.
pub type RoomCaps = BTreeMap<String, RoomCap>;

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            media_ip: Vec::new(),
            media_interfaces: Vec::new(),
            media_networks: Vec::new(),
            media_discover: None,
            media_stun_answers: true,
            media_port: 10_000,
            ice_tcp: false,
            turn: false,
            turn_address: None,
            media_announce: Vec::new(),
            announce_for: Vec::new(),
            workers: 0,
            room_peers_per_worker: 50,
            memory_mb: 0,
            coalesce_us: 400,
            cipher: CipherSetting::Auto,
            max_viewer_bitrate: None,
            max_viewer_height: None,
            last_n: None,
            loudest_n: None,
            room_caps: RoomCaps::new(),
            web_dir: None,
            log: LogFormat::Text,
            log_filter: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trust_forwarded_host: false,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            keys_file: None,
            keys: None,
            open: false,
            tls_cert: None,
            tls_key: None,
            tls_self_signed: false,
            acme_domains: Vec::new(),
            acme_directory: LETS_ENCRYPT.into(),
            acme_contact: None,
            acme_cache: None,
            acme_root: None,
            ice_servers: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// `NAME=ADDRESS:PORT[,ADDRESS:PORT...]`: what participants of a name are told the media workers'
/// addresses are.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct AnnounceFor {
    /// The participants' name.
    pub name: String,
    /// Addresses, one for each worker.
    pub addresses: Vec<SocketAddr>,
}

impl FromStr for AnnounceFor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like NAME=192.0.2.1:9000");
        // No address has such a sign, but a name may.
        let (name, addresses) = text.rsplit_once('=').ok_or_else(wrong)?;
        let addresses = addresses.split(',').map(|addr| addr.trim().parse());
        let addresses: Result<Vec<_>, _> = addresses.collect();
        match (names::display_name(name), addresses) {
            (Err(_), _) | (_, Err(_)) => Err(wrong()),
            (Ok(name), Ok(addresses)) => Ok(Self { name, addresses }),
        }
    }
}

impl TryFrom<String> for AnnounceFor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Bounds on the resources that clients may use.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// WebSockets, joined or not.
    pub connections: usize,
    /// Connections that are no WebSockets: pages, their files, health checks. Beyond it the address that has
    /// most of them loses its oldest.
    pub http_connections: usize,
    /// Connections that carry media, by `ice_tcp` or `turn`.
    pub media_connections: usize,
    /// Such connections from one client's address, as of `connections_per_address`. 0: no limit.
    pub media_connections_per_address: usize,
    /// Rooms there may be.
    pub rooms: usize,
    /// Empty rooms, among these. Beyond it the room that has been empty for longest is closed.
    pub empty_rooms: usize,
    /// WebSockets from one client's address: an IPv4 address, or the /64 of an IPv6 address. 0: no limit.
    pub connections_per_address: usize,
    /// Rooms that one address has made; at its limit its own oldest empty room is closed first. 0: no limit.
    pub rooms_per_address: usize,
    /// Joins from one address, at once and each minute. 0: no limit.
    pub joins_per_minute_per_address: usize,
    /// Participants of a room.
    pub participants_per_room: usize,
    /// Participants of a room from which on changes of people are told together, several times a second. 0: in every
    /// room.
    pub large_room: usize,
    /// Participants of a room from which on those who come later are its audience, if their clients can be. 0: in every
    /// room.
    pub audience_from: usize,
    /// Tracks that a participant may publish.
    pub tracks_per_participant: usize,
    /// Media that one participant may send, all tracks together, in bits a second; more is dropped. 0: no limit.
    pub publisher_bitrate: u64,
    /// The longest frame a client may send. The longest legitimate one is an offer: 256 m-lines
    /// with every codec of a browser take about 4 KiB each.
    pub message_bytes: usize,
    /// The longest chat text, in characters.
    pub chat_chars: usize,
    /// Chat messages kept for late joiners.
    pub chat_history: usize,
    /// Messages a client may send each second in the long run, and at once.
    pub messages_per_second: u32,
    /// Messages at once.
    pub message_burst: u32,
    /// Messages waiting for one participant. One who falls further behind is disconnected. A full
    /// room of 1000 that joins at once makes about this many. What a later one makes needless does not wait.
    pub outgoing_queue: usize,
    /// The time that a connection may take to send a request, and a WebSocket to join.
    pub join_timeout_ms: u64,
    /// The longest time for which a connection may read nothing that is sent to it.
    pub write_timeout_ms: u64,
    /// The time that a participant's media may take to connect once its offer is answered.
    pub connect_timeout_ms: u64,
    /// The interval of WebSocket pings.
    pub ping_interval_ms: u64,
    /// A client from whom nothing came for this long is gone. Our own client gives a silent server up
    /// within 10 s and joins anew: until this has passed, the others see that person twice.
    pub silence_ms: u64,
    /// The time for which a participant whose client asks for a session stays without a connection. 0: none has a session.
    pub reconnect_grace_ms: u64,
    /// The time that an empty room keeps its chat, so that a lone participant's reload finds it.
    pub empty_room_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            http_connections: 256,
            media_connections: 2_048,
            media_connections_per_address: 512,
            rooms: 10_000,
            empty_rooms: 1_000,
            connections_per_address: 2_000,
            rooms_per_address: 1_000,
            joins_per_minute_per_address: 6_000,
            participants_per_room: 1_000,
            large_room: 100,
            audience_from: 300,
            tracks_per_participant: 8,
            publisher_bitrate: 40_000_000,
            message_bytes: 1024 * 1024,
            chat_chars: 2_000,
            chat_history: 200,
            messages_per_second: 50,
            message_burst: 100,
            outgoing_queue: 2_048,
            join_timeout_ms: 10_000,
            write_timeout_ms: 10_000,
            connect_timeout_ms: 30_000,
            ping_interval_ms: 5_000,
            silence_ms: 15_000,
            reconnect_grace_ms: 30_000,
            empty_room_ms: 60_000,
        }
    }
}

impl Limits {
    pub(crate) fn join_timeout(&self) -> Duration {
        Duration::from_millis(self.join_timeout_ms)
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    pub(crate) fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }

    pub(crate) fn reconnect_grace(&self) -> Duration {
        Duration::from_millis(self.reconnect_grace_ms)
    }

    pub(crate) fn empty_room(&self) -> Duration {
        Duration::from_millis(self.empty_room_ms)
    }
}

/// The operator's to fix.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The settings file is no TOML, or has what is no setting.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: toml::de::Error,
    },
    /// The keys of access tokens cannot be used.
    #[error("{from}: {source}")]
    Keys {
        /// The setting that they are from.
        from: &'static str,
        /// The cause.
        source: KeysError,
    },
    /// The certificate of the public listener cannot be used.
    #[error("{from}: {source}")]
    Certificate {
        /// The settings that it is from.
        from: &'static str,
        /// The cause.
        source: CertificateError,
    },
    /// A setting that cannot be meant. The sentence names it.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Reads the file that the flags name and lays the flags (and the environment, which clap has
    /// put into them) over it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the file, or a value in it, is unusable.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let (mut config, over_tcp) = match &flags.config {
            Some(path) => Self::read(path)?,
            None => Default::default(),
        };
        set(&mut config.listen, flags.listen);
        set(&mut config.media_port, flags.media_port);
        config.turn_address = flags.turn_address.or(config.turn_address);
        set(&mut config.workers, flags.workers);
        set(
            &mut config.room_peers_per_worker,
            flags.room_peers_per_worker,
        );
        set(&mut config.memory_mb, flags.memory_mb);
        set(&mut config.coalesce_us, flags.coalesce_us);
        set(&mut config.cipher, flags.cipher);
        set(&mut config.log, flags.log);
        set(
            &mut config.limits.reconnect_grace_ms,
            flags
                .reconnect_grace
                .map(|seconds| seconds.saturating_mul(1_000)),
        );
        set(&mut config.trust_forwarded_host, flags.trust_forwarded_host);
        if !flags.allowed_origins.is_empty() {
            config.allowed_origins = flags.allowed_origins;
        }
        if !flags.allowed_hosts.is_empty() {
            config.allowed_hosts = flags.allowed_hosts;
        }
        if !flags.trusted_proxies.is_empty() {
            config.trusted_proxies = flags.trusted_proxies;
        }
        set(&mut config.proxy_protocol, flags.proxy_protocol);
        if !flags.media_ip.is_empty() {
            config.media_ip = Host::addresses(&flags.media_ip);
        }
        if !flags.media_interfaces.is_empty() {
            config.media_interfaces = flags.media_interfaces;
        }
        if !flags.media_networks.is_empty() {
            config.media_networks = flags.media_networks;
        }
        if !flags.announce_for.is_empty() {
            config.announce_for = flags.announce_for;
        }
        if flags.admin_listen.is_some() {
            config.admin_listen = flags.admin_listen;
        }
        config.media_discover = flags.media_discover.or(config.media_discover);
        set(&mut config.media_stun_answers, flags.media_stun_answers);
        config.web_dir = flags.web_dir.or(config.web_dir);
        config.max_viewer_bitrate = flags.max_viewer_bitrate.or(config.max_viewer_bitrate);
        config.max_viewer_height = flags.max_viewer_height.or(config.max_viewer_height);
        config.last_n = flags.last_n.or(config.last_n);
        config.loudest_n = flags.loudest_n.or(config.loudest_n);
        config.keys_file = flags.keys.or(config.keys_file);
        set(&mut config.open, flags.open);
        config.tls_cert = flags.tls_cert.or(config.tls_cert);
        config.tls_key = flags.tls_key.or(config.tls_key);
        set(&mut config.tls_self_signed, flags.tls_self_signed);
        if !flags.acme_domains.is_empty() {
            config.acme_domains = flags.acme_domains;
        }
        set(&mut config.acme_directory, flags.acme_directory);
        config.acme_contact = flags.acme_contact.or(config.acme_contact);
        config.acme_cache = flags.acme_cache.or(config.acme_cache);
        config.acme_root = flags.acme_root.or(config.acme_root);
        let filter = flags.log_filter.or_else(log::shared_filter);
        config.log_filter = filter.or(config.log_filter);
        config.keys = door::keys(config.keys_file.as_deref(), std::env::var_os(KEYS_VARIABLE))?;
        ice_server::complete(
            &mut config.ice_servers,
            std::env::var_os(TURN_SECRET_VARIABLE).as_ref(),
        )?;
        let flags = OverTcp {
            ice_tcp: flags.ice_tcp,
            turn: flags.turn,
        };
        flags.or(over_tcp).apply(&mut config);
        config.check()?;
        Ok(config)
    }

    /// Reads a file, and which ways over TCP it sets.
    fn read(path: &Path) -> Result<(Self, OverTcp), ConfigError> {
        let text = files::read_text(path, FILE_BYTES).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let config = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.into(),
            source: without_secrets(source, &text),
        })?;
        Ok((config, OverTcp::read(&text)))
    }

    /// The addresses that clients are told for ICE-TCP: those of the listener for HTTP. `own` are the machine's.
    pub(crate) fn tcp_candidates(&self, own: impl FnOnce() -> Vec<IpAddr>) -> Vec<SocketAddr> {
        let (ip, port) = (self.listen.ip(), self.listen.port());
        let ips = match self.ice_tcp {
            false => return Vec::new(),
            // Those at which clients reach the machine, as a NAT in front maps them.
            true if !self.media_ip.is_empty() => self.media_ip.clone(),
            true if ip.is_unspecified() => own(),
            true => vec![ip],
        };
        let takes = |of: &IpAddr| ip.is_ipv6() || of.is_ipv4();
        let ips = ips.into_iter().filter(takes);
        ips.map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// Checks that each of `announce_for` has an address for each of so many workers.
    pub(crate) fn check_announce_for(&self, workers: usize) -> Result<(), ConfigError> {
        let mut all = self.announce_for.iter();
        match all.find(|each| each.addresses.len() != workers) {
            None => Ok(()),
            Some(AnnounceFor { name, addresses }) => Err(ConfigError::Value(format!(
                "announce_for: {name} needs one address for each of {workers} media threads and has {}; or set workers to that",
                addresses.len()
            ))),
        }
    }
}

/// An error shows the line that it is about. One of `ice_servers` may have a secret, and is told by its key alone.
fn without_secrets(mut error: toml::de::Error, text: &str) -> toml::de::Error {
    let before = error.span().and_then(|span| text.get(..span.end));
    if before.is_none_or(|before| before.contains("ice_servers")) {
        error.set_input(None);
    }
    error
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        Flags::try_parse_from([&["tertulia"], arguments].concat()).expect("flags")
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let path = std::env::temp_dir().join(format!("tertulia-{}.toml", std::process::id()));
        let text = "listen = \"0.0.0.0:9000\"\nworkers = 3\n[limits]\nrooms = 5\n";
        std::fs::write(&path, text).expect("write");
        let name = path.to_str().expect("name");
        let config = Config::load(flags(&["--config", name, "--workers", "1"])).expect("config");
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 9000)));
        assert_eq!((config.workers, config.limits.rooms), (1, 5));
        assert_eq!(config.media_port, 10_000);
    }

    #[test]
    fn the_documented_file_holds_every_key_and_the_defaults() {
        let text = include_str!("../tertulia.toml");
        let config: Config = toml::from_str(text).expect("parses");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
        let keys = format!("{config:#?}");
        let keys = keys.lines().filter_map(|line| line.trim().split_once(':'));
        for (key, _) in keys {
            assert!(text.contains(key), "{key} is not documented");
        }
    }

    #[test]
    fn bounds_of_what_viewers_are_sent() {
        let text = "max_viewer_height = 720\nlast_n = 9\n[room_caps.hall]\nmax_viewer_bitrate = 5";
        let config: Config = toml::from_str(text).expect("parses");
        assert_eq!(
            (config.max_viewer_height, config.last_n),
            (Some(720), Some(9))
        );
        assert_eq!(config.room_caps["hall"].max_viewer_bitrate, Some(5));
        let arguments = "--max-viewer-bitrate 2500000 --last-n 0 --loudest-n 3".split(' ');
        let config = Config::load(flags(&arguments.collect::<Vec<_>>())).expect("config");
        let caps = (config.max_viewer_bitrate, config.last_n, config.loudest_n);
        assert_eq!(caps, (Some(2_500_000), Some(0), Some(3)));
    }

    #[test]
    fn origins_by_flag() {
        let given = ["--allowed-origin", "https://a.example,https://b.example"];
        let config = Config::load(flags(&given)).expect("config");
        assert_eq!(config.allowed_origins.len(), 2);
        assert!(!config.trust_forwarded_host);
        for (flag, trusted) in [
            ("--trust-forwarded-host", true),
            ("--trust-forwarded-host=false", false),
        ] {
            let config = Config::load(flags(&[flag])).expect("config");
            assert_eq!(config.trust_forwarded_host, trusted);
        }
        assert!(Config::load(flags(&["--allowed-origin", "a.example"])).is_err());
    }

    #[test]
    fn proxies_by_flag_and_by_file() {
        let given = ["--trusted-proxy", "10.0.0.7,192.168.0.0/16"];
        let config = Config::load(flags(&given)).expect("config");
        assert_eq!(config.trusted_proxies.len(), 2);
        let config: Config = toml::from_str("trusted_proxies = [\"::1\"]").expect("parses");
        assert_eq!(config.trusted_proxies.len(), 1);
        assert!(toml::from_str::<Config>("trusted_proxies = [\"proxy\"]").is_err());
        assert!(Flags::try_parse_from(["tertulia", "--trusted-proxy", "10.0.0.0/40"]).is_err());
    }

    #[test]
    fn media_ips_repeat() {
        let flags = flags(&["--media-ip", "192.0.2.1", "--media-ip", "2001:db8::1"]);
        assert_eq!(Config::load(flags).expect("config").media_ip.len(), 2);
    }

    #[test]
    fn some_are_told_other_addresses() {
        let given = flags(&[
            "--announce-for",
            "Ada L.=192.0.2.1:9000,[2001:db8::1]:9001",
            "--announce-for",
            "a=b=192.0.2.1:9002",
        ]);
        let config = Config::load(given).expect("config");
        let names: Vec<_> = config
            .announce_for
            .iter()
            .map(|a| a.name.as_str())
            .collect();
        assert_eq!(names, ["Ada L.", "a=b"]);
        assert_eq!(config.announce_for[0].addresses.len(), 2);
        assert!(config.check_announce_for(2).is_err(), "b has one address");
        let text = "announce_for = [\"Ada=192.0.2.1:9000\"]";
        let config: Config = toml::from_str(text).expect("parses");
        assert_eq!(config.announce_for[0].name, "Ada");
        assert!(config.check_announce_for(1).is_ok());
        for wrong in [
            "Ada",
            "=192.0.2.1:1",
            "Ada=",
            "Ada=192.0.2.1",
            "Ada=1.2.3.4:5,x",
        ] {
            assert!(wrong.parse::<AnnounceFor>().is_err(), "{wrong}");
            let text = format!("announce_for = [\"{wrong}\"]");
            assert!(toml::from_str::<Config>(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_error_and_no_debug_form_shows_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tertulia.toml");
        let server = "[[ice_servers]]\nurls = [\"turn:turn.example.org\"]\n";
        let said = |line: &str| {
            std::fs::write(&path, format!("{server}{line}\n")).expect("written");
            Config::read(&path)
        };
        for wrong in [
            "sceret = \"hush-hush\"",
            "secret = [\"hush-hush\"]",
            "secret = \"hush-hush\" \"",
            "secret = \"hush-hush",
            "secret = \"a\"\nsecret = \"hush-hush\"",
        ] {
            let error = said(wrong).expect_err(wrong).to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        let misspelt = said("sceret = \"a\"").expect_err("no setting").to_string();
        assert!(misspelt.contains("`sceret`"), "{misspelt}");
        let good = said("secret = \"hush-hush\"").expect("good");
        assert_eq!(good.0.ice_servers[0].secret, Some("hush-hush".into()));
        assert!(!format!("{good:?}").contains("hush"));
    }

    #[test]
    fn unusable_settings_are_refused() {
        let unknown = toml::from_str::<Config>("listne = \"0.0.0.0:1\"").expect_err("unknown key");
        assert!(unknown.to_string().contains("listne"), "{unknown}");
        assert!(toml::from_str::<Config>("[limits]\nroms = 1").is_err());
        for text in [
            "[limits]\nrooms = 0",
            "[limits]\nmessage_bytes = 10",
            "[limits]\nsilence_ms = 5",
            "[limits]\ntracks_per_participant = 0",
            "[limits]\nconnections = 4611686018427387904",
            "[limits]\noutgoing_queue = 4611686018427387904",
            "[limits]\nempty_room_ms = 9223372036854775807",
            "[limits]\njoin_timeout_ms = 9223372036854775807",
            "coalesce_us = 4000000000",
            "web_dir = \"/nowhere\"",
            "allowed_hosts = [\"https://call.example.org\"]",
            "allowed_origins = [\"example.org\"]",
            "max_viewer_bitrate = 0",
            "[room_caps.hall]\nmax_viewer_height = 0",
            "[room_caps.\"a b\"]\nmax_viewer_height = 1",
            "[room_caps.\"cafe\u{301}\"]\nmax_viewer_height = 1",
            "[[ice_servers]]\nurls = [\"http://stun.example.org\"]",
            "[[ice_servers]]\nurls = [\"turn:turn.example.org\"]",
        ] {
            let config: Config = toml::from_str(text).expect("parses");
            assert!(config.check().is_err(), "{text}");
        }
    }
}
