//! The composition root: one server from its parts.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tertulia_sfu::{Cap, Cipher, Sfu, SfuConfig};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::access::{Access, Keys};
use crate::config::{CipherSetting, Config, ConfigError, IceServer};
use crate::discovery;
use crate::hooks::{Authority, Hooks};
use crate::http::{
    self, Assets, Bounds, Front, Hosts, IceTcp, Origins, OverTcp, ProxyProtocol, RequestsRefused,
    Seats, Stats, Tls, TurnFront,
};
use crate::live::Live;
use crate::media::{Media, StartError};
use crate::memory::{Memory, Plan};
use crate::protocol::native::{Native, TurnOffer};
use crate::room::{self, Counts, Events, RoomSettings, Rooms};
use crate::tls::Certificate;
use crate::turn::{Peers, Turn, Users};

/// A running server. Cheap to clone. Its HTTP side is a [`Router`] to serve or to mount.
#[derive(Clone)]
pub struct Node {
    config: Arc<Config>,
    media: Arc<dyn Media>,
    rooms: Rooms,
    memory: Memory,
    native: Arc<Native>,
    /// The protocols of the public listener.
    front: Front,
    live: LiveSettings,
    refused: RequestsRefused,
    started: Instant,
    log: Arc<dyn Fn() -> LogCounts + Send + Sync>,
}

/// The settings that [`Node::reload`] replaces, beside the certificate.
#[derive(Clone)]
struct LiveSettings {
    /// None: keys do not decide.
    keys: Option<Live<Keys>>,
    allowed_origins: Live<Arc<[String]>>,
    ice_servers: Live<Arc<[IceServer]>>,
}

impl LiveSettings {
    fn new(config: &Config) -> Self {
        Self {
            keys: config.keys.clone().map(Live::new),
            allowed_origins: Live::new(config.allowed_origins.as_slice().into()),
            ice_servers: Live::new(config.ice_servers.as_slice().into()),
        }
    }

    fn set(&self, config: &Config) {
        if let (Some(running), Some(keys)) = (&self.keys, &config.keys) {
            running.set(keys.clone());
        }
        self.allowed_origins
            .set(config.allowed_origins.as_slice().into());
        self.ice_servers.set(config.ice_servers.as_slice().into());
    }
}

/// Log lines that are missing, for `/stats`. The code that sets up the log counts them; otherwise all are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogCounts {
    /// Lines lost: they came faster than they were read, or could not be written.
    pub lost: u64,
    /// Lines left out, since their cause, or one peer by it, had made too many.
    pub left_out: u64,
}

/// The reason that a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A setting that cannot be meant, or that the machine forbids.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The media workers do not start: a port in use, no address.
    #[error(transparent)]
    Media(#[from] StartError),
}

/// Connections to the admin listener: people, scrapers and health checks.
const OPERATORS: usize = 32;
/// Time for clients to be told and rooms to close; those that do not are abandoned.
const ROOMS_TIME: Duration = Duration::from_millis(2_500);
const MEDIA_TIME: Duration = Duration::from_millis(1_000);

/// The parts of a [`Node`] before it runs.
///
/// ```no_run
/// # struct Members;
/// # impl tertulia_signaling::hooks::Hooks for Members {}
/// # fn example() -> Result<(), tertulia_signaling::NodeError> {
/// use tertulia_signaling::{Config, Node};
///
/// let node = Node::builder()
///     .config(Config::default())
///     .hooks(Members)
///     .build()?;
/// # drop(node);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs before it is built"]
pub struct NodeBuilder {
    config: Config,
    media: Option<Arc<dyn Media>>,
    log: Arc<dyn Fn() -> LogCounts + Send + Sync>,
    authority: Authority,
    hear_data: bool,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            media: None,
            log: Arc::new(LogCounts::default),
            authority: Authority::default(),
            hear_data: false,
        }
    }
}

