//! Against str0m: an ICE agent, DTLS and SRTP that share no code with ours.

use std::time::{Duration, Instant};

use str0m::config::{DtlsVersion, Fingerprint as TheirFingerprint};
use str0m::ice::IceCreds;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::srtp::testing::{RTP_HEADER, rtp};
use super::{Backend, Certificate, Fingerprint, HashAlgorithm, IceCredentials, Path};
use super::{StunOutcome, Transport, TransportConfig, TransportEvent};
use super::{stun_answer_tag, stun_local_ufrag};
use crate::cache::CacheShare;

struct Interop {
    now: Instant,
    rtc: Rtc,
    transport: Transport,
    connected: bool,
    proofs: usize,
    /// Payloads str0m received.
    received: Vec<Vec<u8>>,
    /// Packets we received.
    opened: Vec<Vec<u8>>,
}

/// The tag of the server's checks.
const TAG: u32 = 0xfeed_beef;
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 10_000);
const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 2], 5_000);
const UFRAG: &str = "serverfragment16";
const TO_SERVER: u32 = 1_111;
const TO_CLIENT: u32 = 2_222;
const OPUS: u8 = 111;

impl Interop {
    fn new(version: DtlsVersion) -> Self {
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_dtls_version(version)
            .build(now);
        let host = |address: ([u8; 4], u16)| Candidate::host(address.into(), "udp").unwrap();
        rtc.add_local_candidate(host(CLIENT)).unwrap();
        rtc.add_remote_candidate(host(SERVER));
        let certificate = Certificate::generate(Backend::default()).unwrap();
        let ours = IceCredentials {
            ufrag: UFRAG.into(),
            pwd: "a-password-of-at-least-twenty-two".into(),
        };
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds {
            ufrag: ours.ufrag.clone(),
            pass: ours.pwd.clone(),
        });
        api.set_remote_fingerprint(TheirFingerprint {
            hash_func: "sha-256".into(),
            bytes: certificate.fingerprint().bytes.clone(),
        });
        api.start_dtls(true).unwrap();
        let mid = "0".into();
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(Ssrc::from(TO_SERVER), None, mid, None);
        api.expect_stream_rx(Ssrc::from(TO_CLIENT), None, mid, None);
        let theirs = api.local_ice_credentials();
        let config = TransportConfig {
            ice: ours,
            remote_ice: IceCredentials {
                ufrag: theirs.ufrag,
                pwd: theirs.pass,
            },
            remote_fingerprint: Fingerprint {
                algorithm: HashAlgorithm::Sha256,
                bytes: api.local_dtls_fingerprint().bytes.clone(),
            },
            certificate,
            connect_timeout: Duration::from_secs(10),
            max_data_message: 1_024,
            caches: CacheShare::default(),
            stun_tag: TAG,
            seed: [7; 32],
        };
        Self {
            now,
            rtc,
            transport: Transport::new(now, config),
            connected: false,
            proofs: 0,
            received: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// Both ends until the client waits; then a little time passes.
    fn step(&mut self) {
        loop {
            while let Some((to, datagram)) = self.transport.poll_transmit() {
                assert_eq!(to, Path::from(CLIENT));
                self.feed_client(&datagram);
            }
            match self.rtc.poll_output().unwrap() {
                Output::Transmit(datagram) => self.feed_server(&datagram.contents),
                Output::Event(Event::RtpPacket(packet)) => {
                    self.received.push(packet.payload.to_vec());
                }
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
        while let Some(event) = self.transport.poll_event() {
            match event {
                TransportEvent::Connected => self.connected = true,
                TransportEvent::PathProven(at) => {
                    assert_eq!(at, Path::from(CLIENT));
                    self.proofs += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        self.now += Duration::from_millis(20);
        self.rtc.handle_input(Input::Timeout(self.now)).unwrap();
        self.transport.handle_timeout(self.now);
    }

    fn feed_client(&mut self, datagram: &[u8]) {
        let receive = Receive::new(Protocol::Udp, SERVER.into(), CLIENT.into(), datagram).unwrap();
        self.rtc
            .handle_input(Input::Receive(self.now, receive))
            .unwrap();
    }

    fn feed_server(&mut self, datagram: &[u8]) {
        let from = Path::from(CLIENT);
        match datagram[0] {
            0..=3 => {
                match stun_answer_tag(datagram) {
                    Some(tag) => assert_eq!(tag, TAG),
                    None => assert_eq!(stun_local_ufrag(datagram), Some(UFRAG.as_bytes())),
                }
                let outcome = self.transport.handle_stun(self.now, from, datagram);
                assert!(!matches!(outcome, StunOutcome::Rejected(_)), "{outcome:?}");
            }
            20..=63 => self
                .transport
                .handle_dtls(self.now, from, &mut datagram.to_vec()),
            _ => {
                let mut packet = datagram.to_vec();
                if (192..=223).contains(&packet[1]) {
                    self.transport.open_rtcp(&mut packet).unwrap();
                } else {
                    let len = self.transport.open_rtp(&mut packet).unwrap();
                    self.opened.push(packet[..len].to_vec());
                }
            }
        }
    }
}

#[test]
fn str0m_connects_and_media_flows() {
    // The second is a client that would rather have DTLS 1.3, as Chromium is.
    for version in [DtlsVersion::Dtls12, DtlsVersion::Auto] {
        let mut interop = Interop::new(version);
        for _ in 0..100 {
            interop.step();
        }
        assert!(interop.connected && interop.rtc.is_connected());
        assert_eq!(interop.transport.srtp_profile(), Some("AEAD_AES_256_GCM"));
        for sequence in 0..50_u64 {
            let mut api = interop.rtc.direct_api();
            let stream = api.stream_tx(&Ssrc::from(TO_SERVER)).unwrap();
            let payload = vec![sequence as u8; 100];
            let time = sequence as u32 * 960;
            let write = RtpWrite::new(OPUS.into(), sequence.into(), time, interop.now, payload);
            stream.write_rtp(write);

            let mut packet = rtp(TO_CLIENT, sequence as u16, 80);
            packet[1] = OPUS;
            let len = packet.len();
            packet.resize(len + 16, 0);
            let len = interop.transport.seal_rtp(&mut packet, RTP_HEADER, len);
            interop.feed_client(&packet[..len]);
            interop.step();
        }
        for _ in 0..50 {
            interop.step();
        }
        assert_eq!(interop.opened.len(), 50);
        assert!(interop.opened.iter().all(|packet| packet.len() >= 112));
        assert_eq!(interop.received.len(), 50);
        assert_eq!(interop.received[49], rtp(0, 49, 80)[RTP_HEADER..]);
        // The other agent answers a lite agent's checks: the first one, and those that keep
        // consent.
        let proofs = interop.proofs;
        for _ in 0..1_000 {
            interop.step();
        }
        assert!(proofs >= 1 && interop.proofs >= proofs + 3);
        assert_eq!(interop.transport.media_path(), Some(CLIENT.into()));
    }
}
