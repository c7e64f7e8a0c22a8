//! Answers offers: of a new peer, or of a peer that changes its tracks.

use std::time::Instant;

use rand::Rng;

use super::Worker;
use super::peer::Peer;
use crate::cache::CacheShare;
use crate::config::Limits;
use crate::egress::{SlotSeed, Subscriber, refused_lines};
use crate::error::{Limit, SfuError};
use crate::event::{Answer, MediaKind, Needs, PublishedTrack, RefusedMedia, Slot};
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{PeerIx, TrackIx};
use crate::ingress::{DataBudget, Publisher};
use crate::rtp::parameters::{MediaRole, SectionKind, SectionParameters, SlotIdentity};
use crate::seat::Seat;
use crate::track::{Target, Track};
use crate::transmit::RunKey;
use crate::transport::sdp::{
    LocalDescription, Negotiated, Offer, RemoteDescription, SdpLimits, Session, parse_offer,
};
use crate::transport::{Candidate, Fingerprint, IceCredentials, Transport, TransportConfig};
use crate::view::Reason;

/// SSRCs below this are left to clients, which invent their own: libwebrtc reports as 1.
const MIN_SSRC: u32 = 0x1000;

/// Characters left for a mid in `a=msid`: each half may have 64 (RFC 8830 section 2), and `slot-` takes 5.
const MAX_MID_IN_MSID: usize = 59;

/// The parts of the server's description that differ from peer to peer.
#[derive(Clone, Copy)]
struct Ours<'a> {
    ice: &'a IceCredentials,
    cname: &'a str,
    announce: Option<Candidate>,
}

/// Reads a client's offer. That is two thirds of the cost of an offer and needs no state of the worker, so that the
/// caller's thread does it and no packet waits.
pub(crate) fn read_offer(text: &str, limits: &Limits) -> Result<Offer, SfuError> {
    let offer = parse_offer(text, &SdpLimits::new(limits.media_per_offer))?;
    let limit = limits.tracks_per_peer;
    let tracks = offer.media.iter().filter(|media| media.publishes());
    if tracks.count() > limit {
        return Err(SfuError::Limit {
            what: Limit::TracksPerPeer,
            limit,
        });
    }
    Ok(offer)
}

