//! A published track: an m-line of its publisher and the layers on it.

use std::time::Instant;

use super::demand::Demand;
use super::layer::Layer;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::ladder::{Ladder, LayerId, Rung, SPATIAL, TEMPORAL};
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionMap;
use crate::transport::sdp::{NegotiatedCodec, NegotiatedMedia, OfferedSsrc};
use crate::view::TrackSettings;

/// A published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) mid: String,
    pub(crate) kind: MediaKind,
    pub(crate) codecs: Vec<NegotiatedCodec>,
    pub(crate) extensions: ExtensionMap,
    /// Lowest first. One without simulcast.
    pub(crate) layers: Vec<Layer>,
    /// The first packet was routed.
    pub(crate) live: bool,
    /// Where the router keeps its subscriptions.
    pub(crate) fanout: usize,
    /// The further workers that its packets are relayed to: those with viewers who want it.
    pub(crate) relayed_to: Vec<u16>,
    pub(crate) settings: TrackSettings,
    /// What is wanted of it.
    pub(crate) demand: Demand,
}

impl Track {
    /// From a publishing m-line.
    pub(crate) fn new(
        id: TrackId,
        kind: MediaKind,
        media: &NegotiatedMedia,
        fanout: usize,
    ) -> Self {
        let repairable = kind == MediaKind::Video;
        let mut layers: Vec<Layer> = if media.rids.is_empty() {
            vec![Layer::new(None, repairable)]
        } else {
            media
                .rids
                .iter()
                .map(|rid| Layer::new(Some(rid.clone()), repairable))
                .collect()
        };
        if let ([layer], Some(offered)) = (layers.as_mut_slice(), announced(media)) {
            layer.ssrc = Some(offered.ssrc);
            layer.rtx_ssrc = offered.rtx;
        }
        Self {
            id,
            mid: media.mid.clone(),
            kind,
            codecs: media.codecs.clone(),
            extensions: media.extensions,
            layers,
            live: false,
            fanout,
            relayed_to: Vec::new(),
            settings: TrackSettings::default(),
            demand: Demand::default(),
        }
    }

    /// Takes what a later offer changed; the stream it announces.
    pub(crate) fn renegotiate(&mut self, media: &NegotiatedMedia) -> Option<OfferedSsrc> {
        self.codecs.clone_from(&media.codecs);
        self.extensions = media.extensions;
        announced(media)
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
        self.layers
            .iter()
            .position(|layer| layer.rid.as_deref() == Some(rid))
    }

    /// The layers to choose among, the smallest first. Within a stream, one that never came is none.
    pub(crate) fn ladder(&self, now: Instant) -> Ladder {
        let mut ladder = Ladder::default();
        if let [layer] = self.layers.as_slice() {
            let spatial_layers = layer.frames.spatial_layers();
            let rates = layer.frames.rates(now);
            for (spatial, rates) in (0..spatial_layers).zip(rates) {
                push_rungs(&mut ladder, layer, spatial, spatial, rates);
            }
            if !ladder.rungs().is_empty() {
                self.demand.complete(&mut ladder, true);
                return ladder;
            }
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let before = ladder.rungs().len();
            if self.layers.len() > 1 && layer.frames.has_layers() {
                // Of an encoding with several picture sizes, all are sent.
                let top = layer.frames.spatial_layers().min(SPATIAL as u8) - 1;
                let rates = layer.frames.rates(now)[usize::from(top)];
                push_rungs(&mut ladder, layer, index as u8, top, rates);
            }
            if ladder.rungs().len() == before {
                ladder.push(Rung {
                    id: LayerId {
                        spatial: index as u8,
                        temporal: 0,
                    },
                    bitrate: layer.bitrate(now),
                    height: layer.height,
                    alive: layer.is_alive(),
                    available: layer.is_alive(),
                });
            }
        }
        self.demand.complete(&mut ladder, self.layers.len() == 1);
        ladder
    }

    /// Re-decides which layers are alive; true if that changed.
    pub(crate) fn update(&mut self, now: Instant) -> bool {
        let newest = self.layers.iter().filter_map(Layer::last_packet).max();
        self.layers
            .iter_mut()
            .fold(false, |changed, layer| layer.update(now, newest) | changed)
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
        });
    }
}

/// The stream that a description announces. Of several layers only RIDs tell which stream is which:
/// where a description lists their SSRCs as well, their order means nothing.
fn announced(media: &NegotiatedMedia) -> Option<OfferedSsrc> {
    media
        .ssrcs
        .first()
        .filter(|_| media.rids.is_empty())
        .copied()
}
