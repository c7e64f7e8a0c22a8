//! The one schema of scenario files and of flags: every key of a file is a flag of `run`, and
//! flags win.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tertulia_signaling::access::Token;

use super::{BotKind, Churn, Phases, Scenario, Spawn, Storm};
use crate::bot::media_path::MediaPath;
use crate::bot::publish::Video;
use crate::bot::signaling::ServerUrl;
use crate::protocol::{Protocol, ProtocolName};
use crate::server::Cores;
use crate::whip::{Template, Whip};

/// The keys of a scenario file or a command line; None where it has none.
#[derive(clap::Args, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A line for `tertulia-loadtest scenarios`; files only.
    #[arg(skip)]
    pub about: Option<String>,

    /// The server: http or https [default: http://127.0.0.1:8080]
    #[arg(long, help_heading = SERVER)]
    #[serde(deserialize_with = "text")]
    pub url: Option<ServerUrl>,
    /// Protocol of the bots: native, or whip to publish by WHIP and watch by WHEP on servers of any make
    /// [default: native]
    #[arg(long, value_name = "NAME", hide_possible_values = true, help_heading = SERVER)]
    pub protocol: Option<ProtocolName>,
    /// WHIP endpoint, such as https://host/whip/{room}; {publisher} is the publisher's number in its room
    #[arg(long, value_name = "URL", help_heading = SERVER)]
    #[serde(deserialize_with = "text")]
    pub whip_url: Option<Template>,
    /// WHEP endpoint; {publisher} is the number of the publisher who is watched
    #[arg(long, value_name = "URL", help_heading = SERVER)]
    #[serde(deserialize_with = "text")]
    pub whep_url: Option<Template>,
    /// Access token of the bots: in `join` for native, for room `*` if there are several rooms; else as
    /// `Authorization: Bearer` with every request of WHIP and WHEP
    #[arg(long, value_name = "TOKEN", help_heading = SERVER)]
    pub token: Option<String>,
    /// PEM file with the certificates to trust at https addresses [default: the system's]
    #[arg(long, value_name = "FILE", help_heading = SERVER)]
    pub ca_file: Option<PathBuf>,
    /// Start a server for the run, on free ports of loopback, and end it afterwards
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = SERVER)]
    pub spawn: Option<bool>,
    /// The server to start [default: `tertulia` beside this program, else target/release/tertulia]
    #[arg(long, value_name = "FILE", help_heading = SERVER)]
    pub server_binary: Option<PathBuf>,
    /// Cores the started server may use, such as 0 or 0,1 or 0-3 [default: all]
    #[arg(long, value_name = "LIST", help_heading = SERVER)]
    #[serde(deserialize_with = "text")]
    pub server_cores: Option<Cores>,
    /// Media threads of the started server [default: one for each of its cores]
    #[arg(long, value_name = "N", help_heading = SERVER)]
    pub server_workers: Option<usize>,
    /// The started server has TLS, with a certificate made for the run
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = SERVER)]
    pub server_tls: Option<bool>,
    /// A further argument for the started server; repeatable
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, help_heading = SERVER)]
    pub server_arg: Option<Vec<String>>,
    /// Account for this process as the server, if it was started by somebody else
    #[arg(long, value_name = "PID", help_heading = SERVER)]
    pub server_pid: Option<u32>,
    /// Where that server answers GET /stats (its --admin-listen)
    #[arg(long, value_name = "URL", help_heading = SERVER)]
    #[serde(deserialize_with = "text")]
    pub admin_url: Option<ServerUrl>,

    /// Kind of bots: webrtc (an independent stack, tens of bots) or wire (ours, thousands)
    /// [default: webrtc]
    #[arg(long, value_name = "KIND", hide_possible_values = true, help_heading = BOTS)]
    pub bot: Option<BotKind>,
    /// Rooms [default: 1]
    #[arg(long, help_heading = BOTS)]
    pub rooms: Option<u16>,
    /// Bots in each room that publish, and receive each other [default: 3]
    #[arg(long, help_heading = BOTS)]
    pub publishers: Option<u16>,
    /// Bots in each room that only receive [default: 3]
    #[arg(long, help_heading = BOTS)]
    pub subscribers: Option<u16>,
    /// Publishers in each room that send anything; the others are muted [default: all]
    #[arg(long, help_heading = BOTS)]
    pub talkers: Option<u16>,
    /// Videos that each bot shows, the first it hears of: one 720 pixels high, the others 180 [default:
    /// all, at any size]
    #[arg(long, help_heading = BOTS)]
    pub tiles: Option<u16>,
    /// Video each publisher sends: none, 180p, 720p, 720p-simulcast, and for wire bots 720p-h264 or
    /// trace:10x100x1200 (packets a frame, frames a second, bytes a packet) [default: 720p]
    #[arg(long, value_name = "KIND", help_heading = BOTS)]
    #[serde(deserialize_with = "text")]
    pub video: Option<Video>,
    /// Publishers send audio too
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = BOTS)]
    pub audio: Option<bool>,
    /// Path of the subscribers' media: udp, tcp (ICE-TCP), turn-tcp or turn-tls; other than udp for wire bots alone
    /// [default: udp]
    #[arg(long, value_name = "PATH", hide_possible_values = true, help_heading = BOTS)]
    pub path: Option<MediaPath>,
    /// Subscribers in each room whose media takes that path; the others' takes UDP, and the delay is theirs [default: all]
    #[arg(long, value_name = "N", help_heading = BOTS)]
    pub on_path: Option<u16>,
    /// Subscribers on that path that stop reading soon after they have joined [default: 0]
    #[arg(long, value_name = "N", help_heading = BOTS)]
    pub stalled: Option<u16>,
    /// The room's name; with several rooms `-1`, `-2`... is appended [default: loadtest]
    #[arg(long, help_heading = BOTS)]
    pub room: Option<String>,
    /// The address bots send from [default: the one that faces the server]
    #[arg(long, value_name = "IP", help_heading = BOTS)]
    pub bind: Option<IpAddr>,
    /// Cores for the bots, such as 1 [default: all]
    #[arg(long, value_name = "LIST", help_heading = BOTS)]
    #[serde(deserialize_with = "text")]
    pub bot_cores: Option<Cores>,
    /// Share of the packets that wire bots decrypt; they authenticate all [default: 1]
    #[arg(long, value_name = "SHARE", help_heading = BOTS)]
    pub decrypt_share: Option<f64>,
    /// Share of the streams that wire bots show to the oracle [default: 1]
    #[arg(long, value_name = "SHARE", help_heading = BOTS)]
    pub oracle_share: Option<f64>,

    /// Length of the call once everybody is in, such as 20s or 5m [default: 20s]
    #[arg(long, value_parser = duration, help_heading = TIME)]
    #[serde(deserialize_with = "duration_text")]
    pub duration: Option<Duration>,
    /// Joins started in a second [default: 50]
    #[arg(long, value_name = "PER_SECOND", help_heading = TIME)]
    pub ramp: Option<f64>,
    /// Time that one join may take [default: 15s]
    #[arg(long, value_parser = duration, help_heading = TIME)]
    #[serde(deserialize_with = "duration_text")]
    pub join_timeout: Option<Duration>,
    /// That many more subscribers join each running room as fast as they can
    #[arg(long, value_name = "SUBSCRIBERS", help_heading = TIME)]
    pub storm: Option<u16>,
    /// Joins of the storm started in a second [default: all at once]
    #[arg(long, value_name = "PER_SECOND", help_heading = TIME)]
    pub storm_rate: Option<f64>,
    /// Time that the call runs before the storm [default: 10s]
    #[arg(long, value_parser = duration, value_name = "DURATION", help_heading = TIME)]
    #[serde(deserialize_with = "duration_text")]
    pub storm_after: Option<Duration>,
    /// That many subscribers come and go while the call runs
    #[arg(long, value_name = "JOINS", help_heading = TIME)]
    pub churn: Option<u32>,
    /// Number of them that are in at a time [default: 10]
    #[arg(long, value_name = "SUBSCRIBERS", help_heading = TIME)]
    pub churn_alive: Option<u16>,
    /// Joins of the churn started in a second [default: 20]
    #[arg(long, value_name = "PER_SECOND", help_heading = TIME)]
    pub churn_rate: Option<f64>,
    /// Time that the server idles before its memory is compared [default: 5s]
    #[arg(long, value_parser = duration, value_name = "DURATION", help_heading = TIME)]
    #[serde(deserialize_with = "duration_text")]
    pub churn_idle: Option<Duration>,
    /// Measure first what the kernel and the cipher cost by themselves, on the server's core
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", help_heading = TIME)]
    pub floor: Option<bool>,
}

