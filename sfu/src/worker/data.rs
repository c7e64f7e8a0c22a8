//! Data channel messages: from one peer to all others in its room.

use std::sync::Arc;
use std::time::Instant;

use super::{Control, Worker};
use crate::drops::DropReason;
use crate::error::SfuError;
use crate::event::{DataRefusal, Event};
use crate::id::PeerId;
use crate::index::PeerIx;
use crate::pipe::Data;
use crate::transport::{DataChannel, DataMessage};

/// A peer as a sender of messages.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The name that receivers are told. Empty: its peer id.
    pub(crate) sender: String,
    /// Its messages are passed on.
    pub(crate) may_send_data: bool,
    /// The room's control plane is told its messages.
    pub(crate) hear_data: bool,
}

impl Worker {
    /// Sets the name that receivers of a peer's messages are told, and whether there are any.
    pub(crate) fn name_sender(&mut self, peer: PeerId, named: &Named) {
        let index = self.by_id.get(&peer).copied();
        if let Some(peer) = index.and_then(|index| self.peers.get_mut(index)) {
            if !named.sender.is_empty() {
                peer.sender = named.sender.as_str().into();
            }
            peer.data_budget.is_closed = !named.may_send_data;
            peer.data_budget.is_heard = named.hear_data;
        }
    }

    /// Handles a message from a peer.
    pub(super) fn take_data(
        &mut self,
        now: Instant,
        from: PeerIx,
        channel: DataChannel,
        payload: Vec<u8>,
        binary: bool,
    ) {
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if peer.data_budget.is_closed {
            return self.refuse_data(now, from, DataRefusal::NotAllowed);
        }
        let per_second = self.config.limits.data_messages_per_second;
        if !peer.data_budget.take(now, per_second) {
            return self.refuse_data(now, from, DataRefusal::TooFast);
        }
        let data = Data {
            room: peer.room,
            reliable: channel == DataChannel::Reliable,
            binary,
            payload: payload.into(),
            sender: Arc::clone(&peer.sender),
        };
        if peer.data_budget.is_heard {
            self.events.push_back(Event::DataReceived {
                room: data.room,
                peer: peer.id,
                reliable: data.reliable,
                binary,
                payload: Arc::clone(&data.payload),
            });
        }
        self.spread_data(&data);
        self.deliver_data(now, Some(from), &data);
    }

    /// Sends a message of the control plane to all peers of a room, or to one of them.
    pub(crate) fn send_data(
        &mut self,
        now: Instant,
        to: Option<PeerId>,
        data: &Data,
    ) -> Result<(), SfuError> {
        let Some(to) = to else {
            if !self.rooms.contains_key(&data.room) {
                return Err(SfuError::NoSuchRoom);
            }
            self.spread_data(data);
            self.deliver_data(now, None, data);
            return Ok(());
        };
        let index = *self.by_id.get(&to).ok_or(SfuError::NoSuchPeer)?;
        self.deliver_to(now, index, data, &data.named());
        Ok(())
    }

    /// Sends a message to the room's other parts.
    fn spread_data(&mut self, data: &Data) {
        if let Some(part) = self.rooms.get(&data.room) {
            for other in &part.parts {
                let control = Control::Data(data.clone());
                self.outbox.push_back((*other, control));
            }
        }
    }

    /// Counts a refused channel or message, and tells its peer.
    pub(super) fn refuse_data(&mut self, now: Instant, from: PeerIx, reason: DataRefusal) {
        self.counters.drop(reason.into());
        if let Some(peer) = self.peers.get_mut(from)
            && peer.data_budget.tell(now, reason)
        {
            let (room, peer) = (peer.room, peer.id);
            self.events
                .push_back(Event::DataRefused { room, peer, reason });
        }
    }

    /// Sends a message to every peer of a room on this worker but one.
    pub(super) fn deliver_data(&mut self, now: Instant, except: Option<PeerIx>, data: &Data) {
        let Some(room) = self.rooms.get(&data.room) else {
            return;
        };
        let named = data.named();
        let peers: Vec<PeerIx> = room.peers.iter().copied().collect();
        for index in peers {
            if Some(index) != except {
                self.deliver_to(now, index, data, &named);
            }
        }
    }

    fn deliver_to(&mut self, now: Instant, index: PeerIx, data: &Data, named: &[u8]) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let message = DataMessage {
            payload: &data.payload,
            named,
            binary: data.binary,
        };
        let channel = match data.reliable {
            true => DataChannel::Reliable,
            false => DataChannel::Unreliable,
        };
        // A viewer without data channels is no error; one that does not drain them loses messages.
        if peer.transport.send_data(now, channel, message).is_err() {
            self.counters.drop(DropReason::DataUndelivered);
        }
        while let Some((to, datagram)) = peer.transport.poll_transmit() {
            Self::transmit(&mut self.transmits, &mut peer.run, to, &datagram);
        }
        self.schedule.touch(index);
    }
}