impl Worker {
    /// Creates a peer from its first offer. A refused offer leaves nothing behind.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        room: RoomId,
        mut offer: Offer,
        auto_subscribe: bool,
        announce: Option<Candidate>,
        seat: Seat,
    ) -> Result<(PeerId, Answer), SfuError> {
        let limit = self.config.limits.peers_per_room;
        if self
            .rooms
            .get(&room)
            .ok_or(SfuError::NoSuchRoom)?
            .peers
            .len()
            >= limit
        {
            return Err(SfuError::Limit {
                what: Limit::PeersPerRoom,
                limit,
            });
        }
        let id = PeerId::new(self.config.index, self.next_id());
        let ice = IceCredentials::generate(self.config.index, &mut self.rng);
        let caches = self.config.caches.share();
        let mut subscriber = Subscriber::new(now, self.config.viewer_cap, caches.clone());
        if auto_subscribe {
            for source in self.sources(room, None) {
                subscriber.subscribe(source);
            }
        }
        let refused_lines = refused_lines(&offer);
        let offered = self.order_codecs(room, None, &mut offer);
        let orientation = self.agree_on_orientation(room, None, &mut offer);
        let cname = id.to_string();
        let mut session = Session::new(self.rng.random());
        let streams = Self::streams(&subscriber);
        let ours = Ours {
            ice: &ice,
            cname: &cname,
            announce,
        };
        let negotiated = self.negotiate(&mut session, &offer, ours, streams)?;
        let tag = self.stun_tag();
        let (remote, share) = (offer.remote.clone(), caches.clone());
        let transport = self.transport(now, ice.clone(), remote, tag, share);
        let ufrag = ice.ufrag.clone();
        let index = self.peers.insert(Peer {
            id,
            room,
            auto_subscribe,
            cname,
            announce,
            ice,
            remote_ice: offer.remote.map(|remote| remote.ice),
            stun_tag: tag,
            transport,
            session,
            publisher: Publisher::new(now, self.config.limits.publisher_bitrate, caches),
            subscriber,
            run: RunKey::default(),
            offers: 0,
            needs: Needs::default(),
            offered,
            asks: Default::default(),
            pictures: Default::default(),
            _seat: seat,
            sender: id.to_string().into(),
            data_budget: DataBudget::default(),
            logged_at: None,
        });
        self.by_id.insert(id, index);
        self.demux.insert_ufrag(ufrag, index.into());
        self.demux.insert_tag(tag, index.into());
        if let Some(room) = self.rooms.get_mut(&room) {
            room.peers.insert(index);
        }
        tracing::info!(%room, peer = %id, "peer joined");
        let answer = self.apply(now, index, negotiated, refused_lines)?;
        self.orientation_answered(now, index, orientation);
        Ok((id, answer))
    }

    /// Renegotiates with a peer. A refused offer changes nothing.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        id: PeerId,
        mut offer: Offer,
    ) -> Result<Answer, SfuError> {
        let index = *self.by_id.get(&id).ok_or(SfuError::NoSuchPeer)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        let room = peer.room;
        peer.rename_media(&mut self.tracks, &offer)?;
        let refused_lines = refused_lines(&offer);
        let offered = self.order_codecs(room, Some(index), &mut offer);
        let orientation = self.agree_on_orientation(room, Some(index), &mut offer);
        let peer = self.peers.get(index).ok_or(SfuError::NoSuchPeer)?;
        let (mut session, cname) = (peer.session.clone(), peer.cname.clone());
        let announce = peer.announce;
        // An offer with other credentials restarts ICE (RFC 8839 section 4.4.1.1): the server's change too.
        let theirs = offer.remote.as_ref().map(|remote| &remote.ice);
        let restart = theirs.is_some_and(|theirs| peer.remote_ice.as_ref() != Some(theirs));
        let before = peer.ice.clone();
        let streams = Self::streams(&peer.subscriber);
        let ice = if restart {
            IceCredentials::generate(self.config.index, &mut self.rng)
        } else {
            before.clone()
        };
        let ours = Ours {
            ice: &ice,
            cname: &cname,
            announce,
        };
        let negotiated = self.negotiate(&mut session, &offer, ours, streams)?;
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        peer.session = session;
        peer.offered = offered;
        if restart {
            peer.ice = ice.clone();
            self.demux.remove_ufrag(&before.ufrag);
            self.demux.insert_ufrag(ice.ufrag.clone(), index.into());
        }
        self.follow_transport(now, index, restart, offer.remote);
        let answer = self.apply(now, index, negotiated, refused_lines)?;
        self.orientation_answered(now, index, orientation);
        Ok(answer)
    }

    /// Applies the transport parameters of an offer.
    fn follow_transport(
        &mut self,
        now: Instant,
        index: PeerIx,
        restart: bool,
        remote: Option<RemoteDescription>,
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let Some(remote) = remote else {
            // A client may end the transport that no m-line uses, or keep it up for its next offer.
            return peer.transport.rest();
        };
        let ice = peer.ice.clone();
        peer.remote_ice = Some(remote.ice.clone());
        if peer.transport.is_resting() && !peer.transport.was_connected() {
            let tag = peer.stun_tag;
            let caches = peer.subscriber.caches().clone();
            let transport = self.transport(now, ice, Some(remote), tag, caches);
            if let Some(peer) = self.peers.get_mut(index) {
                peer.transport = transport;
            }
        } else {
            peer.transport.wake(now);
            if restart {
                peer.transport.restart_ice(ice, remote.ice);
            }
            peer.transport.reoffered(now, remote.fingerprint);
        }
    }

    /// A transport that waits for the client. If the offer has no m-line to use one for, it waits for a later offer.
    fn transport(
        &mut self,
        now: Instant,
        ice: IceCredentials,
        remote: Option<RemoteDescription>,
        stun_tag: u32,
        caches: CacheShare,
    ) -> Transport {
        let resting = remote.is_none();
        // Nobody has these credentials, so that nobody can connect.
        let remote = remote.unwrap_or_else(|| RemoteDescription {
            ice: IceCredentials::generate(self.config.index, &mut self.rng),
            fingerprint: Fingerprint::sha256(&self.rng.random::<[u8; 32]>()),
        });
        let mut transport = Transport::new(
            now,
            TransportConfig {
                ice,
                remote_ice: remote.ice,
                remote_fingerprint: remote.fingerprint,
                certificate: self.config.certificate.clone(),
                connect_timeout: self.config.limits.connect_timeout,
                max_data_message: self.config.limits.data_message_bytes,
                caches,
                stun_tag,
                seed: self.check_rng.random(),
            },
        );
        if resting {
            transport.rest();
        }
        transport
    }

    /// A tag that no other peer's checks carry.
    fn stun_tag(&mut self) -> u32 {
        loop {
            let tag = self.check_rng.random();
            if self.demux.by_tag(tag).is_none() {
                return tag;
            }
        }
    }

    /// The streams that new slots will carry, in the order in which slots are filled. A stream groups audio and video
    /// of one publisher, so that browsers keep them in sync.
    fn streams(subscriber: &Subscriber) -> Vec<(MediaKind, String)> {
        let waiting = subscriber.waiting().iter();
        waiting
            .map(|waiting| &waiting.source)
            .map(|source| (source.kind, source.publisher.to_string()))
            .collect()
    }

    fn negotiate(
        &mut self,
        session: &mut Session,
        offer: &Offer,
        ours: Ours<'_>,
        mut streams: Vec<(MediaKind, String)>,
    ) -> Result<Negotiated, SfuError> {
        let ours = LocalDescription {
            ice: ours.ice,
            fingerprint: self.config.certificate.fingerprint(),
            candidates: match &ours.announce {
                Some(candidate) => std::slice::from_ref(candidate),
                None => &self.config.candidates,
            },
            cname: ours.cname,
            max_message_size: self.config.limits.data_message_bytes,
        };
        let rng = &mut self.rng;
        let mut name = |mid: &str, kind: MediaKind| {
            let next = streams.iter().position(|(other, _)| *other == kind);
            let ssrc = rng.random_range(MIN_SSRC..=u32::MAX);
            let track_id = match mid.len() {
                1..=MAX_MID_IN_MSID => format!("slot-{mid}"),
                _ => format!("slot-{ssrc}"),
            };
            SlotIdentity {
                ssrc,
                rtx_ssrc: Some(rng.random_range(MIN_SSRC..=u32::MAX)),
                stream_id: next.map_or_else(|| track_id.clone(), |at| streams.remove(at).1),
                track_id,
            }
        };
        Ok(session.negotiate(offer, &ours, &mut name)?)
    }

    /// Changes the peer as the answer says. `refused_lines` are the receiving m-lines that it refuses.
    fn apply(
        &mut self,
        now: Instant,
        index: PeerIx,
        negotiated: Negotiated,
        refused_lines: Vec<(MediaKind, Reason)>,
    ) -> Result<Answer, SfuError> {
        let Negotiated {
            sdp,
            media,
            refused,
            ..
        } = negotiated;
        let turned = self
            .peers
            .get(index)
            .is_none_or(|peer| peer.subscriber.turns());
        self.end_dropped(now, index, &media);
        let mut published = Vec::new();
        let mut other_codecs = false;
        for media in media {
            let kind = match media.kind {
                SectionKind::Audio => MediaKind::Audio,
                SectionKind::Video => MediaKind::Video,
                SectionKind::Data | SectionKind::Other => continue,
            };
            match media.role {
                MediaRole::Publish => published.push(self.publish(now, index, kind, &media)?),
                MediaRole::Slot => other_codecs |= self.place_slot(now, index, kind, media),
                MediaRole::Data | MediaRole::Inactive | MediaRole::Rejected => {}
            }
        }
        if let Some(peer) = self.peers.get_mut(index) {
            peer.subscriber.learn_decoders(refused_lines);
            let (room, turns) = (peer.room, peer.subscriber.turns());
            self.turning_changed(now, room, (!turned, !turns));
        }
        self.fill_slots(now, index);
        if other_codecs {
            self.decide(now, index);
        }
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        peer.needs = peer.subscriber.needs();
        peer.offers += 1;
        let slots = peer
            .subscriber
            .slots()
            .map(|(_, slot)| Slot {
                mid: slot.mid().to_owned(),
                kind: slot.kind,
                track: slot.track(),
            })
            .collect();
        self.schedule.touch(index);
        let refused = refused.into_iter();
        let refused = refused.map(|(mid, reason)| RefusedMedia { mid, reason });
        Ok(Answer {
            sdp,
            published,
            refused: refused.collect(),
            slots,
            needs: peer.needs,
            offers: peer.offers,
        })
    }

    /// Returns whether a slot takes other codecs than before.
    fn place_slot(
        &mut self,
        now: Instant,
        index: PeerIx,
        kind: MediaKind,
        media: SectionParameters,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(index) else {
            return false;
        };
        let known = peer.subscriber.slot_by_mid(&media.mid);
        let known = known.map(|(slot, _)| slot);
        if let Some(at) = known
            && let Some(slot) = peer.subscriber.slot_mut(at)
        {
            let other_codecs = slot.media.codecs != media.codecs;
            let source = slot
                .forwarder
                .as_ref()
                .map(|forwarder| forwarder.source.clone());
            let carries = slot.renegotiate(media);
            peer.subscriber.renegotiated(now);
            if let Some(source) = source.filter(|_| !carries) {
                self.let_go(now, index, at, &source);
            }
            return other_codecs;
        } else if let Some(SlotIdentity { ssrc, rtx_ssrc, .. }) = media.slot {
            // RFC 3711 section 3.3.1 wants the first number below 2^15: a receiver that misses the first packets must
            // not guess the wrong rollover count.
            let seed = SlotSeed {
                ssrc,
                rtx_ssrc,
                sequence: self.rng.random_range(0..0x7fff),
                rtx_sequence: self.rng.random_range(0..0x7fff),
                timestamp: self.rng.random(),
            };
            peer.subscriber.insert_slot(now, kind, seed, media);
        }
        false
    }

    /// Ends tracks and slots whose m-lines stopped; one that only pauses keeps its names.
    fn end_dropped(&mut self, now: Instant, index: PeerIx, media: &[SectionParameters]) {
        let role = |mid: &str| {
            media
                .iter()
                .find(|media| media.mid == mid)
                .map(|media| media.role)
        };
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let gone: Vec<TrackIx> = peer
            .publisher
            .tracks(&self.tracks)
            .filter(|(_, track)| role(&track.mid) != Some(MediaRole::Publish))
            .map(|(at, _)| at)
            .collect();
        let slots: Vec<(usize, bool)> = peer
            .subscriber
            .slots()
            .filter(|(_, slot)| role(slot.mid()) != Some(MediaRole::Slot))
            .map(|(at, slot)| (at, role(slot.mid()) == Some(MediaRole::Inactive)))
            .collect();
        let mut released = Vec::new();
        for (slot, keep) in slots {
            let source = peer.subscriber.release_slot(slot, keep);
            released.extend(source.map(|source| (slot.into(), source)));
        }
        for (slot, source) in released {
            self.remove_viewer(source.index, Target { peer: index, slot });
            self.watches.mark(now, source.id);
        }
        for track in gone {
            self.unpublish(now, index, track);
        }
    }

    fn publish(
        &mut self,
        now: Instant,
        index: PeerIx,
        kind: MediaKind,
        media: &SectionParameters,
    ) -> Result<PublishedTrack, SfuError> {
        let peer = self.peers.get_mut(index).ok_or(SfuError::NoSuchPeer)?;
        let known = peer
            .publisher
            .tracks(&self.tracks)
            .find(|(_, track)| track.mid == media.mid)
            .map(|(at, track)| (at, track.id, track.codecs != media.codecs));
        let at = match known {
            Some((at, id, other_codecs)) => {
                peer.publisher.renegotiate(&mut self.tracks, at, media);
                let room = peer.room;
                if other_codecs {
                    self.follow_publisher(now, at);
                }
                self.announce(room, id);
                at
            }
            None => {
                let id = TrackId::new(self.config.index, self.next_id);
                self.next_id += 1;
                let (room, peer_id) = (peer.room, peer.id);
                let track = Track::published(id, kind, media, (room, peer_id, index));
                let at = peer.publisher.publish(&mut self.tracks, track, media);
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.tracks.insert(id, at);
                }
                tracing::info!(%room, peer = %peer_id, track = %id, mid = media.mid, ?kind, "track published");
                self.last_n_changed(now, room);
                self.auto_subscribe(now, room, id, Some(index));
                self.announce(room, id);
                at
            }
        };
        let track = self.tracks.get(at).ok_or(SfuError::NoSuchTrack)?;
        Ok(PublishedTrack {
            mid: media.mid.clone(),
            track: track.id,
            kind,
            codec: media.codecs.first().map_or("", |codec| codec.codec.name()),
            simulcast: !track.order().is_single(),
        })
    }
}
