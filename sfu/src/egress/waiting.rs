//! Subscriptions without a receiving m-line, and what a viewer can decode.

use super::forwarder::SourceTrack;
use crate::event::MediaKind;
use crate::rtp::codec::Codec;
use crate::transport::sdp::{CodecParameters, NegotiatedCodec, NegotiatedMedia};
use crate::view::Reason;

/// A subscription without a receiving m-line.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) source: SourceTrack,
    /// Why it waits, as the viewer knows: the first reason goes without saying.
    pub(crate) told: Reason,
}

impl Waiting {
    /// For an m-line.
    pub(crate) fn new(source: SourceTrack) -> Self {
        Self {
            source,
            told: Reason::NoSlot,
        }
    }
}

/// The formats that a viewer's receiving m-lines take, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Decoders {
    formats: Vec<(Codec, CodecParameters)>,
    /// It offered m-lines of these kinds with nothing that the relay knows.
    refused: Vec<MediaKind>,
}

impl Decoders {
    /// Of receiving m-lines, and of the kinds of those that were refused for want of a codec.
    pub(crate) fn of<'a>(
        media: impl Iterator<Item = &'a NegotiatedMedia>,
        refused: Vec<MediaKind>,
    ) -> Self {
        let mut formats = Vec::new();
        let mut before: Option<&NegotiatedMedia> = None;
        for media in media {
            // A client's m-lines mostly are all alike.
            if before.is_some_and(|before| before.codecs == media.codecs) {
                continue;
            }
            for codec in &media.codecs {
                let format = (codec.codec, codec.parameters);
                if !formats.contains(&format) {
                    formats.push(format);
                }
            }
            before = Some(media);
        }
        Self { formats, refused }
    }

    /// Whether there are any of a kind: without, nothing is known of what the viewer can decode.
    pub(crate) fn has(&self, kind: MediaKind) -> bool {
        let audio = kind == MediaKind::Audio;
        let mut formats = self.formats.iter();
        formats.any(|(codec, _)| codec.is_audio() == audio) || self.refused.contains(&kind)
    }

    /// Whether one of them takes what comes in a codec.
    pub(crate) fn decode(&self, published: &NegotiatedCodec) -> bool {
        self.formats.iter().any(|(codec, parameters)| {
            *codec == published.codec && parameters.carries(&published.parameters).is_some()
        })
    }

    /// Whether they are of a kind, and none takes any of these codecs.
    pub(crate) fn refuse(&self, source: &SourceTrack) -> bool {
        self.has(source.kind) && !source.codecs.iter().any(|codec| self.decode(codec))
    }
}
