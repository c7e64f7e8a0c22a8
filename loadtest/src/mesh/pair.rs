//! Two people of a mesh: one peer connection each, media both ways, no server between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::protocol::native::Needs;
use tokio::time::Instant;

use crate::bot::connection::Connection;
use crate::bot::native::{Media, MediaEvent};
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

/// Bytes of RTP headers and payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// Two connected people, by number.
pub(super) struct Pair {
    ends: [(usize, End); 2],
}

struct End {
    connection: Connection,
    state: Arc<BotState>,
}

impl Pair {
    pub(super) async fn connect(
        one: usize,
        other: usize,
        video: Video,
        audio: bool,
    ) -> Result<Self, MeshError> {
        let mut offerer = End::new(one, video, audio).await?;
        let mut answerer = End::new(other, video, audio).await?;
        let lines = Needs {
            audio: u16::from(audio),
            video: u16::from(video != Video::None),
        };
        let connecting = async {
            let offer = offerer.connection.peer.offer(lines).await?;
            answerer.connection.peer.answer(&offer.sdp).await?;
            let answer = answerer
                .connection
                .peer
                .gathered()
                .await
                .unwrap_or_default();
            offerer.connection.peer.accept(&answer).await?;
            for end in [&mut offerer, &mut answerer] {
                if end.connection.next().await != MediaEvent::Connected {
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
        for (_, end) in &mut self.ends {
            end.connection.publish(start).await;
        }
    }

    /// The bytes that each has sent and received so far.
    pub(super) fn traffic(&self) -> [(usize, Traffic); 2] {
        self.ends.each_ref().map(|(person, End { state, .. })| {
            let traffic = Traffic {
                sent: state.outgoing.sent().bytes,
                received: lock(&state.receiver).totals().bytes,
            };
            (*person, traffic)
        })
    }

    /// Ends it. Returns the streams that carried something to be shown or heard, packets lost, and
    /// the oracle's violations.
    pub(super) async fn close(self) -> (usize, u64, u64) {
        let (mut streams, mut lost, mut violations) = (0, 0, 0);
        for (_, end) in &self.ends {
            for stream in lock(&end.state.receiver).finish() {
                let shown = stream.codec == "opus" || stream.decodable_frames > 0;
                streams += usize::from(shown && stream.packets > 0);
                lost += stream.lost;
                violations += stream.violation_count;
            }
        }
        for (_, mut end) in self.ends {
            end.connection.leave().await;
        }
        (streams, lost, violations)
    }
}

impl End {
    async fn new(person: usize, video: Video, audio: bool) -> Result<Self, MeshError> {
        let name = format!("person-{}", person + 1);
        let sources = sources(&name, video, audio);
        let state = Arc::new(BotState::new(name, "mesh".into(), true));
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Self {
            connection: Connection::new(address, sources, Arc::clone(&state)).await?,
            state,
        })
    }
}
