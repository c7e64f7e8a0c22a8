use super::testing::{Client, GCM, SHA1};
use super::*;
use crate::transport::Path;
use crate::transport::srtp::Backend;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

/// The server's end, and its events.
struct Server {
    now: Instant,
    associations: Associations,
    events: Vec<AssociationEvent>,
}

const HOME: Path = path(1_000);
const AWAY: Path = path(2_000);

const fn path(port: u16) -> Path {
    let host = Ipv4Addr::new(192, 0, 2, 2);
    Path::Udp(SocketAddr::new(IpAddr::V4(host), port))
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Certificate::generate(Backend::default()).unwrap())
        .clone()
}

impl Server {
    fn of(client: &Client, now: Instant) -> Self {
        Self {
            now,
            associations: Associations::new(certificate(), client.fingerprint()),
            events: Vec::new(),
        }
    }

    fn connected() -> (Self, Client) {
        let now = Instant::now();
        let mut client = Client::connect(now, &[SHA1, GCM]);
        let mut server = Self::of(&client, now);
        server.exchange(&mut client, HOME);
        assert_eq!(server.told(), ["connected"]);
        (server, client)
    }

    fn take(&mut self, from: Path, datagram: &[u8]) {
        let events = &mut self.events;
        let mut record = |event| events.push(event);
        self.associations
            .handle(self.now, from, datagram, &mut record);
    }

    /// Exchanges datagrams until neither has any to send. All of the server's go to this client.
    fn exchange(&mut self, client: &mut Client, from: Path) {
        loop {
            let mut quiet = true;
            while let Some(datagram) = client.poll_transmit() {
                self.take(from, &datagram);
                quiet = false;
            }
            while let Some(datagram) = self.associations.poll_transmit() {
                client.handle(self.now, &datagram);
                quiet = false;
            }
            if quiet {
                return;
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let events = &mut self.events;
        self.associations
            .handle_timeout(self.now, &mut |event| events.push(event));
    }

    fn told(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events).into_iter();
        let told = events.map(|event| match event {
            AssociationEvent::Connected(keys) => {
                assert!(keys.is_some());
                "connected".to_owned()
            }
            AssociationEvent::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
            AssociationEvent::Closed => "closed".to_owned(),
            AssociationEvent::NextFailed(reason) => format!("next: {}", reason.code()),
            AssociationEvent::Failed(reason) => reason.code().to_owned(),
        });
        told.collect()
    }

    fn hears(&mut self, client: &mut Client, from: Path, word: &str) -> bool {
        client.write(self.now, word.as_bytes());
        self.exchange(client, from);
        self.told() == [word]
    }
}

#[test]
fn a_client_replaces_its_association() {
    // The client says so or not, and its address changes in the middle of the handshake or not.
    for (says, moves) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut server, mut client) = Server::connected();
        let mut again = client.connect_again(server.now);
        if says {
            client.close(server.now);
            server.exchange(&mut client, HOME);
            assert_eq!(server.told(), ["closed"]);
        } else {
            assert!(server.hears(&mut client, HOME, "still here"));
        }
        if moves {
            let hello = again.poll_transmit().unwrap();
            server.take(HOME, &hello);
        }
        server.exchange(&mut again, AWAY);
        assert!(again.connected);
        assert_eq!(server.told(), ["connected"], "{says} {moves}");
        assert!(server.hears(&mut again, AWAY, "here again"));
        if !says {
            assert!(!server.hears(&mut client, HOME, "not any more"));
        }
        // The client may do so any number of times, but not more than once a second.
        let mut third = again.connect_again(server.now);
        server.exchange(&mut third, HOME);
        assert!(!third.connected && server.told().is_empty());
        server.wait(Duration::from_secs(1));
        let mut third = again.connect_again(server.now);
        server.exchange(&mut third, HOME);
        assert_eq!(server.told(), ["connected"]);
    }
}

#[test]
fn the_first_association_serves_until_the_second_is_complete() {
    let (mut server, mut client) = Server::connected();
    let mut again = client.connect_again(server.now);
    server.take(AWAY, &again.poll_transmit().unwrap());
    let answer = server.associations.poll_transmit().unwrap();
    again.handle(server.now, &answer);
    assert!(server.hears(&mut client, HOME, "meanwhile"));
    server.exchange(&mut again, AWAY);
    assert_eq!(server.told(), ["connected"]);
}

