//! A bot's media on the `webrtc` crate: a peer connection, the client's half of "the client always offers", and what it
//! publishes.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tertulia_sfu::rtp::extension::ExtensionKind;
use tertulia_signaling::protocol::native::{CarriedTrack, Needs, Offer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
    SrtpProtectionProfile,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpTransceiver};

use super::native::{Media, MediaEvent};
use super::publish::{Publisher, Source, sources};
use super::socket::BotRuntime;
use super::state::BotState;
use super::tap::{self, Extensions, lock};
use super::{BotConfig, BotError, codecs};
use crate::sdp::{Description, Section};

/// A peer connection with its taps.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    published: Vec<(Source, Arc<dyn RtpTransceiver>)>,
    pub(crate) bot: Arc<BotState>,
    state: watch::Receiver<RTCPeerConnectionState>,
    gathering: watch::Receiver<RTCIceGatheringState>,
    ice: Arc<OnceLock<Instant>>,
    publishing: Option<JoinHandle<Result<(), Error>>>,
}

struct States {
    connection: watch::Sender<RTCPeerConnectionState>,
    gathering: watch::Sender<RTCIceGatheringState>,
    /// The time at which ICE found a way.
    ice: Arc<OnceLock<Instant>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for States {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.connection.send_replace(state);
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathering.send_replace(state);
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if state == RTCIceConnectionState::Connected || state == RTCIceConnectionState::Completed {
            self.ice.get_or_init(Instant::now);
        }
    }
}

impl Peer {
    /// The connection of a bot in a call.
    pub(crate) fn of(
        config: &BotConfig,
        bot: &Arc<BotState>,
    ) -> impl Future<Output = Result<Self, BotError>> + Send + use<> {
        let sources = match bot.publishes {
            true => sources(&bot.name, config.video, config.audio),
            false => Vec::new(),
        };
        let connecting = Box::pin(Self::new(config.address, sources, Arc::clone(bot)));
        async { Ok(connecting.await?) }
    }

