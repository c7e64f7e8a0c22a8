//! Paths of peers: STUN, and datagrams over paths that several peers share.

use std::time::Instant;

use super::Worker;
use crate::demux::{Claim, Class};
use crate::drops::DropReason;
use crate::index::PeerIx;
use crate::stats::Decision;
use crate::stream::Crowding;
use crate::transport::{Hold, Path, StunOutcome, stun_answer_tag, stun_local_ufrag};

/// The counters of paths.
#[derive(Debug, Default)]
pub(super) struct PathCounters {
    pub(super) claims_refused: u64,
    pub(super) proven: u64,
    pub(super) unproven: u64,
    pub(super) rebound: u64,
}

impl Worker {
    pub(super) fn handle_stun(&mut self, now: Instant, from: Path, datagram: &[u8]) {
        let found = match stun_answer_tag(datagram) {
            Some(tag) => self.demux.by_tag(tag).ok_or(DropReason::StunUnaskedAnswer),
            None => stun_local_ufrag(datagram)
                .and_then(|ufrag| self.demux.by_ufrag(ufrag))
                .ok_or(DropReason::StunUnknownUfrag),
        };
        let index = match found {
            Ok(index) => PeerIx::from(index),
            Err(DropReason::StunUnaskedAnswer) if self.take_query_answer(from, datagram) => return,
            Err(DropReason::StunUnknownUfrag) if self.answer_stranger(now, from, datagram) => {
                return;
            }
            Err(reason) => return self.counters.drop(reason),
        };
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        match peer.transport.handle_stun(now, from, datagram) {
            StunOutcome::Bound | StunOutcome::Refreshed => {
                peer.subscriber.hear(now);
                let is_proven = peer.transport.is_proven(now, from);
                self.claim(now, index, from, is_proven);
            }
            StunOutcome::Proven => peer.subscriber.hear(now),
            StunOutcome::Rejected(reason) => return self.counters.drop(reason),
        }
        self.service(now, index);
    }

    /// Records that a peer has proved to be at a path.
    pub(super) fn path_proven(&mut self, now: Instant, index: PeerIx, path: Path) {
        self.counters.paths.proven += 1;
        self.claim(now, index, path, true);
    }

    fn claim(&mut self, now: Instant, index: PeerIx, path: Path, is_proven: bool) {
        if self.demux.paths.claim(path, index.into(), is_proven) == Claim::Held {
            return;
        }
        self.counters.paths.claims_refused += 1;
        if let Some(peer) = self.peers.get_mut(index)
            && peer.may_log(now)
        {
            tracing::info!(room = %peer.room, peer = %peer.id, %path, "peer claims a path where another is");
        }
    }

    /// The connection of a stream is gone: its peer goes on over another path, if it has one.
    pub(crate) fn path_closed(&mut self, now: Instant, path: Path) {
        let peers: Vec<PeerIx> = self.demux.paths.all_at(path).map(PeerIx::from).collect();
        for index in peers {
            self.demux.paths.unbind(path, index.into());
            if let Some(peer) = self.peers.get_mut(index) {
                let was_in_use = peer.transport.path() == Some(path);
                peer.transport.path_closed(now, path);
                if was_in_use {
                    peer.subscriber.link_mut().pacer.set_blocked(now, false);
                }
                self.service(now, index);
            }
        }
    }

    /// Holds the video of the peers at a path back for as long as its stream takes too little, or lets it go on.
    pub(crate) fn path_crowded(&mut self, now: Instant, path: Path, crowding: Crowding) {
        let peers: Vec<PeerIx> = self.demux.paths.all_at(path).map(PeerIx::from).collect();
        for index in peers {
            if let Some(peer) = self.peers.get_mut(index) {
                // The connection of a path that is not in use says nothing about the one that is.
                if peer.transport.path() != Some(path) {
                    continue;
                }
                peer.subscriber.link_mut().set_crowding(now, crowding);
                self.schedule.touch(index);
            }
        }
    }

    /// Whether anybody still uses a path, or keeps it for later.
    pub(crate) fn keeps_path(&self, now: Instant, path: Path) -> bool {
        let mut peers = self.demux.paths.all_at(path).map(PeerIx::from);
        peers.any(|index| {
            let peer = self.peers.get(index);
            peer.is_some_and(|peer| peer.transport.keeps(now, path))
        })
    }

    /// Whether anybody is at a path.
    pub(crate) fn holds_path(&self, path: Path) -> bool {
        self.demux.paths.holder(path).is_some()
    }

