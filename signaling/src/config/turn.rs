//! Checks of the settings of TURN.

use super::{Config, ConfigError, IceServer};

impl Config {
    pub(super) fn check_turn(&self) -> Result<(), ConfigError> {
        let refused = |sentence: String| Err(ConfigError::Value(sentence));
        let has_proxy = self.trust_forwarded_host || !self.trusted_proxies.is_empty();
        let Some(address) = &self.turn_address else {
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
            urls: vec![format!("turn:{address}?transport=tcp")],
            username: Some(String::from("a")),
            credential: Some(String::from("a")),
            ..IceServer::default()
        };
        let port = address.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        match has_port && server.is_right() {
            true => Ok(()),
            false => refused(format!(
                "turn_address: `{address}` is not like turn.example.org:443"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
