//! An association in the place of another: of one that is up (RFC 9260 section 5.2.2), or that was aborted.

use std::time::Instant;

use bytes::Bytes;

use super::packet::Packet;
use super::screen::Init;
use super::{DataChannel, OpenChannel, Sctp, State};

/// Associations that take an earlier one's place. A client has one for each transport.
const MAX_RESTARTS: u32 = 64;

impl Sctp {
    /// Begins another association. One that is up goes on until the client has shown the other's cookie.
    pub(super) fn handle_restart(&mut self, now: Instant, admitted: Bytes, init: Init) {
        if let Some(known) = self.restart.as_ref().filter(|known| known.init == init) {
            let again = known.init_ack.clone();
            return self.queue(again);
        }
        if self.restarts == MAX_RESTARTS {
            self.drops.malformed += 1;
            return;
        }
        self.restarts += 1;
        self.restart = self.accept(now, admitted, init);
    }

    /// Refuses further associations.
    pub(super) fn no_restart(&mut self) {
        self.restarts = MAX_RESTARTS;
    }

    /// Puts the other association in the place of the one that is up if a packet names it.
    pub(super) fn take_over(&mut self, packet: &Packet<'_>) -> bool {
        let named = |restart: &mut Box<super::Peering>| restart.screen.is_named_by(packet);
        let Some(restart) = self.restart.take_if(named) else {
            return false;
        };
        // Its screen's counts are lost with it otherwise.
        self.drops = self.drops();
        self.state = State::Up(restart);
        // The waiting messages were for the old association.
        self.outgoing.clear();
        true
    }

    /// Opens, in a new association, the streams of the channels that there were.
    pub(super) fn inherit_channels(&mut self) {
        let channels = self.channels;
        for (channel, open) in [DataChannel::Reliable, DataChannel::Unreliable]
            .into_iter()
            .zip(channels)
        {
            let Some(open) = open else { continue };
            let opened = self.guarded(|peering| peering.open(open.stream, channel).map(drop));
            self.channels[channel as usize] = opened.flatten().map(|()| OpenChannel {
                is_inherited: true,
                ..open
            });
        }
    }
}