#[test]
fn another_client_does_not_take_over() {
    let (mut server, mut client) = Server::connected();
    let mut stranger = Client::connect(server.now, &[SHA1, GCM]);
    server.exchange(&mut stranger, AWAY);
    assert_eq!(server.told(), ["next: fingerprint_mismatch"]);
    assert!(server.hears(&mut client, HOME, "still here"));

    client.close(server.now);
    server.exchange(&mut client, HOME);
    let mut stranger = Client::connect(server.now, &[SHA1, GCM]);
    server.exchange(&mut stranger, AWAY);
    assert_eq!(server.told(), ["closed", "fingerprint_mismatch"]);
}

#[test]
fn another_certificate_is_expected_after_it_was_offered() {
    let (mut server, mut client) = Server::connected();
    let mut other = Client::connect(server.now, &[SHA1, GCM]);
    server.associations.expect(other.fingerprint());
    assert!(server.hears(&mut client, HOME, "still here"));
    server.exchange(&mut other, AWAY);
    assert_eq!(server.told(), ["connected"]);
}

#[test]
fn hellos_with_forged_addresses_keep_nobody_out() {
    let (mut server, mut client) = Server::connected();
    let second = Duration::from_secs(1);
    for _ in 0..40 {
        let mut forged = Client::connect(server.now, &[GCM]);
        server.take(AWAY, &forged.poll_transmit().unwrap());
        server.wait(second / 20);
        // Browsers drop a plain answer once they are connected. `rtc-dtls` repeats its own last flight for each.
        while server.associations.poll_transmit().is_some() {}
        assert!(server.hears(&mut client, HOME, "still here"));
    }
    let mut again = client.connect_again(server.now);
    server.exchange(&mut again, AWAY);
    while !again.connected {
        server.wait(second / 4);
        again.handle_timeout(server.now);
        server.exchange(&mut again, AWAY);
    }
    assert_eq!(server.told(), ["connected"]);
}

#[test]
fn a_hello_that_leads_to_nothing_is_forgotten() {
    let (mut server, mut client) = Server::connected();
    let mut again = client.connect_again(server.now);
    server.take(AWAY, &again.poll_transmit().unwrap());
    assert!(server.associations.has_next());
    while let Some(due) = server.associations.poll_timeout() {
        let time = due - server.now;
        server.wait(time);
        while server.associations.poll_transmit().is_some() {}
    }
    assert!(!server.associations.has_next());
    assert_eq!(server.told(), ["next: dtls_failed"]);
    assert!(server.hears(&mut client, HOME, "still here"));
}

#[test]
fn a_handshake_that_comes_twice_begins_nothing() {
    let now = Instant::now();
    let mut client = Client::connect(now, &[SHA1, GCM]);
    let mut server = Server::of(&client, now);
    let mut sent = Vec::new();
    while !client.connected {
        while let Some(datagram) = client.poll_transmit() {
            server.take(HOME, &datagram);
            sent.push(datagram);
        }
        while let Some(datagram) = server.associations.poll_transmit() {
            client.handle(now, &datagram);
        }
    }
    assert_eq!(server.told(), ["connected"]);
    for datagram in sent {
        server.take(AWAY, &datagram);
        assert!(!server.associations.has_next());
    }
    assert!(server.hears(&mut client, HOME, "still here"));
}

#[test]
fn a_client_that_replaces_its_transport_before_it_is_connected_is_followed() {
    let now = Instant::now();
    let mut client = Client::connect(now, &[SHA1, GCM]);
    let mut server = Server::of(&client, now);
    server.take(HOME, &client.poll_transmit().unwrap());
    let answer = server.associations.poll_transmit().unwrap();
    client.handle(now, &answer);
    let mut again = client.connect_again(now);
    server.exchange(&mut again, AWAY);
    assert_eq!(server.told(), ["connected"]);
    assert!(server.hears(&mut again, AWAY, "here"));
}

#[test]
fn an_offer_that_comes_before_any_handshake_names_its_certificate() {
    let now = Instant::now();
    let given_up = Client::connect(now, &[SHA1, GCM]);
    let mut server = Server::of(&given_up, now);
    let mut client = Client::connect(now, &[SHA1, GCM]);
    server.associations.expect(client.fingerprint());
    server.exchange(&mut client, HOME);
    assert_eq!(server.told(), ["connected"]);
    assert!(server.hears(&mut client, HOME, "here"));
}

#[test]
fn a_handshake_goes_on_with_the_certificate_of_its_offer() {
    let now = Instant::now();
    let mut client = Client::connect(now, &[SHA1, GCM]);
    let mut server = Server::of(&client, now);
    server.take(HOME, &client.poll_transmit().unwrap());
    let other = Client::connect(now, &[SHA1, GCM]);
    server.associations.expect(other.fingerprint());
    server.exchange(&mut client, HOME);
    assert_eq!(server.told(), ["connected"]);
}