impl NodeBuilder {
    /// Sets every setting. The default is [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets who decides about joins. By default access tokens do if the settings have keys, and else everybody is
    /// admitted. Hooks and keys together are an error: a hook has [`JoinRequest::token`](crate::hooks::JoinRequest) and may
    /// verify it by [`Keys::admit`](crate::access::Keys::admit).
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.authority.hooks = Some(Arc::new(hooks));
        self
    }

    /// Sets the time for [`Hooks::authorize`]: 5 s by default. A page gives up after 15 s.
    pub fn authorize_timeout(mut self, timeout: Duration) -> Self {
        self.authority.timeout = timeout;
        self
    }

    /// Sets whether data channel messages of participants are told in [`Node::events`]: not by default, as each costs
    /// the rooms some work.
    pub fn hear_data(mut self, hear_data: bool) -> Self {
        self.hear_data = hear_data;
        self
    }

    /// Sets another media plane than a [`Sfu`] by the settings.
    pub fn media(mut self, media: Arc<dyn Media>) -> Self {
        self.media = Some(media);
        self
    }

    /// Sets the counts of log lines that are told in `/stats`.
    pub fn log_counts(mut self, counts: impl Fn() -> LogCounts + Send + Sync + 'static) -> Self {
        self.log = Arc::new(counts);
        self
    }

    /// Starts the media workers and the rooms. Must run within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: a setting or the machine forbids it.
    pub fn build(self) -> Result<Node, NodeError> {
        let Self {
            config,
            media,
            log,
            authority,
            hear_data,
        } = self;
        config.check()?;
        if authority.hooks.is_some() && config.keys.is_some() {
            return Err(NodeError::Config(ConfigError::Value(
                "keys: hooks decide about joins, so that keys would do nothing; verify tokens in the hook by Keys::admit"
                    .into(),
            )));
        }
        let ordered = config.acme()?.map(Tls::ordering);
        let tls = match ordered {
            Some(tls) => Some(tls),
            None => config.certificate()?.map(Tls::new),
        };
        let live = LiveSettings::new(&config);
        let authority = Authority {
            keys: live.keys.clone(),
            ..authority
        };
        let plan = Plan::new(config.memory_mb)?;
        let media: Arc<dyn Media> = match media {
            Some(media) => media,
            None => {
                let sfu = Sfu::start(sfu_config(&config, &plan)?)?;
                config.check_announce_for(sfu.candidates().len())?;
                // All workers have the same, but for their ports.
                let announced = sfu.candidates().first().into_iter().flatten();
                let announced: Vec<IpAddr> = announced.map(SocketAddr::ip).collect();
                let own = tertulia_sfu::interface_addresses();
                for sentence in config.address_warnings(&announced, &own) {
                    warn!("{sentence}");
                }
                Arc::new(sfu)
            }
        };
        match config.discovery()? {
            Some(_) if !config.media_ip.is_empty() || !config.media_announce.is_empty() => {
                warn!(
                    "media_discover: media_ip or media_announce names the addresses, so nobody is asked"
                );
            }
            Some(server) => {
                tokio::spawn(discovery::discover(media.clone(), server));
            }
            None => {}
        }
        let users = config.turn.then(Users::default);
        let limits = &config.limits;
        let seats = Seats::new(
            limits.media_connections,
            limits.media_connections_per_address,
        );
        let over_tcp = OverTcp {
            ice_tcp: config
                .ice_tcp
                .then(|| IceTcp::new(media.clone(), seats.clone())),
            turn: users.clone().map(|users| {
                let named = config.announce_for.iter().flat_map(|it| &it.addresses);
                let peers = Peers::new(media.addresses().iter().chain(named).copied());
                let turn = Turn::new(Instant::now(), users, peers);
                TurnFront::new(media.clone(), turn, seats)
            }),
        };
        let turn_offer = users.clone().map(|users| TurnOffer::new(users, &config));
        let front = Front {
            tls,
            over_tcp,
            proxy_protocol: config
                .proxy_protocol
                .then(|| ProxyProtocol::new(config.trusted_proxies.clone())),
        };
        let memory = Memory::new(plan);
        memory.watch();
        let rooms = Rooms::start_with(
            media.clone(),
            RoomSettings {
                limits: config.limits.clone(),
                caps: config.room_caps.clone(),
                announce_for: config.announce_for.clone(),
                memory: memory.clone(),
                authority,
                hear_data,
            },
            users,
        );
        let native = Native::new(
            rooms.clone(),
            config.limits.clone(),
            live.ice_servers.clone(),
            turn_offer,
            config.trusted_proxies.clone(),
        );
        Ok(Node {
            config: Arc::new(config),
            media,
            rooms,
            memory,
            native: Arc::new(native),
            front,
            live,
            refused: RequestsRefused::default(),
            started: Instant::now(),
            log,
        })
    }
}

