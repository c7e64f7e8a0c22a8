//! The reasons that packets are dropped, and their counts.

use std::fmt;

use crate::event::DataRefusal;
use crate::rtp::RtpError;
use crate::rtp::rtcp::RtcpError;

/// Declares the reasons, each with its code.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The reason that a worker dropped a packet, a part of one, or a message.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in the order of declaration.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$name),*];

            /// A stable code for wire formats and metrics.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// No peer is at the path that the datagram came over, and it is no STUN.
    UnknownAddress = "unknown_address",
    /// The first byte is that of no protocol (RFC 7983).
    UnknownProtocol = "unknown_protocol",

    /// A STUN message is malformed.
    StunMalformed = "stun_malformed",
    /// A STUN check names no peer of this worker.
    StunUnknownUfrag = "stun_unknown_ufrag",
    /// A STUN check has no USERNAME.
    StunNoUsername = "stun_no_username",
    /// A STUN check has the user fragment of a peer, and not that of its client.
    StunBadUsername = "stun_bad_username",
    /// A STUN message has no FINGERPRINT.
    StunNoFingerprint = "stun_no_fingerprint",
    /// The FINGERPRINT of a STUN message is wrong.
    StunBadFingerprint = "stun_bad_fingerprint",
    /// A STUN message has no MESSAGE-INTEGRITY.
    StunNoIntegrity = "stun_no_integrity",
    /// The MESSAGE-INTEGRITY of a STUN message is wrong.
    StunBadIntegrity = "stun_bad_integrity",
    /// A client takes the role of the controlled agent, which is the server's (RFC 8445 section 7.3.1.1).
    StunRoleConflict = "stun_role_conflict",
    /// A STUN check has an attribute that must be understood and is not.
    StunUnknownAttribute = "stun_unknown_attribute",
    /// A STUN answer comes to no check of the server, or the second time, or over another path.
    StunUnaskedAnswer = "stun_unasked_answer",
    /// A client refuses a check of the server.
    StunCheckRefused = "stun_check_refused",
    /// A peer's STUN checks come faster than they can be answered.
    StunOverload = "stun_overload",
    /// A STUN check is for a transport that has ended.
    TransportEnded = "transport_ended",

    /// A DTLS datagram is malformed, exceeds the needs of a handshake, or is not authentic.
    DtlsRefused = "dtls_refused",
    /// A DTLS datagram of a handshake has more than 2,048 bytes.
    DtlsOversized = "dtls_oversized",
    /// 2,048 DTLS datagrams of handshakes wait already.
    HandshakesOverloaded = "handshakes_overloaded",
    /// A DTLS association that was to replace another came to nothing.
    DtlsNotReplaced = "dtls_not_replaced",

    /// SRTP comes before the handshake is done.
    SrtpNotReady = "srtp_not_ready",
    /// An SRTP packet is not authentic.
    SrtpAuthFailed = "srtp_auth_failed",
    /// An SRTP packet came before, or is too old to tell.
    SrtpReplayed = "srtp_replayed",
    /// An SRTCP packet is not authentic.
    SrtcpAuthFailed = "srtcp_auth_failed",
    /// An SRTCP packet came before, or is too old to tell.
    SrtcpReplayed = "srtcp_replayed",

    /// An encrypted RTP packet is malformed.
    RtpMalformed = "rtp_malformed",
    /// An RTP packet is shorter than its header.
    RtpShort = "rtp_short",
    /// An RTP packet has another version than 2.
    RtpVersion = "rtp_version",
    /// A header extension runs past the end of its RTP packet.
    RtpExtension = "rtp_extension",
    /// The padding count of an RTP packet is wrong.
    RtpPadding = "rtp_padding",
    /// The payload of an RTP packet is not what its format says.
    RtpPayload = "rtp_payload",
    /// An RTP packet belongs to no track.
    RtpUnknownSsrc = "rtp_unknown_ssrc",
    /// An RTP packet has a payload type that was not negotiated.
    RtpUnknownPayloadType = "rtp_unknown_payload_type",
    /// An RTP packet belongs to a second stream of a layer whose first stream still sends.
    RtpSecondStream = "rtp_second_stream",
    /// A retransmission (RFC 4588) has a payload type that was not negotiated.
    RtxUnknownPayloadType = "rtx_unknown_payload_type",
    /// A retransmission (RFC 4588) belongs to a stream of which no packet has come.
    RtxWithoutMedia = "rtx_without_media",
    /// A peer sends more than [`Limits::publisher_bitrate`](crate::Limits::publisher_bitrate).
    PublisherBitrate = "publisher_bitrate",

    /// An encrypted RTCP packet is malformed.
    RtcpMalformed = "rtcp_malformed",
    /// A version, length or padding does not fit the RTCP datagram.
    RtcpFraming = "rtcp_framing",
    /// An RTCP packet's content does not fit its length.
    RtcpContent = "rtcp_content",
    /// An RTCP datagram has too many packets.
    RtcpTooMany = "rtcp_too_many",

    /// 8 MiB of packets wait for the end of the turn already.
    InboxFull = "inbox_full",
    /// A packet that was held back for a viewer is no longer cached.
    PacedNotCached = "paced_not_cached",
    /// A packet that a viewer asks for again is no longer cached.
    RepairNotCached = "repair_not_cached",
    /// A viewer asks for more packets again than its link is given.
    RepairRefused = "repair_refused",
    /// A viewer asks for more keyframes than one m-line may: 16 at once, and one in two seconds.
    KeyframeRefused = "keyframe_refused",
    /// A packet could not be encrypted.
    SealFailed = "seal_failed",

    /// The connection of a stream takes less than is sent over it.
    StreamFull = "stream_full",
    /// The connection of a stream is gone.
    StreamGone = "stream_gone",

    /// A pipe to another worker has no room for a batch of packets.
    RelayFull = "relay_full",
    /// A pipe to another worker has no room for a control message.
    RelayControlFull = "relay_control_full",

    /// A batch has 256 MiB of packets to send.
    BatchFull = "batch_full",
    /// A tap was read too slowly.
    TapFull = "tap_full",
    /// The buffer of the socket stays full.
    SendBufferFull = "send_buffer_full",
    /// The kernel refuses to send: no route, or a firewall's rule.
    SendRefused = "send_refused",

    /// A data channel has an unknown label ([`DataRefusal::UnknownLabel`]).
    DataUnknownLabel = "data_unknown_label",
    /// A data channel does not deliver as its label says ([`DataRefusal::WrongProperties`]).
    DataWrongProperties = "data_wrong_properties",
    /// A data channel is the second of its label ([`DataRefusal::AlreadyOpen`]).
    DataAlreadyOpen = "data_already_open",
    /// A peer opens too many data channels ([`DataRefusal::TooManyChannels`]).
    DataTooManyChannels = "data_too_many_channels",
    /// A data channel message is too long ([`DataRefusal::TooLarge`]).
    DataTooLarge = "data_too_large",
    /// Data channel messages come too fast ([`DataRefusal::TooFast`]).
    DataRateLimited = "data_rate_limited",
    /// A peer that may not send data channel messages sends one ([`DataRefusal::NotAllowed`]).
    DataNotAllowed = "data_not_allowed",
    /// A data channel message was not told to its room, which has not taken many other events.
    DataUnheard = "data_unheard",
    /// A viewer has no data channel for a message, or does not drain it.
    DataUndelivered = "data_undelivered",

    /// An event is for a room whose control plane does not read.
    EventsNotTaken = "events_not_taken",
}