const SERVER: &str = "Server";
const BOTS: &str = "Bots";
const TIME: &str = "Course of the run";

macro_rules! first_of {
    ($first:ident, $second:ident: $($field:ident),*) => {
        Settings { $($field: $first.$field.or($second.$field)),* }
    };
}

impl Settings {
    /// Reads a scenario file.
    ///
    /// # Errors
    ///
    /// The fault, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// These settings, completed by `others` where they are absent.
    pub fn over(self, others: Self) -> Self {
        first_of!(self, others:
            about, url, protocol, whip_url, whep_url, token, ca_file, spawn, server_binary, server_cores, server_workers, server_tls, server_arg, server_pid,
            admin_url, bot, rooms, publishers, subscribers, talkers, tiles, video, audio, path, on_path, stalled, room, bind,
            bot_cores, decrypt_share, oracle_share, duration, ramp, join_timeout, storm,
            storm_rate, storm_after, churn, churn_alive, churn_rate, churn_idle, floor)
    }

    /// The scenario they describe.
    ///
    /// # Errors
    ///
    /// They contradict each other, or leave nothing to do.
    pub fn scenario(&self, name: &str) -> Result<Scenario, String> {
        self.check()?;
        let default = Scenario::default();
        let scenario = Scenario {
            name: name.to_owned(),
            bot: self.bot.unwrap_or_default(),
            url: self.server_url()?,
            protocol: self.protocol()?,
            token: self
                .token
                .clone()
                .filter(|_| self.is_native())
                .map(Token::from),
            rooms: self.rooms.map_or(default.rooms, usize::from),
            publishers: self.publishers.map_or(default.publishers, usize::from),
            subscribers: self.subscribers.map_or(default.subscribers, usize::from),
            talkers: self.talkers.map(usize::from),
            tiles: self.tiles.map(usize::from),
            video: self.video.unwrap_or_default(),
            audio: self.audio.unwrap_or_default(),
            path: self.path.unwrap_or_default(),
            on_path: self.on_path.map(usize::from),
            stalled: self.stalled.map_or(0, usize::from),
            duration: self.duration.unwrap_or(default.duration),
            ramp: self.ramp.unwrap_or(default.ramp),
            join_timeout: self.join_timeout.unwrap_or(default.join_timeout),
            room: self.room.clone().unwrap_or(default.room),
            address: self.bind,
            spawn: self.spawn.unwrap_or_default().then(|| self.server()),
            server_pid: self.server_pid,
            admin_url: self.admin_url.clone(),
            bot_cores: self.bot_cores.clone().unwrap_or_default().0,
            decrypt_share: self.decrypt_share.unwrap_or(default.decrypt_share),
            oracle_share: self.oracle_share.unwrap_or(default.oracle_share),
            phases: self.phases(),
            floor: self.floor.unwrap_or_default(),
        };
        scenario.check()?;
        Ok(scenario)
    }