    /// Stops media to a peer, or resumes it. Its allocation stays: a hold says nothing about its link.
    pub(super) fn hold_media(&mut self, now: Instant, index: PeerIx, hold: Option<Hold>) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let reason = hold.map_or("goes_on", Hold::code);
        if peer.may_log(now) {
            tracing::info!(room = %peer.room, peer = %peer.id, reason, "media for a peer is held or goes on");
        }
        let decision = Decision {
            at_ms: self.config.clock.unix_ms(now),
            peer: peer.id,
            track: None,
            layer: None,
            temporal: None,
            reason,
            estimate: peer.subscriber.link().estimate(),
        };
        let requests = match hold {
            Some(_) => {
                peer.subscriber.break_off();
                Vec::new()
            }
            None => peer.subscriber.keyframes_wanted(now),
        };
        if let Some(room) = self.rooms.get_mut(&peer.room) {
            room.decided(decision);
        }
        if hold.is_some() {
            *self.counters.media_held.entry(reason).or_default() += 1;
        }
        self.pass_on(now, requests);
    }

    /// Handles a datagram over a shared path. The peer whose keys open it has sent it.
    pub(super) fn handle_shared(
        &mut self,
        now: Instant,
        from: Path,
        class: Class,
        datagram: &mut [u8],
    ) {
        let peers = self.demux.paths.all_at(from).map(PeerIx::from);
        let peers: Vec<PeerIx> = peers.collect();
        match class {
            Class::Rtp | Class::Rtcp => {
                if let Err(refused) = self.open_shared(now, &peers, from, class, datagram) {
                    self.counters
                        .drop(refused.unwrap_or(DropReason::UnknownAddress));
                }
            }
            Class::Dtls => self.spread_dtls(now, &peers, from, datagram),
            Class::Stun | Class::Unknown => self.counters.drop(DropReason::UnknownProtocol),
        }
    }

    /// Handles media over a path that nobody is at. A NAT may have given a client another port: then its keys open it. The
    /// client itself does not know, and checks seconds later.
    pub(super) fn handle_stray(
        &mut self,
        now: Instant,
        from: Path,
        class: Class,
        datagram: &mut [u8],
    ) {
        let is_media = matches!(class, Class::Rtp | Class::Rtcp);
        let near = self.demux.paths.near(from).filter(|_| is_media);
        let near = near.filter_map(|index| {
            let index = PeerIx::from(index);
            let peer = self.peers.get(index)?;
            Some((peer.transport.spoken_at(), index))
        });
        let peers = self.demux.strays.choose(now, near);
        if peers.is_empty() {
            return self.counters.drop(DropReason::UnknownAddress);
        }
        // Keys that do not open it belong to a neighbour of the sender, which says nothing about the packet.
        if self
            .open_shared(now, &peers, from, class, datagram)
            .is_err()
        {
            self.counters.drop(DropReason::UnknownAddress);
        }
    }

    /// Handles media of one of several peers: its keys open it. Else the reason of the last one, if there was any.
    fn open_shared(
        &mut self,
        now: Instant,
        peers: &[PeerIx],
        from: Path,
        class: Class,
        datagram: &[u8],
    ) -> Result<(), Option<DropReason>> {
        // A peer whose keys do not open it may spoil the buffer.
        let mut copy = Vec::with_capacity(datagram.len());
        let mut refused = None;
        for index in peers {
            let Some(peer) = self.peers.get_mut(*index) else {
                continue;
            };
            copy.clear();
            copy.extend_from_slice(datagram);
            let opened = match class {
                Class::Rtcp => peer.transport.open_rtcp(&mut copy),
                _ => peer.transport.open_rtp(&mut copy),
            };
            match opened {
                Ok(len) => {
                    copy.truncate(len);
                    self.spoken_by(now, *index, from, datagram.len());
                    match class {
                        Class::Rtcp => self.take_rtcp(now, *index, &copy),
                        _ => self.take_rtp(now, *index, &mut copy),
                    }
                    return Ok(());
                }
                Err(reason) => refused = Some(reason),
            }
        }
        Err(refused)
    }

    /// Follows an authentic packet of a peer over a path that may be new.
    fn spoken_by(&mut self, now: Instant, index: PeerIx, from: Path, bytes: usize) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        if self.demux.paths.holder(from).is_some() {
            if peer.transport.spoken(now, from) {
                self.service(now, index);
            }
            return;
        }
        peer.transport.rebound(now, from, bytes);
        self.counters.paths.rebound += 1;
        if peer.may_log(now) {
            tracing::info!(room = %peer.room, peer = %peer.id, path = %from, "peer sends from another address of its NAT");
        }
        self.claim(now, index, from, false);
        self.service(now, index);
    }

    /// Gives a handshake record to the peer that waits for one, and a record of an association to all: it authenticates
    /// at one.
    fn spread_dtls(&mut self, now: Instant, peers: &[PeerIx], from: Path, datagram: &mut [u8]) {
        let connected = |index: &&PeerIx| {
            let peer = self.peers.get(**index);
            peer.is_some_and(|peer| peer.transport.is_connected())
        };
        // RFC 5246 section 6.2.1: change_cipher_spec and handshake.
        let of_handshake = matches!(datagram.first(), Some(20 | 22));
        let for_these: Vec<PeerIx> = match of_handshake {
            true => {
                let claimant = self.demux.paths.claimant(from).map(PeerIx::from);
                let mut waiting = peers.iter().chain(&claimant);
                let waiting = waiting.find(|index| !connected(index));
                waiting.or(peers.first()).into_iter().copied().collect()
            }
            false => peers.iter().filter(connected).copied().collect(),
        };
        for index in for_these {
            self.handle_dtls(now, index, from, &mut datagram.to_vec());
        }
    }
}
