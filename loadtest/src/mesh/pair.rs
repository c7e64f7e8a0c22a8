//! Two people of a mesh: one peer connection each, media both ways, no server between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::Needs;
use tokio::time::Instant;

use crate::bot::native::{Media, MediaEvent};
use crate::bot::peer::Peer;
use crate::bot::publish::{Video, sources};
use crate::bot::state::BotState;
use crate::bot::tap::lock;

/// Gathering loopback candidates and a DTLS handshake are milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The reason that a mesh could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The crate refused something.
    #[error("peer connection: {0}")]
    Peer(#[from] webrtc::error::Error),
    /// The connection took too long, or failed.
    #[error("two people did not connect within {PATIENCE:?}")]
    TooSlow,
}

/// Two connected people, by number.
pub(super) struct Pair {
    ends: [(usize, Peer); 2],
}

impl Pair {
    pub(super) async fn connect(
        one: usize,
        other: usize,
        video: Video,
        audio: bool,
    ) -> Result<Self, MeshError> {
        let mut offerer = person(one, video, audio).await?;
        let mut answerer = person(other, video, audio).await?;
        let lines = Needs {
            audio: u16::from(audio),
            video: u16::from(video != Video::None),
        };
        let connecting = async {
            let offer = Peer::offer(&mut offerer, lines).await?;
            answerer.answer(&offer.sdp).await?;
            let answer = answerer.gathered().await.unwrap_or_default();
            Peer::accept(&mut offerer, &answer).await?;
            for peer in [&mut offerer, &mut answerer] {
                if peer.next().await != MediaEvent::Connected {
                    return Err(MeshError::TooSlow);
                }
            }
            Ok(())
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        connected.map_err(|_| MeshError::TooSlow)??;
        Ok(Self {
            ends: [(one, offerer), (other, answerer)],
        })
    }

    /// Both send, from `start` on.
    pub(super) async fn publish(&mut self, start: Instant) {
        for (_, peer) in &mut self.ends {
            peer.publish(start).await;
        }
    }

    /// The bytes of RTP headers and payloads that each has sent and received so far.
    pub(super) fn traffic(&self) -> [(usize, u64, u64); 2] {
        self.ends.each_ref().map(|(person, peer)| {
            let received = lock(&peer.bot.receiver).totals().bytes;
            (*person, peer.bot.outgoing.sent().bytes, received)
        })
    }

    /// Ends it. Returns the streams that carried something to be shown or heard, packets lost, and
    /// the oracle's violations.
    pub(super) async fn close(self) -> (usize, u64, u64) {
        let (mut streams, mut lost, mut violations) = (0, 0, 0);
        for (_, peer) in &self.ends {
            for stream in lock(&peer.bot.receiver).finish() {
                let shown = stream.codec == "opus" || stream.decodable_frames > 0;
                streams += usize::from(shown && stream.packets > 0);
                lost += stream.lost;
                violations += stream.violation_count;
            }
        }
        for (_, mut peer) in self.ends {
            peer.leave().await;
        }
        (streams, lost, violations)
    }
}

async fn person(number: usize, video: Video, audio: bool) -> Result<Peer, webrtc::error::Error> {
    let name = format!("person-{}", number + 1);
    let sources = sources(&name, video, audio);
    let state = Arc::new(BotState::new(name, "mesh".into(), true));
    Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), sources, state).await
}
