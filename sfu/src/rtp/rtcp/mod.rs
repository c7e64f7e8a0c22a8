//! RTCP: reports (RFC 3550 section 6), feedback (RFC 4585, RFC 5104), extended reports (RFC 3611)
//! and the two congestion control messages browsers use.

mod datagrams;
mod read;
mod twcc;
mod write;

pub(crate) use datagrams::datagrams;
pub use read::{MAX_LOST, MAX_PACKETS, Packets, parse_compound};
pub use twcc::{MAX_STATUSES, TICKS_PER_SECOND, TransportFeedback, write_feedback};
pub use write::{
    bye, fir, nack, pli, receiver_report, remb, sdes_cname, sender_report, xr_dlrr, xr_rrtr,
};

/// One packet of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rtcp {
    /// RFC 3550 section 6.4.1.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// The time at which it was sent, as a 64-bit NTP timestamp (32.32 seconds).
        ntp: u64,
        /// The RTP timestamp of that moment.
        rtp: u32,
        /// RTP packets sent so far, wrapping.
        packets: u32,
        /// Payload bytes sent so far, wrapping.
        octets: u32,
        /// Its reports on the streams that it receives; at most 31.
        reports: Vec<ReportBlock>,
    },
    /// RFC 3550 section 6.4.2.
    ReceiverReport {
        /// The reporter.
        ssrc: u32,
        /// Its reports on the streams that it receives; at most 31.
        reports: Vec<ReportBlock>,
    },
    /// The CNAME of each chunk (RFC 3550 section 6.5), `None` where a chunk has none or it is not
    /// UTF-8; at most 31. Other items are not kept.
    Sdes {
        /// SSRC and CNAME.
        cnames: Vec<(u32, Option<String>)>,
    },
    /// RFC 3550 section 6.6.
    Bye {
        /// Sources that leave; at most 31.
        ssrcs: Vec<u32>,
    },
    /// Generic NACK (RFC 4585 section 6.2.1).
    Nack {
        /// The requester.
        sender: u32,
        /// The stream with missing packets.
        media: u32,
        /// Their sequence numbers, as listed; at most [`MAX_LOST`].
        lost: Vec<u16>,
    },
    /// Picture loss indication (RFC 4585 section 6.3.1).
    Pli {
        /// The requester.
        sender: u32,
        /// The stream that needs a keyframe.
        media: u32,
    },
    /// Full intra request (RFC 5104 section 4.3.1).
    Fir {
        /// The requester.
        sender: u32,
        /// The streams that need a keyframe, each with the request's sequence number. The same
        /// number again is the same request.
        entries: Vec<(u32, u8)>,
    },
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb {
        /// The estimating receiver.
        sender: u32,
        /// Bits a second, saturating.
        bitrate: u64,
        /// The streams whose sum is estimated.
        ssrcs: Vec<u32>,
    },
    /// Arrivals by transport-wide sequence number.
    Twcc(TransportFeedback),
    /// Extended report (RFC 3611): the blocks that measure round trips, others are not kept.
    Xr {
        /// The reporter.
        ssrc: u32,
        /// Receiver reference time: a 64-bit NTP timestamp (section 4.4).
        reference_time: Option<u64>,
        /// Answers to reference times (section 4.5).
        delays: Vec<DelayBlock>,
    },
    /// Well-framed, of no interest here.
    Unknown {
        /// RTCP packet type.
        packet_type: u8,
        /// The count or format field, 0 to 31.
        format: u8,
    },
}

/// A receiver's report on one stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits, negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// The highest sequence number received, under its count of cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter, in ticks of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of the last sender report; 0 is none.
    pub last_sender_report: u32,
    /// Since that arrived, in 1/65536 s.
    pub delay: u32,
}

/// An answer to a receiver reference time (RFC 3611 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DelayBlock {
    /// The source of the reference time.
    pub ssrc: u32,
    /// The middle 32 bits of the reference time; 0 is none.
    pub last_reference: u32,
    /// Time since that arrived, in 1/65536 s.
    pub delay: u32,
}

/// The reason that bytes are not RTCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtcpError {
    /// A header's version, length or padding does not fit the datagram; nothing behind it is read.
    #[error("malformed RTCP framing")]
    Framing,
    /// A packet's content does not fit its own length; the next one is read.
    #[error("malformed RTCP packet")]
    Content,
    /// The datagram has more than [`MAX_PACKETS`] packets.
    #[error("too many RTCP packets in one datagram")]
    TooMany,
}

impl RtcpError {
    /// A stable code, for counters.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Framing => "rtcp_framing",
            Self::Content => "rtcp_content",
            Self::TooMany => "rtcp_too_many",
        }
    }
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

const GENERIC_NACK: u8 = 1;
const TRANSPORT_CC: u8 = 15;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA: u8 = 4;
const APPLICATION_LAYER: u8 = 15;
const REMB_NAME: &[u8; 4] = b"REMB";

const CNAME: u8 = 1;
const REFERENCE_TIME_BLOCK: u8 = 4;
const DELAY_BLOCK: u8 = 5;

#[cfg(test)]
mod interop_tests;
#[cfg(test)]
mod tests;
