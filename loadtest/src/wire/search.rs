//! Finding the candidate that answers (RFC 8445 section 7.2): a check to each, the likeliest first,
//! until one answers from where it was asked. The others are then forgotten.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::ice::{Credentials, Ice, IceEvent};

/// Time between the first checks to two candidates. RFC 8445 section 14.2 has 50 ms; section 14.3 lets agents depart
/// from it that know their network, as here.
const PACE: Duration = Duration::from_millis(20);

/// The candidates of one server.
#[derive(Debug)]
pub(super) struct Search {
    pairs: Vec<(SocketAddr, Ice)>,
}

impl Search {
    /// The first check is due at once.
    pub(super) fn new(
        now: Instant,
        ours: &Credentials,
        theirs: &Credentials,
        candidates: &[SocketAddr],
    ) -> Self {
        let starts = (0..).map(|place| now + PACE * place);
        let pairs = candidates.iter().zip(starts);
        Self {
            pairs: pairs
                .map(|(to, start)| (*to, Ice::new(start, *to, ours, theirs)))
                .collect(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.pairs.iter().filter_map(|(_, ice)| ice.poll_timeout());
        due.min()
    }

    /// Hands over the checks that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant, checks: &mut Vec<(SocketAddr, Vec<u8>)>) {
        for (to, ice) in &mut self.pairs {
            let mut check = Vec::new();
            // A pair that was never answered cannot lose consent.
            ice.handle_timeout(now, &mut check);
            if !check.is_empty() {
                checks.push((*to, check));
            }
        }
    }

    /// Handles a STUN datagram. One from another address than was asked is no answer (RFC 8445 section 7.2.5.2.1):
    /// media would come from there, too. Returns the candidate that answers, and the agent towards it from now on; or why
    /// the server refuses.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Result<(SocketAddr, Box<Ice>), &'static str>> {
        let at = self.pairs.iter().position(|(to, _)| *to == from)?;
        match self.pairs[at].1.handle(now, datagram)? {
            IceEvent::Connected => {
                let (to, ice) = self.pairs.swap_remove(at);
                self.pairs.clear();
                Some(Ok((to, Box::new(ice))))
            }
            IceEvent::Failed(why) => Some(Err(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ice::testing::{credentials, response};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn search(now: Instant, candidates: &[SocketAddr]) -> Search {
        let [ours, theirs] = credentials();
        Search::new(now, &ours, &theirs, candidates)
    }

    /// The checks of so many milliseconds, each with when it was sent.
    fn run(search: &mut Search, start: Instant, ms: u64) -> Vec<(u64, SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        let end = start + Duration::from_millis(ms);
        while let Some(due) = search.poll_timeout().filter(|due| *due < end) {
            let mut checks = Vec::new();
            search.handle_timeout(due, &mut checks);
            let at = (due - start).as_millis() as u64;
            sent.extend(checks.into_iter().map(|(to, check)| (at, to, check)));
        }
        sent
    }

    #[test]
    fn one_after_another_is_asked_and_the_first_that_answers_is_it() {
        let start = Instant::now();
        let all = addresses(&["10.0.0.1:1", "127.0.0.2:2", "127.0.0.1:3"]);
        let mut search = search(start, &all);
        let sent = run(&mut search, start, 45);
        let asked: Vec<_> = sent.iter().map(|(at, to, _)| (*at, *to)).collect();
        assert_eq!(asked, [(0, all[0]), (20, all[1]), (40, all[2])]);
        let password = &credentials()[1].pwd;
        let answer = |at: usize| response(&sent[at].2, password);
        let now = start + Duration::from_millis(45);
        // The second candidate was asked, and the third answers: its media would come from there.
        assert!(search.handle(now, all[2], &answer(1)).is_none());
        assert!(
            search
                .handle(now, "9.9.9.9:9".parse().unwrap(), &answer(1))
                .is_none()
        );
        let forged = response(&sent[2].2, "another password");
        assert!(search.handle(now, all[2], &forged).is_none());
        match search.handle(now, all[2], &answer(2)) {
            Some(Ok((to, ice))) => {
                assert_eq!(to, all[2]);
                assert_eq!(ice.round_trip(), Duration::from_millis(5));
                assert!(ice.poll_timeout() > Some(now + Duration::from_secs(1)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(search.poll_timeout(), None, "no more are sent");
    }

    #[test]
    fn the_only_candidate_is_asked_as_it_always_was() {
        let start = Instant::now();
        let all = addresses(&["127.0.0.1:3"]);
        let sent = run(&mut search(start, &all), start, 400);
        let times: Vec<u64> = sent.iter().map(|(at, ..)| *at).collect();
        assert_eq!(times, [0, 50, 150, 350]);
    }
}
