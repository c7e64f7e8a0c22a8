//! A peer: one WebRTC transport with the tracks it publishes and the tracks it is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::codecs::Offered;
use crate::egress::Subscriber;
use crate::event::Needs;
use crate::id::{PeerId, RoomId};
use crate::ingress::{Asks, DataBudget, Pictures, Publisher};
use crate::seat::Seat;
use crate::track::Tracks;
use crate::transmit::RunKey;
use crate::transport::sdp::{Offer, SdpError, Session};
use crate::transport::{Candidate, IceCredentials, Transport};

/// A peer. The fields that a packet needs stand first.
#[repr(C)]
pub(super) struct Peer {
    pub(super) run: RunKey,
    pub(super) transport: Transport,
    pub(super) subscriber: Subscriber,
    pub(super) id: PeerId,
    pub(super) room: RoomId,
    pub(super) auto_subscribe: bool,
    pub(super) ice: IceCredentials,
    /// The client's credentials; others in a later offer restart ICE. None before it has offered an m-line to use.
    pub(super) remote_ice: Option<IceCredentials>,
    /// The tag in the server's checks, by which answers are found.
    pub(super) stun_tag: u32,
    pub(super) cname: String,
    /// The candidate announced to this client, if not the worker's own.
    pub(super) announce: Option<Candidate>,
    pub(super) session: Session,
    pub(super) publisher: Publisher,
    /// The number of its offers that were answered.
    pub(super) offers: u64,
    /// The needs that the client was last told.
    pub(super) needs: Needs,
    pub(super) offered: Offered,
    pub(super) asks: Asks,
    pub(super) pictures: Pictures,
    pub(super) _seat: Seat,
    /// The name told to receivers of its data channel messages.
    pub(super) sender: Arc<str>,
    pub(super) data_budget: DataBudget,
    /// The time of the last log line about its transport.
    pub(super) logged_at: Option<Instant>,
}

/// Prints only its names: the rest is keys and other people's addresses.
impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// Interval of log lines that a client can cause at will.
const LOGS: Duration = Duration::from_secs(1);

impl Peer {
    /// Whether it is time for another line in the log about its transport.
    pub(super) fn may_log(&mut self, now: Instant) -> bool {
        let may = self.logged_at.is_none_or(|at| now >= at + LOGS);
        if may {
            self.logged_at = Some(now);
        }
        may
    }

    /// Follows an offer that renames m-lines, as m-lines without `a=mid` may be renamed.
    ///
    /// # Errors
    ///
    /// [`SdpError::BadOrder`], the only reason why a parsed offer cannot be negotiated: nothing has changed then.
    pub(super) fn rename_media(
        &mut self,
        tracks: &mut Tracks,
        offer: &Offer,
    ) -> Result<(), SdpError> {
        let renamed = self.session.renamed(offer)?;
        if renamed.is_empty() {
            return Ok(());
        }
        let new_name = |mid: &str| {
            let mut renamed = renamed.iter();
            let (_, new) = renamed.find(|(old, _)| *old == mid)?;
            Some((*new).to_owned())
        };
        for index in self.publisher.indexes() {
            if let Some(track) = tracks.get_mut(*index)
                && let Some(mid) = new_name(&track.mid)
            {
                track.mid = mid;
            }
        }
        for (_, slot) in self.subscriber.slots_mut() {
            if let Some(mid) = new_name(&slot.media.mid) {
                slot.media.mid = mid;
            }
        }
        let offered = std::mem::take(&mut self.offered).into_iter();
        let offered = offered.map(|(mid, codecs)| (new_name(&mid).unwrap_or(mid), codecs));
        self.offered = offered.collect();
        Ok(())
    }

    /// The time at which any of its work is due.
    pub(super) fn poll_timeout(&self, tracks: &Tracks) -> Option<Instant> {
        let connected = self.transport.is_connected();
        let reports = if connected {
            [
                self.publisher.poll_timeout(tracks),
                self.subscriber.poll_timeout(),
            ]
        } else {
            [None, None]
        };
        reports
            .into_iter()
            .chain([self.transport.poll_timeout()])
            .flatten()
            .min()
    }
}
