//! One connection of TURN: requests in, answers out.
//!
//! A request is answered in the order of RFC 8489 section 9.2.4: who asks, then whether it can be, then whether it is
//! allowed. There is no state before a request has authenticated, and at most one allocation.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::LONGEST;
use super::allocation::{Allocation, NotBound, lifetime};
use super::frames::{CHANNELS, Frame, append_channel};
use super::peers::canonical;
use super::server::{Refusal, Turn, told_client};
use super::stun::{
    self, Class, Family, Key, LIFETIME, Message, NONCE, REALM, UNKNOWN_ATTRIBUTES, Writer,
    XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS, append_data, method,
};
use super::users;

/// A connection of a client.
pub(crate) struct Session {
    turn: Turn,
    client: SocketAddr,
    allocation: Option<Allocation>,
    /// Messages without right credentials since the last with them.
    attempts: u32,
    /// The time until which something is to be allocated.
    allocate_until: Instant,
}

/// The outcome of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step<'a> {
    /// The message is answered, if it has an answer.
    Done,
    /// The message carries a datagram for a permitted peer.
    Datagram { peer: SocketAddr, bytes: &'a [u8] },
}

/// A refusal that is answered.
#[derive(Debug)]
struct Denied {
    code: u16,
    reason: &'static str,
    /// None: no fault of anybody.
    counted: Option<Refusal>,
}

/// Time for a connection to allocate: two round trips and the handshake of a slow network.
const ALLOCATE_WITHIN: Duration = Duration::from_secs(10);
/// Messages without right credentials in a row, at most. A client needs one for the nonce.
const ATTEMPTS: u32 = 16;
/// Longest frame before anything is allocated: a request with credentials has some 200 bytes.
const LONGEST_BEFORE: usize = 600;
/// Longest frame: an indication around the longest datagram.
const LONGEST_FRAME: usize = LONGEST + 128;
/// The number of UDP among transport protocols.
const UDP: u8 = 17;

impl Denied {
    const fn new(code: u16, reason: &'static str, counted: Refusal) -> Self {
        Self {
            code,
            reason,
            counted: Some(counted),
        }
    }

    const BAD: Self = Self::new(400, "Bad Request", Refusal::Request);
    const FOREIGN_PEER: Self = Self::new(403, "Forbidden", Refusal::Peer);
    const MISMATCH: Self = Self::new(437, "Allocation Mismatch", Refusal::Request);
    const FAMILY: Self = Self::new(440, "Address Family not Supported", Refusal::Request);
    const WRONG_USER: Self = Self::new(441, "Wrong Credentials", Refusal::Credentials);
    const TRANSPORT: Self = Self::new(442, "Unsupported Transport Protocol", Refusal::Request);
    const PEER_FAMILY: Self = Self::new(443, "Peer Address Family Mismatch", Refusal::Request);
    const QUOTA: Self = Self::new(486, "Allocation Quota Reached", Refusal::Quota);
    const CAPACITY: Self = Self::new(508, "Insufficient Capacity", Refusal::Capacity);
}

impl Session {
    /// A connection of a client at this address.
    pub(crate) fn new(now: Instant, turn: Turn, client: SocketAddr) -> Self {
        Self {
            turn,
            client,
            allocation: None,
            attempts: 0,
            allocate_until: now + ALLOCATE_WITHIN,
        }
    }