    /// A connection from `address` that will send `sources`.
    pub(crate) async fn new(
        address: IpAddr,
        sources: Vec<Source>,
        bot: Arc<BotState>,
    ) -> Result<Self, Error> {
        let (connection_states, state) = watch::channel(RTCPeerConnectionState::New);
        let (gathering_states, gathering) = watch::channel(RTCIceGatheringState::New);
        let ice = Arc::new(OnceLock::new());
        let (engine, registry) = codecs::engine()?;
        let (receiver, outgoing) = (Arc::clone(&bot.receiver), Arc::clone(&bot.outgoing));
        let registry = tap::register(registry, receiver, outgoing);
        let settings = SettingEngineBuilder::new()
            // The default binds a multicast socket for each connection, to find names we never use.
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_runtime(Arc::new(BotRuntime::new(Arc::clone(&bot.ports))))
            .with_handler(Arc::new(States {
                connection: connection_states,
                gathering: gathering_states,
                ice: Arc::clone(&ice),
            }))
            .with_udp_addrs(vec![SocketAddr::new(address, 0)])
            .build();
        // The future is too large for a stack on which those around it lie too.
        let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(connection).await?);
        let mut published = Vec::new();
        for source in sources {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendonly,
                ..Default::default()
            };
            let track = Arc::clone(&source.track);
            let transceiver = connection
                .add_transceiver_from_track(track, Some(init))
                .await?;
            published.push((source, transceiver));
        }
        Ok(Self {
            connection,
            published,
            bot,
            state,
            gathering,
            ice,
            publishing: None,
        })
    }

    /// The state of the connection, and every change.
    pub fn state(&self) -> watch::Receiver<RTCPeerConnectionState> {
        self.state.clone()
    }

    /// The crate's connection itself.
    pub fn connection(&self) -> &Arc<dyn PeerConnection> {
        &self.connection
    }

    /// The tracks that are published.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.published.iter().map(|(source, _)| source)
    }

    /// The tracks that are published, and by which transceiver. (The crate's own list has no order.)
    pub(crate) fn published(&self) -> &[(Source, Arc<dyn RtpTransceiver>)] {
        &self.published
    }

    /// Adds receiving m-lines and offers. [`Self::accept`] must follow before the next offer.
    pub async fn offer(&mut self, add: Needs) -> Result<Offer, Error> {
        let kinds = [
            (RtpCodecKind::Audio, add.audio),
            (RtpCodecKind::Video, add.video),
        ];
        for (kind, count) in kinds {
            for _ in 0..count {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    ..Default::default()
                };
                self.connection
                    .add_transceiver_from_kind(kind, Some(init))
                    .await?;
            }
        }
        let offer = self.connection.create_offer(None).await?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await?;
        let mut tracks = Vec::new();
        for (source, transceiver) in &self.published {
            if let Some(mid) = transceiver.mid().await? {
                tracks.push(CarriedTrack {
                    mid,
                    source: source.plan.source,
                    muted: false,
                });
            }
        }
        Ok(Offer { sdp, tracks })
    }

    /// The description last offered or answered with, once all its candidates are in.
    pub(crate) async fn gathered(&self) -> Option<String> {
        let mut gathering = self.gathering.clone();
        let complete = |state: &RTCIceGatheringState| *state == RTCIceGatheringState::Complete;
        gathering.wait_for(complete).await.ok()?;
        self.described().await
    }

    /// The description last offered or answered with, with the candidates there are.
    pub(crate) async fn described(&self) -> Option<String> {
        let description = self.connection.local_description().await?;
        Some(description.sdp)
    }

    /// Answers a server's offer of tracks to receive.
    pub(crate) async fn answer(&self, offer: &str) -> Result<(), Error> {
        lock(&self.bot.receiver).learn(&Description::read(offer).sections);
        let offer = RTCSessionDescription::offer(offer.to_owned())?;
        self.connection.set_remote_description(offer).await?;
        let answer = self.connection.create_answer(None).await?;
        self.connection.set_local_description(answer).await
    }

    /// Applies the server's answer: media may flow.
    pub async fn accept(&mut self, answer: &str) -> Result<(), Error> {
        let sections = Description::read(answer).sections;
        lock(&self.bot.receiver).learn(&sections);
        for (source, transceiver) in &self.published {
            let mid = transceiver.mid().await?;
            let mut sections = sections.iter();
            if let Some(section) = sections.find(|section| Some(&section.mid) == mid.as_ref()) {
                self.name_packets(source, section);
            }
        }
        let answer = RTCSessionDescription::answer(answer.to_owned())?;
        self.connection.set_remote_description(answer).await
    }

    /// Sends these; the first frames are due at `start`.
    pub(crate) fn send(&mut self, publisher: Publisher, start: Instant) {
        self.publishing = Some(tokio::spawn(publisher.run(start)));
    }

    fn note_phases(&self) {
        let Some(started) = self.bot.call().started else {
            return;
        };
        let mut observed = lock(&self.bot.observed);
        observed.phases.ice = self.ice.get().map(|at| at.duration_since(started));
        observed.phases.dtls = Some(started.elapsed());
    }

    fn name_packets(&self, source: &Source, section: &Section) {
        let id = |kind| section.extensions.id(kind);
        let named = |kind, value: &str| Some((id(kind)?, Bytes::copy_from_slice(value.as_bytes())));
        let mid = named(ExtensionKind::Mid, &section.mid);
        for encoding in &source.plan.sending.encodings {
            let names = |kind| {
                let rid = Some(encoding.rid).filter(|rid| !rid.is_empty());
                let rid = rid.and_then(|rid| named(kind, rid));
                mid.clone().into_iter().chain(rid).collect()
            };
            // RFC 6464: the top bit says voice, the rest is the level in -dBov. The clip is
            // loud throughout.
            let level =
                id(ExtensionKind::AudioLevel).map(|id| (id, Bytes::from_static(&[0x80 | 20])));
            let extensions = Extensions {
                naming: names(ExtensionKind::Rid),
                always: level.into_iter().collect(),
                capture_time: id(ExtensionKind::AbsCaptureTime),
            };
            self.bot.outgoing.set_extensions(encoding.ssrc, extensions);
            if let Some(repair) = encoding.repair {
                let repairs = Extensions {
                    always: names(ExtensionKind::RepairedRid),
                    ..Extensions::default()
                };
                self.bot.outgoing.set_extensions(repair, repairs);
            }
        }
    }
}

impl Media for Peer {
    async fn offer(&mut self, add: Needs) -> Result<Offer, BotError> {
        Ok(Self::offer(self, add).await?)
    }

    async fn accept(&mut self, sdp: &str) -> Result<(), BotError> {
        Ok(Self::accept(self, sdp).await?)
    }

    async fn next(&mut self) -> MediaEvent {
        loop {
            if self.state.changed().await.is_err() {
                return MediaEvent::Failed("the peer connection is gone".into());
            }
            let state = *self.state.borrow_and_update();
            match state {
                RTCPeerConnectionState::Connected => {
                    self.note_phases();
                    return MediaEvent::Connected;
                }
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                    return MediaEvent::Failed(format!("the peer connection is {state}"));
                }
                _ => {}
            }
        }
    }

    fn awaits(&self) -> String {
        "no transport".into()
    }

    /// Publishes every encoding, wanted or not.
    async fn want_encodings(&mut self, _: &str, _: Vec<(String, bool)>) {}

    async fn publish(&mut self, start: Instant) {
        let publisher = Publisher::new(self.sources(), &self.bot.outgoing);
        self.send(publisher, start);
    }

    async fn stop(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            publishing.abort();
        }
    }

    async fn leave(&mut self) {
        self.stop().await;
        // Closing fails only when already closed.
        let _ = self.connection.close().await;
    }
}
