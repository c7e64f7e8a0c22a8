//! STUN without credentials: answers to strangers, and the worker's question for its own address.

use std::time::Instant;

use rand::Rng;

use super::Worker;
use super::command::Reply;
use crate::transmit::RunKey;
use crate::transport::{Candidate, Path, Query, QueryStep, place_discovered};

impl Worker {
    /// Asks a STUN server which address it sees. A question that waits is replaced.
    pub(super) fn discover(&mut self, now: Instant, server: Path, reply: Reply<Option<Candidate>>) {
        let query = Query::new(now, server, self.check_rng.random());
        self.query = Some((query, reply));
        self.poll_query(now);
    }

    /// Asks again, or gives up.
    pub(super) fn poll_query(&mut self, now: Instant) {
        let step = match &mut self.query {
            Some((query, _)) => query.poll(now),
            None => return,
        };
        match step {
            QueryStep::Wait => {}
            QueryStep::Send(server, request) => {
                Self::transmit(
                    &mut self.transmits,
                    &mut RunKey::default(),
                    server,
                    &request,
                );
            }
            QueryStep::GiveUp => {
                if let Some((_, reply)) = self.query.take() {
                    let _ = reply.send(Ok(None));
                }
            }
        }
    }

    /// Takes the answer to the question. False: it is something else.
    pub(super) fn take_query_answer(&mut self, from: Path, datagram: &[u8]) -> bool {
        let told = self.query.as_ref();
        let Some(told) = told.and_then(|(query, _)| query.answer(from, datagram)) else {
            return false;
        };
        if let Some((_, reply)) = self.query.take() {
            let candidates = &mut self.config.candidates;
            place_discovered(candidates, &mut self.discovered, told);
            let _ = reply.send(Ok(Some(told)));
        }
        true
    }

    /// Tells a stranger who asks the address that it has. False: it asks for something else, too many do, or nobody is told.
    pub(super) fn answer_stranger(&mut self, now: Instant, from: Path, datagram: &[u8]) -> bool {
        let answer = match self.config.stun_answers {
            true => self.plain_answers.answer(now, from, datagram),
            false => None,
        };
        let Some(answer) = answer else {
            return false;
        };
        Self::transmit(&mut self.transmits, &mut RunKey::default(), from, &answer);
        self.counters.stun_answers += 1;
        true
    }
}
