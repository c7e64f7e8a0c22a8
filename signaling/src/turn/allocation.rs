//! One allocation: its permissions and channels, with their times.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::server::Seat;
use super::users::User;

/// Time for which a permission is good (RFC 8656 section 9).
pub(super) const PERMITTED_FOR: Duration = Duration::from_secs(300);
/// Time for which a channel is bound (RFC 8656 section 12).
pub(super) const BOUND_FOR: Duration = Duration::from_secs(600);
/// Lifetimes of an allocation (RFC 8656 section 7.2): the shortest, which is the usual one, and the longest.
pub(super) const LIFETIMES: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(3_600)];
/// Permissions of an allocation, and likewise channels: more addresses than any server announces to one client.
/// Overflow: refused by 508.
pub(super) const MOST: usize = 32;

/// An allocation of a user.
pub(super) struct Allocation {
    pub(super) user: User,
    /// The name of the user.
    pub(super) username: Box<[u8]>,
    pub(super) relayed: SocketAddr,
    pub(super) until: Instant,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<Channel>,
    _seat: Seat,
}

#[derive(Clone, Copy)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    until: Instant,
}

/// The reason that a channel is not bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotBound {
    /// The channel is of another peer, or the peer has another channel.
    Taken,
    /// There are too many.
    TooMany,
}

/// The time that an allocation gets (RFC 8656 section 7.2), whatever is asked for.
pub(super) fn lifetime(asked: Option<u32>) -> Duration {
    let [shortest, longest] = LIFETIMES;
    let asked = asked.map_or(shortest, |seconds| Duration::from_secs(seconds.into()));
    asked.clamp(shortest, longest)
}

impl Allocation {
    pub(super) fn new(
        user: User,
        username: &[u8],
        relayed: SocketAddr,
        until: Instant,
        seat: Seat,
    ) -> Self {
        Self {
            user,
            username: username.into(),
            relayed,
            until,
            permissions: Vec::new(),
            channels: Vec::new(),
            _seat: seat,
        }
    }

    /// Installs or refreshes permissions: all of them, or none and false if they are too many.
    pub(super) fn permit(&mut self, now: Instant, ips: &[IpAddr]) -> bool {
        self.permissions.retain(|(_, until)| now < *until);
        let mut permissions = self.permissions.clone();
        for ip in ips {
            let until = now + PERMITTED_FOR;
            match permissions.iter_mut().find(|(of, _)| of == ip) {
                Some(permission) => permission.1 = until,
                None => permissions.push((*ip, until)),
            }
        }
        let fits = permissions.len() <= MOST;
        if fits {
            self.permissions = permissions;
        }
        fits
    }

    /// Whether datagrams may be exchanged with an address.
    pub(super) fn permits(&self, now: Instant, ip: IpAddr) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.any(|(of, until)| *of == ip && now < *until)
    }

    /// Binds a channel to a peer, or binds it for longer. It permits the peer, too (RFC 8656 section 12.2).
    pub(super) fn bind(
        &mut self,
        now: Instant,
        number: u16,
        peer: SocketAddr,
    ) -> Result<(), NotBound> {
        self.channels.retain(|channel| now < channel.until);
        let mut channels = self.channels.iter();
        let of = channels.position(|it| it.number == number || it.peer == peer);
        if let Some(at) = of {
            let found = self.channels[at];
            if found.number != number || found.peer != peer {
                return Err(NotBound::Taken);
            }
        }
        if of.is_none() && self.channels.len() >= MOST || !self.permit(now, &[peer.ip()]) {
            return Err(NotBound::TooMany);
        }
        let until = now + BOUND_FOR;
        let channel = Channel {
            number,
            peer,
            until,
        };
        match of {
            Some(at) => self.channels[at] = channel,
            None => self.channels.push(channel),
        }
        Ok(())
    }

    /// The peer of a channel.
    pub(super) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let found = self.channels.iter().find(|it| it.number == number)?;
        (now < found.until).then_some(found.peer)
    }

    /// The channel of a peer.
    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let found = self.channels.iter().find(|it| it.peer == peer)?;
        (now < found.until).then_some(found.number)
    }
}