    /// The relayed address, if there is an allocation.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.allocation.as_ref().map(|it| it.relayed)
    }

    /// Closed as soon as the user of the allocation has left.
    pub(crate) fn presence(&self) -> Option<watch::Receiver<()>> {
        let allocation = self.allocation.as_ref();
        allocation.map(|it| it.user.presence.clone())
    }

    /// Longest frame that may come now.
    pub(crate) fn longest(&self) -> usize {
        match self.allocation {
            Some(_) => LONGEST_FRAME,
            None => LONGEST_BEFORE,
        }
    }

    /// The time at which the allocation ends, or at which there must be one.
    pub(crate) fn deadline(&self) -> Instant {
        let allocation = self.allocation.as_ref();
        allocation.map_or(self.allocate_until, |it| it.until)
    }

    /// Follows the time. The connection ends where nothing is allocated for too long.
    pub(crate) fn expire(&mut self, now: Instant) -> Result<(), Refusal> {
        self.allocation_at(now);
        match self.allocation.is_none() && now >= self.allocate_until {
            true => Err(Refusal::Stalled),
            false => Ok(()),
        }
    }

    /// Ends an allocation whose time is over.
    fn allocation_at(&mut self, now: Instant) {
        if self.allocation.as_ref().is_some_and(|it| now >= it.until) {
            self.free(now);
        }
    }

    fn free(&mut self, now: Instant) {
        self.allocation = None;
        self.allocate_until = now + ALLOCATE_WITHIN;
    }

    /// Handles a frame. Answers are appended to `out`. A datagram is handed over as often as its frame is.
    ///
    /// # Errors
    ///
    /// The connection is to be closed.
    pub(crate) fn handle<'a>(
        &mut self,
        now: Instant,
        frame: Frame<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Step<'a>, Refusal> {
        self.allocation_at(now);
        match frame {
            Frame::Channel(number, bytes) => Ok(self.channel_data(now, number, bytes)),
            Frame::Message(bytes) => {
                let message = Message::read(bytes).ok_or(Refusal::Malformed)?;
                match message.class {
                    Class::Request => self.request(now, &message, out).map(|()| Step::Done),
                    Class::Indication => Ok(self.indication(now, &message)),
                    // The server asks nothing.
                    Class::Success | Class::Error => Ok(Step::Done),
                }
            }
        }
    }

    /// Appends the next datagram of a peer, which `pop` appends, in the way that the client takes it; false if there is
    /// none. One that the client has not permitted (any more) is left out.
    pub(crate) fn append(
        &self,
        now: Instant,
        peer: SocketAddr,
        out: &mut Vec<u8>,
        pop: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
    ) -> bool {
        let permits = |it: &&Allocation| it.permits(now, peer.ip());
        let Some(allocation) = self.allocation.as_ref().filter(permits) else {
            let at = out.len();
            let is_any = pop(out).is_some();
            out.truncate(at);
            return is_any;
        };
        match allocation.channel_of(now, peer) {
            Some(channel) => append_channel(out, channel, pop),
            None => append_data(out, peer, pop),
        }
    }

    fn channel_data<'a>(&self, now: Instant, number: u16, bytes: &'a [u8]) -> Step<'a> {
        let allocation = self.allocation.as_ref();
        let peer = allocation.and_then(|it| it.peer_of(now, number));
        self.datagram(now, peer, bytes)
    }

    fn indication<'a>(&self, now: Instant, message: &Message<'a>) -> Step<'a> {
        let is_whole = message.method == method::SEND && !message.is_bad;
        match message.data.filter(|_| is_whole) {
            Some(bytes) => self.datagram(now, message.peer.map(canonical), bytes),
            None => Step::Done,
        }
    }

    /// A datagram, if it may be sent there.
    fn datagram<'a>(&self, now: Instant, peer: Option<SocketAddr>, bytes: &'a [u8]) -> Step<'a> {
        let (Some(allocation), Some(peer)) = (&self.allocation, peer) else {
            return Step::Done;
        };
        if !self.turn.peers().has(peer) {
            self.turn.refuse(Refusal::Peer);
            return Step::Done;
        }
        match allocation.permits(now, peer.ip()) {
            true => Step::Datagram { peer, bytes },
            false => Step::Done,
        }
    }

    fn request(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if message.method == method::BINDING {
            self.attempts += u32::from(self.allocation.is_none());
            self.binding(message, out);
        } else {
            match self.authenticate(now, message) {
                Ok((user, key)) => {
                    self.attempts = 0;
                    self.answer(now, message, user, &key, out);
                }
                Err(denied) => {
                    self.attempts += 1;
                    let nonce = self.turn.nonces().make(now, self.client);
                    let is_challenge = matches!(denied.code, 401 | 438);
                    let nonce = is_challenge.then_some(nonce);
                    self.deny(message, &denied, nonce.as_deref(), None, out);
                }
            }
        }
        match self.attempts > ATTEMPTS {
            true => Err(Refusal::TooManyAttempts),
            false => Ok(()),
        }
    }

    /// Tells the client its address. Needs no credentials, and keeps nothing.
    fn binding(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        if !message.unknown.is_empty() {
            return self.unknown(message, None, out);
        }
        let transaction = &message.transaction;
        let mut writer = Writer::new(out, Class::Success, message.method, transaction);
        writer.address(XOR_MAPPED_ADDRESS, told_client(self.client));
        writer.finish(None);
    }

    /// Finds out who asks (RFC 8489 section 9.2.4).
    fn authenticate(
        &self,
        now: Instant,
        message: &Message<'_>,
    ) -> Result<(users::User, Key), Denied> {
        let unauthenticated = |counted| Denied {
            code: 401,
            reason: "Unauthenticated",
            counted,
        };
        if !message.is_signed() {
            return Err(unauthenticated(None));
        }
        let (Some(username), Some(realm), Some(nonce)) =
            (message.username, message.realm, message.nonce)
        else {
            return Err(Denied::BAD);
        };
        if !self.turn.nonces().is_good(now, self.client, nonce) {
            return Err(Denied {
                code: 438,
                reason: "Stale Nonce",
                counted: None,
            });
        }
        let found = self.turn.users().find(username);
        found
            .filter(|(_, key)| realm == users::REALM.as_bytes() && message.is_signed_by(key))
            .ok_or_else(|| unauthenticated(Some(Refusal::Credentials)))
    }

    /// Answers a request of a known user.
    fn answer(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        user: users::User,
        key: &Key,
        out: &mut Vec<u8>,
    ) {
        if !message.unknown.is_empty() {
            return self.unknown(message, Some(key), out);
        }
        let done = match message.is_bad {
            true => Err(Denied::BAD),
            false => self.act(now, message, user),
        };
        let lifetime = match done {
            Ok(lifetime) => lifetime,
            Err(denied) => return self.deny(message, &denied, None, Some(key), out),
        };
        let transaction = &message.transaction;
        let mut writer = Writer::new(out, Class::Success, message.method, transaction);
        if message.method == method::ALLOCATE
            && let Some(allocation) = &self.allocation
        {
            writer.address(XOR_RELAYED_ADDRESS, allocation.relayed);
            writer.address(XOR_MAPPED_ADDRESS, told_client(self.client));
        }
        if let Some(lifetime) = lifetime {
            writer.attribute(LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes());
        }
        writer.finish(Some(key));
    }

    /// Does what is asked for; the lifetime that the answer tells.
    fn act(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        user: users::User,
    ) -> Result<Option<Duration>, Denied> {
        if message.method == method::ALLOCATE {
            return self.allocate(now, message, user).map(Some);
        }
        // 437, as for a request without an allocation: RFC 8656 knows no other methods.
        let allocation = self.allocation.as_mut().ok_or(Denied::MISMATCH)?;
        if message.username != Some(&allocation.username) {
            return Err(Denied::WRONG_USER);
        }
        match message.method {
            method::REFRESH => return self.refresh(now, message).map(Some),
            method::CREATE_PERMISSION => {
                let mut ips = Vec::new();
                for peer in message.peers() {
                    let ip = peer.ok_or(Denied::BAD)?.ip().to_canonical();
                    may_reach(allocation, ip)?;
                    if !self.turn.peers().has_ip(ip) {
                        return Err(Denied::FOREIGN_PEER);
                    }
                    ips.push(ip);
                }
                if ips.is_empty() {
                    return Err(Denied::BAD);
                }
                if !allocation.permit(now, &ips) {
                    return Err(Denied::CAPACITY);
                }
            }
            method::CHANNEL_BIND => {
                let (Some(number), Some(peer)) = (message.channel, message.peer) else {
                    return Err(Denied::BAD);
                };
                let peer = canonical(peer);
                if !CHANNELS.contains(&number) {
                    return Err(Denied::BAD);
                }
                may_reach(allocation, peer.ip())?;
                if !self.turn.peers().has(peer) {
                    return Err(Denied::FOREIGN_PEER);
                }
                let bound = allocation.bind(now, number, peer);
                bound.map_err(|not_bound| match not_bound {
                    NotBound::Taken => Denied::BAD,
                    NotBound::TooMany => Denied::CAPACITY,
                })?;
            }
            _ => return Err(Denied::BAD),
        }
        Ok(None)
    }

    /// RFC 8656 section 7.2.
    fn allocate(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        user: users::User,
    ) -> Result<Duration, Denied> {
        if self.allocation.is_some() {
            return Err(Denied::MISMATCH);
        }
        match message.transport {
            None => return Err(Denied::BAD),
            Some(UDP) => {}
            Some(_) => return Err(Denied::TRANSPORT),
        }
        // There are no ports to choose from.
        if message.wants_port {
            return Err(Denied::CAPACITY);
        }
        let peers = self.turn.peers();
        // Chromium asks for no family, and uses only peers of the one that it gets.
        let is_v4 = match message.family {
            Some(Family::V4) if peers.has_v4() => true,
            Some(Family::V6) if peers.has_v6() => false,
            Some(_) => return Err(Denied::FAMILY),
            None => peers.has_v4() || !peers.has_v6(),
        };
        let seat = self
            .turn
            .take_seat(&user)
            .map_err(|refusal| match refusal {
                Refusal::Quota => Denied::QUOTA,
                _ => Denied::CAPACITY,
            })?;
        let lifetime = lifetime(message.lifetime);
        let relayed = self.turn.relayed(is_v4);
        let username = message.username.unwrap_or_default();
        let allocation = Allocation::new(user, username, relayed, now + lifetime, seat);
        self.allocation = Some(allocation);
        Ok(lifetime)
    }

    /// RFC 8656 section 8.2. A lifetime of 0 ends the allocation.
    fn refresh(&mut self, now: Instant, message: &Message<'_>) -> Result<Duration, Denied> {
        let allocation = self.allocation.as_mut().ok_or(Denied::MISMATCH)?;
        let is_v4 = allocation.relayed.is_ipv4();
        if message.family.is_some_and(|it| it != family(is_v4)) {
            return Err(Denied::PEER_FAMILY);
        }
        if message.lifetime == Some(0) {
            self.free(now);
            return Ok(Duration::ZERO);
        }
        let lifetime = lifetime(message.lifetime);
        allocation.until = now + lifetime;
        Ok(lifetime)
    }

    fn unknown(&self, message: &Message<'_>, key: Option<&Key>, out: &mut Vec<u8>) {
        self.turn.refuse(Refusal::Request);
        let transaction = &message.transaction;
        let mut writer = Writer::new(out, Class::Error, message.method, transaction);
        writer.error(420, "Unknown Attribute");
        let kinds = message.unknown.iter().flat_map(|kind| kind.to_be_bytes());
        writer.attribute(UNKNOWN_ATTRIBUTES, &kinds.collect::<Vec<u8>>());
        writer.finish(key);
    }

    fn deny(
        &self,
        message: &Message<'_>,
        denied: &Denied,
        nonce: Option<&str>,
        key: Option<&Key>,
        out: &mut Vec<u8>,
    ) {
        if let Some(refusal) = denied.counted {
            self.turn.refuse(refusal);
        }
        let transaction = &message.transaction;
        let mut writer = Writer::new(out, Class::Error, message.method, transaction);
        writer.error(denied.code, denied.reason);
        if let Some(nonce) = nonce {
            writer.attribute(REALM, users::REALM.as_bytes());
            writer.attribute(NONCE, nonce.as_bytes());
        }
        writer.finish(key);
    }
}

fn family(is_v4: bool) -> Family {
    match is_v4 {
        true => stun::Family::V4,
        false => stun::Family::V6,
    }
}

/// Peers are of the family of the relayed address (RFC 8656 section 9.2).
fn may_reach(allocation: &Allocation, peer: IpAddr) -> Result<(), Denied> {
    match allocation.relayed.is_ipv4() == peer.is_ipv4() {
        true => Ok(()),
        false => Err(Denied::PEER_FAMILY),
    }
}
