//! Reasons that an access token lets nobody in.

use std::fmt;

/// A reason that an access token lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TokenFault {
    /// There is no token.
    Required,
    /// Its `exp` has passed.
    Expired,
    /// Its `jti` is among those that were revoked.
    Revoked,
    /// Its `nbf` has not come yet.
    NotYetValid,
    /// It is for another room.
    WrongRoom,
    /// Its form, algorithm, key or signature is wrong. The text continues "The access token".
    Invalid(&'static str),
    /// It does not grant to join.
    NotGranted,
}

impl TokenFault {
    /// Every stable code.
    pub const CODES: [&'static str; 7] = [
        "token_required",
        "token_expired",
        "token_revoked",
        "token_not_yet_valid",
        "token_wrong_room",
        "token_invalid",
        "not_allowed",
    ];

    /// The stable code of the protocol, one of [`CODES`](Self::CODES).
    pub fn code(self) -> &'static str {
        match self {
            Self::Required => "token_required",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::NotYetValid => "token_not_yet_valid",
            Self::WrongRoom => "token_wrong_room",
            Self::Invalid(_) => "token_invalid",
            Self::NotGranted => "not_allowed",
        }
    }
}

/// A sentence for people.
impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Required => "An access token is needed to join.",
            Self::Expired => "The access token has expired.",
            Self::Revoked => "The access token was revoked.",
            Self::NotYetValid => "The access token is not valid yet.",
            Self::WrongRoom => "The access token is for another room.",
            Self::Invalid(reason) => return write!(f, "The access token {reason}."),
            Self::NotGranted => "The access token does not grant to join.",
        };
        f.write_str(sentence)
    }
}

impl std::error::Error for TokenFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_listed_code_and_a_sentence() {
        let faults = [
            TokenFault::Required,
            TokenFault::Expired,
            TokenFault::Revoked,
            TokenFault::NotYetValid,
            TokenFault::WrongRoom,
            TokenFault::Invalid("is no JSON Web Token"),
            TokenFault::NotGranted,
        ];
        assert_eq!(faults.map(TokenFault::code), TokenFault::CODES);
        for fault in faults {
            assert!(fault.to_string().ends_with('.'), "{fault}");
        }
    }
}
