//! Tools for tests of code that uses bots.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tertulia_signaling::protocol::native::Needs;
use tokio::time::Instant;
use webrtc::peer_connection::RTCSessionDescription;

use super::codecs;
use super::peer::Peer;
use super::publish::{Publisher, Video, sources};
use super::receive::Receiver;
use super::state::BotState;
use super::tap::{Outgoing, lock};
use crate::measure::Totals;
use crate::media::clip::{VIDEO_180P, VideoLoop};
use crate::media::packetize::{Stream, Vp8Packetizer};
use crate::sdp::Section;

/// Lets a bot receive frames `from..to` of the small clip on an m-line.
pub(crate) fn hear_clip(bot: &BotState, mid: &str, from: u32, to: u32) {
    const SSRC: u32 = 77;
    let mut receiver = lock(&bot.receiver);
    receiver.learn(&[Section {
        mid: mid.to_owned(),
        ssrcs: vec![SSRC],
        ..Default::default()
    }]);
    let mut clip = VideoLoop::new(VIDEO_180P.clone());
    let mut packetizer = Vp8Packetizer::new(Stream::random(SSRC, codecs::VP8));
    let start = std::time::Instant::now();
    for frame in 0..to {
        let mut packets = Vec::new();
        packetizer.packetize(&clip.next_frame().data, 3_000, &mut packets);
        let at = start + Duration::from_secs(1) / 30 * frame;
        if frame >= from {
            for packet in &packets {
                receiver.observe(packet, at);
            }
        }
    }
}

/// A peer connection outside any bot.
pub(crate) struct Side {
    pub(crate) peer: Peer,
    pub(crate) receiver: Arc<Mutex<Receiver>>,
    pub(crate) outgoing: Arc<Outgoing>,
}

pub(crate) async fn side(name: &str, video: Video, audio: bool) -> Side {
    let state = Arc::new(BotState::new(name.to_owned(), "room".into(), true));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer = Peer::new(address, sources(name, video, audio), Arc::clone(&state));
    Side {
        peer: peer.await.unwrap(),
        receiver: Arc::clone(&state.receiver),
        outgoing: Arc::clone(&state.outgoing),
    }
}

impl Side {
    /// Plays the server: answers an offer, candidates included.
    pub(crate) async fn answer(&self, offer: String) -> String {
        let connection = self.peer.connection();
        let offer = RTCSessionDescription::offer(offer).unwrap();
        connection.set_remote_description(offer).await.unwrap();
        let answer = connection.create_answer(None).await.unwrap();
        connection.set_local_description(answer).await.unwrap();
        let mut tries = tokio::time::interval(Duration::from_millis(5));
        loop {
            tries.tick().await;
            let sdp = connection.local_description().await.unwrap().sdp;
            if sdp.contains("a=candidate") {
                return sdp;
            }
        }
    }

    pub(crate) async fn negotiate(&mut self, server: &Side, add: Needs) {
        let offer = self.peer.offer(add).await.unwrap();
        assert_eq!(offer.tracks.len(), self.peer.sources().count());
        let answer = server.answer(offer.sdp).await;
        self.peer.accept(&answer).await.unwrap();
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(Totals) -> bool) {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            tries.tick().await;
            let totals = lock(&self.receiver).totals();
            if done(totals) {
                return;
            }
            assert!(Instant::now() < deadline, "no {what}: {totals:?}");
        }
    }
}

pub(crate) async fn connected(side: &Side) {
    let wait = async {
        let mut state = side.peer.state();
        let connected = state.wait_for(|state| state.to_string() == "connected");
        connected.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
}

pub(crate) fn publish(side: &Side) -> AbortOnDrop {
    let publisher = Publisher::new(side.peer.sources(), &side.outgoing);
    AbortOnDrop(tokio::spawn(publisher.run(Instant::now())))
}

pub(crate) struct AbortOnDrop(tokio::task::JoinHandle<Result<(), webrtc::error::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
