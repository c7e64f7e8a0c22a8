//! Refusals of requests: a stable code and a sentence for people.

use std::fmt;
use std::time::Duration;

use crate::access::TokenFault;
use crate::clients::{Clients, Exceeded};
use crate::media::{DataRefusal, Limit, Limits, SdpError, SfuError};

/// A request that is not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// A stable code of the protocol.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The time after which the same may succeed, if the server knows it.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn retry_after(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }

    pub(crate) fn bad_field(message: impl Into<String>) -> Self {
        Self::new("bad_field", message)
    }

    pub(crate) fn room_full(limit: usize) -> Self {
        Self::new(
            "room_full",
            format!("The room has its {limit} participants already."),
        )
    }

    /// The embedder's no. Its sentence is for the person.
    pub(crate) fn denied(reason: String) -> Self {
        Self::new("not_allowed", reason)
    }

    /// The access token lets nobody in.
    pub(crate) fn of_token(fault: TokenFault) -> Self {
        Self::new(fault.code(), fault.to_string())
    }

    /// The access token lets somebody in under what may not be.
    pub(crate) fn bad_token(message: String) -> Self {
        Self::new("token_invalid", message)
    }

    pub(crate) fn not_allowed(message: &'static str) -> Self {
        Self::new("not_allowed", message)
    }

    pub(crate) fn room_locked() -> Self {
        Self::new("room_locked", "The room is locked.")
    }

    pub(crate) fn banned() -> Self {
        Self::new(
            "banned",
            "You were removed from this room until the call ends.",
        )
    }

    pub(crate) fn denied_entry() -> Self {
        Self::new("denied", "A moderator did not let you in.")
    }

    pub(crate) fn waiting_room_full(limit: usize) -> Self {
        let sentence = format!("{limit} people wait to be let in already.");
        Self::new("waiting_room_full", sentence)
    }

    pub(crate) fn waiting_timeout() -> Self {
        Self::new("waiting_timeout", "Nobody let you in for a long time.")
    }

    pub(crate) fn room_closed() -> Self {
        Self::new("room_closed", "The call has ended.")
    }

    pub(crate) fn chat_off() -> Self {
        Self::new("chat_off", "Only moderators may write now.")
    }

    pub(crate) fn no_such_participant() -> Self {
        let sentence = "There is no such participant in this room.";
        Self::new("no_such_participant", sentence)
    }

    pub(crate) fn too_many_bans(limit: usize) -> Self {
        let sentence = format!("{limit} people are banned already: lock the room.");
        Self::new("too_many_bans", sentence)
    }

    pub(crate) fn too_many_invitations(limit: usize) -> Self {
        let sentence = format!("{limit} invitations to this room let in already: revoke one.");
        Self::new("too_many_invitations", sentence)
    }

    /// Revoked ones are known until they expire, and the server's number is bounded.
    pub(crate) fn no_place_for_invitation() -> Self {
        let sentence = "The server can keep no more invitations until others have expired.";
        Self::new("too_many_invitations", sentence)
    }

    pub(crate) fn no_such_invitation() -> Self {
        let sentence = "There is no such invitation to this room, or it lets nobody in any more.";
        Self::new("no_such_invitation", sentence)
    }

    pub(crate) fn invitations_off() -> Self {
        let sentence =
            "This server makes no invitations: its operator's program decides who joins.";
        Self::new("invitations_off", sentence)
    }

    pub(crate) fn invitation_not_signed() -> Self {
        Self::new("internal", "The server could not sign the invitation.")
    }

    pub(crate) fn undecided() -> Self {
        let sentence = "The server could not find out in time whether you may join.";
        Self::new("authorize_timeout", sentence)
    }

    pub(crate) fn hook_failed() -> Self {
        let sentence = "The server could not find out whether you may join.";
        Self::new("internal", sentence)
    }

    pub(crate) fn server_memory() -> Self {
        let sentence = "The server has no memory for more now.";
        Self::new("server_memory", sentence)
    }

    pub(crate) fn server_full() -> Self {
        Self::new("server_full", "The server cannot take another room now.")
    }

    pub(crate) fn per_address(clients: &Clients, exceeded: Exceeded) -> Self {
        let refusal = Self::new(exceeded.code(), clients.sentence(exceeded));
        refusal.retry_after(clients.retry_after(exceeded))
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new("shutting_down", "The server is shutting down.")
    }

    pub(crate) fn overloaded() -> Self {
        Self::new("overloaded", "The server is overloaded. Try again later.")
    }

    pub(crate) fn no_such_track(track: &str) -> Self {
        // The text is echoed, so a long one is cut.
        let shown: String = track.chars().take(32).collect();
        Self::new(
            "no_such_track",
            format!("There is no track `{shown}` in this room."),
        )
    }

    pub(crate) fn not_your_track() -> Self {
        Self::new("not_your_track", "Only its publisher may mute a track.")
    }

    /// The media plane refused to take another room.
    pub(crate) fn of_room(error: &SfuError) -> Self {
        match error {
            SfuError::Limit { .. } => Self::server_full(),
            error => Self::of_media(error),
        }
    }

    /// The media plane refused an offer, or an m-line of it.
    pub(crate) fn of_sdp(error: &SdpError) -> Self {
        if let SdpError::NotAllowed { .. } = error {
            return Self::new("not_allowed", sentence(error));
        }
        Self::new(sdp_code(error.code()), sentence(error))
    }

    /// The media plane refused an offer or a subscription.
    pub(crate) fn of_media(error: &SfuError) -> Self {
        match error {
            SfuError::Sdp(error) => Self::of_sdp(error),
            SfuError::Limit { what, limit } => match what {
                Limit::PeersPerRoom => Self::new(
                    "room_full",
                    format!("The room has its {limit} {what} already."),
                ),
                Limit::Rooms => Self::new(
                    "server_full",
                    format!("The server has its {limit} {what} already."),
                ),
                Limit::TracksPerPeer => Self::new("too_many_tracks", sentence(error)),
                _ => Self::new("internal", sentence(error)),
            },
            SfuError::NoSuchTrack => Self::new("no_such_track", sentence(error)),
            SfuError::Overloaded => Self::overloaded(),
            SfuError::Stopped => Self::shutting_down(),
            SfuError::WorkerFailed => Self::new("worker_failed", sentence(error)),
            error => Self::new("internal", sentence(error)),
        }
    }

    /// The media plane refused a data channel, or a message on one.
    pub(crate) fn of_data(reason: DataRefusal) -> Self {
        let limits = Limits::default();
        let message = match reason {
            DataRefusal::UnknownLabel => {
                "A data channel's label is `reliable` or `unreliable`; others are closed.".into()
            }
            DataRefusal::WrongProperties => {
                "The data channel `reliable` is ordered and without bounds of retransmission, \
                 `unreliable` unordered with `maxRetransmits` 0; others are closed."
                    .into()
            }
            DataRefusal::AlreadyOpen => {
                "A data channel of this label is open; the second was closed.".into()
            }
            DataRefusal::TooManyChannels => {
                "This connection has opened too many data channels.".into()
            }
            DataRefusal::TooLarge => format!(
                "A data channel message has at most {} bytes; a longer one was dropped.",
                limits.data_message_bytes
            ),
            DataRefusal::TooFast => format!(
                "At most {} data channel messages a second are passed on; more were dropped.",
                limits.data_messages_per_second
            ),
            DataRefusal::NotAllowed => {
                "You may not send data channel messages in this room; they are dropped.".into()
            }
            _ => "A data channel was refused.".into(),
        };
        Self::new(reason.code(), message)
    }
}

