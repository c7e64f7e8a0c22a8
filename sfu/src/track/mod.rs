//! Tracks: between the publisher's side, which fills them, and the viewers' side, which reads them.
//!
//! A worker holds every track that its viewers may be sent in one table ([`Tracks`]), whether a peer of the worker or
//! another worker is its [`Source`]. A track has [`Layer`]s, which measure and cache their packets, the viewers'
//! [`Demand`] for these, and the one list of its receivers ([`Sinks`]). A packet costs one look into the table.

pub(crate) mod audience;
mod cached;
mod demand;
mod format;
mod frames;
mod hint;
mod hold;
pub(crate) mod keyframe;
pub(crate) mod ladder;
mod layer;
mod nack;
mod ranking;
mod report;
mod settled;
mod sinks;
mod source;
pub(crate) mod state;
mod stats;
mod table;
mod wanted;

use std::time::Instant;

pub(crate) use frames::StreamPacket;
pub(crate) use layer::{FromPipe, Layer, Received};
pub(crate) use sinks::{Sinks, Target};
pub(crate) use source::{Piped, Source};
pub(crate) use state::TrackState;
pub(crate) use table::Tracks;
pub(crate) use wanted::Wanted;

use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::PeerIx;
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionMap;
use crate::rtp::parameters::{CodecFormat, SectionParameters, SsrcPair};
use crate::tap::TapLayers;
use crate::view::TrackSettings;
use demand::{Demand, DemandChange};
use hint::Hint;
use ladder::{Ladder, LayerId, LayerSet, Ranks, Rung, SPATIAL, TEMPORAL};
use layer::EncodingName;
use ranking::{Ranking, Seen};

/// A track. The fields that a packet needs stand first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) kind: MediaKind,
    /// The first packet was routed.
    pub(crate) live: bool,
    pub(crate) settings: TrackSettings,
    pub(crate) room: RoomId,
    /// Layers by index; one without simulcast. A layer that the description no longer has stays, empty.
    pub(crate) layers: Vec<Layer>,
    pub(crate) codecs: Vec<CodecFormat>,
    /// The receivers of its packets.
    pub(crate) sinks: Sinks,
    pub(crate) extensions: ExtensionMap,
    pub(crate) mid: String,
    /// The source of its packets.
    pub(crate) source: Source,
    /// The peer that publishes it, on whichever worker.
    pub(crate) publisher: PeerId,
    /// The order of the layers, and which are published.
    ranking: Ranking,
    /// Times that a new stream replaced another on a layer.
    pub(crate) streams_begun_anew: u64,
    /// Packets of streams that would have replaced another too soon, or while it still sends.
    pub(crate) packets_passed_over: u64,
    /// The viewers' demand for its layers.
    pub(crate) demand: Demand,
}

impl Track {
    /// A track from a publishing m-line of a peer on this worker.
    pub(crate) fn published(
        id: TrackId,
        kind: MediaKind,
        media: &SectionParameters,
        (room, publisher, peer): (RoomId, PeerId, PeerIx),
    ) -> Self {
        let repairable = is_repairable(kind, media);
        let names = names(media);
        let layers = names
            .iter()
            .map(|name| Layer::new(name.clone(), repairable))
            .collect();
        Self {
            id,
            kind,
            live: false,
            settings: TrackSettings::default(),
            room,
            layers,
            codecs: media.codecs.clone(),
            sinks: Sinks::default(),
            extensions: media.extensions,
            mid: media.mid.clone(),
            source: Source::Peer(peer),
            publisher,
            ranking: Ranking::new(hinted(media, &names)),
            streams_begun_anew: 0,
            packets_passed_over: 0,
            demand: Demand::default(),
        }
    }

