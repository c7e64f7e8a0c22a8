//! Measures how long things take on this machine.

use std::time::Instant;

/// Rounds, each of which times every contestant once. The median of an odd number is one of them.
const ROUNDS: usize = 11;
/// Calls timed together: some 15 us for a packet's cipher, well above the clock's own cost and well
/// below a time slice.
const CALLS: u32 = 64;

/// The median cost of a call of each contestant, in nanoseconds. They take turns, so that other
/// load on the machine hits all of them alike.
pub(crate) fn nanoseconds_each(contestants: &mut [Box<dyn FnMut()>]) -> Vec<f64> {
    let mut costs = vec![Vec::with_capacity(ROUNDS + 1); contestants.len()];
    // The first round warms caches and the CPU up.
    for _ in 0..=ROUNDS {
        for (contestant, costs) in contestants.iter_mut().zip(&mut costs) {
            let start = Instant::now();
            for _ in 0..CALLS {
                contestant();
            }
            costs.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    costs.into_iter().map(median_but_first).collect()
}

fn median_but_first(mut costs: Vec<f64>) -> f64 {
    costs.remove(0);
    costs.sort_by(f64::total_cmp);
    costs[ROUNDS / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn they_take_turns() {
        let calls = Rc::new(Cell::new([0_u32; 2]));
        let count = |which: usize| -> Box<dyn FnMut()> {
            let calls = Rc::clone(&calls);
            Box::new(move || {
                let mut counted = calls.get();
                counted[which] += 1;
                // Neither is ever more than a round ahead.
                assert!(counted[0].abs_diff(counted[1]) <= CALLS);
                calls.set(counted);
            })
        };
        let costs = nanoseconds_each(&mut [count(0), count(1)]);
        assert_eq!(calls.get(), [CALLS * (ROUNDS as u32 + 1); 2]);
        assert!(costs.iter().all(|cost| *cost >= 0.0), "{costs:?}");
    }

    #[test]
    fn the_first_round_and_an_interruption_do_not_count() {
        let mut costs = vec![300.0; ROUNDS + 1];
        (costs[0], costs[4], costs[7]) = (9e9, 8e9, 1.0);
        assert_eq!(median_but_first(costs), 300.0);
    }
}