/// A code that clients do not know would be of no use to them.
fn sdp_code(code: &'static str) -> &'static str {
    if code.starts_with("sdp_") {
        code
    } else {
        "bad_sdp"
    }
}

fn sentence(error: &impl fmt::Display) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get(..1) {
        let first = first.to_uppercase();
        text.replace_range(..1, &first);
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_data_says_what_would_be_right() {
        for (reason, code, named) in [
            (
                DataRefusal::UnknownLabel,
                "data_unknown_label",
                "`reliable`",
            ),
            (DataRefusal::WrongProperties, "data_wrong_properties", "0"),
            (DataRefusal::AlreadyOpen, "data_already_open", "open"),
            (
                DataRefusal::TooManyChannels,
                "data_too_many_channels",
                "too many",
            ),
            (DataRefusal::TooLarge, "data_too_large", "16384"),
            (DataRefusal::TooFast, "data_rate_limited", "100"),
            (DataRefusal::NotAllowed, "data_not_allowed", "may not"),
        ] {
            let Refusal {
                code: told,
                message,
                ..
            } = Refusal::of_data(reason);
            assert_eq!(told, code);
            assert!(
                message.contains(named) && message.ends_with('.'),
                "{message}"
            );
        }
    }

    #[test]
    fn media_errors_keep_or_get_a_code_of_the_protocol() {
        let limit = |what| SfuError::Limit { what, limit: 3 };
        let syntax = SdpError::Syntax("line 1".into());
        let not_allowed = SdpError::NotAllowed {
            media: "m-line 1 (video)".into(),
        };
        for (error, code) in [
            (SfuError::Sdp(syntax), "sdp_syntax"),
            (SfuError::Sdp(not_allowed), "not_allowed"),
            (limit(Limit::PeersPerRoom), "room_full"),
            (limit(Limit::Rooms), "server_full"),
            (limit(Limit::TracksPerPeer), "too_many_tracks"),
            (limit(Limit::SenderBytes), "internal"),
            (SfuError::NoSuchTrack, "no_such_track"),
            (SfuError::Overloaded, "overloaded"),
            (SfuError::Stopped, "shutting_down"),
            (SfuError::WorkerFailed, "worker_failed"),
            (SfuError::NoSuchRoom, "internal"),
        ] {
            let refusal = Refusal::of_media(&error);
            assert_eq!(refusal.code, code);
            assert!(refusal.message.ends_with('.'), "{}", refusal.message);
        }
    }
}
