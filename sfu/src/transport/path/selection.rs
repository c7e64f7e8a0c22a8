//! The path in use, among those that a client checks.
//!
//! The first path is used until the client nominates one. Then its nominations decide or, when the selected path is
//! silent, any path that is still checked; but only until packets of its media or its handshake come. From then on the
//! path over which they come is the one in use, as the client knows best what reaches it: Firefox nominates every path
//! that it checks, and goes on to nominate one that it has given up (Mozilla bug 1034964).
//!
//! A proven path stays selected until another is proven: what a client nominates may be another's address, and a NAT or
//! a firewall may have closed it since.

use std::time::{Duration, Instant};

use super::Path;

/// The path in use, and the one that takes its place as soon as it is proven. The fields that each packet needs stand
/// first.
#[derive(Debug, Default)]
#[repr(C)]
pub(in crate::transport) struct Selection {
    selected: Option<Path>,
    /// The time of the last packet over the selected path that is media, data or of the first handshake.
    spoken_at: Option<Instant>,
    /// The number of such packets over `other` since the last one over the selected path.
    elsewhere: u32,
    other: Option<Path>,
    nominee: Option<Path>,
}

/// A check of the client, and the state of the paths concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport) struct CheckFacts {
    /// It nominates its path (USE-CANDIDATE, RFC 8445 section 7.1.2).
    pub(in crate::transport) nominates: bool,
    /// Its path was proven lately: what is sent over it arrives.
    pub(in crate::transport) is_fresh: bool,
    /// The selected path is proven.
    pub(in crate::transport) selected_is_proven: bool,
    /// The selected path was proven lately.
    pub(in crate::transport) selected_is_fresh: bool,
    /// The selected path is not checked any more.
    pub(in crate::transport) selected_is_silent: bool,
}

/// The selected path before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::transport) struct Moved {
    pub(in crate::transport) from: Path,
    pub(in crate::transport) to: Path,
}

/// Time for which packets over the selected path outweigh a nomination of another one. A client that is sent media
/// reports of it every 50 to 250 ms, and one that is not sends RTCP about once a second.
const SPOKEN: Duration = Duration::from_secs(1);
/// Time without packets over the selected path after which one over another path is enough. Packets on their way
/// over the old path come later than that only if its delay is so much longer.
const PAUSE: Duration = Duration::from_millis(100);
/// Packets in a row over another path that are enough at once: a client that moves has that many within 60 ms of
/// sound, while one that was delayed on its way is alone.
const RUN: u32 = 3;

impl Selection {
    /// The path in use.
    pub(in crate::transport) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Records that the client is not at the selected path any more: the next that it checks is selected.
    pub(in crate::transport) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Replaces the selected path, which is gone.
    pub(in crate::transport) fn replace(&mut self, by: Option<Path>) -> Option<Moved> {
        match by {
            Some(by) => self.move_to(by),
            None => {
                self.clear();
                None
            }
        }
    }

    /// Records that the client looks for paths anew (RFC 8445 section 9): its nominations decide again.
    pub(in crate::transport) fn restart(&mut self) {
        self.spoken_at = None;
    }

    /// Forgets a path that is not the selected one.
    pub(in crate::transport) fn forget(&mut self, path: Path) {
        self.nominee = self.nominee.filter(|nominee| *nominee != path);
        self.other = self.other.filter(|other| *other != path);
    }

    /// Whether a path takes the selected one's place once it is proven.
    pub(in crate::transport) fn is_nominee(&self, path: Path) -> bool {
        self.nominee == Some(path)
    }

    /// The time of the last packet over the selected path that is no check.
    pub(in crate::transport) fn spoken_at(&self) -> Option<Instant> {
        self.spoken_at
    }

    /// Follows a check of the client.
    pub(in crate::transport) fn checked(
        &mut self,
        now: Instant,
        at: Path,
        check: CheckFacts,
    ) -> Option<Moved> {
        let Some(selected) = self.selected else {
            self.selected = Some(at);
            return None;
        };
        if selected == at {
            if check.nominates {
                self.nominee = None;
            }
            return None;
        }
        let spoken_at = self.spoken_at.filter(|_| check.selected_is_proven);
        let is_spoken_over = spoken_at.is_some_and(|spoken| now < spoken + SPOKEN);
        // A client that nominates every path that it checks nominates the worse one last, as its answer takes longer.
        let nominates =
            check.nominates && !(check.selected_is_fresh && selected.is_better_than(at));
        if !is_spoken_over && (nominates || check.selected_is_silent) {
            if check.is_fresh || !check.selected_is_proven {
                return self.move_to(at);
            }
            self.nominee = Some(at);
        }
        None
    }

