//! The settings that may change while the server runs, and those that may not.

use super::{Config, Limits};

/// Lists the fields that differ, by their names in the file. Each field of the type is named once, or it does not
/// compile: those that need a restart first, then those that do not or are looked at apart.
macro_rules! fixed_that_differ {
    ($type:ident of $running:expr, $wanted:expr, under $prefix:literal;
     fixed: $($fixed:ident),*; other: $($other:ident),*) => {{
        let $type { $($fixed: _,)* $($other: _,)* } = $running;
        let mut names = Vec::new();
        $(if $running.$fixed != $wanted.$fixed {
            names.push(concat!($prefix, stringify!($fixed)));
        })*
        names
    }};
}

impl Config {
    /// The settings of `wanted` that take effect at the next start only, by their names in the file. Others are taken
    /// by [`Node::reload`](crate::Node::reload), and `log_filter` by whoever has set up the log.
    pub fn fixed_changes(&self, wanted: &Self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = fixed_that_differ!(
            Config of self, wanted, under "";
            fixed: listen, admin_listen, media_ip, media_interfaces, media_networks, media_discover, media_stun_answers, media_port, ice_tcp, turn, turn_address, media_announce, announce_for, workers,
                room_peers_per_worker, memory_mb, coalesce_us, cipher, max_viewer_bitrate, max_viewer_height, last_n,
                loudest_n, room_caps, web_dir, log, allowed_hosts, trust_forwarded_host, trusted_proxies,
                proxy_protocol, open,
                tls_self_signed, acme_domains, acme_directory, acme_contact, acme_cache, acme_root;
            other: log_filter, allowed_origins, keys_file, keys, tls_cert, tls_key, ice_servers, limits
        );
        // Other files are read; a door or TLS where there was none, or none any more, is another server.
        if self.keys.is_some() != wanted.keys.is_some() {
            names.push("keys_file");
        }
        if self.tls_cert.is_some() != wanted.tls_cert.is_some() {
            names.push("tls_cert");
        }
        let (running, wanted) = (&self.limits, &wanted.limits);
        names.extend(fixed_that_differ!(
            Limits of running, wanted, under "limits.";
            fixed: connections, http_connections, media_connections, media_connections_per_address, rooms, empty_rooms, connections_per_address, rooms_per_address,
                joins_per_minute_per_address, participants_per_room, large_room, audience_from, tracks_per_participant, publisher_bitrate,
                message_bytes, chat_chars, chat_history, messages_per_second, message_burst, outgoing_queue,
                join_timeout_ms, write_timeout_ms, connect_timeout_ms, ping_interval_ms, silence_ms,
                reconnect_grace_ms, empty_room_ms;
            other:
        ));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Keys, new_key_set};

    fn changes(text: &str) -> Vec<&'static str> {
        let wanted: Config = toml::from_str(text).expect("parses");
        Config::default().fixed_changes(&wanted)
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        assert_eq!(changes(""), Vec::<&str>::new());
        let text =
            "listen = \"127.0.0.1:1\"\nlog = \"json\"\n[limits]\nrooms = 1\nsilence_ms = 9999";
        let expected = ["listen", "log", "limits.rooms", "limits.silence_ms"];
        assert_eq!(changes(text), expected);
        assert_eq!(changes("tls_cert = \"a\"\ntls_key = \"b\""), ["tls_cert"]);
        assert_eq!(changes("tls_self_signed = true"), ["tls_self_signed"]);
    }

    #[test]
    fn what_takes_effect_at_once_is_not() {
        for text in [
            "log_filter = \"debug\"",
            "allowed_origins = [\"https://app.example.org\"]",
            "[[ice_servers]]\nurls = [\"stun:stun.example.org\"]",
        ] {
            assert_eq!(changes(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn keys_may_be_replaced_and_no_door_be_opened_or_shut() {
        let with = |id| Config {
            keys: Keys::from_json(&new_key_set(id)).ok(),
            ..Config::default()
        };
        let none = Config::default();
        assert_eq!(with("1").fixed_changes(&with("2")), Vec::<&str>::new());
        assert_eq!(with("1").fixed_changes(&none), ["keys_file"]);
        assert_eq!(none.fixed_changes(&with("1")), ["keys_file"]);
    }
}
