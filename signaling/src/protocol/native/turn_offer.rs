//! The server's own TURN, as a participant is told it.

use std::sync::Arc;

use super::IceServer;
use crate::config::{self, Config};
use crate::turn::{Credentials, Users};

/// Makes each participant's entry of `ice_servers`.
pub(crate) struct TurnOffer {
    users: Users,
    /// The address that everybody is told. None: the one by which each client asked for the server.
    address: Option<Arc<str>>,
    /// `turns` over TLS, by the server's own certificate or by that of a proxy in front.
    scheme: &'static str,
    /// The port that a client asks for without naming it.
    default_port: u16,
}

impl TurnOffer {
    pub(crate) fn new(users: Users, config: &Config) -> Self {
        // Browsers let nobody accept a certificate for TURN; a self-signed one is for pages alone.
        let named = config.named_turn_address();
        let scheme = match named.and_then(|it| it.scheme) {
            Some("turns") => "turns",
            Some(_) => "turn",
            None if config.has_tls() && !config.tls_self_signed => "turns",
            None => "turn",
        };
        Self {
            users,
            address: named.map(|it| it.host_and_port.into()),
            scheme,
            default_port: if config.has_tls() { 443 } else { 80 },
        }
    }

    /// The entry of a participant; none where no address is known. `host`: as the client's request names it. A strange
    /// one, at which the client's own browser would throw, is not told.
    pub(super) fn server(&self, participant: &str, host: Option<&str>) -> Option<IceServer> {
        let address = match (&self.address, host) {
            (Some(address), _) => address.to_string(),
            (None, Some(host)) if has_port(host) => host.to_owned(),
            (None, host) => format!("{}:{}", host?, self.default_port),
        };
        let Credentials { username, password } = self.users.credentials(participant);
        let server = config::IceServer {
            urls: vec![format!("{}:{address}?transport=tcp", self.scheme)],
            username: Some(username),
            credential: Some(password),
            ..config::IceServer::default()
        };
        server.is_right().then_some(IceServer {
            urls: server.urls,
            username: server.username,
            credential: server.credential,
        })
    }
}

/// Whether a host, which may be an IPv6 address in brackets, has a port behind it.
fn has_port(host: &str) -> bool {
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    after.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(config: Config) -> TurnOffer {
        TurnOffer::new(Users::default(), &config)
    }

    fn url(offer: &TurnOffer, host: &str) -> Option<String> {
        offer.server("pa_ana", Some(host))?.urls.pop()
    }

    #[test]
    fn the_address_is_the_one_that_the_page_was_asked_for_by() {
        let plain = offer(Config::default());
        let secure = offer(Config {
            tls_cert: Some("cert.pem".into()),
            tls_key: Some("key.pem".into()),
            ..Config::default()
        });
        let own = offer(Config {
            tls_self_signed: true,
            ..Config::default()
        });
        for (offer, host, expected) in [
            (
                &plain,
                "192.0.2.1:8080",
                "turn:192.0.2.1:8080?transport=tcp",
            ),
            (
                &plain,
                "call.example.org",
                "turn:call.example.org:80?transport=tcp",
            ),
            (
                &plain,
                "[2001:db8::1]",
                "turn:[2001:db8::1]:80?transport=tcp",
            ),
            (
                &plain,
                "[2001:db8::1]:81",
                "turn:[2001:db8::1]:81?transport=tcp",
            ),
            (
                &secure,
                "call.example.org",
                "turns:call.example.org:443?transport=tcp",
            ),
            (
                &secure,
                "call.example.org:8443",
                "turns:call.example.org:8443?transport=tcp",
            ),
            (&own, "192.0.2.1", "turn:192.0.2.1:443?transport=tcp"),
        ] {
            assert_eq!(url(offer, host).as_deref(), Some(expected), "{host}");
        }
        for strange in [
            "", ":80", "a b", "a?x", "a@b", "a:0", "a:port", "//a", "a/b",
        ] {
            assert_eq!(url(&plain, strange), None, "{strange}");
        }
        assert_eq!(plain.server("pa_ana", None), None);
    }

    #[test]
    fn a_set_address_is_told_everybody_with_their_own_credentials() {
        let offer = offer(Config {
            turn_address: Some("turn.example.org:443".to_owned()),
            tls_cert: Some("cert.pem".into()),
            ..Config::default()
        });
        let ana = offer.server("pa_ana", None).expect("told");
        assert_eq!(ana.urls, ["turns:turn.example.org:443?transport=tcp"]);
        assert_eq!(ana.username.as_deref(), Some("pa_ana"));
        let ben = offer.server("pa_ben", Some("10.0.0.1:8080")).expect("told");
        assert_eq!(ben.urls, ana.urls);
        assert_ne!(ben.credential, ana.credential);
    }

    #[test]
    fn a_set_scheme_is_told_whether_the_server_has_a_certificate_or_not() {
        for (address, tls_cert, expected) in [
            (
                "turns:call.example.org:443",
                None,
                "turns:call.example.org:443?transport=tcp",
            ),
            (
                "turn:call.example.org:443",
                Some("cert.pem".into()),
                "turn:call.example.org:443?transport=tcp",
            ),
        ] {
            let offer = offer(Config {
                turn_address: Some(address.to_owned()),
                tls_cert,
                ..Config::default()
            });
            let told = url(&offer, "10.0.0.1:8080");
            assert_eq!(told.as_deref(), Some(expected), "{address}");
        }
    }
}
