//! The packets that a client receives under one SSRC.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::testing::{Oracle, OracleReport};

use super::hearing::Hearing;
use super::screen::Screen;

/// libwebrtc's `kMaxWaitForKeyFrame` is 200 ms; a frame that is being repaired gets a little more.
const PATIENCE: Duration = Duration::from_millis(250);

/// The packets received under one SSRC.
pub(crate) struct Stream {
    pub(super) oracle: Oracle,
    /// Used for video.
    pub(crate) screen: Screen,
    /// Used for audio.
    pub(crate) hearing: Hearing,
    /// Bytes of payload, repaired packets included.
    pub(crate) bytes: u64,
    pub(crate) codec: Codec,
    /// Reports on earlier codecs of the stream.
    pub(crate) before: Vec<OracleReport>,
    /// The m-line it comes on, once a packet named it.
    pub(crate) mid: Option<Mid>,
    pub(crate) packets: u64,
    pub(crate) last_at: Instant,
    /// The last sequence number.
    pub(crate) sequence: u16,
    /// For the last packets: the time of capture by the sender reports' clock, less the time of arrival, in seconds.
    pub(super) ahead: VecDeque<f64>,
    pub(super) asked_at: Option<Instant>,
}

impl Stream {
    /// The oracle's report so far.
    pub(crate) fn report(&self) -> &OracleReport {
        self.oracle.report()
    }

    /// Whether video comes that cannot be shown, which was not reported lately.
    pub(super) fn misses_pictures(&self, now: Instant) -> bool {
        let shown = self.screen.last;
        let recent = shown.max(self.asked_at);
        self.codec == Codec::Vp8 && recent.is_some_and(|at| now >= at + PATIENCE)
    }

    /// The time by which capture is ahead of arrival for the least delayed of the last packets. It is the same for all
    /// streams that a receiver plays in sync.
    pub(crate) fn ahead(&self) -> Option<f64> {
        self.ahead.iter().copied().reduce(f64::max)
    }
}
