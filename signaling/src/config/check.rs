//! Refuses settings that cannot be meant.

use super::{Config, ConfigError, RoomCap, ice_server};
use crate::names;

/// Ten milliseconds more in each packet's delay is heard.
const LONGEST_COALESCE_US: u64 = 10_000;
/// The runtime's counts take it, and no machine has room for more.
const MOST: u64 = 10_000_000;
/// A week. Times much longer cannot be added to others.
const LONGEST_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// A `join` with the largest metadata and the longest token must fit.
const SMALLEST_MESSAGE_BYTES: usize = 9 * 1024;
/// A Tbit/s, more than any machine sends. Rates are multiplied by times.
const HIGHEST_BITRATE: u64 = 1_000_000_000_000;
/// Longest message setting: as long as a string of JSON gets in a browser, and longer than any useful message.
const LONGEST_MESSAGE_BYTES: u64 = 256 << 20;

impl Config {
    /// Refuses values with which no client could be served.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive = [
            ("connections", limits.connections),
            ("http_connections", limits.http_connections),
            ("media_connections", limits.media_connections),
            ("rooms", limits.rooms),
            ("empty_rooms", limits.empty_rooms),
            ("participants_per_room", limits.participants_per_room),
            ("tracks_per_participant", limits.tracks_per_participant),
            ("chat_chars", limits.chat_chars),
            ("messages_per_second", limits.messages_per_second as usize),
            ("message_burst", limits.message_burst as usize),
            ("outgoing_queue", limits.outgoing_queue),
            ("join_timeout_ms", limits.join_timeout_ms as usize),
            ("write_timeout_ms", limits.write_timeout_ms as usize),
            ("connect_timeout_ms", limits.connect_timeout_ms as usize),
            ("ping_interval_ms", limits.ping_interval_ms as usize),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::Value(format!("limits.{key} must not be 0")));
            }
        }
        for (key, value, most) in self.bounded() {
            if value > most {
                return Err(ConfigError::Value(format!("{key} must be at most {most}")));
            }
        }
        self.check_door()?;
        self.check_tls()?;
        self.check_log()?;
        self.check_addresses()?;
        if self.ice_tcp && self.listen.port() == 0 {
            return Err(ConfigError::Value(
                "ice_tcp: clients are told the port of `listen`, which must be a fixed one and not 0".into(),
            ));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(ConfigError::Value(
                "proxy_protocol: the header is read from proxies that are named in `trusted_proxies`, and none is".into(),
            ));
        }
        self.check_turn()?;
        if let Some(folder) = &self.web_dir
            && !folder.join("index.html").is_file()
        {
            return Err(ConfigError::Value(format!(
                "web_dir: {} has no index.html",
                folder.display()
            )));
        }
        if limits.message_bytes < SMALLEST_MESSAGE_BYTES {
            return Err(ConfigError::Value(format!(
                "limits.message_bytes must be at least {SMALLEST_MESSAGE_BYTES}"
            )));
        }
        if limits.silence_ms <= limits.ping_interval_ms {
            return Err(ConfigError::Value(
                "limits.silence_ms must be longer than limits.ping_interval_ms".into(),
            ));
        }
        let caps = self.room_caps.values().copied().chain([RoomCap {
            max_viewer_bitrate: self.max_viewer_bitrate,
            max_viewer_height: self.max_viewer_height,
        }]);
        for cap in caps {
            if cap.max_viewer_bitrate == Some(0) || cap.max_viewer_height == Some(0) {
                return Err(ConfigError::Value(
                    "max_viewer_bitrate and max_viewer_height must not be 0: leave them out for no bound"
                        .into(),
                ));
            }
        }
        for room in self.room_caps.keys() {
            match names::room_name(room) {
                Ok(name) if name == *room => {}
                Ok(name) => {
                    return Err(ConfigError::Value(format!(
                        "room_caps: `{room}` is not composed (NFC): write `{name}`"
                    )));
                }
                Err(error) => {
                    return Err(ConfigError::Value(format!("room_caps: `{room}` {error}")));
                }
            }
        }
        let wrong = |what| ConfigError::Value(format!("ice_servers{what}"));
        ice_server::check(&self.ice_servers).map_err(wrong)?;
        for host in &self.allowed_hosts {
            if host.is_empty() || host.contains(['/', ':', ' ']) {
                return Err(ConfigError::Value(format!(
                    "allowed_hosts: `{host}` is not like call.example.org"
                )));
            }
        }
        for origin in &self.allowed_origins {
            let host = origin.split_once("://").map(|(_, host)| host);
            if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
                return Err(ConfigError::Value(format!(
                    "allowed_origins: `{origin}` is not like https://app.example.org"
                )));
            }
        }
        Ok(())
    }

    /// Every number by its key, with its upper bound. Sums and products of them are taken; and clients are told some,
    /// for which numbers beyond 2^53 are not whole.
    fn bounded(&self) -> Vec<(&'static str, u64, u64)> {
        let limits = &self.limits;
        let rates = self.room_caps.values().map(|cap| cap.max_viewer_bitrate);
        let room_rate = rates.flatten().max().unwrap_or(0);
        let most_messages = u64::from(limits.messages_per_second.max(limits.message_burst));
        let largest = |number: Option<usize>| number.unwrap_or(0) as u64;
        let mut bounded = vec![
            ("coalesce_us", self.coalesce_us.into(), LONGEST_COALESCE_US),
            ("memory_mb", self.memory_mb, MOST),
            (
                "max_viewer_bitrate",
                self.max_viewer_bitrate.unwrap_or(0),
                HIGHEST_BITRATE,
            ),
            ("room_caps: max_viewer_bitrate", room_rate, HIGHEST_BITRATE),
            (
                "limits.publisher_bitrate",
                limits.publisher_bitrate,
                HIGHEST_BITRATE,
            ),
            (
                "limits.message_bytes",
                limits.message_bytes as u64,
                LONGEST_MESSAGE_BYTES,
            ),
            (
                "limits.messages_per_second and limits.message_burst",
                most_messages,
                MOST,
            ),
            ("last_n", largest(self.last_n), MOST),
            ("loudest_n", largest(self.loudest_n), MOST),
        ];
        let counts = [
            ("workers", self.workers),
            ("room_peers_per_worker", self.room_peers_per_worker),
            ("limits.connections", limits.connections),
            ("limits.http_connections", limits.http_connections),
            ("limits.media_connections", limits.media_connections),
            (
                "limits.media_connections_per_address",
                limits.media_connections_per_address,
            ),
            ("limits.rooms", limits.rooms),
            ("limits.empty_rooms", limits.empty_rooms),
            (
                "limits.connections_per_address",
                limits.connections_per_address,
            ),
            ("limits.rooms_per_address", limits.rooms_per_address),
            (
                "limits.joins_per_minute_per_address",
                limits.joins_per_minute_per_address,
            ),
            ("limits.participants_per_room", limits.participants_per_room),
            ("limits.large_room", limits.large_room),
            ("limits.audience_from", limits.audience_from),
            (
                "limits.tracks_per_participant",
                limits.tracks_per_participant,
            ),
            ("limits.chat_chars", limits.chat_chars),
            ("limits.chat_history", limits.chat_history),
            ("limits.outgoing_queue", limits.outgoing_queue),
        ];
        bounded.extend(counts.map(|(key, count)| (key, count as u64, MOST)));
        let times = [
            ("limits.join_timeout_ms", limits.join_timeout_ms),
            ("limits.write_timeout_ms", limits.write_timeout_ms),
            ("limits.connect_timeout_ms", limits.connect_timeout_ms),
            ("limits.ping_interval_ms", limits.ping_interval_ms),
            ("limits.silence_ms", limits.silence_ms),
            ("limits.reconnect_grace_ms", limits.reconnect_grace_ms),
            ("limits.empty_room_ms", limits.empty_room_ms),
        ];
        bounded.extend(times.map(|(key, time)| (key, time, LONGEST_MS)));
        bounded
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Flags;

    fn refused(text: &str) -> Option<String> {
        match toml::from_str::<Config>(text) {
            Err(error) => Some(error.to_string()),
            Ok(config) => config.check().err().map(|error| error.to_string()),
        }
    }

    /// Each number of the documented file, which holds every key, is made very large, and negative.
    #[test]
    fn no_number_is_taken_that_cannot_be_counted_with() {
        let text = include_str!("../../tertulia.toml");
        let mut seen = 0;
        for (place, line) in text.lines().enumerate() {
            let documented = line.trim_start_matches("# ");
            let Some((key, value)) = documented.split_once(" = ") else {
                continue;
            };
            if value.parse::<u64>().is_err() {
                continue;
            }
            seen += 1;
            for wrong in [
                "9223372036854775807",
                "9223372036854775808",
                "18446744073709551615",
                "340282366920938463463374607431768211455",
                "-1",
                "1e300",
            ] {
                let mut lines: Vec<&str> = text.lines().collect();
                let changed = format!("{key} = {wrong}");
                lines[place] = &changed;
                let said = refused(&lines.join("\n")).expect(&changed);
                let names = said.contains(key);
                assert!(names, "{changed}: {said}");
            }
        }
        assert!(seen >= 25, "{seen}");
    }

    #[test]
    fn no_number_of_the_command_line_is_either() {
        for flag in [
            "--workers",
            "--room-peers-per-worker",
            "--memory-mb",
            "--coalesce-us",
            "--max-viewer-bitrate",
            "--max-viewer-height",
            "--last-n",
            "--loudest-n",
            "--media-port",
        ] {
            for wrong in [
                "18446744073709551615",
                "18446744073709551616",
                "9223372036854775807",
            ] {
                let said = match Flags::try_parse_from(["tertulia", flag, wrong]) {
                    Err(error) => error.to_string(),
                    Ok(flags) => Config::load(flags).expect_err(flag).to_string(),
                };
                let key = flag.trim_start_matches("--").replace('-', "_");
                assert!(
                    said.contains(&key) || said.contains(flag),
                    "{flag} {wrong}: {said}"
                );
            }
        }
    }

    #[test]
    fn a_cap_of_a_room_that_cannot_be_joined_is_named() {
        for (room, named) in [("a b", "`a b`"), ("", "``"), ("cafe\u{301}", "café")] {
            let said = refused(&format!("[room_caps.\"{room}\"]\nmax_viewer_height = 1"));
            let said = said.expect(room);
            assert!(said.contains("room_caps") && said.contains(named), "{said}");
        }
        let said = refused("[room_caps.hall]\nmax_viewer_bitrate = 9223372036854775807");
        assert!(said.is_some_and(|said| said.contains("room_caps: max_viewer_bitrate")));
    }

    #[test]
    fn ice_tcp_needs_a_port_that_can_be_told() {
        let said = refused("ice_tcp = true\nlisten = \"127.0.0.1:0\"");
        assert!(said.is_some_and(|said| said.contains("ice_tcp") && said.contains("listen")));
        assert_eq!(refused("ice_tcp = true"), None);
    }

    #[test]
    fn the_proxy_protocol_needs_proxies() {
        let said = refused("proxy_protocol = true").expect("refused");
        let names = said.contains("proxy_protocol") && said.contains("trusted_proxies");
        assert!(names, "{said}");
        let named = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.7\"]";
        assert_eq!(refused(named), None);
    }

    #[test]
    fn clients_are_told_the_addresses_of_the_listener() {
        let own = || vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        for (text, expected) in [
            ("", &[][..]),
            ("ice_tcp = true", &["127.0.0.1:8080"]),
            (
                "ice_tcp = true\nlisten = \"0.0.0.0:443\"",
                &["192.0.2.7:443"],
            ),
            (
                "ice_tcp = true\nlisten = \"[::]:443\"",
                &["192.0.2.7:443", "[2001:db8::7]:443"],
            ),
            (
                "ice_tcp = true\nlisten = \"10.0.0.1:443\"\nmedia_ip = [\"203.0.113.9\"]",
                &["203.0.113.9:443"],
            ),
        ] {
            let config: Config = toml::from_str(text).expect("parses");
            let told = config.tcp_candidates(own);
            let told: Vec<String> = told.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{text}");
        }
    }
}
