//! One m-line as both sides see it, without its syntax.

use super::{CodecFormat, CodecParameters};
use crate::rtp::codec::Codec;
use crate::rtp::extension::ExtensionMap;

/// One m-line as both sides see it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SectionParameters {
    /// `a=mid`, or the name given to an m-line without; empty only in a stopped one.
    pub(crate) mid: String,
    /// Kind of media it carries.
    pub(crate) kind: SectionKind,
    /// The relay's use of it.
    pub(crate) role: MediaRole,
    /// In the client's order of preference; empty unless the m-line is RTP and not rejected.
    pub(crate) codecs: Vec<CodecFormat>,
    /// Extensions of the packets that flow: of a publisher's m-line those the client may send, of a
    /// slot's those it may receive.
    pub(crate) extensions: ExtensionMap,
    /// A publisher's simulcast encodings, in its order, which may be any.
    pub(crate) rids: Vec<String>,
    /// The largest size that each of these is said to have, more is larger; empty: not told of all.
    pub(crate) rid_bounds: Vec<u32>,
    /// SSRCs a publisher announced.
    pub(crate) ssrcs: Vec<SsrcPair>,
    /// A publisher's simulcast encodings where SSRCs tell them apart, not RIDs: the lowest first, 2 to
    /// 4 of [`ssrcs`](Self::ssrcs). Empty: no such simulcast.
    pub(crate) sim: Vec<u32>,
    /// A slot's names.
    pub(crate) slot: Option<SlotIdentity>,
}

impl SectionParameters {
    /// An m-line with codecs and nothing else, for tests.
    #[cfg(test)]
    pub(crate) fn plain(kind: SectionKind, role: MediaRole, codecs: Vec<CodecFormat>) -> Self {
        Self {
            mid: "0".to_owned(),
            kind,
            role,
            codecs,
            extensions: ExtensionMap::default(),
            rids: Vec::new(),
            rid_bounds: Vec::new(),
            ssrcs: Vec::new(),
            sim: Vec::new(),
            slot: None,
        }
    }

    /// The payload type, and that of its retransmissions, under which this m-line carries a stream of `codec` made with
    /// `parameters`. `None` if the client cannot decode it.
    pub(crate) fn payload_type_for(
        &self,
        codec: Codec,
        parameters: &CodecParameters,
    ) -> Option<(u8, Option<u8>)> {
        self.codecs
            .iter()
            .filter(|ours| ours.codec == codec)
            .filter_map(|ours| Some((ours.parameters.carries(parameters)?, ours)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, ours)| (ours.payload_type, ours.rtx))
    }
}

/// Kind of media on an m-line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SectionKind {
    /// RTP over DTLS.
    Audio,
    /// RTP over DTLS.
    Video,
    /// SCTP over DTLS (RFC 8841).
    Data,
    /// Media or a protocol the relay does not know: answered with port 0.
    Other,
}

/// The relay's use of an m-line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MediaRole {
    /// The client sends a track.
    Publish,
    /// The relay sends whatever track it points the slot at.
    Slot,
    /// Data channels.
    Data,
    /// No media for now.
    Inactive,
    /// No media; a new m-line may take its place.
    Rejected,
}

/// An SSRC with that of its retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SsrcPair {
    /// The media itself.
    pub(crate) ssrc: u32,
    /// Its retransmissions (RFC 4588).
    pub(crate) rtx: Option<u32>,
}

/// The names under which the relay sends in a slot, whatever track it points at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotIdentity {
    /// The SSRC of the media.
    pub(crate) ssrc: u32,
    /// The SSRC of retransmissions; unused where the client offers none.
    pub(crate) rtx_ssrc: Option<u32>,
    /// `MediaStream.id` in the browser: a token of at most 64 characters (RFC 8830 section 2).
    pub(crate) stream_id: String,
    /// Second half of `a=msid`, likewise.
    pub(crate) track_id: String,
}
