//! The sessions of a server by their secrets, and the bounds on those that have no connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{ResumeFault, Secret};
use crate::clients::ClientAddress;

/// Connections that wait for a session's owner to look at them. Overflow: refused as `overloaded`. A client tries one or
/// two at a time, and only who has the secret comes so far.
const WAITING: usize = 4;

/// The sessions of a server. `K` is a connection that wants to resume one. Cheap to clone.
pub(crate) struct Sessions<K>(Arc<Shared<K>>);

struct Shared<K> {
    /// Sessions without a connection, in all and of one address. Overflow: the session ends with its connection, as if it
    /// were none.
    most: usize,
    most_of_address: usize,
    listed: Mutex<Listed<K>>,
    resumed: AtomicU64,
    refused: [AtomicU64; ResumeFault::CODES.len()],
}

struct Listed<K> {
    registered: u64,
    /// Bounded by participants of all rooms: each session is one, with a connection or among those away.
    by_secret: HashMap<Secret, Entry<K>>,
    away: usize,
    away_of: HashMap<ClientAddress, usize>,
}

struct Entry<K> {
    number: u64,
    room: Arc<str>,
    owner: mpsc::Sender<K>,
}

/// A session's place in the registry, with the connections that want it. Dropped, it is gone.
pub(crate) struct Registered<K> {
    sessions: Sessions<K>,
    secret: Secret,
    number: u64,
    knocks: mpsc::Receiver<K>,
}

/// A session without a connection; dropped, it has one again, or is over.
pub(crate) struct Away<K> {
    sessions: Sessions<K>,
    client: Option<ClientAddress>,
}

