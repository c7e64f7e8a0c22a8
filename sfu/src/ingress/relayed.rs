//! A published track as another worker's viewers need it: what is told of it once, and what it keeps
//! there of the packets that are relayed.

use super::layer::Layer;
use super::track::Track;
use crate::clock::SenderClock;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::ladder::SPATIAL;
use crate::rtp::extension::ExtensionMap;
use crate::transport::sdp::NegotiatedCodec;
use crate::view::TrackSettings;

/// All that a viewer's side asks of a track besides its packets.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TrackState {
    pub(crate) id: TrackId,
    pub(crate) kind: MediaKind,
    pub(crate) codecs: Vec<NegotiatedCodec>,
    pub(crate) extensions: ExtensionMap,
    /// Lowest first.
    pub(crate) layers: Vec<LayerState>,
    pub(crate) settings: TrackSettings,
}

/// One layer of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LayerState {
    pub(crate) rid: Option<String>,
    pub(crate) ssrc: Option<u32>,
    /// Packets come on it.
    pub(crate) alive: bool,
    pub(crate) sender: Option<SenderClock>,
    /// Layers within its stream that packets come on.
    pub(crate) within: u16,
    /// Picture heights by spatial layer, 0 where unknown.
    pub(crate) heights: [u16; SPATIAL],
}

impl Track {
    /// The track for another worker.
    pub(crate) fn state(&self) -> TrackState {
        TrackState {
            id: self.id,
            kind: self.kind,
            codecs: self.codecs.clone(),
            extensions: self.extensions,
            layers: self.layer_states(),
            settings: self.settings,
        }
    }

    /// Its layers for another worker.
    pub(crate) fn layer_states(&self) -> Vec<LayerState> {
        let layers = self.layers.iter();
        layers
            .map(|layer| LayerState {
                rid: layer.rid.clone(),
                ssrc: layer.ssrc,
                alive: layer.is_alive(),
                sender: layer.sender,
                within: layer.frames.alive(),
                heights: layer.frames.heights(),
            })
            .collect()
    }

    /// The track at another worker than its publisher's.
    pub(crate) fn relayed(state: TrackState, fanout: usize) -> Self {
        let layer = |layer: &LayerState| Layer::new(layer.rid.clone(), false);
        let mut track = Self {
            id: state.id,
            mid: String::new(),
            kind: state.kind,
            layers: state.layers.iter().map(layer).collect(),
            codecs: state.codecs,
            extensions: state.extensions,
            live: true,
            fanout,
            relayed_to: Vec::new(),
            settings: state.settings,
        };
        track.follow_layers(&state.layers);
        track
    }

    /// Takes what its publisher's renegotiation changed; true if other layers are alive now.
    pub(crate) fn follow(&mut self, state: TrackState) -> bool {
        self.codecs = state.codecs;
        self.extensions = state.extensions;
        self.settings = state.settings;
        self.follow_layers(&state.layers)
    }

    /// Takes what its publisher's worker says of the layers; true if others are alive now. Silence
    /// is judged there alone: here packets may be missing for other reasons.
    pub(crate) fn follow_layers(&mut self, states: &[LayerState]) -> bool {
        let mut changed = false;
        for (layer, state) in self.layers.iter_mut().zip(states) {
            if let Some(ssrc) = state.ssrc {
                layer.follow_stream(ssrc);
            }
            layer.sender = state.sender;
            layer.frames.set_heights(state.heights);
            changed |= layer.frames.set_alive(state.within);
            changed |= layer.set_alive(state.alive);
        }
        changed
    }

    /// Frees the packets kept: nobody here is sent the track any more.
    pub(crate) fn forget_packets(&mut self) {
        for layer in &mut self.layers {
            layer.cache = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ingress::layer::Relayed;
    use crate::packet::{Described, PassedOn};
    use crate::rtp::codec::Codec;

    fn state(ssrc: u32, alive: bool) -> TrackState {
        TrackState {
            id: TrackId::new(1, 2),
            kind: MediaKind::Video,
            codecs: Vec::new(),
            extensions: ExtensionMap::default(),
            layers: vec![LayerState {
                rid: Some("q".to_owned()),
                ssrc: Some(ssrc),
                alive,
                sender: None,
                within: 0,
                heights: [0; SPATIAL],
            }],
            settings: TrackSettings::default(),
        }
    }

    #[test]
    fn a_relayed_track_says_of_itself_what_it_was_told() {
        let mut track = Track::relayed(state(7, false), 0);
        assert_eq!(track.state(), state(7, false));
        assert!(track.follow(state(7, true)));
        assert!(!track.follow(state(7, true)), "nothing new");
        assert!(track.layers[0].is_alive());
    }

    #[test]
    fn a_new_stream_does_not_inherit_the_old_ones_packets() {
        let mut track = Track::relayed(state(7, true), 0);
        let passed_on = PassedOn::default();
        let described = Described::plain(Codec::Vp8, &[1]);
        let packet = |ssrc| Relayed {
            ssrc,
            sequence: 5,
            codec: Codec::Vp8,
            payload: &[1],
            passed_on: &passed_on,
            described: &described,
            sender: None,
            keep: true,
            datagram: &[1],
        };
        track.layers[0].receive_relayed(Instant::now(), packet(7));
        assert_eq!(track.layers[0].cached_since(0).count(), 1);
        track.layers[0].receive_relayed(Instant::now(), packet(8));
        assert_eq!(track.layers[0].cached_since(0).count(), 1);
        track.follow_layers(&state(9, true).layers);
        assert_eq!(track.layers[0].cached_since(0).count(), 0);
        track.layers[0].receive_relayed(Instant::now(), packet(9));
        track.forget_packets();
        assert_eq!(track.layers[0].cached_since(0).count(), 0);
    }
}
