//! Whether media is taken over TCP where nothing says so.

use serde::Deserialize;

use super::Config;

/// The ways over TCP that a file or the flags have set.
#[derive(Clone, Copy, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct OverTcp {
    pub(super) ice_tcp: Option<bool>,
    pub(super) turn: Option<bool>,
}

impl OverTcp {
    /// The ways that the text of a file sets. One that is no TOML sets none.
    pub(super) fn read(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// These, completed by `others`.
    pub(super) fn or(self, others: Self) -> Self {
        Self {
            ice_tcp: self.ice_tcp.or(others.ice_tcp),
            turn: self.turn.or(others.turn),
        }
    }

    /// Sets both in `config`. A way that nothing has set is on where clients reach the listener themselves.
    pub(super) fn apply(self, config: &mut Config) {
        let is_direct = config.is_reached_directly();
        config.ice_tcp = self.ice_tcp.unwrap_or(is_direct);
        config.turn = self
            .turn
            .unwrap_or(is_direct || config.turn_address.is_some());
    }
}

impl Config {
    /// Whether clients connect to the listener themselves, as far as the settings tell: it is not on loopback, where a proxy
    /// or nobody else reaches it, no proxy is trusted, and its port is known before it is bound.
    fn is_reached_directly(&self) -> bool {
        let has_proxy = self.trust_forwarded_host || !self.trusted_proxies.is_empty();
        !self.listen.ip().is_loopback() && self.listen.port() != 0 && !has_proxy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_over_tcp_are_on_where_clients_reach_the_listener() {
        for (text, ice_tcp, turn) in [
            ("", false, false),
            ("listen = \"0.0.0.0:8080\"", true, true),
            ("listen = \"[::]:443\"", true, true),
            ("listen = \"192.0.2.1:443\"", true, true),
            ("listen = \"[::1]:443\"", false, false),
            ("listen = \"0.0.0.0:0\"", false, false),
            (
                "listen = \"0.0.0.0:8080\"\ntrust_forwarded_host = true",
                false,
                false,
            ),
            (
                "listen = \"0.0.0.0:8080\"\ntrusted_proxies = [\"10.0.0.1\"]",
                false,
                false,
            ),
            // What is set wins.
            (
                "listen = \"0.0.0.0:8080\"\nice_tcp = false\nturn = false",
                false,
                false,
            ),
            ("listen = \"0.0.0.0:8080\"\nturn = false", true, false),
            ("ice_tcp = true", true, false),
            // A TURN server with an address of its own is one.
            ("turn_address = \"turn.example.org:443\"", false, true),
        ] {
            let mut config: Config = toml::from_str(text).expect(text);
            OverTcp::read(text).apply(&mut config);
            assert_eq!((config.ice_tcp, config.turn), (ice_tcp, turn), "{text}");
            assert_eq!(config.check().map_err(|error| error.to_string()), Ok(()));
        }
    }

    #[test]
    fn flags_win_over_a_file() {
        let flags = OverTcp {
            ice_tcp: Some(false),
            turn: None,
        };
        let both = flags.or(OverTcp::read("ice_tcp = true\nturn = true\nlisten = 'x'"));
        assert_eq!((both.ice_tcp, both.turn), (Some(false), Some(true)));
    }
}
