//! Checks of the settings of TURN.

use super::{Config, ConfigError, IceServer};

/// The address of a TURN server, as `turn_address` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TurnAddress<'a> {
    /// `turn` or `turns`, if it is named.
    pub(crate) scheme: Option<&'a str>,
    pub(crate) host_and_port: &'a str,
}

impl<'a> TurnAddress<'a> {
    fn of(text: &'a str) -> Self {
        let named = ["turn", "turns"].into_iter().find_map(|scheme| {
            let host_and_port = text.strip_prefix(scheme)?.strip_prefix(':')?;
            // A host may have such a name, too: what follows is then its port alone.
            host_and_port.contains(':').then_some(Self {
                scheme: Some(scheme),
                host_and_port,
            })
        });
        named.unwrap_or(Self {
            scheme: None,
            host_and_port: text,
        })
    }
}

impl Config {
    /// The address that participants are told for TURN, if a setting names it.
    pub(crate) fn named_turn_address(&self) -> Option<TurnAddress<'_>> {
        self.turn_address.as_deref().map(TurnAddress::of)
    }

    pub(super) fn check_turn(&self) -> Result<(), ConfigError> {
        let refused = |sentence: String| Err(ConfigError::Value(sentence));
        let has_proxy = self.trust_forwarded_host || !self.trusted_proxies.is_empty();
        let Some(TurnAddress {
            scheme,
            host_and_port,
        }) = self.named_turn_address()
        else {
            return match self.turn && has_proxy {
                true => refused(
                    "turn: a proxy for HTTP does not pass TURN on; name the host and port at which clients reach this \
                     server itself, as turn_address"
                        .to_owned(),
                ),
                false => Ok(()),
            };
        };
        if !self.turn {
            return refused("turn_address: it is told to nobody without `turn`".to_owned());
        }
        let server = IceServer {
            urls: vec![format!(
                "{}:{host_and_port}?transport=tcp",
                scheme.unwrap_or("turn")
            )],
            username: Some(String::from("a")),
            credential: Some(String::from("a")),
            ..IceServer::default()
        };
        let port = host_and_port.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        match has_port && server.is_right() {
            true => Ok(()),
            false => refused(format!(
                "turn_address: `{}` is not like turn.example.org:443, or turns:turn.example.org:443 where a proxy in front \
                 ends TLS",
                self.turn_address.as_deref().unwrap_or_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_its_scheme() {
        for (text, scheme, host_and_port) in [
            ("turn.example.org:443", None, "turn.example.org:443"),
            (
                "turns:turn.example.org:443",
                Some("turns"),
                "turn.example.org:443",
            ),
            ("turn:192.0.2.1:80", Some("turn"), "192.0.2.1:80"),
            (
                "turns:[2001:db8::1]:443",
                Some("turns"),
                "[2001:db8::1]:443",
            ),
            // A host of this name.
            ("turn:443", None, "turn:443"),
            (
                "turnstile.example.org:443",
                None,
                "turnstile.example.org:443",
            ),
        ] {
            let expected = TurnAddress {
                scheme,
                host_and_port,
            };
            assert_eq!(TurnAddress::of(text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_has_host_and_port_and_is_of_use() {
        for (text, said) in [
            ("turn = true", None),
            ("turn = true\nturn_address = \"turn.example.org:443\"", None),
            ("turn = true\nturn_address = \"[2001:db8::1]:443\"", None),
            (
                "turn_address = \"turn.example.org:443\"",
                Some("without `turn`"),
            ),
            (
                "turn = true\nturn_address = \"turn.example.org\"",
                Some("is not like"),
            ),
            (
                "turn = true\nturn_address = \"[2001:db8::1]\"",
                Some("is not like"),
            ),
            (
                "turn = true\nturn_address = \"turn.example.org:0\"",
                Some("is not like"),
            ),
            (
                "turn = true\nturn_address = \"turn:turn.example.org:443\"",
                None,
            ),
            (
                "turn = true\nturn_address = \"turns:[2001:db8::1]:443\"",
                None,
            ),
            (
                "turn = true\nturn_address = \"turns:turn.example.org\"",
                Some("is not like"),
            ),
            (
                "turn = true\nturn_address = \"stun:turn.example.org:443\"",
                Some("is not like"),
            ),
            (
                "turn = true\nturn_address = \"turns:turns:turn.example.org:443\"",
                Some("is not like"),
            ),
            (
                "turn = true\ntrust_forwarded_host = true",
                Some("turn_address"),
            ),
            (
                "turn = true\ntrusted_proxies = [\"10.0.0.1\"]",
                Some("turn_address"),
            ),
            (
                "turn = true\ntrusted_proxies = [\"10.0.0.1\"]\nturn_address = \"a.example.org:443\"",
                None,
            ),
        ] {
            let config: Config = toml::from_str(text).expect("parses");
            let checked = config.check().map_err(|error| error.to_string());
            match said {
                None => assert_eq!(checked, Ok(()), "{text}"),
                Some(said) => assert!(
                    checked.as_ref().is_err_and(|it| it.contains(said)),
                    "{text}: {checked:?}"
                ),
            }
        }
    }
}
