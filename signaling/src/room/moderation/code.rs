//! The actions of moderators, and the codes by which they and their refusals are counted.

/// An action of a moderator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moderate {
    /// Mutes a track of somebody else, until its publisher unmutes it.
    Mute {
        /// The track's id.
        track: String,
    },
    /// Asks somebody to turn the microphone on.
    AskUnmute {
        /// The participant's id.
        participant: String,
    },
    /// Puts somebody out, who may join again.
    Remove {
        /// The participant's id.
        participant: String,
    },
    /// Puts somebody out, or somebody who waits away, for as long as the room is there.
    Ban {
        /// The participant's id.
        participant: String,
    },
    /// Locks the room for newcomers, or unlocks it.
    Lock(bool),
    /// Lets newcomers wait, or no more.
    WaitingRoom(bool),
    /// Lets everybody write who has the right to, or only moderators.
    Chat(bool),
    /// Lets somebody in who waits.
    Admit {
        /// The id of the one who waits.
        participant: String,
    },
    /// Sends somebody away who waits.
    Deny {
        /// The id of the one who waits.
        participant: String,
    },
    /// Lowers somebody's hand.
    LowerHand {
        /// The participant's id.
        participant: String,
    },
    /// Ends the call for everybody.
    End,
}

/// Codes of all actions, by which `/stats` counts those that were done.
pub(crate) const DONE_CODES: [&str; 13] = [
    "mute",
    "ask_unmute",
    "remove",
    "ban",
    "lock",
    "waiting_room",
    "chat",
    "admit",
    "deny",
    "lower_hand",
    "end",
    "invite",
    "revoke",
];

/// The code of [`Moderate::Mute`].
pub(super) const MUTE: &str = DONE_CODES[0];

/// Codes by which `/stats` counts actions of moderation that were refused, and chat that a moderator forbids.
pub(crate) const REFUSED_CODES: [&str; 11] = [
    "not_allowed",
    "no_such_participant",
    "no_such_track",
    "bad_field",
    "too_many_bans",
    "room_full",
    "overloaded",
    "chat_off",
    "too_many_invitations",
    "no_such_invitation",
    "invitations_off",
];

/// Codes of a room's own refusals of a join.
pub(crate) const DOOR_CODES: [&str; 6] = [
    "room_locked",
    "banned",
    "denied",
    "waiting_room_full",
    "waiting_timeout",
    "room_closed",
];

impl Moderate {
    /// The stable code of the action.
    pub fn code(&self) -> &'static str {
        DONE_CODES[match self {
            Self::Mute { .. } => 0,
            Self::AskUnmute { .. } => 1,
            Self::Remove { .. } => 2,
            Self::Ban { .. } => 3,
            Self::Lock(_) => 4,
            Self::WaitingRoom(_) => 5,
            Self::Chat(_) => 6,
            Self::Admit { .. } => 7,
            Self::Deny { .. } => 8,
            Self::LowerHand { .. } => 9,
            Self::End => 10,
        }]
    }

    /// Whether a rule of the room is to hold, if the action sets one.
    pub(super) fn on(&self) -> Option<bool> {
        match self {
            Self::Lock(on) | Self::WaitingRoom(on) | Self::Chat(on) => Some(*on),
            _ => None,
        }
    }
}
