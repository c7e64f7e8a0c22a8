//! The encoded clips bots publish, and turning them into RTP.

pub mod clip;
pub mod h264;
pub mod ogg;
pub mod packetize;
pub(crate) mod schedule;
pub(crate) mod source;
pub mod trace;

/// The reason that a clip cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MediaError {
    /// The file has another container, or is cut off.
    #[error("not a {0} file, or cut off")]
    Container(&'static str),
    /// Another codec than the bots speak.
    #[error("the {container} file does not hold {expected}")]
    Codec {
        container: &'static str,
        expected: &'static str,
    },
    /// A clip must start with a keyframe to be looped.
    #[error("the clip is empty or does not start with a keyframe")]
    NoKeyframe,
}
