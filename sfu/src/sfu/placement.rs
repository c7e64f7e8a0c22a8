//! Chooses the worker for a new peer.
//!
//! A room starts on the least loaded worker and stays there while it is small: a pipe costs a copy
//! and a second packet cache for each layer (0.75 MB of video), and wakes another thread. When its
//! smallest part is as full as the bound and another worker is less loaded, it grows to that worker. A
//! peer goes to the room's part on the least loaded worker, and never moves.
//!
//! A worker that has failed gets no peer. A room that had all its parts there begins anew at another.

use crate::index::WorkerIx;

/// A room's part, as placement sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartLoad {
    pub(crate) worker: WorkerIx,
    /// Peers of the room there, joining ones included.
    pub(crate) peers: usize,
}

/// The place for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// A part of the room.
    Part(WorkerIx),
    /// A worker that the room is to grow to.
    Grow(WorkerIx),
}

/// Chooses the place for a new peer of a room. `loads` are the workers', in order; none for one that has failed.
/// `bound` is the number of peers a part takes before the room grows; 0 counts as 1. None if every worker has failed.
pub(crate) fn choose(parts: &[PartLoad], loads: &[Option<usize>], bound: usize) -> Option<Choice> {
    let load = |worker: WorkerIx| loads.get(usize::from(worker)).copied().flatten();
    let living = || {
        parts
            .iter()
            .filter_map(|part| Some((load(part.worker)?, part)))
    };
    let further = (0..loads.len())
        .map(WorkerIx::from)
        .filter(|worker| parts.iter().all(|part| part.worker != *worker))
        .filter_map(|worker| Some((load(worker)?, worker)))
        .min();
    let Some((least, part)) = living().min_by_key(|(load, part)| (*load, part.peers, part.worker))
    else {
        return further.map(|(_, worker)| Choice::Grow(worker));
    };
    if living().all(|(_, part)| part.peers >= bound.max(1))
        && let Some((_, worker)) = further.filter(|(load, _)| *load < least)
    {
        return Some(Choice::Grow(worker));
    }
    Some(Choice::Part(part.worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(worker: usize, peers: usize) -> PartLoad {
        let worker = worker.into();
        PartLoad { worker, peers }
    }

    fn stay(worker: usize) -> Choice {
        Choice::Part(worker.into())
    }

    fn grow(worker: usize) -> Choice {
        Choice::Grow(worker.into())
    }

    fn all(loads: &[usize]) -> Vec<Option<usize>> {
        loads.iter().copied().map(Some).collect()
    }

    #[test]
    fn a_room_grows_when_it_is_full_and_another_worker_is_idler() {
        for (parts, weights, expected) in [
            (&[part(0, 49)][..], &[50, 0][..], stay(0)),
            (&[part(0, 50)], &[51, 0], grow(1)),
            (&[part(0, 50)], &[51, 51], stay(0)),
            (&[part(0, 50)], &[51], stay(0)),
            (&[part(0, 50)], &[51, 20, 10], grow(2)),
            (&[part(0, 50), part(2, 3)], &[51, 0, 60], stay(0)),
            (&[part(0, 50), part(2, 50)], &[60, 0, 51], grow(1)),
            (&[part(0, 70), part(1, 50)], &[71, 51], stay(1)),
        ] {
            assert_eq!(
                choose(parts, &all(weights), 50),
                Some(expected),
                "{parts:?} {weights:?}"
            );
        }
    }

    #[test]
    fn nobody_goes_to_a_worker_that_has_failed() {
        for (parts, loads, expected) in [
            // The room grows to the least loaded worker.
            (&[part(0, 50)][..], &[Some(9), None][..], Some(stay(0))),
            (&[part(0, 50)], &[Some(9), None, Some(8)], Some(grow(2))),
            (&[part(0, 1), part(1, 9)], &[None, Some(7)], Some(stay(1))),
            // A nearly empty part does not keep the room from growing.
            (
                &[part(0, 1), part(1, 50)],
                &[None, Some(7), Some(0)],
                Some(grow(2)),
            ),
            // The room begins anew.
            (&[part(0, 1)], &[None, Some(7), Some(6)], Some(grow(2))),
            (&[], &[None, Some(7)], Some(grow(1))),
            (&[part(0, 1)], &[None, None], None),
        ] {
            assert_eq!(choose(parts, loads, 50), expected, "{parts:?} {loads:?}");
        }
    }

    #[test]
    fn a_large_room_fills_all_workers_alike() {
        let mut parts = vec![part(0, 0)];
        let mut weights = [1, 0, 0, 0];
        for _ in 0..1_000 {
            let worker = match choose(&parts, &all(&weights), 50).unwrap() {
                Choice::Part(worker) => worker,
                Choice::Grow(worker) => {
                    parts.push(part(worker.into(), 0));
                    weights[usize::from(worker)] += 1;
                    worker
                }
            };
            weights[usize::from(worker)] += 1;
            parts
                .iter_mut()
                .find(|part| part.worker == worker)
                .unwrap()
                .peers += 1;
        }
        assert_eq!(parts.len(), 4);
        assert!(
            parts.iter().all(|part| (249..=251).contains(&part.peers)),
            "{parts:?}"
        );
    }
}