    /// The address of a native server, with the certificates to trust there.
    fn server_url(&self) -> Result<ServerUrl, String> {
        let url = self.url.clone().unwrap_or_default();
        if !self.is_native() {
            return Ok(url);
        }
        if self.ca_file.is_some() && !url.is_secure() {
            return Err(format!(
                "--ca-file is for an https address, and bots join {url}"
            ));
        }
        if self.admin_url.as_ref().is_some_and(ServerUrl::is_secure) {
            return Err("--admin-url: the listener for counters speaks plain http".into());
        }
        url.trusting(self.ca_file.as_deref())
    }

    fn protocol(&self) -> Result<Protocol, String> {
        let mut whip = Whip::new(
            self.whip_url.clone(),
            self.whep_url.clone(),
            self.token.clone().filter(|_| !self.is_native()),
        );
        if self.is_native() {
            return match whip.says_nothing() {
                true => Ok(Protocol::Native),
                false => Err("--whip-url and --whep-url are for --protocol whip".into()),
            };
        }
        whip.ca_file.clone_from(&self.ca_file);
        if self.url.is_some() || self.spawn == Some(true) {
            return Err(
                "--protocol whip goes to --whip-url and --whep-url: no --url, --spawn".into(),
            );
        }
        Ok(Protocol::Whip(Arc::new(whip)))
    }

    fn is_native(&self) -> bool {
        self.protocol.unwrap_or_default() == ProtocolName::Native
    }

