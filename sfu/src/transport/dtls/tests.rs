use super::testing::{Client, GCM, SHA1};
use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;
use std::time::Duration;

/// A handshake's two ends, and the server's events.
struct Pair {
    now: Instant,
    client: Client,
    server: Dtls,
    srtp: Option<Option<Box<Srtp>>>,
    data: Vec<Vec<u8>>,
    failed: Option<PeerFailure>,
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Certificate::generate(Backend::default()).unwrap())
        .clone()
}

impl Pair {
    fn new(client: impl FnOnce(Instant) -> Client) -> Self {
        let now = Instant::now();
        let client = client(now);
        let server = Dtls::new(certificate(), client.fingerprint());
        Self {
            now,
            client,
            server,
            srtp: None,
            data: Vec::new(),
            failed: None,
        }
    }

    fn connected() -> Self {
        let mut pair = Self::new(|now| Client::connect(now, &[SHA1, GCM]));
        pair.exchange();
        assert!(pair.server.is_connected() && pair.client.connected);
        pair
    }

    fn feed_server(&mut self, datagram: &[u8]) {
        let (srtp, data, failed) = (&mut self.srtp, &mut self.data, &mut self.failed);
        let mut record = |event| match event {
            DtlsEvent::Connected(keys) => *srtp = Some(keys),
            DtlsEvent::Data(bytes) => data.push(bytes.to_vec()),
            DtlsEvent::Failed(reason) => *failed = Some(reason),
        };
        self.server.handle(self.now, datagram, &mut record);
    }

    /// Exchanges datagrams until neither has any to send.
    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(datagram) = self.client.poll_transmit() {
                self.feed_server(&datagram);
                quiet = false;
            }
            while let Some(datagram) = self.server.poll_transmit() {
                self.client.handle(self.now, &datagram);
                quiet = false;
            }
            if quiet {
                return;
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.client.handle_timeout(self.now);
        let failed = &mut self.failed;
        self.server.handle_timeout(self.now, &mut |event| {
            if let DtlsEvent::Failed(reason) = event {
                *failed = Some(reason);
            }
        });
    }

    fn profile(&self) -> Option<Profile> {
        Some(self.srtp.as_ref()?.as_ref()?.profile())
    }
}

/// `rtc-dtls` takes the client's first: SHA1_80, with every browser.
#[test]
fn gcm_is_negotiated_wherever_the_client_lists_it() {
    for (profiles, negotiated) in [
        (&[SHA1, GCM][..], Some(Profile::AeadAes128Gcm)),
        (&[GCM, SHA1], Some(Profile::AeadAes128Gcm)),
        (&[SHA1], Some(Profile::Aes128CmSha1_80)),
        (&[], None),
    ] {
        let mut pair = Pair::new(|now| Client::connect(now, profiles));
        pair.exchange();
        assert!(pair.server.is_connected() && pair.client.connected);
        assert_eq!(pair.profile(), negotiated);
    }
}

#[test]
fn both_ends_export_the_same_keys() {
    for profiles in [&[SHA1, GCM][..], &[SHA1]] {
        let mut pair = Pair::new(|now| Client::connect(now, profiles));
        pair.exchange();
        let mut srtp = pair.srtp.take().unwrap().unwrap();
        let plain = crate::transport::srtp::testing::rtp(1, 1, 100);
        let mut sealed = pair.client.srtp().sending.encrypt_rtp(&plain).unwrap();
        let len = srtp.open_rtp(&mut sealed).unwrap();
        assert_eq!(sealed[..len], plain);
    }
}

#[test]
fn a_client_without_its_certificate_fails() {
    let mut pair = Pair::new(|now| Client::connect_with(now, &[GCM], false));
    pair.exchange();
    assert_eq!(pair.failed, Some(PeerFailure::DtlsFailed));
    assert!(pair.srtp.is_none());
}

#[test]
fn another_certificate_than_announced_fails_before_anything_is_used() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    pair.server.remote_fingerprint = Fingerprint::sha256(b"another");
    pair.exchange();
    assert_eq!(pair.failed, Some(PeerFailure::FingerprintMismatch));
    assert!(pair.srtp.is_none() && !pair.server.is_connected());
    assert!(pair.client.closed);
}

#[test]
fn longer_fingerprints_are_verified_too() {
    for algorithm in [
        ring::digest::SHA384.output_len(),
        ring::digest::SHA512.output_len(),
    ] {
        let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
        let (hash, algorithm) = match algorithm {
            48 => (
                &ring::digest::SHA384,
                crate::transport::HashAlgorithm::Sha384,
            ),
            _ => (
                &ring::digest::SHA512,
                crate::transport::HashAlgorithm::Sha512,
            ),
        };
        let bytes = ring::digest::digest(hash, pair.client.der())
            .as_ref()
            .to_vec();
        pair.server.remote_fingerprint = Fingerprint { algorithm, bytes };
        pair.exchange();
        assert!(pair.server.is_connected());
    }
}

#[test]
fn lost_flights_are_sent_again() {
    // The lost datagram of the server: HelloVerifyRequest, each one of the certificate flight, or
    // Finished.
    for lost in 0..4 {
        let mut pair = Pair::new(|now| Client::connect(now, &[SHA1, GCM]));
        let mut sent = 0;
        for _ in 0..12 {
            loop {
                let mut quiet = true;
                while let Some(datagram) = pair.client.poll_transmit() {
                    pair.feed_server(&datagram);
                    quiet = false;
                }
                while let Some(datagram) = pair.server.poll_transmit() {
                    if sent != lost {
                        pair.client.handle(pair.now, &datagram);
                    }
                    sent += 1;
                    quiet = false;
                }
                if quiet {
                    break;
                }
            }
            pair.wait(Duration::from_millis(500));
        }
        assert!(pair.server.is_connected(), "lost {lost}");
        assert!(pair.client.connected, "lost {lost}");
    }
}

