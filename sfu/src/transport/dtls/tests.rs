use super::testing::{Client, GCM, GCM_256, SHA1};
use super::*;
use crate::transport::srtp::{Backend, Profile};
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

/// Browsers put SHA1_80 first.
#[test]
fn gcm_is_negotiated_wherever_the_client_lists_it() {
    for (profiles, negotiated) in [
        (&[SHA1, GCM, GCM_256][..], Some(Profile::AeadAes256Gcm)),
        (&[GCM_256], Some(Profile::AeadAes256Gcm)),
        (&[SHA1, GCM], Some(Profile::AeadAes128Gcm)),
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
    for profiles in [&[SHA1, GCM_256][..], &[SHA1, GCM], &[SHA1]] {
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
    // The lost datagram of the server: the certificate flight, or Finished.
    for lost in 0..2 {
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
    // The waits are random by a quarter, and yet there are as many.
    assert_eq!(flights, 5);
    assert_eq!(pair.now - started, certificate::HANDSHAKE);
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn close_notify_goes_both_ways() {
    let mut pair = Pair::connected();
    pair.client.close(pair.now);
    pair.exchange();
    assert_eq!(pair.failed, Some(PeerFailure::ClosedByClient));

    let mut pair = Pair::connected();
    pair.server.close();
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

/// Each forgery is one plain packet.
#[test]
fn forged_records_do_not_end_a_session() {
    let mut pair = Pair::connected();
    for forged in [
        record(20, 1, &[1]),
        record(20, 2, &[1]),
        record(22, 0, &[]),
        record(22, 0, &[1; 40]),
        record(20, 0, &[1]),
        record(21, 0, &[2, 40]),
        record(21, 0, &[1, 0]),
        record(21, 1, &[2, 40]),
        record(22, 1, &[9; 40]),
        record(23, 0, b"data"),
        record(23, 1, &[9; 40]),
        record(23, 2, &[9; 40]),
    ] {
        // More than `dimpl` keeps.
        for _ in 0..100 {
            pair.feed_server(&forged);
        }
        assert!(pair.data.is_empty(), "{forged:?}");
        pair.client.write(pair.now, &forged);
        pair.exchange();
        assert_eq!(pair.failed, None);
        assert_eq!(std::mem::take(&mut pair.data), [forged]);
    }
}

#[test]
fn forged_records_do_not_end_a_handshake() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    for _ in 0..2 {
        for forged in [
            record(20, 1, &[1]),
            record(20, 0, &[1]),
            record(21, 0, &[1, 0]),
            record(21, 1, &[2, 40]),
            record(22, 1, &[9; 40]),
            record(23, 0, b"data"),
            record(23, 1, b"data"),
            record(22, 0, &[]),
            record(22, 0, &[1; 40]),
            record(22, 0, &message(4, 9, 0, b"later one")),
        ] {
            pair.feed_server(&forged);
            assert!(pair.failed.is_none());
        }
        let hello = pair.client.poll_transmit().unwrap();
        pair.feed_server(&hello);
        if let Some(answer) = pair.server.poll_transmit() {
            pair.client.handle(pair.now, &answer);
        }
    }
    pair.exchange();
    assert!(pair.server.is_connected());
    assert_eq!(pair.failed, None);
    // Nothing that was forged is in the way, or comes out of it.
    for _ in 0..100 {
        pair.client.write(pair.now, b"data");
        pair.exchange();
    }
    assert_eq!(pair.data, vec![b"data"; 100]);
}

/// A piece of a plain handshake message.
fn message(sequence: u8, length: u32, offset: u32, piece: &[u8]) -> Vec<u8> {
    let number = |n: u32| n.to_be_bytes()[1..].to_vec();
    let (length, offset, len) = (number(length), number(offset), number(piece.len() as u32));
    [
        vec![11],
        length,
        vec![0, sequence],
        offset,
        len,
        piece.to_vec(),
    ]
    .concat()
}

/// `dimpl` panics if a certificate does not fit into the buffer for it.
#[test]
fn a_client_with_the_largest_certificate_fails_alone() {
    for len in [3_000, 16_384, 16_385, 100_000] {
        let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
        let hello = pair.client.poll_transmit().unwrap();
        pair.feed_server(&hello);
        let number = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        let mut whole = [number(len - 3), number(len - 6)].concat();
        whole.resize(len, 7);
        for (at, piece) in whole.chunks(1_000).enumerate() {
            let message = message(1, len as u32, at as u32 * 1_000, piece);
            let mut record = record(22, 0, &message);
            record[10] = at as u8 + 1;
            pair.feed_server(&record);
        }
        assert_eq!(pair.failed, None);
        while std::mem::take(&mut pair.failed).is_none() {
            let due = pair.server.poll_timeout().unwrap();
            pair.wait(due - pair.now);
        }
        assert!(pair.srtp.is_none());
    }
}

/// The pieces of a message that wait for the others are bounded, and the end of the handshake when there is more.
#[test]
fn a_message_in_very_many_fragments_is_not_put_together() {
    let mut pair = Pair::new(|now| Client::connect(now, &[GCM]));
    let hello = pair.client.poll_transmit().unwrap();
    pair.feed_server(&hello);
    const COUNT: u32 = 15_000;
    for (at, offset) in (1..COUNT).chain([0]).enumerate() {
        let mut record = record(22, 0, &message(1, COUNT, offset, &[7]));
        record[5..11].copy_from_slice(&(at as u64 + 1).to_be_bytes()[2..]);
        pair.feed_server(&record);
    }
    assert_eq!(pair.failed, Some(PeerFailure::DtlsFailed));
    assert!(pair.server.has_ended());
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
