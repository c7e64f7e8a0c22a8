//! The scripts that are run.

/// One script, and its events to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The script, in TOML.
    pub(crate) text: &'static str,
    pub(crate) kind: Kind,
    /// Length of the run from the viewer's joining, in seconds.
    pub(crate) seconds: u64,
    /// Time at which the link narrows at a stroke.
    pub(crate) drop: Option<u64>,
    /// Time at which it is wide again.
    pub(crate) back: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One publisher, one viewer behind the script.
    Viewer,
    /// One publisher and one viewer behind the script, without video.
    Sound,
    /// Twenty viewers; the first is behind the script, the others on a LAN.
    OneOfTwenty,
    /// The publisher is behind the script, and follows its own estimate as browsers do.
    PublisherUplink,
}

macro_rules! case {
    ($name:literal, $kind:ident, $seconds:literal) => {
        case!($name, $kind, $seconds, None, None)
    };
    ($name:literal, $kind:ident, $seconds:literal, $drop:expr, $back:expr) => {
        Case {
            name: $name,
            text: include_str!(concat!("../scripts/", $name, ".toml")),
            kind: Kind::$kind,
            seconds: $seconds,
            drop: $drop,
            back: $back,
        }
    };
}

pub(crate) const CASES: [Case; 19] = [
    case!("steady", Viewer, 40),
    case!("middle", Viewer, 40),
    case!("staircase", Viewer, 75, None, Some(60)),
    case!("drop", Viewer, 55, Some(15), Some(35)),
    case!("loss2", Viewer, 40),
    case!("loss5", Viewer, 40),
    case!("loss10", Viewer, 40),
    case!("bursts", Viewer, 40),
    case!("rtt50", Viewer, 45, Some(15), Some(30)),
    case!("rtt150", Viewer, 45, Some(15), Some(30)),
    case!("rtt300", Viewer, 45, Some(15), Some(30)),
    case!("jitter", Viewer, 40),
    case!("reordering", Viewer, 40),
    case!("rival", Viewer, 55, None, Some(40)),
    case!("sound", Sound, 30),
    case!("weak", OneOfTwenty, 25),
    case!("congested", Viewer, 40),
    case!("uplink", PublisherUplink, 55, None, Some(35)),
    case!("edge", Viewer, 60),
];