impl From<RtpError> for DropReason {
    fn from(error: RtpError) -> Self {
        match error {
            RtpError::Short => Self::RtpShort,
            RtpError::Version => Self::RtpVersion,
            RtpError::Extension => Self::RtpExtension,
            RtpError::Padding => Self::RtpPadding,
            RtpError::Payload => Self::RtpPayload,
        }
    }
}

impl From<RtcpError> for DropReason {
    fn from(error: RtcpError) -> Self {
        match error {
            RtcpError::Framing => Self::RtcpFraming,
            RtcpError::Content => Self::RtcpContent,
            RtcpError::TooMany => Self::RtcpTooMany,
        }
    }
}

impl From<DataRefusal> for DropReason {
    fn from(refusal: DataRefusal) -> Self {
        match refusal {
            DataRefusal::UnknownLabel => Self::DataUnknownLabel,
            DataRefusal::WrongProperties => Self::DataWrongProperties,
            DataRefusal::AlreadyOpen => Self::DataAlreadyOpen,
            DataRefusal::TooManyChannels => Self::DataTooManyChannels,
            DataRefusal::TooLarge => Self::DataTooLarge,
            DataRefusal::TooFast => Self::DataRateLimited,
            DataRefusal::NotAllowed => Self::DataNotAllowed,
        }
    }
}

