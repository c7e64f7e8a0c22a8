use crate::rtp::RtpError;

/// Something no decoder may be shown. Sequence numbers are those of the packet at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The packet is not RTP.
    Malformed {
        /// The fault.
        error: RtpError,
    },
    /// A packet of another stream: a viewer's SSRC is its slot's for good.
    SsrcChange {
        /// The SSRC until now.
        from: u32,
        /// The SSRC of this packet, which is not examined further.
        to: u32,
    },
    /// Another payload type in the same stream.
    PayloadTypeChange {
        /// The first packet that has it.
        sequence: u16,
        /// The payload type until now.
        from: u8,
        /// The payload type from here on.
        to: u8,
    },
    /// A sequence number is more than 3,000 away from the highest: no loss explains it, and receivers restart (RFC 3550
    /// appendix A.1).
    SequenceJump {
        /// The highest so far.
        from: u16,
        /// This packet's.
        to: u16,
    },
    /// Media time falls; of audio, or does not rise.
    TimestampBackwards {
        /// The packet.
        sequence: u16,
        /// The timestamp before it.
        from: u32,
        /// Its own.
        to: u32,
    },
    /// Media time moved by 10 s more or less than the time between the arrivals.
    TimestampJump {
        /// The packet.
        sequence: u16,
        /// The timestamp before it.
        from: u32,
        /// Its own.
        to: u32,
        /// Milliseconds media time is ahead.
        ahead_ms: i64,
    },
    /// The timestamp changes and the packet before had no marker, or is the same after a marker:
    /// receivers take both for one frame, or for two.
    MarkerMisplaced {
        /// The packet.
        sequence: u16,
        /// Its timestamp.
        timestamp: u32,
    },
    /// A frame begins without its start, or again within, and nothing was lost.
    TornFrame {
        /// The packet.
        sequence: u16,
        /// Its timestamp.
        timestamp: u32,
    },
    /// The first packet of all is not the first of a frame.
    StartsInsideFrame {
        /// The packet.
        sequence: u16,
    },
    /// The first frame is no keyframe. Told once.
    StartsWithoutKeyframe {
        /// Its last packet.
        sequence: u16,
    },
    /// A payload descriptor does not parse.
    Descriptor {
        /// The packet.
        sequence: u16,
    },
    /// The picture id does not follow: one more for each frame, the same within one. With losses,
    /// more by no more than could have been lost.
    PictureId {
        /// The packet.
        sequence: u16,
        /// The one before.
        from: Option<u16>,
        /// Its own.
        to: Option<u16>,
        /// Packets lost in between.
        lost: u64,
    },
    /// TL0PICIDX does not follow: one more for each frame of temporal layer 0, the same for others.
    Tl0PicIdx {
        /// The packet.
        sequence: u16,
        /// The one before.
        from: Option<u8>,
        /// Its own.
        to: Option<u8>,
        /// Packets lost in between.
        lost: u64,
    },
    /// A dependency descriptor's frame number does not follow: more for each frame, the same within one.
    FrameNumber {
        /// The packet.
        sequence: u16,
        /// The one before.
        from: Option<u16>,
        /// Its own.
        to: u16,
        /// Packets lost in between.
        lost: u64,
    },
    /// A frame of an upper temporal layer that had not been sent for a while, and no sync frame: it
    /// refers to frames that were never shown.
    TemporalLayerWithoutSync {
        /// Its last packet.
        sequence: u16,
        /// The layer.
        tid: u8,
    },
    /// The picture's size or its encoder changes in a frame that is no keyframe.
    ChangeWithoutKeyframe {
        /// Its last packet.
        sequence: u16,
        /// The size in the keyframe.
        from: (u16, u16),
        /// The size in this frame.
        to: (u16, u16),
    },
    /// A frame refers to one that was not shown, though no packet was lost since the keyframe.
    MissingReference {
        /// Its last packet.
        sequence: u16,
        /// Its number at the encoder.
        frame: u32,
        /// The number of the one that is missing.
        reference: u32,
    },
    /// The bytes of a frame are not those the encoder made.
    Corrupt {
        /// Its last packet.
        sequence: u16,
        /// Its number at the encoder.
        frame: u32,
    },
}