    fn server(&self) -> Spawn {
        Spawn {
            binary: self.server_binary.clone(),
            cores: self.server_cores.clone().unwrap_or_default().0,
            workers: self.server_workers,
            tls: self.server_tls.unwrap_or_default(),
            arguments: self.server_arg.clone().unwrap_or_default(),
        }
    }

    fn phases(&self) -> Phases {
        const STORM_AFTER: Duration = Duration::from_secs(10);
        const CHURN_IDLE: Duration = Duration::from_secs(5);
        let storm = self.storm.filter(|&storm| storm > 0);
        let churn = self.churn.filter(|&churn| churn > 0);
        Phases {
            storm: storm.map(|participants| Storm {
                participants: participants.into(),
                rate: self.storm_rate.unwrap_or(f64::INFINITY),
                after: self.storm_after.unwrap_or(STORM_AFTER),
            }),
            churn: churn.map(|joins| Churn {
                joins: joins as usize,
                alive: self.churn_alive.unwrap_or(10).max(1).into(),
                rate: self.churn_rate.unwrap_or(20.0),
                idle: self.churn_idle.unwrap_or(CHURN_IDLE),
            }),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.spawn != Some(true) {
            let given = [
                ("server-binary", self.server_binary.is_some()),
                ("server-cores", self.server_cores.is_some()),
                ("server-workers", self.server_workers.is_some()),
                ("server-tls", self.server_tls.is_some()),
                ("server-arg", self.server_arg.is_some()),
            ];
            if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                return Err(format!("--{flag} is for a server of --spawn"));
            }
        } else if self.url.is_some() || self.server_pid.is_some() || self.admin_url.is_some() {
            return Err("--spawn starts a server: no --url, --server-pid or --admin-url".into());
        }
        let rates = [
            ("ramp", self.ramp),
            ("storm-rate", self.storm_rate),
            ("churn-rate", self.churn_rate),
        ];
        for (flag, rate) in rates {
            if rate.is_some_and(|rate| !RATES.contains(&rate)) {
                return Err(format!("--{flag} is from 0.01 to 10000 joins a second"));
            }
        }
        let mut shares = [self.decrypt_share, self.oracle_share]
            .into_iter()
            .flatten();
        if shares.any(|share| !(0.0..=1.0).contains(&share)) {
            return Err("a share is from 0 to 1".into());
        }
        Ok(())
    }
}

impl Scenario {
    /// # Errors
    ///
    /// There would be nothing to do, or bots that cannot.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.rooms) {
            return Err("from 1 to 10000 --rooms".into());
        }
        if self.participants() == 0 && self.phases.churn.is_none() {
            return Err("a room needs --publishers or --subscribers".into());
        }
        if self.publishers > 0 && self.tracks_per_publisher() == 0 {
            return Err("publishers need --video or --audio; use --publishers 0 for none".into());
        }
        if self
            .talkers
            .is_some_and(|talkers| talkers > self.publishers)
        {
            return Err("more --talkers than --publishers".into());
        }
        if self.video.wire_only() && self.bot != BotKind::Wire {
            return Err(format!("--video {} needs --bot wire", self.video));
        }
        if self.tiles.is_some() && self.bot != BotKind::Wire {
            return Err("--tiles needs --bot wire".into());
        }
        let is_udp = self.path == MediaPath::Udp;
        if !is_udp && self.bot != BotKind::Wire {
            return Err(format!("--path {} needs --bot wire", self.path));
        }
        if is_udp && (self.on_path.is_some() || self.stalled > 0) {
            return Err("--on-path and --stalled are for a --path other than udp".into());
        }
        if self.stalled > self.subscribers_on_path() {
            return Err("more --stalled than subscribers on the path".into());
        }
        let Protocol::Whip(whip) = &self.protocol else {
            return Ok(());
        };
        if self.bot == BotKind::Wire {
            return Err("--protocol whip needs --bot webrtc".into());
        }
        let viewers = self.subscribers > 0 || self.phases != Phases::default();
        whip.check(self.publishers, viewers)
    }
}

/// `500ms`, `20s`, `5m`, `1h`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("`{unit}` is none of ms, s, m, h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no duration: write 20s or 5m"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

/// Joins started in a second: at least one in 100 s, at most what no machine answers.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=10_000.0;

fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err = String>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn duration_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