/// The number of drops for each reason.
#[derive(Clone, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// The number of drops for a reason.
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Adds drops for a reason.
    pub fn add(&mut self, reason: DropReason, count: u64) {
        let total = &mut self.0[reason as usize];
        *total = total.saturating_add(count);
    }

    /// The reasons for which anything was dropped, with their counts, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let all = DropReason::ALL.into_iter().zip(self.0);
        all.filter(|(_, count)| *count > 0)
    }

    /// All drops.
    pub fn total(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |total, count| total.saturating_add(*count))
    }
}

/// Adds the counts of each reason.
impl Extend<(DropReason, u64)> for Drops {
    fn extend<T: IntoIterator<Item = (DropReason, u64)>>(&mut self, counts: T) {
        for (reason, count) in counts {
            self.add(reason, count);
        }
    }
}

impl FromIterator<(DropReason, u64)> for Drops {
    fn from_iter<T: IntoIterator<Item = (DropReason, u64)>>(counts: T) -> Self {
        let mut drops = Self::default();
        drops.extend(counts);
        drops
    }
}

/// Prints the codes and counts of what was dropped.
impl fmt::Debug for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.iter().map(|(reason, count)| (reason.code(), count));
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_and_a_count_of_its_own() {
        let codes: BTreeSet<&str> = DropReason::ALL.iter().map(|each| each.code()).collect();
        assert_eq!(codes.len(), DropReason::ALL.len());
        let mut drops = Drops::default();
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            drops.add(reason, at as u64);
        }
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(drops.get(reason), at as u64, "{reason:?}");
        }
        assert_eq!(drops.iter().count(), DropReason::ALL.len() - 1);
        assert_eq!(
            drops.iter().map(|(_, count)| count).sum::<u64>(),
            drops.total()
        );
        assert_eq!(drops.iter().collect::<Drops>(), drops);
    }

    #[test]
    fn errors_keep_their_codes() {
        use RtpError::{Extension, Padding, Payload, Short, Version};
        for error in [Short, Version, Extension, Padding, Payload] {
            assert_eq!(DropReason::from(error).code(), error.code());
        }
        for error in [RtcpError::Framing, RtcpError::Content, RtcpError::TooMany] {
            assert_eq!(DropReason::from(error).code(), error.code());
        }
        for refusal in [
            DataRefusal::UnknownLabel,
            DataRefusal::WrongProperties,
            DataRefusal::AlreadyOpen,
            DataRefusal::TooManyChannels,
            DataRefusal::TooLarge,
            DataRefusal::TooFast,
        ] {
            assert_eq!(DropReason::from(refusal).code(), refusal.code());
        }
    }

    #[test]
    fn what_was_dropped_is_printed() {
        let drops: Drops = [(DropReason::RelayFull, 2)].into_iter().collect();
        assert_eq!(format!("{drops:?}"), r#"{"relay_full": 2}"#);
    }
}
