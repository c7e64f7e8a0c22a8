//! Tests of the contract of pipes, the same ones for every kind of end.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::buffered::HELD_UP;
use super::*;
use crate::id::{RoomId, TrackId};
use crate::testing::{ScriptedEnd, SimPipe};

/// A message with a number.
pub(super) fn ended(number: u64) -> Control {
    Control::Ended {
        track: TrackId::new(0, number),
    }
}

/// The number of a message.
pub(super) fn number(control: &Control) -> u64 {
    match control {
        Control::Ended { track } => track.as_u64(),
        _ => unreachable!("only these are sent"),
    }
}

fn data() -> Control {
    Control::Data(Data {
        room: RoomId::new(0, 1),
        reliable: true,
        binary: true,
        payload: Arc::from(&b"x"[..]),
        sender: "p1".into(),
    })
}

fn rings(batches: usize, control: usize) -> (BufferedEnd<RingEnd>, BufferedEnd<RingEnd>) {
    buffered(RingEnd::pair(RingSizes { batches, control }))
}

fn buffered<E: PipeEnd>((here, there): (E, E)) -> (BufferedEnd<E>, BufferedEnd<E>) {
    (BufferedEnd::new(here), BufferedEnd::new(there))
}

fn take_control<E: PipeEnd>(end: &mut BufferedEnd<E>, got: &mut Vec<u64>) {
    for _ in 0..end.control_waiting() {
        got.push(number(&end.take_control().expect("a message waits")));
    }
}

/// The fate of the batches that went through a pipe.
struct Passed {
    /// Batches that the sender was told are sent.
    sent: usize,
    /// Batches that arrived.
    arrived: usize,
}

/// Sends and receives by steps, and checks that control arrives whole and in order, and each batch once, in order, and
/// not before control sent ahead of it.
fn pass<E: PipeEnd>(
    (mut here, mut there): (BufferedEnd<E>, BufferedEnd<E>),
    steps: &[u8],
) -> Passed {
    let (mut kept, mut got) = (0, Vec::new());
    // Each batch with the number of messages sent before it.
    let mut under_way: VecDeque<(Arc<Batch>, usize)> = VecDeque::new();
    let mut passed = Passed {
        sent: 0,
        arrived: 0,
    };
    for step in steps {
        match step {
            0 => {
                assert!(here.keep(ended(kept)));
                kept += 1;
            }
            1 => here.send_kept(),
            2 => {
                // A turn sends control first.
                here.send_kept();
                let batch = Arc::default();
                let held_up = here.is_held_up();
                if here.send_batch(&batch) {
                    assert!(!held_up, "control goes first");
                    under_way.push_back((batch, kept as usize));
                    passed.sent += 1;
                }
            }
            3 => take_control(&mut there, &mut got),
            _ => {
                if let Some((batch, _)) = there.take_batch() {
                    take_control(&mut there, &mut got);
                    passed.arrived += 1;
                    // Batches sent before it were lost.
                    let mut those = std::iter::from_fn(|| under_way.pop_front());
                    let sent = those.find(|(sent, _)| Arc::ptr_eq(sent, &batch));
                    let (_, before) = sent.expect("once, and in the order in which they were sent");
                    assert!(before <= got.len());
                }
            }
        }
    }
    while here.is_held_up() {
        here.send_kept();
        take_control(&mut there, &mut got);
    }
    drop(here);
    take_control(&mut there, &mut got);
    while there.take_batch().is_some() {
        passed.arrived += 1;
    }
    assert_eq!(got, (0..kept).collect::<Vec<_>>());
    assert_eq!([there.take_lost(), there.take_lost()], [true, false]);
    passed
}

proptest! {
    #[test]
    fn through_rings_of_any_length_and_pace_control_is_whole_and_first(
        sizes in (1usize..4, 1usize..4),
        steps in prop::collection::vec(0u8..5, 1..300),
    ) {
        let passed = pass(rings(sizes.0, sizes.1), &steps);
        prop_assert_eq!(passed.arrived, passed.sent);
    }

    #[test]
    fn through_a_pipe_that_loses_and_delays_batches_control_is_whole_and_first(
        sizes in (1usize..4, 1usize..4),
        (lose_every, behind) in (1usize..6, 0usize..6),
        steps in prop::collection::vec(0u8..5, 1..300),
    ) {
        let script = SimPipe { lose_every, behind };
        let sizes = RingSizes { batches: sizes.0, control: sizes.1 };
        let passed = pass(buffered(ScriptedEnd::pair(sizes, script)), &steps);
        let not_lost = passed.sent - passed.sent / lose_every;
        prop_assert_eq!(passed.arrived, not_lost.saturating_sub(behind));
    }
}

#[test]
fn a_batch_waits_for_nobody_and_overtakes_no_control() {
    let (mut here, mut there) = rings(2, 2);
    assert!((0..10).all(|number| here.keep(ended(number))));
    here.send_kept();
    let batch = Arc::default();
    assert!(!here.send_batch(&batch), "its track may be unknown yet");
    let mut got = Vec::new();
    while here.is_held_up() {
        take_control(&mut there, &mut got);
        here.send_kept();
    }
    assert!(here.send_batch(&batch) && here.send_batch(&batch));
    assert!(!here.send_batch(&batch), "the ring is full");
    take_control(&mut there, &mut got);
    assert_eq!(got, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_put_back_comes_next_and_counts_as_waiting() {
    let (mut here, mut there) = rings(2, 1);
    let (first, second) = (Arc::default(), Arc::default());
    assert!(here.send_batch(&first) && here.send_batch(&second));
    drop(here);
    let (batch, taken) = there.take_batch().expect("a batch");
    assert!(Arc::ptr_eq(&batch, &first) && taken == 0);
    there.put_back(batch, 5);
    let (batch, taken) = there.take_batch().expect("it again");
    assert!(Arc::ptr_eq(&batch, &first) && taken == 5);
    let (batch, taken) = there.take_batch().expect("the next");
    assert!(Arc::ptr_eq(&batch, &second) && taken == 0);
    there.put_back(batch, 1);
    assert!(!there.is_empty() && !there.take_lost());
    there.take_batch();
    assert!(there.is_empty() && there.take_lost());
}

#[test]
fn only_messages_of_clients_are_dropped() {
    let (mut here, _there) = rings(1, 1);
    let kept = (0..2 * HELD_UP).filter(|_| here.keep(data())).count();
    assert_eq!(kept, HELD_UP);
    assert!((0..100).all(|number| here.keep(ended(number))));
}

#[test]
fn nothing_is_held_up_for_a_worker_that_is_gone() {
    let (mut here, there) = rings(1, 1);
    drop(there);
    assert!((0..10).all(|number| here.keep(ended(number))));
    here.send_kept();
    assert!(!here.is_held_up());
}
