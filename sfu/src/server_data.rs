//! Data channel messages of the control plane's own.

/// A data channel message of the control plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerData {
    /// The name that receivers are told as its sender: at most 64 bytes, no line feed.
    pub sender: String,
    /// Whether it goes over the channel `reliable`; otherwise over `unreliable`.
    pub reliable: bool,
    /// Whether it is bytes; otherwise it is UTF-8.
    pub binary: bool,
    /// The message, of at most [`Limits::data_message_bytes`](crate::Limits::data_message_bytes).
    pub payload: Vec<u8>,
}
