//! On which worker a peer is placed.
//!
//! A room starts on the least loaded worker and stays there while it is small: relaying costs a copy
//! and a second packet cache for each layer (0.75 MB of video), and wakes another thread. When its
//! smallest part is as full as the bound and another worker is less loaded, it grows to that worker. A
//! peer goes to the room's part on the least loaded worker, and never moves.

/// A room's part, as placement sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartLoad {
    pub(crate) worker: usize,
    /// Peers of the room there, joining ones included.
    pub(crate) peers: usize,
}

/// Where a peer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// To a part the room has.
    Part(usize),
    /// To a worker the room is to grow to.
    Grow(usize),
}

/// Chooses for a new peer of a room. `weights` are the workers' loads, in order; `bound` is how many
/// peers a part takes before the room grows, 0 counting as 1. None without any part.
pub(crate) fn choose(parts: &[PartLoad], weights: &[usize], bound: usize) -> Option<Choice> {
    let weight = |worker: usize| weights.get(worker).copied().unwrap_or(usize::MAX);
    let least = parts
        .iter()
        .min_by_key(|part| (weight(part.worker), part.peers, part.worker))?;
    if parts.iter().all(|part| part.peers >= bound.max(1)) {
        let further = (0..weights.len())
            .filter(|worker| parts.iter().all(|part| part.worker != *worker))
            .min_by_key(|worker| (weight(*worker), *worker));
        if let Some(worker) = further.filter(|worker| weight(*worker) < weight(least.worker)) {
            return Some(Choice::Grow(worker));
        }
    }
    Some(Choice::Part(least.worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(worker: usize, peers: usize) -> PartLoad {
        PartLoad { worker, peers }
    }

    #[test]
    fn a_room_grows_when_it_is_full_and_another_worker_is_idler() {
        for (parts, weights, expected) in [
            (&[part(0, 49)][..], &[50, 0][..], Choice::Part(0)),
            (&[part(0, 50)], &[51, 0], Choice::Grow(1)),
            (&[part(0, 50)], &[51, 51], Choice::Part(0)),
            (&[part(0, 50)], &[51], Choice::Part(0)),
            (&[part(0, 50)], &[51, 20, 10], Choice::Grow(2)),
            (&[part(0, 50), part(2, 3)], &[51, 0, 60], Choice::Part(0)),
            (&[part(0, 50), part(2, 50)], &[60, 0, 51], Choice::Grow(1)),
            (&[part(0, 70), part(1, 50)], &[71, 51], Choice::Part(1)),
        ] {
            assert_eq!(
                choose(parts, weights, 50),
                Some(expected),
                "{parts:?} {weights:?}"
            );
        }
        assert_eq!(choose(&[], &[0], 50), None);
    }

    #[test]
    fn a_large_room_fills_all_workers_alike() {
        let mut parts = vec![part(0, 0)];
        let mut weights = [1, 0, 0, 0];
        for _ in 0..1_000 {
            let worker = match choose(&parts, &weights, 50).unwrap() {
                Choice::Part(worker) => worker,
                Choice::Grow(worker) => {
                    parts.push(part(worker, 0));
                    weights[worker] += 1;
                    worker
                }
            };
            weights[worker] += 1;
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
