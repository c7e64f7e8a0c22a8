//! A viewer's screen, a server's caps, and facts of a track that are not in its packets.

use crate::id::TrackId;

/// How a viewer shows a track. A track without a view counts as visible, at any size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct View {
    /// The track.
    pub track: TrackId,
    /// The track is on the screen. A hidden track is not sent.
    pub visible: bool,
    /// Height of its place on the screen in device pixels; 0 if unknown, which counts as any size.
    pub height: u16,
    /// Its viewer wants it before others.
    pub pinned: bool,
}

impl View {
    /// Visible at any size.
    pub const fn of(track: TrackId) -> Self {
        Self {
            track,
            visible: true,
            height: 0,
            pinned: false,
        }
    }

    /// Sets whether it is on the screen.
    #[must_use]
    pub const fn with_visible(mut self, visible: bool) -> Self {
        self.visible = visible;
        self
    }

    /// Sets the height of its place in device pixels; 0 is any size.
    #[must_use]
    pub const fn with_height(mut self, height: u16) -> Self {
        self.height = height;
        self
    }

    /// Sets whether its viewer wants it before others.
    #[must_use]
    pub const fn with_pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }
}

/// Facts of a published track that are not in its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TrackSettings {
    /// Its publisher muted it: no viewer is sent it.
    pub muted: bool,
    /// It shows a screen: viewers get it before cameras.
    pub screen: bool,
}

impl TrackSettings {
    /// Sets whether its publisher muted it.
    #[must_use]
    pub const fn with_muted(mut self, muted: bool) -> Self {
        self.muted = muted;
        self
    }

    /// Sets whether it shows a screen.
    #[must_use]
    pub const fn with_screen(mut self, screen: bool) -> Self {
        self.screen = screen;
        self
    }
}

/// The most that a viewer may be sent, whatever its link carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cap {
    /// All media together, bits a second; none is no bound.
    pub bitrate: Option<u64>,
    /// Height of each video in pixels; none is no bound. The lowest layer is sent nevertheless.
    pub height: Option<u16>,
}

impl Cap {
    /// The tighter bound of both, field by field.
    pub(crate) fn within(self, other: Self) -> Self {
        fn tighter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            bitrate: tighter(self.bitrate, other.bitrate),
            height: tighter(self.height, other.height),
        }
    }
}

/// The reason that a viewer is sent this layer of a track and not a higher one, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The viewer is sent the best layer.
    Best,
    /// The viewer's link carries no more.
    Bandwidth,
    /// The viewer's screen shows no more.
    SizeHint,
    /// The server allows no more.
    Cap,
    /// The publisher sends no higher layer, or has stopped.
    Publisher,
    /// The publisher has sent nothing yet.
    NotStarted,
    /// A higher layer is coming: a keyframe was asked for, a layer that has just begun is being measured, or the link's
    /// bandwidth is.
    Keyframe,
    /// The viewer's screen does not show it.
    Hidden,
    /// Its publisher muted it.
    Muted,
    /// Others spoke more recently: only the last speakers' videos are sent.
    LastN,
    /// Others are louder: only the loudest are sent. It stands in statistics only: the loudest change too often to send
    /// an event to every viewer each time.
    Quiet,
    /// The subscription waits for a receiving m-line.
    NoSlot,
    /// The viewer negotiated no codec that the track comes in.
    Codec,
    /// The viewer is silent, or has not proved to be at its address.
    Unreachable,
}

impl Reason {
    /// A stable code for wire formats and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Bandwidth => "bandwidth",
            Self::SizeHint => "size_hint",
            Self::Cap => "cap",
            Self::Publisher => "publisher",
            Self::NotStarted => "waiting_for_publisher",
            Self::Keyframe => "waiting_for_keyframe",
            Self::Hidden => "hidden",
            Self::Muted => "muted",
            Self::LastN => "last_n",
            Self::Quiet => "quiet",
            Self::NoSlot => "waiting_for_m_line",
            Self::Codec => "codec_not_negotiated",
            Self::Unreachable => "unreachable",
        }
    }
}
