//! A bot's media on the `webrtc` crate.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use tertulia_signaling::protocol::native::{Needs, Offer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::peer_connection::RTCPeerConnectionState;

use super::native::{Media, MediaEvent};
use super::peer::Peer;
use super::publish::{Publisher, Source, sources};
use super::state::BotState;
use super::tap::lock;
use super::{BotConfig, BotError};

/// A peer connection and what it publishes.
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    state: Arc<BotState>,
    transport: watch::Receiver<RTCPeerConnectionState>,
    publishing: Option<JoinHandle<Result<(), webrtc::error::Error>>>,
}

impl Connection {
    /// A connection of a bot in a call.
    pub(crate) fn of(
        config: &BotConfig,
        state: &Arc<BotState>,
    ) -> impl Future<Output = Result<Self, BotError>> + Send + use<> {
        let sources = match state.publishes {
            true => sources(&state.name, config.video, config.audio),
            false => Vec::new(),
        };
        let connecting = Box::pin(Self::new(config.address, sources, Arc::clone(state)));
        async { Ok(connecting.await?) }
    }

    /// A connection from `address` that will send `sources`.
    pub(crate) async fn new(
        address: IpAddr,
        sources: Vec<Source>,
        state: Arc<BotState>,
    ) -> Result<Self, webrtc::error::Error> {
        let (receiver, outgoing) = (Arc::clone(&state.receiver), Arc::clone(&state.outgoing));
        let ports = Arc::clone(&state.ports);
        let peer = Peer::new(address, sources, receiver, outgoing, ports).await?;
        Ok(Self {
            transport: peer.state(),
            peer,
            state,
            publishing: None,
        })
    }

    /// Sends these; the first frames are due at `start`.
    pub(crate) fn send(&mut self, publisher: Publisher, start: Instant) {
        self.publishing = Some(tokio::spawn(publisher.run(start)));
    }

    fn note_phases(&self) {
        let Some(started) = self.state.call().started else {
            return;
        };
        let mut observed = lock(&self.state.observed);
        observed.phases.ice = self.peer.ice().map(|at| at.duration_since(started));
        observed.phases.dtls = Some(started.elapsed());
    }
}

impl Media for Connection {
    async fn offer(&mut self, add: Needs) -> Result<Offer, BotError> {
        Ok(self.peer.offer(add).await?)
    }

    async fn accept(&mut self, sdp: &str) -> Result<(), BotError> {
        Ok(self.peer.accept(sdp).await?)
    }

    async fn next(&mut self) -> MediaEvent {
        loop {
            if self.transport.changed().await.is_err() {
                return MediaEvent::Failed("the peer connection is gone".into());
            }
            let transport = *self.transport.borrow_and_update();
            match transport {
                RTCPeerConnectionState::Connected => {
                    self.note_phases();
                    return MediaEvent::Connected;
                }
                state @ (RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) => {
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
        self.send(
            Publisher::new(self.peer.sources(), &self.state.outgoing),
            start,
        );
    }

    async fn stop(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            publishing.abort();
        }
    }

    async fn leave(&mut self) {
        self.stop().await;
        self.peer.close().await;
    }
}