impl Node {
    /// Starts a node with these settings and nothing else.
    ///
    /// # Errors
    ///
    /// As of [`NodeBuilder::build`].
    pub fn start(config: Config) -> Result<Self, NodeError> {
        Self::builder().config(config).build()
    }

    /// A node with hooks, or with parts of the embedder's own.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// The rooms: list them, look into one, put somebody out, tell something, close one.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The events of all rooms from now on: who comes and goes, publishes and writes.
    pub fn events(&self) -> Events {
        self.rooms.events()
    }

    /// Serves `GET /` (the page), `/v1/ws` and `/v1/http/...` (the native protocol) and `/healthz`. Every address in the page is relative,
    /// so that the router works wherever it is nested: by `nest` the page is at the prefix, by `nest_service` also at
    /// the prefix with a slash. The limits for each client's address need the server to tell that address:
    /// [`serve`](Self::serve) and [`serve_app`](Self::serve_app) do, `axum::serve` by
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn router(&self) -> Router {
        self.router_for(!self.config.allowed_hosts.is_empty())
    }

    fn router_for(&self, checks_hosts: bool) -> Router {
        http::router(
            self.native.clone(),
            self.rooms.clone(),
            Origins::new(
                self.live.allowed_origins.clone(),
                self.config.trust_forwarded_host,
                self.refused.clone(),
            ),
            checks_hosts.then(|| self.hosts()),
            Assets::new(self.config.web_dir.clone()),
        )
    }

    /// Serves [`router`](Self::router) to any client, until dropped; over TLS if the settings have a certificate. A client is disconnected if a request's head takes
    /// longer than `limits.join_timeout_ms` (as may the TLS handshake before it), or if it reads nothing of an answer for `limits.write_timeout_ms`;
    /// `axum::serve` would not do that. On a loopback address, where everybody may join and the settings name no host and no
    /// proxy, it takes no sockets by the name of a site: that site's pages would join the calls of this machine.
    pub async fn serve(&self, listener: TcpListener) -> Infallible {
        let is_local = listener
            .local_addr()
            .is_ok_and(|it| it.ip().to_canonical().is_loopback());
        let is_own = is_local && self.is_unguarded();
        let app = self.router_for(is_own || !self.config.allowed_hosts.is_empty());
        self.serve_app(listener, app).await
    }

    /// Whether nothing but the listener's address keeps strangers out.
    fn is_unguarded(&self) -> bool {
        let config = &self.config;
        let has_proxy = config.trust_forwarded_host || !config.trusted_proxies.is_empty();
        self.rooms.access() == Access::Open && !config.open && !has_proxy
    }

    /// Serves an application in which the [`router`](Self::router) is mounted, in the way of [`serve`](Self::serve). Its
    /// other routes are under the same bounds, and find the client's address by `ConnectInfo<SocketAddr>`.
    pub async fn serve_app(&self, listener: TcpListener, app: Router) -> Infallible {
        let most = self.config.limits.http_connections;
        let front = self.front.clone();
        http::serve(listener, app, self.bounds(most), &self.memory, front).await
    }

    /// Serves `GET /stats` (the counters), `/stats?room=NAME` (the counters of a room's participants),
    /// `/timeline?room=NAME` (the decisions for them), `/healthz`, and at `/` a list of these. Unauthenticated: not for
    /// the public. Pages that ask by the name of a site, which is not in `allowed_hosts`, are refused.
    pub fn admin_router(&self) -> Router {
        let stats = Stats {
            started: self.started,
            rooms: self.rooms.clone(),
            native: self.native.clone(),
            media: self.media.clone(),
            log: self.log.clone(),
            memory: self.memory.clone(),
            front: self.front.clone(),
            refused: self.refused.clone(),
        };
        http::admin_router(self.rooms.clone(), stats, self.hosts())
    }

    fn hosts(&self) -> Hosts {
        Hosts::new(&self.config.allowed_hosts, self.refused.clone())
    }

    /// Serves the [`admin_router`](Self::admin_router) in the way of [`serve`](Self::serve), but without TLS.
    pub async fn serve_admin(&self, listener: TcpListener) -> Infallible {
        http::serve(
            listener,
            self.admin_router(),
            self.bounds(OPERATORS),
            &self.memory,
            Front::default(),
        )
        .await
    }

    fn bounds(&self, open: usize) -> Bounds {
        let limits = &self.config.limits;
        Bounds {
            ask: limits.join_timeout(),
            take: limits.write_timeout(),
            open,
        }
    }

