//! Two people of a mesh: one peer connection each, media both ways, no server between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::peer_connection::{RTCPeerConnectionState, RTCSessionDescription};

use crate::bot::peer::{Lines, Peer};
use crate::bot::publish::{Publisher, Video, sources};
use crate::bot::receive::Receiver;
use crate::bot::tap::{Outgoing, lock};

/// Gathering loopback candidates and a DTLS handshake are milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The reason that a mesh could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The crate refused something.
    #[error("peer connection: {0}")]
    Peer(#[from] webrtc::error::Error),
    /// The connection took too long.
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
    peer: Peer,
    receiver: Arc<Mutex<Receiver>>,
    outgoing: Arc<Outgoing>,
    publishing: Option<JoinHandle<Result<(), webrtc::error::Error>>>,
}

impl Pair {
    pub(super) async fn connect(
        one: usize,
        other: usize,
        video: Video,
        audio: bool,
    ) -> Result<Self, MeshError> {
        let mut offerer = End::new(one, video, audio).await?;
        let answerer = End::new(other, video, audio).await?;
        let lines = Lines {
            audio: u32::from(audio),
            video: u32::from(video != Video::None),
        };
        let connecting = async {
            let offer = offerer.peer.offer(lines).await?;
            let answer = answerer.answer(offer.sdp).await?;
            offerer.peer.accept(&answer).await?;
            for end in [&offerer, &answerer] {
                let mut state = end.peer.state();
                let connected = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
                // The sender lives in the connection, which we hold.
                let _ = connected.await;
            }
            Ok::<_, MeshError>(())
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        connected.map_err(|_| MeshError::TooSlow)??;
        Ok(Self {
            ends: [(one, offerer), (other, answerer)],
        })
    }

    /// Both send, from `start` on.
    pub(super) fn publish(&mut self, start: Instant) {
        for (_, end) in &mut self.ends {
            let publisher = Publisher::new(end.peer.sources(), &end.outgoing);
            end.publishing = Some(tokio::spawn(publisher.run(start)));
        }
    }

    /// The bytes that each has sent and received so far.
    pub(super) fn traffic(&self) -> [(usize, Traffic); 2] {
        self.ends.each_ref().map(|(person, end)| {
            let traffic = Traffic {
                sent: end.outgoing.bytes(),
                received: lock(&end.receiver).totals().bytes,
            };
            (*person, traffic)
        })
    }

    /// Ends it. Returns the streams that carried something to be shown or heard, packets lost, and
    /// the oracle's violations.
    pub(super) async fn close(self) -> (usize, u64, u64) {
        let (mut streams, mut lost, mut violations) = (0, 0, 0);
        for (_, end) in &self.ends {
            for stream in lock(&end.receiver).finish() {
                let shown = stream.codec == "opus" || stream.decodable_frames > 0;
                streams += usize::from(shown && stream.packets > 0);
                lost += stream.lost;
                violations += stream.violation_count;
            }
        }
        for (_, end) in self.ends {
            if let Some(publishing) = end.publishing {
                publishing.abort();
            }
            end.peer.close().await;
        }
        (streams, lost, violations)
    }
}

impl End {
    async fn new(person: usize, video: Video, audio: bool) -> Result<Self, MeshError> {
        let receiver = Arc::default();
        let outgoing = Arc::default();
        let peer = Peer::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            sources(&format!("person-{}", person + 1), video, audio),
            Arc::clone(&receiver),
            Arc::clone(&outgoing),
            Arc::default(),
        );
        Ok(Self {
            peer: peer.await?,
            receiver,
            outgoing,
            publishing: None,
        })
    }

    /// The answer to an offer, candidates included.
    async fn answer(&self, offer: String) -> Result<String, MeshError> {
        const RETRY: Duration = Duration::from_millis(5);
        let connection = self.peer.connection();
        let offer = RTCSessionDescription::offer(offer)?;
        connection.set_remote_description(offer).await?;
        let answer = connection.create_answer(None).await?;
        connection.set_local_description(answer).await?;
        let mut tries = tokio::time::interval(RETRY);
        loop {
            tries.tick().await;
            let described = connection.local_description().await;
            if let Some(described) = described
                && described.sdp.contains("a=candidate")
            {
                return Ok(described.sdp);
            }
        }
    }
}
