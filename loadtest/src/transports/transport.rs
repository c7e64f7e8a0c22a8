//! The transports that are compared.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

/// A transport by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TransportName {
    /// One WebSocket.
    #[value(name = "websocket")]
    WebSocket,
    /// Server-sent events down, a POST for each message up.
    Sse,
    /// Requests that the server answers as soon as it has something to say.
    LongPolling,
    /// A request every so often.
    Polling,
}

impl TransportName {
    /// All transports, the one with the fewest requests first.
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Sse, Self::LongPolling, Self::Polling];
}

/// A transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One WebSocket.
    WebSocket,
    /// A stream of server-sent events down, a POST for each message up.
    Sse,
    /// Requests that the server answers as soon as it has something to say; a POST for each message up.
    LongPolling,
    /// A request every so often, which the server answers at once; a POST for each message up.
    Polling(Duration),
}

impl Transport {
    /// The transports of these names; plain polling once for each interval.
    pub fn of(names: &[TransportName], intervals: &[Duration]) -> Vec<Self> {
        let mut transports = Vec::new();
        for name in names {
            match name {
                TransportName::WebSocket => transports.push(Self::WebSocket),
                TransportName::Sse => transports.push(Self::Sse),
                TransportName::LongPolling => transports.push(Self::LongPolling),
                TransportName::Polling => {
                    transports.extend(intervals.iter().copied().map(Self::Polling));
                }
            }
        }
        transports
    }

    /// The longest time that a message waits for its client to ask.
    pub(super) fn interval(self) -> Duration {
        match self {
            Self::Polling(interval) => interval,
            Self::WebSocket | Self::Sse | Self::LongPolling => Duration::ZERO,
        }
    }

    /// The name in the JSON report.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::LongPolling => "long_polling",
            Self::Polling(_) => "polling",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket => f.write_str("WebSocket"),
            Self::Sse => f.write_str("SSE + POST"),
            Self::LongPolling => f.write_str("long polling"),
            Self::Polling(interval) => write!(f, "polling every {} s", interval.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_polling_is_there_once_for_each_interval() {
        let seconds = [1.0, 2.5].map(Duration::from_secs_f64);
        let names = Transport::of(&TransportName::ALL, &seconds);
        let names: Vec<_> = names.iter().map(Transport::to_string).collect();
        let expected = [
            "WebSocket",
            "SSE + POST",
            "long polling",
            "polling every 1 s",
            "polling every 2.5 s",
        ];
        assert_eq!(names, expected);
    }
}
