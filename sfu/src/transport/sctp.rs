//! Data channels: the shape the transport drives, holding nothing yet.

use std::time::Instant;

/// The two channels every client opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DataChannel {
    /// Ordered and reliable.
    Reliable,
    /// Unordered, never retransmitted.
    Unreliable,
}

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SendDataError {
    /// The client has not opened the channel.
    #[error("the data channel is not open")]
    NotOpen,
}

/// What happened on the association.
pub(crate) enum SctpEvent {
    /// A channel was opened by the client.
    Opened(DataChannel),
    /// A message came.
    Message {
        /// Where.
        channel: DataChannel,
        /// Not text.
        binary: bool,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The association is gone.
    Closed,
}

/// One peer's SCTP association.
pub(crate) struct Sctp;

impl Sctp {
    pub(crate) fn new(_now: Instant, _max_message: usize, _seed: u64) -> Self {
        Self
    }

    pub(crate) fn handle_packet(&mut self, _now: Instant, _packet: &[u8]) {}

    pub(crate) fn handle_timeout(&mut self, _now: Instant) {}

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn poll_transmit(&mut self, _now: Instant) -> Option<Vec<u8>> {
        None
    }

    pub(crate) fn poll_event(&mut self) -> Option<SctpEvent> {
        None
    }

    pub(crate) fn send(
        &mut self,
        _now: Instant,
        _channel: DataChannel,
        _payload: &[u8],
        _binary: bool,
    ) -> Result<(), SendDataError> {
        Err(SendDataError::NotOpen)
    }
}