    /// The certificate that new connections get; none without TLS, and before an authority has issued the first.
    pub fn certificate(&self) -> Option<Certificate> {
        self.front.tls.as_ref().and_then(Tls::certificate)
    }

    /// Checks settings in the way of [`NodeBuilder::build`], and starts nothing. Ports are not tried. Returns the
    /// certificate, if there is one.
    ///
    /// # Errors
    ///
    /// As of [`NodeBuilder::build`].
    pub fn check(config: &Config) -> Result<Option<Certificate>, NodeError> {
        config.check()?;
        let certificate = config.certificate()?;
        let plan = Plan::new(config.memory_mb)?;
        let workers = Sfu::check(&sfu_config(config, &plan)?)?;
        config.check_announce_for(workers)?;
        Ok(certificate)
    }

    /// Takes what may change while the node runs: `keys`, the certificate of `tls_cert` and `tls_key`, `ice_servers`
    /// and `allowed_origins`. Further joins and connections have it; running ones go on. Keys and TLS are replaced by
    /// others alone, never added or taken away. [`Config::fixed_changes`] names what takes effect at the next start.
    ///
    /// # Errors
    ///
    /// A setting or a file cannot be used. Then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        config.check()?;
        // Browsers have been asked about the certificate that the server made for itself.
        let files = self
            .front
            .tls
            .as_ref()
            .filter(|_| config.tls_cert.is_some());
        if let Some(tls) = files
            && let Some(certificate) = config.certificate()?
        {
            tls.replace(certificate);
        }
        self.live.set(config);
        Ok(())
    }

    /// Rooms and participants there are.
    pub fn counts(&self) -> Counts {
        self.rooms.counts()
    }

    /// Returns when every media worker has failed. The node cannot carry calls any more, and its process should end.
    /// While some are left calls go on there, and `/healthz` says 503.
    pub async fn media_ended(&self) {
        self.rooms.media_ended().await;
    }

    /// Tells every client, closes the rooms, stops the media workers. Takes at most 3.5 s.
    pub async fn shutdown(&self) {
        let counts = self.rooms.counts();
        info!(
            rooms = counts.rooms,
            participants = counts.participants,
            "shutting down"
        );
        if let Some(tls) = &self.front.tls {
            tls.end();
        }
        if timeout(ROOMS_TIME, self.rooms.shutdown()).await.is_err() {
            warn!("clients or rooms did not end in time");
        }
        if timeout(MEDIA_TIME, self.media.shutdown()).await.is_err() {
            warn!("the media workers did not end in time");
        }
    }
}

fn sfu_config(config: &Config, plan: &Plan) -> Result<SfuConfig, ConfigError> {
    let mut sfu = SfuConfig::default();
    sfu.workers = config.workers;
    sfu.room_peers_per_worker = config.room_peers_per_worker;
    sfu.coalesce = Duration::from_micros(config.coalesce_us.into());
    sfu.media_port = config.media_port;
    let own = config.media_ips(tertulia_sfu::interfaces)?;
    sfu.media_ips = own.clone();
    sfu.announce = config.media_announce.clone();
    sfu.stun_answers = config.media_stun_answers;
    sfu.tcp_candidates = config.tcp_candidates(|| match own.is_empty() {
        true => tertulia_sfu::interface_addresses(),
        false => own,
    });
    sfu.cipher = match config.cipher {
        CipherSetting::Auto => Cipher::Auto,
        CipherSetting::Ring => Cipher::Ring,
        CipherSetting::AwsLcRs => Cipher::AwsLcRs,
    };
    sfu.viewer_cap = Cap {
        bitrate: config.max_viewer_bitrate,
        height: config.max_viewer_height,
    };
    sfu.last_n = config.last_n;
    sfu.loudest_n = config.loudest_n;
    let limits = &config.limits;
    // A room that is closed to make place for another exists a moment longer.
    sfu.limits.rooms = limits.rooms.saturating_add(limits.empty_rooms);
    let most = limits.participants_per_room;
    sfu.limits.peers_per_room = most.saturating_add(room::RESERVE);
    sfu.limits.tracks_per_peer = limits.tracks_per_participant;
    sfu.limits.publisher_bitrate = limits.publisher_bitrate;
    sfu.limits.cache_bytes = plan.caches;
    sfu.limits.connect_timeout = limits.connect_timeout();
    Ok(sfu)
}