/// The counters of `/stats`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SessionCounts {
    pub(crate) open: usize,
    pub(crate) away: usize,
    pub(crate) resumed: u64,
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl<K> Clone for Sessions<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Sessions<K> {
    /// So many sessions may be without a connection, and so many of one address; 0 there: no limit.
    pub(crate) fn new(most: usize, most_of_address: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_of_address: match most_of_address {
                0 => usize::MAX,
                limit => limit,
            },
            listed: Mutex::new(Listed {
                registered: 0,
                by_secret: HashMap::new(),
                away: 0,
                away_of: HashMap::new(),
            }),
            resumed: AtomicU64::new(0),
            refused: Default::default(),
        }))
    }

    /// Lists a session. One of the same secret in the same room is not found any more: its owner hears that nobody can come
    /// back. Where the secret is that of a session in another room, this one is listed by another secret.
    pub(crate) fn register(&self, asked: Secret, room: Arc<str>) -> Registered<K> {
        let (owner, knocks) = mpsc::channel(WAITING);
        let mut listed = self.lock();
        let before = listed.by_secret.get(&asked);
        let secret = match before.is_some_and(|entry| entry.room != room) {
            true => Secret::random(),
            false => asked,
        };
        listed.registered += 1;
        let number = listed.registered;
        let entry = Entry {
            number,
            room,
            owner,
        };
        let before = listed.by_secret.insert(secret, entry);
        drop(listed);
        drop(before);
        Registered {
            sessions: self.clone(),
            secret,
            number,
            knocks,
        }
    }

    /// Whether a session of this secret is in another room.
    pub(crate) fn is_elsewhere(&self, secret: &Secret, room: &str) -> bool {
        let listed = self.lock();
        let entry = listed.by_secret.get(secret);
        entry.is_some_and(|entry| *entry.room != *room)
    }

    /// Leads a connection to the owner of a session.
    ///
    /// # Errors
    ///
    /// The connection, and the reason: [`ResumeFault::NoSuchSession`], or [`ResumeFault::Overloaded`].
    pub(crate) fn knock(&self, secret: &Secret, connection: K) -> Result<(), (K, ResumeFault)> {
        let listed = self.lock();
        let Some(entry) = listed.by_secret.get(secret) else {
            return Err((connection, ResumeFault::NoSuchSession));
        };
        entry
            .owner
            .try_send(connection)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(it) => (it, ResumeFault::Overloaded),
                mpsc::error::TrySendError::Closed(it) => (it, ResumeFault::NoSuchSession),
            })
    }

    /// Lets a session be without a connection; `client` had the last one. None: too many are.
    pub(crate) fn leave(&self, client: Option<ClientAddress>) -> Option<Away<K>> {
        let (most, most_of_address) = (self.0.most, self.0.most_of_address);
        let mut listed = self.lock();
        let of_address = client.and_then(|it| listed.away_of.get(&it).copied());
        if listed.away >= most || of_address.unwrap_or_default() >= most_of_address {
            return None;
        }
        listed.away += 1;
        if let Some(address) = client {
            *listed.away_of.entry(address).or_default() += 1;
        }
        drop(listed);
        Some(Away {
            sessions: self.clone(),
            client,
        })
    }

    pub(crate) fn count_resumed(&self) {
        self.0.resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, fault: ResumeFault) {
        self.0.refused[fault.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> SessionCounts {
        let codes = ResumeFault::CODES.into_iter().zip(&self.0.refused);
        let refused = codes.map(|(code, count)| (code, count.load(Ordering::Relaxed)));
        let listed = self.lock();
        SessionCounts {
            open: listed.by_secret.len(),
            away: listed.away,
            resumed: self.0.resumed.load(Ordering::Relaxed),
            refused: refused.collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listed<K>> {
        let listed = &self.0.listed;
        listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Registered<K> {
    /// The next connection that wants this session. None: another session has its secret now. Cancel-safe.
    pub(crate) async fn knocked(&mut self) -> Option<K> {
        self.knocks.recv().await
    }

    /// The secret by which it is found.
    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    /// Ends the listing. Returns the connections that wanted the session meanwhile.
    pub(crate) fn end(mut self) -> Vec<K> {
        self.unlist();
        self.knocks.close();
        std::iter::from_fn(|| self.knocks.try_recv().ok()).collect()
    }

    fn unlist(&self) {
        let mut listed = self.sessions.lock();
        let entry = listed.by_secret.get(&self.secret);
        if entry.is_some_and(|entry| entry.number == self.number) {
            listed.by_secret.remove(&self.secret);
        }
    }
}

impl<K> Drop for Registered<K> {
    fn drop(&mut self) {
        self.unlist();
    }
}

impl<K> Drop for Away<K> {
    fn drop(&mut self) {
        let mut listed = self.sessions.lock();
        listed.away -= 1;
        let Some(address) = self.client else { return };
        if let Some(count) = listed.away_of.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                listed.away_of.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> Option<ClientAddress> {
        Some(std::net::IpAddr::from([192, 0, 2, last]).into())
    }

    #[test]
    fn a_connection_finds_the_owner_until_the_session_ends() {
        let sessions = Sessions::new(9, 9);
        let secret = Secret::random();
        let refused = sessions.knock(&secret, 1);
        assert_eq!(refused, Err((1, ResumeFault::NoSuchSession)));
        let mut registered = sessions.register(secret, "room".into());
        assert!(sessions.is_elsewhere(&secret, "other") && !sessions.is_elsewhere(&secret, "room"));
        assert_eq!(sessions.knock(&secret, 2), Ok(()));
        assert_eq!(registered.knocked().now_or_never(), Some(Some(2)));
        for knock in 0..WAITING {
            assert_eq!(sessions.knock(&secret, knock), Ok(()));
        }
        assert_eq!(
            sessions.knock(&secret, 9),
            Err((9, ResumeFault::Overloaded))
        );
        assert_eq!(
            registered.end(),
            [0, 1, 2, 3],
            "they are told that it is over"
        );
        let refused = sessions.knock(&secret, 3);
        assert_eq!(refused, Err((3, ResumeFault::NoSuchSession)));
        assert_eq!(sessions.counts().open, 0);
    }

    #[test]
    fn the_last_owner_of_a_secret_has_it() {
        let sessions = Sessions::<u32>::new(9, 9);
        let secret = Secret::random();
        let mut first = sessions.register(secret, "room".into());
        let mut second = sessions.register(secret, "room".into());
        assert_eq!(first.knocked().now_or_never(), Some(None));
        drop(first);
        assert_eq!(sessions.knock(&secret, 5), Ok(()));
        assert_eq!(second.knocked().now_or_never(), Some(Some(5)));
    }

    #[test]
    fn a_session_of_another_room_keeps_its_secret() {
        let sessions = Sessions::<u32>::new(9, 9);
        let secret = Secret::random();
        let mut first = sessions.register(secret, "room".into());
        let second = sessions.register(secret, "other".into());
        assert_ne!(second.secret(), secret);
        assert_eq!(sessions.knock(&secret, 5), Ok(()));
        assert_eq!(first.knocked().now_or_never(), Some(Some(5)));
    }

    #[test]
    fn a_thousand_may_be_away_and_each_address_has_its_part() {
        let sessions = Sessions::<u32>::new(1_000, 600);
        let leave = |last, count| -> Vec<_> {
            (0..count)
                .map_while(|_| sessions.leave(address(last)))
                .collect()
        };
        let first = leave(1, 1_000);
        assert_eq!(first.len(), 600);
        let second = leave(2, 1_000);
        assert_eq!((second.len(), sessions.counts().away), (400, 1_000));
        assert!(sessions.leave(None).is_none() && sessions.leave(address(3)).is_none());
        drop(first);
        let of_nobody: Vec<_> = (0..600).map_while(|_| sessions.leave(None)).collect();
        assert_eq!(of_nobody.len(), 600);
        drop((second, of_nobody));
        let listed = sessions.lock();
        assert_eq!((listed.away, listed.away_of.len()), (0, 0));
    }

    #[test]
    fn resumes_are_counted_by_their_end() {
        let sessions = Sessions::<u32>::new(1, 0);
        sessions.count_resumed();
        sessions.count_refused(ResumeFault::Used);
        sessions.count_refused(ResumeFault::Used);
        let counts = sessions.counts();
        assert_eq!((counts.resumed, counts.refused["session_used"]), (1, 2));
        assert_eq!(counts.refused["session_gap"], 0);
    }
}