    /// Follows a proof that the client is at a path.
    pub(in crate::transport) fn proven(
        &mut self,
        at: Path,
        selected_was_proven: bool,
    ) -> Option<Moved> {
        if self.selected != Some(at) && (!selected_was_proven || self.nominee == Some(at)) {
            return self.move_to(at);
        }
        None
    }

    /// Records a packet of the client that is no check; true if it came over the selected path.
    pub(in crate::transport) fn is_spoken_over(&mut self, now: Instant, at: Path) -> bool {
        let is_selected = self.selected == Some(at);
        if is_selected {
            (self.spoken_at, self.elsewhere) = (Some(now), 0);
        }
        is_selected
    }

    /// Follows a packet of the client that is no check and came over another path than the selected one. `is_sure`: the
    /// client is there for certain, and not just the packet late.
    pub(in crate::transport) fn spoken_elsewhere(
        &mut self,
        now: Instant,
        at: Path,
        is_proven: bool,
        is_sure: bool,
    ) -> Option<Moved> {
        self.selected?;
        if !is_proven {
            self.nominee = Some(at);
            return None;
        }
        if self.other != Some(at) {
            (self.other, self.elsewhere) = (Some(at), 0);
        }
        self.elsewhere += 1;
        let is_pausing = self.spoken_at.is_none_or(|at| now >= at + PAUSE);
        if !is_sure && self.elsewhere < RUN && !is_pausing {
            return None;
        }
        let moved = self.move_to(at);
        self.spoken_at = Some(now);
        moved
    }

