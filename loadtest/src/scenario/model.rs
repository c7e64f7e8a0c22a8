//! A scenario as data.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use tertulia_signaling::access::Token;

use crate::bot::media_path::MediaPath;
use crate::bot::publish::Video;
use crate::bot::signaling::ServerUrl;
use crate::protocol::Protocol;

/// The scenario to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name in the report.
    pub name: String,
    pub bot: BotKind,
    pub url: ServerUrl,
    /// The bots' protocol. Without the native one, `url` is not used.
    pub protocol: Protocol,
    /// The access token of the native protocol's bots. One for room `*` fits several rooms.
    pub token: Option<Token>,
    pub rooms: usize,
    /// Publishers in each room; they receive too.
    pub publishers: usize,
    /// Subscribers in each room.
    pub subscribers: usize,
    /// Publishers in each room that send anything; None: all.
    pub talkers: Option<usize>,
    /// Videos that each participant shows, one large and the others small; None: all, at any size.
    pub tiles: Option<usize>,
    pub video: Video,
    pub audio: bool,
    /// The path of the subscribers' media.
    pub path: MediaPath,
    /// The number of subscribers in each room, the first, whose media takes that path; None: all. The others' takes UDP, and
    /// if there are any, the run's delay is theirs.
    pub on_path: Option<usize>,
    /// The number of those that read no more soon after they have joined.
    pub stalled: usize,
    /// Length of the call after the last join. A storm or a churn takes as long as it needs.
    pub duration: Duration,
    /// Joins started a second.
    pub ramp: f64,
    /// The time that a join may take.
    pub join_timeout: Duration,
    /// The room's name; with several rooms, `-1`, `-2`... is appended.
    pub room: String,
    /// The address that bots send from. None: the address of this machine that faces the server.
    pub address: Option<IpAddr>,
    /// A server to start; `url` is then its address.
    pub spawn: Option<Spawn>,
    /// Read the kernel's accounting of this server.
    pub server_pid: Option<u32>,
    /// The address where `GET /stats` is answered.
    pub admin_url: Option<ServerUrl>,
    /// Cores for this program's threads; empty: whichever the system gives.
    pub bot_cores: Vec<usize>,
    /// Share of the packets that wire bots receive whose content is decrypted.
    pub decrypt_share: f64,
    /// Share of the streams that wire bots receive that are shown to the oracle.
    pub oracle_share: f64,
    pub phases: Phases,
    /// Measure the cost of the kernel and the cipher by themselves, before the run.
    pub floor: bool,
}

/// The kind of bot that joins the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BotKind {
    /// The `webrtc` crate: a stack independent of the relay's. Tens of bots.
    #[default]
    Webrtc,
    /// A lean client of ours. Thousands of bots.
    Wire,
}

/// A server of our own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spawn {
    /// The program; None: `tertulia` beside this program.
    pub binary: Option<PathBuf>,
    /// Cores it may use; empty: all.
    pub cores: Vec<usize>,
    /// Its media threads; None: as many as it has cores.
    pub workers: Option<usize>,
    /// The server has TLS, with a certificate made for the run.
    pub tls: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// The course of the call once it runs, in this order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Phases {
    pub storm: Option<Storm>,
    pub churn: Option<Churn>,
}

/// Many join a running call at once.
#[derive(Clone, PartialEq, Debug)]
pub struct Storm {
    /// Subscribers who join, in each room.
    pub participants: usize,
    /// Joins started a second; infinite: all at once.
    pub rate: f64,
    /// The time that the call runs before it. Afterwards it runs for the scenario's duration.
    pub after: Duration,
}

/// People come and go while the call runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Churn {
    /// Joins altogether, spread over the rooms.
    pub joins: usize,
    /// The number of them that are in at a time.
    pub alive: usize,
    /// Joins started a second.
    pub rate: f64,
    /// The time that the server idles before its memory is looked at, once after the first 100 have come and
    /// gone and once at the end.
    pub idle: Duration,
}

impl Default for Scenario {
    /// One room with three publishers and three viewers, for 20 seconds.
    fn default() -> Self {
        Self {
            name: String::new(),
            bot: BotKind::default(),
            url: ServerUrl::default(),
            protocol: Protocol::default(),
            token: None,
            rooms: 1,
            publishers: 3,
            subscribers: 3,
            talkers: None,
            tiles: None,
            video: Video::default(),
            audio: false,
            path: MediaPath::default(),
            on_path: None,
            stalled: 0,
            duration: Duration::from_secs(20),
            ramp: 50.0,
            join_timeout: Duration::from_secs(15),
            room: "loadtest".into(),
            address: None,
            spawn: None,
            server_pid: None,
            admin_url: None,
            bot_cores: Vec::new(),
            decrypt_share: 1.0,
            oracle_share: 1.0,
            phases: Phases::default(),
            floor: false,
        }
    }
}

impl Scenario {
    /// The number of publishers in each room that send anything.
    pub fn talking(&self) -> usize {
        self.talkers.unwrap_or(self.publishers).min(self.publishers)
    }

    /// The number of tracks of a publisher.
    pub fn tracks_per_publisher(&self) -> usize {
        usize::from(self.audio) + usize::from(self.video != Video::None)
    }

    /// The number of subscribers in each room whose media takes [`path`](Self::path).
    pub fn subscribers_on_path(&self) -> usize {
        self.on_path
            .unwrap_or(self.subscribers)
            .min(self.subscribers)
    }

    /// Whether media takes UDP and another path.
    pub(crate) fn is_mixed(&self) -> bool {
        self.path != MediaPath::Udp && self.subscribers_on_path() < self.subscribers
    }

    /// The path of a subscriber's media by its place among those of its room, from 0 on, and whether it stalls.
    pub(crate) fn path_of(&self, place: usize) -> (MediaPath, bool) {
        match place < self.subscribers_on_path() {
            true => (self.path, place < self.stalled),
            false => (MediaPath::Udp, false),
        }
    }

    /// Participants of a call that everybody has joined; those of a churn do not stay.
    pub fn participants(&self) -> usize {
        let storm = self.phases.storm.as_ref();
        let storm = storm.map_or(0, |storm| storm.participants);
        self.rooms * (self.publishers + self.subscribers + storm)
    }
}

impl fmt::Display for BotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Webrtc => "webrtc",
            Self::Wire => "wire",
        })
    }
}