    /// Applies a later offer. Returns the indexes of the layers that are now other encodings.
    ///
    /// An encoding that keeps its name stays the same one, whatever its place in the list. One with a new name takes
    /// the index of one that is gone, or the next free one.
    pub(crate) fn renegotiate(&mut self, media: &SectionParameters) -> Vec<usize> {
        self.set_codecs(&media.codecs);
        self.extensions = media.extensions;
        let names = names(media);
        let mut kept = LayerSet::NONE;
        let mut indexes: Vec<Option<usize>> = Vec::new();
        for name in &names {
            let known = self.encodings().find(|(_, layer)| layer.name == *name);
            known.into_iter().for_each(|(index, _)| kept.insert(index));
            indexes.push(known.map(|(index, _)| index));
        }
        let mut changed: Vec<usize> = (0..self.layers.len())
            .filter(|index| !kept.contains(*index))
            .collect();
        for index in &changed {
            self.layers[*index].replace(EncodingName::default());
            self.demand.forget(*index);
        }
        let mut free = changed.clone().into_iter();
        for (name, index) in names.iter().zip(&mut indexes) {
            if index.is_some() {
                continue;
            }
            *index = free.next().or_else(|| {
                let repairable = is_repairable(self.kind, media);
                self.layers
                    .push(Layer::new(EncodingName::default(), repairable));
                changed.push(self.layers.len() - 1);
                changed.last().copied()
            });
            if let Some(layer) = index.and_then(|index| self.layers.get_mut(index)) {
                layer.name = name.clone();
            }
        }
        let places = hinted(media, &names);
        let hinted: Vec<usize> = places
            .encodings()
            .filter_map(|place| indexes[place])
            .collect();
        self.ranking.renegotiate(Ranks::of(&hinted), kept);
        changed
    }

    /// Whether it is a camera that is on.
    pub(crate) fn is_camera(&self) -> bool {
        let TrackSettings { muted, screen } = self.settings;
        self.kind == MediaKind::Video && !screen && !muted
    }

    /// The order of its encodings.
    pub(crate) fn order(&self) -> Ranks {
        self.ranking.order()
    }

    /// Its encodings with their indexes, the smallest picture first.
    pub(crate) fn encodings(&self) -> impl DoubleEndedIterator<Item = (usize, &Layer)> {
        let indexes = self.order().encodings();
        indexes.filter_map(|index| Some((index, self.layers.get(index)?)))
    }

    /// The streams that a description announces, with their layers. With several RIDs only packets tell the streams
    /// apart: where a description also lists SSRCs, their order means nothing.
    pub(crate) fn announced(&self, media: &SectionParameters) -> Vec<(usize, SsrcPair)> {
        let of = |(index, layer): (usize, &Layer)| {
            let announced = match layer.name.ssrc {
                Some(ssrc) => media.ssrcs.iter().find(|offered| offered.ssrc == ssrc),
                None => media.ssrcs.first().filter(|_| media.rids.is_empty()),
            };
            announced.map(|announced| (index, *announced))
        };
        self.encodings().filter_map(of).collect()
    }

    /// The publisher, if it is a peer of this worker.
    pub(crate) fn peer(&self) -> Option<PeerIx> {
        match self.source {
            Source::Peer(peer) => Some(peer),
            Source::Pipe(_) => None,
        }
    }

    /// How another worker sends it, if one does.
    pub(crate) fn piped(&self) -> Option<&Piped> {
        match &self.source {
            Source::Peer(_) => None,
            Source::Pipe(piped) => Some(piped),
        }
    }

    /// How another worker sends it, if one does, mutable.
    pub(crate) fn piped_mut(&mut self) -> Option<&mut Piped> {
        match &mut self.source {
            Source::Peer(_) => None,
            Source::Pipe(piped) => Some(piped),
        }
    }

    /// Updates the demand for its encodings. `here` are the layers that viewers on this worker want.
    pub(crate) fn update_demand(&mut self, now: Instant, here: LayerSet) -> DemandChange {
        let order = self.order();
        let wanted = here.union(self.sinks.wanted_by_pipes());
        let wanted = wanted.union(self.wanted_by_taps());
        self.demand
            .update(now, self.live, wanted, order, &self.layers)
    }

    /// The layers that its taps take, or may have to take from one moment to the next.
    pub(crate) fn wanted_by_taps(&self) -> LayerSet {
        let mut wanted = LayerSet::NONE;
        if self.settings.muted {
            return wanted;
        }
        for tap in self.sinks.taps() {
            wanted = wanted.union(match tap.layers() {
                TapLayers::All => LayerSet::ALL,
                TapLayers::Largest => self.down_to_largest(),
            });
        }
        wanted
    }