    fn move_to(&mut self, to: Path) -> Option<Moved> {
        (self.nominee, self.other, self.elsewhere) = (None, None, 0);
        self.spoken_at = None;
        let from = self.selected.replace(to)?;
        Some(Moved { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StreamKind, StreamPath};
    use super::*;

    fn path(last: u8) -> Path {
        Path::from(([10, 0, 0, last], 5_000))
    }

    const NOMINATING: CheckFacts = CheckFacts {
        nominates: true,
        is_fresh: true,
        selected_is_proven: true,
        selected_is_fresh: true,
        selected_is_silent: false,
    };

    #[test]
    fn checks_and_proofs_decide_before_anything_else_comes() {
        // A path is selected and another is checked: nominated, freshly proven, selected one proven, selected one
        // silent; then the other is proven. The path selected after each.
        for (nominates, is_fresh, selected_is_proven, selected_is_silent, checked, proven) in [
            (false, false, true, false, 1, 1),
            (false, true, true, false, 1, 1),
            (true, false, true, false, 1, 2),
            (true, true, true, false, 2, 2),
            (true, false, false, false, 2, 2),
            (false, false, false, false, 1, 2),
            (false, false, true, true, 1, 2),
            (false, true, true, true, 2, 2),
            (false, false, false, true, 2, 2),
        ] {
            let facts = CheckFacts {
                nominates,
                is_fresh,
                selected_is_proven,
                selected_is_fresh: selected_is_proven,
                selected_is_silent,
            };
            let now = Instant::now();
            let mut selection = Selection::default();
            assert_eq!(selection.checked(now, path(1), facts), None);
            let moved = selection.checked(now, path(2), facts);
            let expected = (checked == 2).then(|| Moved {
                from: path(1),
                to: path(2),
            });
            assert_eq!(moved, expected, "{facts:?}");
            assert_eq!(selection.selected(), Some(path(checked)), "{facts:?}");
            selection.proven(path(2), selected_is_proven);
            assert_eq!(selection.selected(), Some(path(proven)), "{facts:?}");
        }
    }

    #[test]
    fn a_stream_is_nominated_in_vain_while_udp_works() {
        let now = Instant::now();
        let from = ([10, 0, 0, 1], 5_000).into();
        let stream = Path::Stream(StreamPath::new(0, 1, StreamKind::IceTcp, from));
        let stale = CheckFacts {
            selected_is_fresh: false,
            ..NOMINATING
        };
        for (first, second, facts, moves) in [
            (path(1), stream, NOMINATING, false),
            (path(1), stream, stale, true),
            (stream, path(1), NOMINATING, true),
        ] {
            let mut selection = Selection::default();
            selection.checked(now, first, facts);
            let moved = selection.checked(now, second, facts);
            assert_eq!(moved.is_some(), moves, "{first} {second} {facts:?}");
        }
        // TURN over a connection is worse than the connection itself.
        let turn = Path::Stream(StreamPath::new(1, 2, StreamKind::TurnTls, from));
        for (better, worse) in [(path(1), stream), (path(1), turn), (stream, turn)] {
            assert!(better.is_better_than(worse) && !worse.is_better_than(better));
        }
        // A client that uses the stream shows it.
        let mut selection = Selection::default();
        selection.checked(now, path(1), NOMINATING);
        let moved = selection.spoken_elsewhere(now, stream, true, false);
        assert_eq!(moved.map(|moved| moved.to), Some(stream));
    }

    #[test]
    fn a_nomination_is_taken_back_and_forgotten() {
        let now = Instant::now();
        let stale = CheckFacts {
            is_fresh: false,
            ..NOMINATING
        };
        for forgotten in [false, true] {
            let mut selection = Selection::default();
            selection.checked(now, path(1), stale);
            selection.checked(now, path(2), stale);
            assert!(selection.is_nominee(path(2)));
            match forgotten {
                true => selection.forget(path(2)),
                false => assert_eq!(selection.checked(now, path(1), stale), None),
            }
            assert_eq!(selection.proven(path(2), true), None);
            assert_eq!(selection.selected(), Some(path(1)));
        }
    }

    /// A path is selected. Packets and nominations come over numbered paths, all of them proven, at milliseconds; the
    /// selected path after each.
    fn follow(steps: &[(u64, u8, bool, u8)]) {
        let start = Instant::now();
        let mut selection = Selection::default();
        selection.checked(start, path(1), NOMINATING);
        for (step, (ms, at, nominates, expected)) in steps.iter().enumerate() {
            let (now, at) = (start + Duration::from_millis(*ms), path(*at));
            let before = selection.selected();
            let moved = match nominates {
                true => selection.checked(now, at, NOMINATING),
                false if selection.is_spoken_over(now, at) => None,
                false => selection.spoken_elsewhere(now, at, true, false),
            };
            assert_eq!(selection.selected(), Some(path(*expected)), "step {step}");
            assert_eq!(
                moved.is_some(),
                before != selection.selected(),
                "step {step}"
            );
        }
    }

    #[test]
    fn packets_outweigh_nominations() {
        const NOMINATED: bool = true;
        const SPOKEN: bool = false;
        for steps in [
            // The trap: the client is at path 2, and goes on to nominate path 1.
            &[
                (0, 2, SPOKEN, 2),
                (10, 1, NOMINATED, 2),
                (900, 2, SPOKEN, 2),
                (1_500, 1, NOMINATED, 2),
            ][..],
            // A client that says nothing over the selected path for a second is where it nominates.
            &[
                (0, 1, SPOKEN, 1),
                (999, 2, NOMINATED, 1),
                (1_000, 2, NOMINATED, 2),
            ],
            // A client that moves: one packet of the old path is still on its way.
            &[
                (0, 1, SPOKEN, 1),
                (20, 2, SPOKEN, 1),
                (40, 2, SPOKEN, 1),
                (60, 2, SPOKEN, 2),
                (61, 1, SPOKEN, 2),
                (80, 2, SPOKEN, 2),
            ],
            // Packets that were delayed, one by one.
            &[
                (0, 1, SPOKEN, 1),
                (1, 2, SPOKEN, 1),
                (20, 1, SPOKEN, 1),
                (21, 2, SPOKEN, 1),
                (22, 2, SPOKEN, 1),
                (40, 1, SPOKEN, 1),
                (41, 2, SPOKEN, 1),
            ],
            // A client that sends little.
            &[(0, 1, SPOKEN, 1), (99, 2, SPOKEN, 1), (100, 2, SPOKEN, 2)],
            // Packets over several other paths are no run over one.
            &[
                (0, 1, SPOKEN, 1),
                (1, 2, SPOKEN, 1),
                (2, 2, SPOKEN, 1),
                (3, 3, SPOKEN, 1),
                (4, 2, SPOKEN, 1),
            ],
        ] {
            follow(steps);
        }
    }

    #[test]
    fn a_finished_handshake_moves_at_once() {
        let now = Instant::now();
        for (is_sure, expected) in [(false, 1), (true, 2)] {
            let mut selection = Selection::default();
            selection.checked(now, path(1), NOMINATING);
            assert!(selection.is_spoken_over(now, path(1)));
            selection.spoken_elsewhere(now, path(2), true, is_sure);
            assert_eq!(selection.selected(), Some(path(expected)));
        }
    }

    #[test]
    fn a_path_with_packets_and_without_proof_is_used_once_it_is_proven() {
        let now = Instant::now();
        let mut selection = Selection::default();
        assert_eq!(selection.spoken_elsewhere(now, path(2), true, false), None);
        selection.checked(now, path(1), NOMINATING);
        for _ in 0..10 {
            assert_eq!(selection.spoken_elsewhere(now, path(2), false, false), None);
        }
        assert_eq!(selection.selected(), Some(path(1)));
        let moved = selection.proven(path(2), true);
        assert_eq!(moved.map(|moved| moved.to), Some(path(2)));
    }
}
