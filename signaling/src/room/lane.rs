//! The order of a participant's commands: each begins when the one before is done, so that its replies come in the
//! order of its requests. Commands of others do not wait for it.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

use super::actor::Room;
use super::errands::AT_A_TIME;
use super::renewal::Renewal;
use super::{Action, Command, Moderate, ParticipantId};
use crate::media::EventBacklog;

/// Commands of one participant that are not done. Overflow: backpressure, to its socket. A command that needs no answer
/// of the media plane is done at once, and a page asks for few things before it has the answer to its offer.
pub(super) const PLACES: usize = 8;

/// One of a participant's [`PLACES`]; dropped, it is free.
pub(super) type Place = OwnedSemaphorePermit;

/// A thing that a participant's lane holds.
enum Task {
    Command(Command),
    /// It begins anew, once what it asked for before is done: so no old reply comes to its new client.
    Renewal(Box<Renewal>),
}

/// A participant's commands that are not done.
#[derive(Default)]
pub(super) struct Lane {
    /// The place of the command under way.
    busy: Option<Place>,
    /// Bounded by [`PLACES`].
    waiting: VecDeque<(Task, Place)>,
    /// [`Lanes`] has its participant among those who are ready or parked.
    listed: bool,
    /// Events of its transport that came after an answer which it has not been told yet.
    pub(super) held: Option<EventBacklog>,
}

impl Lane {
    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Forgets what waits of the stay that has just ended by a renewal. Others who join anew go on waiting.
    pub(super) fn forget_former(&mut self) {
        let is_join = |task: &Task| matches!(task, Task::Renewal(it) if it.guest.is_some());
        self.waiting.retain(|(task, _)| is_join(task));
    }
}

/// Participants whose next command can begin.
#[derive(Default)]
pub(super) struct Lanes {
    ready: VecDeque<ParticipantId>,
    /// Participants whose next command asks the media plane, which enough commands do already.
    parked: VecDeque<ParticipantId>,
    /// Commands under way, [`AT_A_TIME`] at most: what a command makes the room ask is bounded, and so is the
    /// memory for that.
    under_way: usize,
}

impl Lanes {
    /// Forgets a participant who leaves.
    pub(super) fn leave(&mut self, id: &ParticipantId, lane: &Lane) {
        if lane.listed {
            self.ready.retain(|other| other != id);
            self.parked.retain(|other| other != id);
        }
    }

    /// The participant whose command begins next.
    fn next(&mut self) -> Option<ParticipantId> {
        let parked = &mut self.parked;
        let may_ask = self.under_way < AT_A_TIME;
        let next = self.ready.pop_front();
        next.or_else(|| may_ask.then(|| parked.pop_front()).flatten())
    }
}

impl Room {
    /// Takes a command, which begins when those before it are done.
    pub(super) fn queue(&mut self, from: &ParticipantId, command: Command, place: Place) {
        self.push(from, Task::Command(command), place);
    }

    /// Takes a renewal, which begins in its turn likewise.
    pub(super) fn queue_renewal(&mut self, id: &ParticipantId, renewal: Renewal, place: Place) {
        self.push(id, Task::Renewal(Box::new(renewal)), place);
    }

    fn push(&mut self, id: &ParticipantId, task: Task, place: Place) {
        // One just removed as too slow may have sent more.
        if let Some(participant) = self.participants.get_mut(id) {
            participant.lane.waiting.push_back((task, place));
            self.list(id);
            self.begin_commands();
        }
    }

    /// The participant's command is done. Called once for each that began.
    pub(super) fn done(&mut self, id: &ParticipantId) {
        self.lanes.under_way -= 1;
        self.unsettled.remove(id);
        if let Some(participant) = self.participants.get_mut(id) {
            participant.lane.busy = None;
            self.list(id);
        }
    }

    fn list(&mut self, id: &ParticipantId) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        let lane = &mut participant.lane;
        if lane.busy.is_none() && !lane.waiting.is_empty() && !lane.listed {
            lane.listed = true;
            self.lanes.ready.push_back(id.clone());
        }
    }

    /// Begins all commands that can.
    pub(super) fn begin_commands(&mut self) {
        while let Some(id) = self.lanes.next() {
            let Some(participant) = self.participants.get_mut(&id) else {
                continue;
            };
            let lane = &mut participant.lane;
            let Some((task, place)) = lane.waiting.pop_front() else {
                lane.listed = false;
                continue;
            };
            if self.lanes.under_way >= AT_A_TIME && asks(&task) {
                lane.waiting.push_front((task, place));
                self.lanes.parked.push_back(id);
                continue;
            }
            lane.listed = false;
            lane.busy = Some(place);
            self.lanes.under_way += 1;
            match task {
                Task::Command(command) => self.take(&id, command),
                Task::Renewal(renewal) => self.renew(&id, *renewal),
            }
        }
    }
}

/// Whether a task may have to wait for the media plane.
fn asks(task: &Task) -> bool {
    let Task::Command(Command { action, .. }) = task else {
        return false;
    };
    match action {
        Action::Moderate(wish) => matches!(wish, Moderate::Mute { .. }),
        action => !matches!(
            action,
            Action::Update { .. } | Action::Chat(_) | Action::Hand(_) | Action::People { .. }
        ),
    }
}
