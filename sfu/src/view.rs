//! A viewer's screen, a server's caps, and the facts of a track that are not in its packets.

use crate::id::TrackId;

/// A viewer's way to show a track. Without one a track counts as visible, at any size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// The track.
    pub track: TrackId,
    /// It is on the screen. What is not, is not sent.
    pub visible: bool,
    /// Height of its place on the screen in device pixels; 0 if unknown, which counts as any.
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
}

/// Facts of a published track that are not in its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrackSettings {
    /// Its publisher muted it: nobody is sent it.
    pub muted: bool,
    /// It shows a screen: viewers get it before cameras.
    pub screen: bool,
}

/// The most that a viewer may be sent, whatever their link carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cap {
    /// All media together, bits a second; none is no bound.
    pub bitrate: Option<u64>,
    /// Of each video, height in pixels; none is no bound. The lowest layer is sent nevertheless.
    pub height: Option<u16>,
}

impl Cap {
    /// Both together.
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

/// Why a viewer is sent a track as it is: a layer and not a higher one, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// All there is.
    Best,
    /// The viewer's link carries no more.
    Bandwidth,
    /// The viewer's screen shows no more.
    SizeHint,
    /// The server allows no more.
    Cap,
    /// The publisher sends no more, or nothing any more.
    Publisher,
    /// The publisher has sent nothing yet.
    NotStarted,
    /// More is on its way: a keyframe was asked for, or the rate of a layer that has just begun is being measured, or
    /// what the link carries is.
    Keyframe,
    /// The viewer's screen does not show it.
    Hidden,
    /// Its publisher muted it.
    Muted,
    /// Others speak: only the last speakers' videos are sent.
    LastN,
    /// Others are louder: only the loudest are sent. In statistics alone: who is heard changes too often
    /// for an event to every viewer each time.
    Quiet,
    /// It waits for a receiving m-line.
    NoSlot,
    /// The viewer negotiated no codec it comes in.
    Codec,
    /// The viewer says nothing any more, or has not proved to be where it says it is.
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
