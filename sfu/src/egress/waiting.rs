//! Subscriptions without a receiving m-line, and formats that a viewer can decode.

use super::forwarder::SourceTrack;
use crate::event::{MediaKind, SubscriptionState};
use crate::rtp::codec::Codec;
use crate::rtp::parameters::{CodecFormat, CodecParameters, SectionParameters};
use crate::transport::sdp::Offer;
use crate::view::Reason;

/// A subscription without a receiving m-line.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) source: SourceTrack,
    /// The reason for the wait, as the viewer was told; none if it was asked for an m-line.
    pub(crate) told: Option<Reason>,
}

impl Waiting {
    /// A subscription of which the viewer was told nothing.
    pub(crate) fn new(source: SourceTrack) -> Self {
        Self { source, told: None }
    }

    /// The reason for the wait.
    pub(crate) fn reason(&self) -> Reason {
        self.told.unwrap_or(Reason::NoSlot)
    }

    /// Whether it waits because the viewer cannot decode the track.
    pub(crate) fn is_undecodable(&self) -> bool {
        self.reason() == Reason::Codec
    }

    /// The state to tell the viewer.
    pub(crate) fn state(&self) -> SubscriptionState {
        SubscriptionState {
            track: self.source.id,
            layer: None,
            temporal: None,
            reason: self.reason(),
        }
    }

    /// Sets the reason for the wait; none if the viewer is asked for an m-line. Returns the reason to tell, if it is
    /// news.
    pub(crate) fn explain(&mut self, reason: Option<Reason>) -> Option<Reason> {
        let before = std::mem::replace(&mut self.told, reason);
        match reason {
            // A wait for the requested m-line is news after any other reason.
            None => before
                .filter(|before| *before != Reason::NoSlot)
                .map(|_| Reason::NoSlot),
            Some(_) => reason.filter(|_| before != reason),
        }
    }
}

impl SourceTrack {
    /// The state to tell a viewer who waited, now that the track has an m-line; none of video, whose states come with
    /// decisions.
    pub(crate) fn begun(&self) -> Option<SubscriptionState> {
        (self.kind == MediaKind::Audio).then_some(SubscriptionState {
            track: self.id,
            layer: Some(0),
            temporal: Some(0),
            reason: Reason::Best,
        })
    }
}

/// Receiving m-lines that the client offered and that were refused. A client asked for another would offer one like
/// them. So none of their kind is asked for until it offers one that is accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedLines {
    kinds: Vec<(MediaKind, Reason)>,
    /// The number of accepted receiving m-lines, of audio and of video.
    taken: [usize; 2],
}

impl RefusedLines {
    /// Records an answered offer: the kinds refused, and the number of accepted m-lines.
    pub(crate) fn answered(&mut self, refused: Vec<(MediaKind, Reason)>, taken: [usize; 2]) {
        let before = std::mem::replace(&mut self.taken, taken);
        self.kinds.retain(|(kind, _)| {
            let place = usize::from(*kind == MediaKind::Video);
            taken[place] <= before[place] && !refused.iter().any(|(other, _)| other == kind)
        });
        self.kinds.extend(refused);
    }

    /// The reason that m-lines of a kind were refused.
    pub(crate) fn reason(&self, kind: MediaKind) -> Option<Reason> {
        let mut kinds = self.kinds.iter();
        let found = kinds.find(|(other, _)| *other == kind);
        found.map(|(_, reason)| *reason)
    }
}

/// The kinds of receiving m-lines that are refused, each once, with the reason that nothing can be sent on them.
pub(crate) fn refused_lines(offer: &Offer) -> Vec<(MediaKind, Reason)> {
    let mut refused: Vec<(MediaKind, Reason)> = Vec::new();
    for media in &offer.media {
        let Some(kind) = media.receives_in_vain() else {
            continue;
        };
        let reason = match media.lacks_codec() {
            true => Reason::Codec,
            false => Reason::NoSlot,
        };
        if !refused.iter().any(|(other, _)| *other == kind) {
            refused.push((kind, reason));
        }
    }
    refused
}

/// The formats that a viewer's receiving m-lines take, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Decoders {
    formats: Vec<(Codec, CodecParameters)>,
    /// Kinds of offered m-lines without any format that the relay knows.
    without: Vec<MediaKind>,
}

impl Decoders {
    /// The formats of receiving m-lines, accepted and refused.
    pub(crate) fn of<'a>(
        media: impl Iterator<Item = &'a SectionParameters>,
        refused: &RefusedLines,
    ) -> Self {
        let mut formats = Vec::new();
        let mut before: Option<&SectionParameters> = None;
        for media in media {
            // A client's m-lines are mostly alike.
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
        let kinds = [MediaKind::Audio, MediaKind::Video].into_iter();
        let without = kinds.filter(|kind| refused.reason(*kind) == Some(Reason::Codec));
        Self {
            formats,
            without: without.collect(),
        }
    }

    /// Whether there are formats of a kind: otherwise it is unknown what the viewer can decode.
    pub(crate) fn has(&self, kind: MediaKind) -> bool {
        let audio = kind == MediaKind::Audio;
        let mut formats = self.formats.iter();
        formats.any(|(codec, _)| codec.is_audio() == audio) || self.without.contains(&kind)
    }

    /// Whether one of them takes a codec of a publisher.
    pub(crate) fn decode(&self, published: &CodecFormat) -> bool {
        self.formats.iter().any(|(codec, parameters)| {
            *codec == published.codec && parameters.carries(&published.parameters).is_some()
        })
    }

    /// Whether formats of the track's kind are known, and none takes any of its codecs.
    pub(crate) fn refuse(&self, source: &SourceTrack) -> bool {
        self.has(source.kind) && !source.codecs.iter().any(|codec| self.decode(codec))
    }
}
