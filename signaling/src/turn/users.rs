//! The users of TURN: the participants that are in a room now.
//!
//! A user's name is the participant's id, and the password is signed from it by a secret of the process. So nothing is
//! stored but who is there, the same participant has the same password for as long as the process runs, and one who has
//! left has none.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use tokio::sync::watch;

use super::stun::Key;

/// The realm of the credentials (RFC 8489 section 9.2).
pub(super) const REALM: &str = "tertulia";
/// Bytes of a password before it is encoded: 144 bits.
const PASSWORD: usize = 18;

/// All users of a server. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct Users(Arc<Shared>);

struct Shared {
    secret: [u8; 32],
    /// Bounded by the participants of all rooms.
    present: DashMap<Box<str>, Present>,
    /// Tells the stays of one id apart.
    stays: AtomicU64,
}

/// A participant who is there.
struct Present {
    stay: u64,
    user: User,
}

/// The part of a user that each of the user's allocations holds.
#[derive(Clone)]
pub(super) struct User {
    /// Allocations that the user has.
    pub(super) allocations: Arc<AtomicUsize>,
    /// Closed as soon as the user has left.
    pub(super) presence: watch::Receiver<()>,
}

/// A participant's right to be relayed, until this is dropped.
pub(crate) struct Member {
    users: Users,
    id: Box<str>,
    stay: u64,
    /// Dropped: those that wait for the end of the stay are told.
    _presence: watch::Sender<()>,
}

/// The name and the password of a user.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Default for Users {
    fn default() -> Self {
        Self(Arc::new(Shared {
            secret: rand::random(),
            present: DashMap::new(),
            stays: AtomicU64::new(0),
        }))
    }
}

impl Users {
    /// Lets a participant use TURN.
    pub(crate) fn admit(&self, id: &str) -> Member {
        let stay = self.0.stays.fetch_add(1, Ordering::Relaxed);
        let (sender, presence) = watch::channel(());
        let user = User {
            allocations: Arc::default(),
            presence,
        };
        self.0.present.insert(id.into(), Present { stay, user });
        Member {
            users: self.clone(),
            id: id.into(),
            stay,
            _presence: sender,
        }
    }

    /// The credentials of a participant, good while it is there.
    pub(crate) fn credentials(&self, id: &str) -> Credentials {
        Credentials {
            username: id.to_owned(),
            password: self.password(id),
        }
    }

    /// The user of this name with its key, if it is there.
    pub(super) fn find(&self, name: &[u8]) -> Option<(User, Key)> {
        let name = std::str::from_utf8(name).ok()?;
        let user = self.0.present.get(name)?.user.clone();
        Some((user, long_term_key(name, REALM, &self.password(name))))
    }

    fn password(&self, id: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0.secret) else {
            unreachable!("HMAC takes any key");
        };
        mac.update(id.as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..PASSWORD])
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Somebody may be there by this id again.
        let present = &self.users.0.present;
        present.remove_if(&self.id, |_, present| present.stay == self.stay);
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("present", &self.0.present.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The key of long-term credentials (RFC 8489 section 9.2.2). Browsers know no better digest than MD5 here; the password
/// is random, so that no list of words helps.
pub(super) fn long_term_key(username: &str, realm: impl AsRef<[u8]>, password: &str) -> Key {
    let digest = Md5::new()
        .chain_update(username)
        .chain_update(":")
        .chain_update(realm)
        .chain_update(":")
        .chain_update(password)
        .finalize();
    Key::new(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_there_for_as_long_as_the_participant() {
        let users = Users::default();
        assert!(users.find(b"pa_ana").is_none());
        let ana = users.admit("pa_ana");
        let (found, _) = users.find(b"pa_ana").expect("is there");
        assert!(users.find(b"pa_ben").is_none());
        assert!(users.find(b"pa_ana\xff").is_none());
        assert!(found.presence.has_changed().is_ok());
        // By a session one comes back under the same id, perhaps before the earlier stay has ended.
        let again = users.admit("pa_ana");
        drop(ana);
        assert!(found.presence.has_changed().is_err(), "that stay has ended");
        let (found, _) = users.find(b"pa_ana").expect("is there again");
        assert!(found.presence.has_changed().is_ok());
        drop(again);
        assert!(users.find(b"pa_ana").is_none());
        assert!(users.0.present.is_empty());
    }

    #[test]
    fn passwords_are_of_one_participant_and_one_process() {
        let (users, others) = (Users::default(), Users::default());
        let ana = users.credentials("pa_ana");
        assert_eq!(ana, users.credentials("pa_ana"));
        assert_eq!((ana.username.as_str(), ana.password.len()), ("pa_ana", 24));
        assert_ne!(ana.password, users.credentials("pa_ben").password);
        assert_ne!(ana.password, others.credentials("pa_ana").password);
        assert!(!format!("{ana:?}").contains(&ana.password));
    }
}
