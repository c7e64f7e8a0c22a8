//! Refusals of an offer, or of one m-line of it: the client can always fix them, and they always name the m-line.

/// The reason that an offer was refused: nothing was negotiated then, and an earlier negotiation stands. Or the reason
/// that one m-line was refused while the others go on ([`Answer::refused`](crate::Answer::refused)): with port 0, or with
/// `inactive` in the case of [`NotAllowed`](Self::NotAllowed).
///
/// One m-line: [`NoCommonCodec`](Self::NoCommonCodec), [`UnknownMedia`](Self::UnknownMedia),
/// [`NoBundle`](Self::NoBundle), [`NoRtcpMux`](Self::NoRtcpMux), [`NotAllowed`](Self::NotAllowed). The whole offer: the
/// others.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The text is not a session description, or its parts contradict each other.
    #[error("not a usable session description: {0}")]
    Syntax(String),
    /// No ICE user fragment and password, or malformed ones (RFC 8839 section 5.4).
    #[error("{media} has no valid a=ice-ufrag and a=ice-pwd: an ICE agent must write the offer")]
    NoIce {
        /// The m-line, for people.
        media: String,
    },
    /// No certificate fingerprint of a hash the relay accepts, or another than before (RFC 8122).
    #[error("{media} has no usable a=fingerprint: {reason}")]
    NoFingerprint {
        /// The m-line, for people.
        media: String,
        /// The fault of it.
        reason: &'static str,
    },
    /// An m-line offers no codec the relay forwards.
    #[error("{media} offers no codec the relay forwards, only {offered}")]
    NoCommonCodec {
        /// The m-line, for people.
        media: String,
        /// The encoding names it offers, and what those lack that the relay knows.
        offered: String,
    },
    /// A medium or a profile the relay does not carry (RFC 8829 section 5.1.2).
    #[error("{media} is not carried: {reason}")]
    UnknownMedia {
        /// The m-line, for people.
        media: String,
        /// The fault, or what the relay would take instead.
        reason: String,
    },
    /// A later offer moved, changed or dropped an m-line (RFC 8829 section 5.2.2).
    #[error("m-lines keep their places over offers: {0}")]
    BadOrder(String),
    /// An m-line outside the BUNDLE group of the first (RFC 9143); the relay has one transport a peer.
    #[error(
        "{media} is not in one a=group:BUNDLE with the first m-line in use, \
         and the relay has one transport a peer"
    )]
    NoBundle {
        /// The m-line, for people.
        media: String,
    },
    /// An m-line sends a track that its client may not publish ([`MayPublish`](crate::MayPublish)).
    #[error("{media} sends a track that its client may not publish")]
    NotAllowed {
        /// The m-line, for people.
        media: String,
    },
    /// RTP and RTCP on two ports (RFC 5761).
    #[error("{media} has no a=rtcp-mux, and the relay has one port for RTP and RTCP")]
    NoRtcpMux {
        /// The m-line, for people.
        media: String,
    },
    /// The offer has more m-lines than the server's limit.
    #[error("the offer has {offered} m-lines, the server takes {limit}")]
    TooManyMedia {
        /// m-lines offered.
        offered: usize,
        /// The configured bound.
        limit: usize,
    },
}

impl SdpError {
    /// A stable code for wire formats and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "sdp_syntax",
            Self::NoIce { .. } => "sdp_no_ice",
            Self::NoFingerprint { .. } => "sdp_no_fingerprint",
            Self::NoCommonCodec { .. } => "sdp_no_common_codec",
            Self::UnknownMedia { .. } => "sdp_unknown_media",
            Self::BadOrder(_) => "sdp_bad_order",
            Self::NoBundle { .. } => "sdp_no_bundle",
            Self::NoRtcpMux { .. } => "sdp_no_rtcp_mux",
            Self::NotAllowed { .. } => "sdp_not_allowed",
            Self::TooManyMedia { .. } => "sdp_too_many_media",
        }
    }
}

/// Text of the client's that an error repeats, short and printable: errors go into logs and to people.
pub(super) fn excerpt(text: &str) -> String {
    printable(text, MAX_EXCERPT_CHARS)
}

/// Shortens a list of formats with what each lacks, and makes it printable.
pub(super) fn long_excerpt(text: &str) -> String {
    printable(text, MAX_LIST_CHARS)
}

fn printable(text: &str, max: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(max)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

/// Enough to recognise a line of SDP by.
const MAX_EXCERPT_CHARS: usize = 80;
/// Longest list in an error: enough to explain three formats.
const MAX_LIST_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("a=mid:\u{1b}[2J"), "a=mid:\u{fffd}[2J");
        assert_eq!(
            excerpt(&"ä".repeat(1000)).chars().count(),
            MAX_EXCERPT_CHARS + 1
        );
    }
}