    /// The layers that its taps begin with. One that does not arrive is asked to begin with a keyframe as it is
    /// switched on.
    pub(crate) fn awaited_by_taps(&self) -> LayerSet {
        let mut awaited = LayerSet::NONE;
        for tap in self.sinks.taps() {
            match tap.layers() {
                TapLayers::All => awaited = LayerSet::ALL,
                TapLayers::Largest => self
                    .largest_alive()
                    .into_iter()
                    .for_each(|layer| awaited.insert(layer)),
            }
        }
        awaited
    }

    /// The layers from the largest picture down to the largest that arrives, and the smallest one, which a publisher
    /// with a narrow link still sends.
    fn down_to_largest(&self) -> LayerSet {
        let mut layers = LayerSet::NONE;
        for (index, layer) in self.encodings().rev() {
            layers.insert(index);
            if layer.is_alive() {
                break;
            }
        }
        if let Some((smallest, _)) = self.encodings().next() {
            layers.insert(smallest);
        }
        layers
    }

    /// The layer with the largest picture that arrives.
    pub(crate) fn largest_alive(&self) -> Option<usize> {
        let mut layers = self.encodings().rev();
        let found = layers.find(|(_, layer)| layer.is_alive());
        found.map(|(index, _)| index)
    }

    /// Sets the negotiated codecs, the one asked for first.
    fn set_codecs(&mut self, codecs: &[CodecFormat]) {
        if self.codecs != codecs {
            self.codecs = codecs.to_vec();
            for layer in &mut self.layers {
                layer.format.outdate();
            }
        }
    }

    /// The payload type of a layer's packets. Before the first packet, the one its publisher was asked for: browsers
    /// send the codec that the answer lists first.
    pub(crate) fn payload_type_of(&self, layer: usize) -> Option<u8> {
        let seen = self.layers.get(layer)?.format.payload_type();
        seen.or_else(|| Some(self.codecs.first()?.payload_type))
    }

    /// The codec it comes in, as far as known.
    pub(crate) fn codec_in_use(&self) -> Option<&CodecFormat> {
        let mut layers = self.encodings();
        let seen = layers.find_map(|(_, layer)| layer.format.payload_type());
        let mut codecs = self.codecs.iter();
        let used = seen.and_then(|seen| codecs.find(|codec| codec.payload_type == seen));
        used.or_else(|| self.codecs.first())
    }

