//! The edge of a room: its requests to the media plane, and their replies.
//!
//! The state of a room waits for nothing. It asks here, goes on with whatever comes, and takes a reply as it takes a
//! message: in its turn, by a function of the state and the reply. So a media plane that does not answer holds up
//! whoever asked, for [`MEDIA_TIMEOUT`](super::actor::MEDIA_TIMEOUT) at most, and nobody else.

use std::collections::VecDeque;
use std::future::pending;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::unconstrained;

use super::actor::{Room, within};
use crate::media::{Media, Reply, SfuError};

/// Requests of a room to the media plane under way at a time: enough to keep a worker busy, few beside the
/// length of its command queue.
pub(super) const AT_A_TIME: usize = 64;

/// Takes a reply in the room's turn.
pub(super) type Then = Box<dyn FnOnce(&mut Room) + Send>;

/// A room's errands. They begin in the order in which they were asked for, and so reach a worker in that order;
/// their replies come in any.
///
/// Waiting errands are bounded by their sources: [`AT_A_TIME`] commands with one errand each, and the room's own messages
/// about its peers and tracks.
#[derive(Default)]
pub(super) struct Errands {
    waiting: VecDeque<(usize, BoxFuture<'static, Then>)>,
    running: FuturesUnordered<BoxFuture<'static, (usize, Then)>>,
    /// Requests of those that run.
    requests: usize,
}

impl Errands {
    fn push(&mut self, requests: usize, errand: BoxFuture<'static, Then>) {
        self.waiting.push_back((requests, errand));
        self.begin();
    }

    fn begin(&mut self) {
        while let Some((requests, errand)) = self.waiting.pop_front() {
            if self.requests > 0 && self.requests + requests > AT_A_TIME {
                self.waiting.push_front((requests, errand));
                return;
            }
            self.requests += requests;
            let errand = errand.map(move |then| (requests, then));
            self.running.push(Box::pin(errand));
        }
    }

    fn end(&mut self, requests: usize) {
        self.requests -= requests;
        self.begin();
    }

    /// The next reply. Cancel-safe.
    pub(super) async fn next(&mut self) -> Then {
        let Some((requests, then)) = self.running.next().await else {
            return pending().await;
        };
        self.end(requests);
        then
    }

    /// A reply that has come. None only if there is none, however much this task has done in its turn.
    pub(super) fn take(&mut self) -> Option<Then> {
        let (requests, then) = unconstrained(self.running.next()).now_or_never()??;
        self.end(requests);
        Some(then)
    }

    /// Whether errands wait for others.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Room {
    /// Asks the media plane; `then` takes its reply, [`SfuError::Overloaded`] if none comes in time.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        request: impl for<'a> FnOnce(&'a dyn Media) -> Reply<'a, T> + Send + 'static,
        then: impl FnOnce(&mut Room, Result<T, SfuError>) + Send + 'static,
    ) {
        let media = self.shared.media.clone();
        let errand = async move {
            let reply = within(request(&*media)).await;
            Box::new(move |room: &mut Room| then(room, reply)) as Then
        };
        self.errands.push(1, Box::pin(errand));
    }

    /// Asks the media plane about each of `subjects`; `then` takes all replies.
    pub(super) fn ask_all<S: Send + 'static, T: Send + 'static>(
        &mut self,
        subjects: Vec<S>,
        request: impl for<'a> Fn(&'a dyn Media, &S) -> Reply<'a, T> + Send + 'static,
        then: impl FnOnce(&mut Room, Vec<(S, Result<T, SfuError>)>) + Send + 'static,
    ) {
        let media = self.shared.media.clone();
        let requests = subjects.len();
        let errand = async move {
            let replies = subjects.into_iter().map(|subject| {
                let reply = request(&*media, &subject);
                async move { (subject, within(reply).await) }
            });
            let replies = join_all(replies).await;
            Box::new(move |room: &mut Room| then(room, replies)) as Then
        };
        self.errands.push(requests, Box::pin(errand));
    }
}
