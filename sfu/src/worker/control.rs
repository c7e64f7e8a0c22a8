//! What a peer's transport produced: control datagrams, transitions, data channel messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use super::relay::Control;
use crate::event::Event;
use crate::id::RoomId;
use crate::transport::{DataChannel, TransportEvent};

/// Data channel messages a peer may have relayed a second: pointers and reactions at display rate,
/// and a burst. Each becomes one message for every other peer in the room.
const DATA_PER_SECOND: u32 = 100;

/// A token bucket of data channel messages.
#[derive(Debug, Default)]
pub(super) struct DataBudget {
    window: Option<Instant>,
    used: u32,
}

impl DataBudget {
    fn take(&mut self, now: Instant) -> bool {
        if self
            .window
            .is_none_or(|window| now >= window + Duration::from_secs(1))
        {
            self.window = Some(now);
            self.used = 0;
        }
        self.used += 1;
        self.used <= DATA_PER_SECOND
    }
}

impl Worker {
    /// Takes out all that a peer's transport has produced.
    pub(super) fn service(&mut self, now: Instant, index: usize) {
        self.schedule.touch(index);
        loop {
            let Some(peer) = self.peers.get_mut(index) else {
                return;
            };
            while let Some((to, datagram)) = peer.transport.poll_transmit() {
                Self::transmit(&mut self.transmits, &mut peer.run, to, &datagram);
            }
            match peer.transport.poll_event() {
                None => return,
                Some(TransportEvent::Connected) => {
                    let (room, peer) = (peer.room, peer.id);
                    tracing::info!(%room, %peer, "peer connected");
                    self.events.push_back(Event::PeerConnected { room, peer });
                    self.begin(now, index);
                }
                Some(TransportEvent::AddressChanged { from, to }) => {
                    tracing::info!(room = %peer.room, peer = %peer.id, %from, %to, "peer changed its address");
                }
                Some(TransportEvent::AddressForgotten(addr)) => self.demux.unbind(addr, index),
                Some(TransportEvent::Failed(reason)) => {
                    let (room, peer) = (peer.room, peer.id);
                    tracing::info!(%room, %peer, reason = reason.code(), "peer failed");
                    self.remove_peer(now, index);
                    self.events
                        .push_back(Event::PeerFailed { room, peer, reason });
                    return;
                }
                Some(TransportEvent::Data {
                    channel,
                    binary,
                    payload,
                }) => {
                    if peer.data_budget.take(now) {
                        self.relay_data(now, index, channel, &payload, binary);
                    } else {
                        self.counters.drop("data_rate_limited");
                    }
                }
            }
        }
    }

    fn relay_data(
        &mut self,
        now: Instant,
        from: usize,
        channel: DataChannel,
        payload: &[u8],
        binary: bool,
    ) {
        let Some(room) = self.peers.get(from).map(|peer| peer.room) else {
            return;
        };
        if let Some(part) = self.rooms.get(&room).filter(|part| !part.parts.is_empty()) {
            let shared: Arc<[u8]> = payload.into();
            for other in &part.parts {
                let control = Control::Data {
                    room,
                    channel,
                    binary,
                    payload: Arc::clone(&shared),
                };
                self.outbox.push_back((*other, control));
            }
        }
        self.deliver_data(now, room, Some(from), channel, payload, binary);
    }

    /// Sends a message to every peer of a room on this worker but one.
    pub(super) fn deliver_data(
        &mut self,
        now: Instant,
        room: RoomId,
        except: Option<usize>,
        channel: DataChannel,
        payload: &[u8],
        binary: bool,
    ) {
        let Some(room) = self.rooms.get(&room) else {
            return;
        };
        let others = room.peers.iter().copied();
        for index in others.filter(|index| Some(*index) != except) {
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            // A viewer without data channels is no error; one that does not drain them loses messages.
            if peer
                .transport
                .send_data(now, channel, payload, binary)
                .is_err()
            {
                self.counters.drop("data_undelivered");
            }
            while let Some((to, datagram)) = peer.transport.poll_transmit() {
                Self::transmit(&mut self.transmits, &mut peer.run, to, &datagram);
            }
            self.schedule.touch(index);
        }
    }
}