    /// The codec a publisher's payload type stands for.
    pub(crate) fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
            .map(|codec| codec.codec)
    }

    /// The payload type that a repair stream's payload type repairs.
    pub(crate) fn repairs(&self, payload_type: u8) -> Option<u8> {
        self.codecs
            .iter()
            .find(|codec| codec.rtx == Some(payload_type))
            .map(|codec| codec.payload_type)
    }

    /// The layer of a RID.
    pub(crate) fn layer_of(&self, rid: &str) -> Option<usize> {
        let mut encodings = self.encodings();
        let found = encodings.find(|(_, layer)| layer.name.rid.as_deref() == Some(rid));
        found.map(|(index, _)| index)
    }

    /// The layers to choose among, the smallest first. A layer within a stream counts once packets of it came.
    pub(crate) fn ladder(&self, now: Instant) -> Ladder {
        let mut ladder = Ladder::default();
        let order = self.order();
        if order.is_single()
            && let Some((_, layer)) = self.encodings().next()
        {
            let spatial_layers = layer.frames.spatial_layers();
            let rates = layer.frames.rates(now);
            for (spatial, rates) in (0..spatial_layers).zip(rates) {
                push_rungs(&mut ladder, layer, spatial, spatial, rates);
            }
            if !ladder.rungs().is_empty() {
                self.demand.complete(&mut ladder, &order);
                return ladder;
            }
        }
        let (mut settled, mut begun) = ([None; SPATIAL], [false; SPATIAL]);
        for (rank, (_, layer)) in (0..).zip(self.encodings()) {
            if usize::from(rank) < SPATIAL {
                settled[usize::from(rank)] = layer.settled();
                begun[usize::from(rank)] = layer.packets > 0;
            }
            let before = ladder.rungs().len();
            if !order.is_single() && layer.frames.has_layers() {
                // An encoding with several picture sizes is sent whole.
                let top = layer.frames.spatial_layers().min(SPATIAL as u8) - 1;
                let rates = layer.frames.rates(now)[usize::from(top)];
                push_rungs(&mut ladder, layer, rank, top, rates);
            }
            if ladder.rungs().len() == before {
                ladder.push(Rung {
                    id: LayerId {
                        spatial: rank,
                        temporal: 0,
                    },
                    bitrate: layer.bitrate(now),
                    height: layer.height,
                    alive: layer.is_alive(),
                    available: layer.is_alive(),
                    begins: layer.begins(),
                    late: false,
                });
            }
        }
        self.demand.complete(&mut ladder, &order);
        if !order.is_single() {
            settled::apply(ladder.rungs_mut(), &settled, &begun);
        }
        ladder
    }

    /// Checks again which layers are alive, and their order; true if either changed.
    pub(crate) fn update(&mut self, now: Instant) -> bool {
        let newest = self.layers.iter().filter_map(Layer::last_packet).max();
        let changed = self
            .layers
            .iter_mut()
            .fold(false, |changed, layer| layer.update(now, newest) | changed);
        let changed = self.rank(now) | changed;
        if changed {
            self.measure(now);
        }
        changed
    }

    /// Records the bitrates and heights of its encodings, for times when they are off and for other workers.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.demand.measure(now, &self.layers);
    }

    /// Checks the order of the encodings again; true if it changed.
    pub(crate) fn rank(&mut self, now: Instant) -> bool {
        if self.order().is_single() {
            return false;
        }
        let mut seen = [Seen::default(); SPATIAL];
        for (seen, layer) in seen.iter_mut().zip(&self.layers) {
            *seen = layer.seen(now);
        }
        self.ranking.update(now, &seen)
    }

    /// The time at which [`update`](Self::update) may find another order.
    pub(crate) fn rank_due(&self) -> Option<Instant> {
        self.ranking.due()
    }
}

/// Adds the frame rates of a spatial layer within a stream, as the track's layer `id`.
fn push_rungs(
    ladder: &mut Ladder,
    layer: &Layer,
    id: u8,
    spatial: u8,
    rates: [Option<u64>; TEMPORAL],
) {
    for (temporal, rate) in (0..).zip(rates) {
        let Some(bitrate) = rate else { continue };
        let alive = layer.is_alive() && layer.frames.is_alive(spatial, temporal);
        ladder.push(Rung {
            id: LayerId {
                spatial: id,
                temporal,
            },
            bitrate,
            height: layer.frames.height(spatial),
            alive,
            available: alive,
            begins: layer.begins(),
            late: false,
        });
    }
}

/// The encodings of a description, in its order: by RID, else those of an `a=ssrc-group:SIM`, else one.
fn names(media: &SectionParameters) -> Vec<EncodingName> {
    let by_rid = media.rids.iter().map(|rid| EncodingName {
        rid: Some(rid.clone()),
        ssrc: None,
    });
    let by_ssrc = media.sim.iter().map(|ssrc| EncodingName {
        rid: None,
        ssrc: Some(*ssrc),
    });
    let names: Vec<_> = match (media.rids.is_empty(), media.sim.len()) {
        (false, _) => by_rid.take(SPATIAL).collect(),
        (true, 2..) => by_ssrc.take(SPATIAL).collect(),
        (true, _) => vec![EncodingName::default()],
    };
    names
}

/// The order of encodings that a description hints at, by places in its list.
fn hinted(media: &SectionParameters, names: &[EncodingName]) -> Ranks {
    let bounds = media.rid_bounds.iter().copied().chain(std::iter::repeat(0));
    let hints: Vec<Hint<'_>> = names
        .iter()
        .zip(bounds)
        .map(|(name, bound)| Hint {
            name: name.rid.as_deref().unwrap_or_default(),
            bound,
        })
        .collect();
    hint::order(&hints)
}

/// Whether lost packets of it are asked for again. Audio is only where the client offers that: otherwise the client
/// keeps no sent packets.
fn is_repairable(kind: MediaKind, media: &SectionParameters) -> bool {
    let mut codecs = media.codecs.iter();
    kind == MediaKind::Video || codecs.any(|codec| codec.feedback.nack)
}