#[test]
fn a_silent_client_fails_after_the_last_retransmission() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    let hello = pair.client.poll_transmit().unwrap();
    pair.feed_server(&hello);
    let verify = pair.server.poll_transmit().unwrap();
    pair.client.handle(pair.now, &verify);
    let hello = pair.client.poll_transmit().unwrap();
    pair.feed_server(&hello);
    let mut flights = 0;
    let started = pair.now;
    while pair.failed.is_none() {
        if std::iter::from_fn(|| pair.server.poll_transmit()).count() > 0 {
            flights += 1;
        }
        let due = pair.server.poll_timeout().unwrap();
        pair.wait(due - pair.now);
    }
    assert_eq!(pair.failed, Some(PeerFailure::DtlsFailed));
    assert_eq!(flights, 8);
    assert_eq!(pair.now - started, Duration::from_secs(8));
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn close_notify_goes_both_ways() {
    let mut pair = Pair::connected();
    pair.client.close(pair.now);
    pair.exchange();
    assert_eq!(pair.failed, Some(PeerFailure::ClosedByClient));

    let mut pair = Pair::connected();
    pair.server.close(pair.now);
    pair.exchange();
    assert!(pair.client.closed);
    assert_eq!(pair.failed, None);
}

fn record(content: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![content, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0x10, 0];
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

/// Each forgery is one plain packet. `rtc-dtls` answers the first by moving to a further epoch,
/// after which it discards everything from the client.
#[test]
fn forged_records_do_not_end_a_session() {
    let mut pair = Pair::connected();
    for forged in [
        record(20, 1, &[1]),
        record(20, 0, &[1]),
        record(21, 0, &[2, 40]),
        record(21, 0, &[1, 0]),
        record(21, 1, &[2, 40]),
        record(22, 1, &[9; 40]),
        record(23, 0, b"data"),
        record(23, 1, &[9; 40]),
        record(23, 2, &[9; 40]),
    ] {
        pair.feed_server(&forged);
        pair.client.write(pair.now, &forged);
        pair.exchange();
        assert_eq!(pair.failed, None);
        assert_eq!(pair.data.pop(), Some(forged));
    }
}

#[test]
fn forged_records_do_not_end_a_handshake() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    for _ in 0..2 {
        for forged in [
            record(20, 1, &[1]),
            record(21, 0, &[1, 0]),
            record(23, 0, b"data"),
            record(22, 0, &[1; 40]),
        ] {
            pair.feed_server(&forged);
            assert!(pair.failed.is_none());
        }
        let hello = pair.client.poll_transmit().unwrap();
        pair.feed_server(&hello);
        let answer = pair.server.poll_transmit().unwrap();
        pair.client.handle(pair.now, &answer);
    }
    pair.exchange();
    assert!(pair.server.is_connected());
}

/// With `rtc-dtls` alone, this overflows the stack.
#[test]
fn a_message_in_very_many_fragments_is_not_put_together() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    let hello = pair.client.poll_transmit().unwrap();
    pair.feed_server(&hello);
    let number = |n: u32| n.to_be_bytes()[1..].to_vec();
    const COUNT: u32 = 15_000;
    for (at, offset) in (1..COUNT).chain([0]).enumerate() {
        let (length, offset) = (number(COUNT), number(offset));
        let fragment = [vec![1], length, vec![0, 1], offset, number(1), vec![7]].concat();
        let mut record = record(22, 0, &fragment);
        record[5..11].copy_from_slice(&(at as u64 + 1).to_be_bytes()[2..]);
        pair.feed_server(&record);
    }
    assert_eq!(pair.failed, None);
}

#[test]
fn data_arrives_once() {
    let mut pair = Pair::connected();
    pair.client.write(pair.now, b"hello");
    let sent = pair.client.poll_transmit().unwrap();
    for _ in 0..3 {
        pair.feed_server(&sent);
    }
    assert_eq!(pair.data, vec![b"hello".to_vec()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn anything_may_arrive_at_any_time(
        junk in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..8), 1..20),
    ) {
        let mut pair = Pair::new(|now| Client::connect(now, &[SHA1, GCM]));
        let mut junk = junk.into_iter();
        for _ in 0..8 {
            while let Some(datagram) = pair.client.poll_transmit() {
                if let Some((at, change, cut)) = junk.next() {
                    let mut changed = datagram.clone();
                    let at = at.index(changed.len());
                    changed[at] ^= change;
                    if cut == 0 {
                        changed.truncate(at);
                    }
                    pair.feed_server(&changed);
                }
                pair.feed_server(&datagram);
            }
            while let Some(datagram) = pair.server.poll_transmit() {
                pair.client.handle(pair.now, &datagram);
            }
            pair.wait(Duration::from_secs(1));
        }
    }

    #[test]
    fn random_records_may_arrive_when_connected(
        records in proptest::collection::vec((18_u8..26, 0_u8..3, proptest::collection::vec(any::<u8>(), 0..80)), 1..40),
    ) {
        let mut pair = Pair::connected();
        for (content, epoch, body) in records {
            pair.feed_server(&record(content, epoch, &body));
        }
        pair.client.write(pair.now, b"still here");
        pair.exchange();
        prop_assert_eq!(pair.failed, None);
        prop_assert_eq!(pair.data.last().map(Vec::as_slice), Some(&b"still here"[..]));
    }
}
