//! A published track on another worker than its publisher's: the state reported to it, and the packets it
//! caches.

use super::Track;
use super::demand::Demand;
use super::ladder::{Ranks, SPATIAL};
use super::layer::{EncodingName, Layer};
use super::ranking::Ranking;
use super::sinks::Sinks;
use super::source::{Piped, Source};
use crate::clock::SenderClock;
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::rtp::extension::ExtensionMap;
use crate::rtp::parameters::CodecFormat;
use crate::view::TrackSettings;

/// The state of a track that viewers need besides its packets.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TrackState {
    pub(crate) id: TrackId,
    pub(crate) kind: MediaKind,
    pub(crate) codecs: Vec<CodecFormat>,
    pub(crate) extensions: ExtensionMap,
    /// Layers by index.
    pub(crate) layers: Vec<LayerState>,
    pub(crate) order: Ranks,
    pub(crate) settings: TrackSettings,
}

/// The state of one layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LayerState {
    pub(crate) name: EncodingName,
    pub(crate) ssrc: Option<u32>,
    /// Payload type of its packets.
    pub(crate) payload_type: Option<u8>,
    /// Packets arrive on it.
    pub(crate) alive: bool,
    /// Packets arrive on it if it is wanted.
    pub(crate) may_come: bool,
    /// Bits a second, and height in pixels, as last measured; 0 while unknown.
    pub(crate) measured: (u64, u16),
    pub(crate) sender: Option<SenderClock>,
    /// Layers within its stream that packets arrive on.
    pub(crate) within: u16,
    /// Picture heights by spatial layer, 0 where unknown.
    pub(crate) heights: [u16; SPATIAL],
}

impl Track {
    /// The track's state, to report to another worker.
    pub(crate) fn state(&self) -> TrackState {
        TrackState {
            id: self.id,
            kind: self.kind,
            codecs: self.codecs.clone(),
            extensions: self.extensions,
            layers: self.layer_states(),
            order: self.order(),
            settings: self.settings,
        }
    }

    /// The layers' states, to report to another worker.
    pub(crate) fn layer_states(&self) -> Vec<LayerState> {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(index, layer)| LayerState {
                name: layer.name.clone(),
                ssrc: layer.ssrc,
                payload_type: layer.format.payload_type(),
                alive: layer.is_alive(),
                may_come: self.demand.may_come(index),
                measured: self.demand.measured(index),
                sender: layer.sender,
                within: layer.frames.alive(),
                heights: layer.frames.heights(),
            })
            .collect()
    }

    /// A track that another worker sends.
    pub(crate) fn from_pipe(
        state: TrackState,
        room: RoomId,
        publisher: PeerId,
        piped: Piped,
    ) -> Self {
        let mut track = Self {
            id: state.id,
            kind: state.kind,
            live: true,
            settings: state.settings,
            room,
            layers: Vec::new(),
            codecs: state.codecs,
            sinks: Sinks::default(),
            extensions: state.extensions,
            mid: String::new(),
            source: Source::Pipe(piped),
            publisher,
            ranking: Ranking::new(state.order),
            streams_begun_anew: 0,
            packets_passed_over: 0,
            demand: Demand::default(),
        };
        track.follow_layers(&state.layers, state.order);
        track
    }

    /// Applies the publisher's renegotiation; true if the track's viewers may get other layers now.
    pub(crate) fn follow(&mut self, state: TrackState) -> bool {
        self.set_codecs(&state.codecs);
        self.extensions = state.extensions;
        let settings = std::mem::replace(&mut self.settings, state.settings) != state.settings;
        self.follow_layers(&state.layers, state.order) | settings
    }

    /// Applies the layer states that the publisher's worker reports. True if the live layers, those that come if
    /// wanted, or their order changed. Only that worker judges silence and sizes: here packets may be missing for other
    /// reasons.
    pub(crate) fn follow_layers(&mut self, states: &[LayerState], order: Ranks) -> bool {
        let mut changed = self.ranking.follow(order);
        for state in states.get(self.layers.len()..).unwrap_or_default() {
            self.layers.push(Layer::new(state.name.clone(), false));
        }
        for (index, (layer, state)) in self.layers.iter_mut().zip(states).enumerate() {
            if layer.name != state.name {
                layer.replace(state.name.clone());
                self.demand.forget(index);
            }
            if let Some(ssrc) = state.ssrc {
                layer.follow_stream(ssrc);
            }
            changed |= layer.follow_format(state.payload_type);
            layer.sender = state.sender;
            layer.frames.set_heights(state.heights);
            changed |= layer.frames.set_alive(state.within);
            changed |= layer.set_alive(state.alive);
            changed |= self.demand.follow(index, state.may_come, state.measured);
        }
        changed
    }

    /// Frees the cached packets: no viewer here is sent the track any more.
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
    use crate::cache::CacheShare;
    use crate::packet::{Described, PassedOn};
    use crate::rtp::codec::Codec;
    use crate::track::FromPipe;
    use crate::track::ladder::LayerSet;

    fn state(ssrc: u32, alive: bool) -> TrackState {
        TrackState {
            id: TrackId::new(1, 2),
            kind: MediaKind::Video,
            codecs: Vec::new(),
            extensions: ExtensionMap::default(),
            layers: vec![LayerState {
                name: EncodingName {
                    rid: Some("q".to_owned()),
                    ssrc: None,
                },
                ssrc: Some(ssrc),
                payload_type: Some(96),
                alive,
                may_come: false,
                measured: (0, 0),
                sender: None,
                within: 0,
                heights: [0; SPATIAL],
            }],
            order: Ranks::default(),
            settings: TrackSettings::default(),
        }
    }

    fn piped(state: TrackState) -> Track {
        let piped = Piped {
            from: 1.into(),
            wanted: LayerSet::NONE,
            caches: CacheShare::default(),
        };
        Track::from_pipe(state, RoomId::new(1, 1), PeerId::new(1, 3), piped)
    }

    #[test]
    fn a_piped_track_says_of_itself_what_it_was_told() {
        let mut track = piped(state(7, false));
        assert_eq!(track.state(), state(7, false));
        assert!(track.follow(state(7, true)));
        assert!(!track.follow(state(7, true)), "nothing new");
        assert!(track.layers[0].is_alive());
    }

    #[test]
    fn a_new_stream_does_not_inherit_the_old_ones_packets() {
        let mut track = piped(state(7, true));
        let caches = CacheShare::default();
        let passed_on = PassedOn::default();
        let described = Described::plain(Codec::Vp8, &[1]);
        let packet = |ssrc| FromPipe {
            ssrc,
            sequence: 5,
            codec: Codec::Vp8,
            payload: &[1],
            passed_on: &passed_on,
            described: &described,
            sender: None,
            keep: true,
            caches: &caches,
            datagram: &[1],
        };
        track.layers[0].receive_piped(Instant::now(), packet(7));
        assert_eq!(track.layers[0].cached_since(0).count(), 1);
        track.layers[0].receive_piped(Instant::now(), packet(8));
        assert_eq!(track.layers[0].cached_since(0).count(), 1);
        track.follow_layers(&state(9, true).layers, Ranks::default());
        assert_eq!(track.layers[0].cached_since(0).count(), 0);
        track.layers[0].receive_piped(Instant::now(), packet(9));
        track.forget_packets();
        assert_eq!(track.layers[0].cached_since(0).count(), 0);
    }
}
