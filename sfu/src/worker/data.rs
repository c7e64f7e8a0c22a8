//! Data channel messages: from one peer to all others in its room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use super::pipe::Control;
use crate::drops::DropReason;
use crate::event::{DataRefusal, Event};
use crate::id::{PeerId, RoomId};
use crate::index::PeerIx;
use crate::transport::{DataChannel, DataMessage};

/// Interval at which one reason is told to a peer. The messages it sends are bounded, but not its mistakes.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A message for every peer in a room but its sender.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) room: RoomId,
    pub(crate) channel: DataChannel,
    pub(crate) binary: bool,
    pub(crate) payload: Arc<[u8]>,
    /// The sender's name.
    pub(crate) sender: Arc<str>,
}

/// The messages that a peer may still send, and the times it was told of refusals.
#[derive(Debug, Default)]
pub(super) struct DataBudget {
    window: Option<Instant>,
    used: u32,
    /// Times by reason, in the order of [`DataRefusal`].
    told: [Option<Instant>; DataRefusal::COUNT],
}

impl DataBudget {
    fn take(&mut self, now: Instant, per_second: u32) -> bool {
        if self
            .window
            .is_none_or(|window| now >= window + Duration::from_secs(1))
        {
            self.window = Some(now);
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.used <= per_second
    }

    /// Whether the peer is to be told of a refusal now.
    fn tell(&mut self, now: Instant, reason: DataRefusal) -> bool {
        let told = &mut self.told[reason as usize];
        let due = told.is_none_or(|told| now >= told + TOLD_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }
}

impl Worker {
    /// Sets the name that receivers of a peer's messages are told.
    pub(super) fn name_sender(&mut self, peer: PeerId, name: &str) {
        let index = self.by_id.get(&peer).copied();
        if let Some(peer) = index.and_then(|index| self.peers.get_mut(index)) {
            peer.sender = name.into();
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
        let per_second = self.config.limits.data_messages_per_second;
        if !peer.data_budget.take(now, per_second) {
            return self.refuse_data(now, from, DataRefusal::TooFast);
        }
        let data = Data {
            room: peer.room,
            channel,
            binary,
            payload: payload.into(),
            sender: Arc::clone(&peer.sender),
        };
        if let Some(part) = self.rooms.get(&data.room) {
            for other in &part.parts {
                let control = Control::Data(data.clone());
                self.outbox.push_back((*other, control));
            }
        }
        self.deliver_data(now, Some(from), &data);
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
        let named = [data.sender.as_bytes(), b"\n", &data.payload].concat();
        let message = DataMessage {
            payload: &data.payload,
            named: &named,
            binary: data.binary,
        };
        let others = room.peers.iter().copied();
        for index in others.filter(|index| Some(*index) != except) {
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            // A viewer without data channels is no error; one that does not drain them loses messages.
            if peer
                .transport
                .send_data(now, data.channel, message)
                .is_err()
            {
                self.counters.drop(DropReason::DataUndelivered);
            }
            while let Some((to, datagram)) = peer.transport.poll_transmit() {
                Self::transmit(&mut self.transmits, &mut peer.run, to, &datagram);
            }
            self.schedule.touch(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_messages_and_each_reason_is_told_once_in_it() {
        let mut budget = DataBudget::default();
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let taken = (0..10).filter(|i| budget.take(ms(*i), 3)).count();
        assert_eq!(taken, 3);
        assert!(!budget.take(ms(999), 3) && budget.take(ms(1_000), 3));
        for reason in [DataRefusal::TooFast, DataRefusal::UnknownLabel] {
            let told = (0..250).filter(|i| budget.tell(ms(i * 10), reason));
            assert_eq!(told.collect::<Vec<_>>(), [0, 100, 200], "{reason:?}");
        }
    }
}
