//! The output of a peer's transport: control datagrams, transitions, data channel messages.

use std::time::Instant;

use super::Worker;
use crate::drops::DropReason;
use crate::event::Event;
use crate::index::PeerIx;
use crate::transport::TransportEvent;

impl Worker {
    /// Handles everything that a peer's transport has produced.
    pub(super) fn service(&mut self, now: Instant, index: PeerIx) {
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
                Some(TransportEvent::Replaced) => {
                    if peer.may_log(now) {
                        tracing::info!(room = %peer.room, peer = %peer.id, "peer replaced its transport");
                    }
                    self.begin_again(now, index);
                }
                Some(TransportEvent::NotReplaced(reason)) => {
                    if peer.may_log(now) {
                        tracing::info!(room = %peer.room, peer = %peer.id, reason = reason.code(), "peer did not replace its transport");
                    }
                    self.counters.drop(DropReason::DtlsNotReplaced);
                }
                Some(TransportEvent::PathChanged { from, to }) => {
                    let requests = peer.subscriber.path_changed(now);
                    if peer.may_log(now) {
                        tracing::info!(room = %peer.room, peer = %peer.id, %from, %to, "peer changed its path");
                    }
                    self.pass_on(now, requests);
                }
                Some(TransportEvent::PathForgotten(path)) => {
                    self.demux.paths.unbind(path, index.into());
                }
                Some(TransportEvent::PathProven(path)) => self.path_proven(now, index, path),
                Some(TransportEvent::PathsUnproven(count)) => {
                    self.counters.paths.unproven += count;
                }
                Some(TransportEvent::MediaHeld(hold)) => self.hold_media(now, index, hold),
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
                    self.take_data(now, index, channel, payload, binary);
                }
                Some(TransportEvent::DataRefused(reason)) => self.refuse_data(now, index, reason),
            }
        }
    }
}
