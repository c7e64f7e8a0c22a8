//! Session descriptions (RFC 8866, RFC 8829): the client's offer in, the server's answer out.

/// Why an offer was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not a session description.
    #[error("not a session description: {0}")]
    Syntax(String),
}

impl SdpError {
    /// A stable code for wire formats and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "sdp_syntax",
        }
    }
}
