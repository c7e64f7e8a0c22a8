//! A person in a room: name and metadata for the others, transport, and outgoing queue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::Guest;
use super::lane::Lane;
use super::moderation::Comer;
use super::{
    Ending, Metadata, ParticipantId, ParticipantInfo, SocketKind, Source, Told, TrackInfo,
};
use crate::clients::ClientAddress;
use crate::hooks::Permissions;
use crate::media::{MediaKind, Needs, PeerId, TrackId, TrackSettings, View};
use crate::memory::{Account, PERSON};
use crate::session::Outbox;
use crate::turn::Member;

pub(super) struct Participant {
    /// Counts up within the room: the order in which they joined.
    pub(super) order: u64,
    pub(super) id: ParticipantId,
    /// Tells this stay apart from others under the same id, which a session keeps.
    pub(super) stay: u64,
    /// Its session has had no connection for a while, and the others know.
    pub(super) is_away: bool,
    pub(super) name: String,
    pub(super) metadata: Metadata,
    /// The embedder's key of the user.
    pub(super) identity: Option<Arc<str>>,
    /// Its address; none where the server does not tell addresses.
    pub(super) client: Option<ClientAddress>,
    /// The socket that its client has, or had last.
    pub(super) socket: Option<SocketKind>,
    pub(super) permissions: Permissions,
    /// The end of the access token that it came by; Unix time in seconds.
    pub(super) token_expires_s: Option<u64>,
    pub(super) auto_subscribe: bool,
    /// Its client takes several events in one message.
    pub(super) takes_batches: bool,
    /// It is told of those on stage, and how many others there are.
    pub(super) is_audience: bool,
    pub(super) way: Way,
    /// Its transport, from its first offer until that fails.
    pub(super) peer: Option<PeerId>,
    /// The time since which its transport has waited to be connected; none: it was, or there is none.
    pub(super) connecting_since: Option<Instant>,
    /// Its answered offers: what its transport's events say that are older was said anew by the answer.
    pub(super) offers: u64,
    pub(super) tracks: Vec<Track>,
    /// The moderators who muted tracks that have ended, by what the tracks carried, then and at the mute: for the first
    /// offer of the next transport. An offer of the present one forgets them. Bounded by the kinds of sources.
    pub(super) silenced: HashMap<(MediaKind, Source), ParticipantId>,
    /// The tracks it wants, whether or not a transport can receive them now. Bounded by the
    /// tracks of the room.
    pub(super) wanted: HashSet<TrackId>,
    /// Its views of tracks. They are kept here, as a transport and a subscription may come later than a view. Bounded
    /// by the tracks of the room.
    pub(super) views: HashMap<TrackId, View>,
    /// The needs that it was last told; repeating them would make it add m-lines twice.
    pub(super) told_needs: Needs,
    /// The needs that the media plane told since.
    pub(super) new_needs: Option<Needs>,
    pub(super) lane: Lane,
    /// Its memory: see [`weigh`](Participant::weigh).
    pub(super) held: Account,
    /// Its right to use TURN, while it is here.
    pub(super) _relayed: Option<Member>,
    pub(super) _counted: Counted,
}

pub(super) struct Track {
    pub(super) id: TrackId,
    /// Its m-line, as the latest answer names it.
    pub(super) mid: String,
    pub(super) info: TrackInfo,
    /// The moderator's mute: only its publisher's `mute` takes that back, no offer.
    pub(super) silenced: Option<Silenced>,
}

/// A moderator's mute of a track.
#[derive(Clone, Debug)]
pub(super) struct Silenced {
    pub(super) by: ParticipantId,
    /// The source that was muted. An offer may call the track another one later.
    pub(super) source: Source,
}

impl Track {
    /// The settings for the media plane.
    pub(super) fn settings(&self) -> TrackSettings {
        TrackSettings::default()
            .with_muted(self.info.muted || self.silenced.is_some())
            .with_screen(self.info.source == Source::Screen)
    }
}

impl Participant {
    pub(super) fn comer(&self) -> Comer<'_> {
        Comer {
            identity: self.identity.as_deref(),
            address: self.client,
            name: &self.name,
            moderates: self.permissions.moderate,
            invited: false,
        }
    }

    /// Takes what a join asks for anew. `keeps_moderate`: the right may have been passed on to this participant, and not
    /// been granted. Returns whether the others see something else.
    pub(super) fn take_over(&mut self, guest: Guest, keeps_moderate: bool) -> bool {
        let Guest {
            entrant,
            permissions,
            token,
            ..
        } = guest;
        let moderate = permissions.moderate || keeps_moderate && self.permissions.moderate;
        self.permissions = permissions.moderate(moderate);
        self.auto_subscribe = entrant.auto_subscribe && permissions.subscribe;
        self.token_expires_s = token.expires_s;
        self.takes_batches = entrant.takes_batches;
        self.socket = entrant.socket;
        let is_changed = entrant.name != self.name || entrant.metadata != self.metadata;
        (self.name, self.metadata) = (entrant.name, entrant.metadata);
        is_changed
    }

    /// Counts what it holds. Called when that has changed.
    pub(super) fn weigh(&mut self) {
        let identity = self.identity.as_ref().map_or(0, |it| it.len());
        // There is no bound on it that would refuse any.
        self.held
            .set(PERSON + self.name.len() + self.metadata.weight() + identity);
    }

    pub(super) fn info(&self) -> ParticipantInfo {
        ParticipantInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            tracks: self.tracks.iter().map(|track| track.info.clone()).collect(),
            connected: !self.is_away,
        }
    }
}

/// The way to one participant. Overflow: the participant is disconnected; to skip events would leave it with a wrong
/// picture of the room.
pub(super) struct Way {
    pub(super) events: Outbox<Told>,
    pub(super) ending: oneshot::Sender<Ending>,
}

/// Counts one participant of the server for as long as this lives.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
