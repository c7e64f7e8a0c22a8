//! Pictures that come back after a pause, and do not last.

use super::*;

/// Decides ten times a second for two minutes. `decide_at` decides at a step, told whether the link carries what is
/// wanted, and returns the number of pictures; it does until all of them have been sent for a second. Returns the
/// seconds between two pauses, the first left out: it has no past.
fn waits(all: usize, mut decide_at: impl FnMut(u64, Instant, bool) -> usize) -> Vec<u64> {
    let start = Instant::now();
    let (mut pauses, mut before, mut since) = (Vec::new(), 0, 0);
    for step in 0..1_200u64 {
        let fits = before < all || step < since + 10;
        let now = start + Duration::from_millis(step * 100);
        let after = decide_at(step, now, fits);
        if before < all && after == all {
            since = step;
        } else if before == all && after < all {
            pauses.push(step / 10);
        }
        before = after;
    }
    assert!(pauses.len() >= 4, "it is tried: {pauses:?}");
    let waits = pauses.windows(2).map(|at| at[1] - at[0]);
    waits.skip(1).collect()
}

fn shown(requests: &[LayerRequest]) -> usize {
    let sent = requests.iter().filter(|request| request.current.is_some());
    sent.count()
}

/// Audio takes most of a narrow link, so that shares are of the whole.
#[test]
fn a_picture_that_does_not_last_beside_sound_waits() {
    let mut allocator = Allocator::default();
    let mut requests = [request(0)];
    let waits = waits(1, |_, now, fits| {
        let kbit = if fits { 215 } else { 60 };
        // Without audio in them these rates would look like another link's.
        let budget = Budget {
            sound: 165_000,
            whole: (kbit + 165) * 1_000,
            ..budget(kbit)
        };
        decide(&mut allocator, now, budget, &mut requests);
        shown(&requests)
    });
    assert!(
        waits.iter().all(|wait| (15..=36).contains(wait)),
        "{waits:?}"
    );
}

/// Three pictures nearly fit. The cut pauses another one than the one that came back, for the order of speakers changes.
#[test]
fn a_picture_that_takes_the_place_of_another_waits_as_well() {
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1), request(2)];
    let waits = waits(3, |step, now, fits| {
        for request in &mut requests {
            request.priority = ranked(((request.slot as u64 + step / 20) % 3) as u16);
        }
        let kbit = if fits { 480 } else { 330 };
        decide(&mut allocator, now, budget(kbit), &mut requests);
        shown(&requests)
    });
    assert!(
        waits.iter().all(|wait| (15..=36).contains(wait)),
        "{waits:?}"
    );
}

/// The picture that stays takes the room that the pause of the other left. That is no reason for the pause.
#[test]
fn a_raise_after_a_pause_does_not_excuse_it() {
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    requests[0].ladder = ladder(&[150, 300]);
    requests[1].ladder = ladder(&[250]);
    let waits = waits(2, |_, now, fits| {
        let kbit = if fits { 430 } else { 300 };
        decide(&mut allocator, now, budget(kbit), &mut requests);
        shown(&requests)
    });
    assert!(waits.iter().all(|wait| *wait >= 15), "{waits:?}");
}

/// The speaker is shown, however often that changes.
#[test]
fn a_picture_that_makes_way_for_another_has_not_failed() {
    let start = Instant::now();
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1)];
    requests[1].ladder = ladder(&[140, 500, 1_700]);
    let now = |step: u64| start + Duration::from_secs(step);
    decide(&mut allocator, now(0), budget(300), &mut requests);
    for step in 1..30 {
        for request in &mut requests {
            let speaks = (request.slot as u64 + step / 3).is_multiple_of(2);
            request.priority = if speaks { SPEAKING } else { ranked(1) };
        }
        decide(&mut allocator, now(step), budget(200), &mut requests);
        // A second after a change the speaker is shown.
        if step > 8 && step % 3 == 2 {
            let speaker = requests.iter().find(|request| request.priority == SPEAKING);
            assert!(speaker.unwrap().current.is_some(), "{step}");
        }
    }
}

/// A link that became much narrower is another link. Its lowest layers go a moment later than its upper ones, and neither
/// cut is a picture's fault.
#[test]
fn a_cut_in_two_parts_is_excused_as_a_whole() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut allocator = Allocator::default();
    let mut requests = [request(0), request(1), request(2)];
    decide(&mut allocator, at(0), budget(1_000), &mut requests);
    decide(&mut allocator, at(1_000), budget(310), &mut requests);
    assert_eq!(requests[2].current, None);
    let mut now = 1_000;
    while requests[2].current.is_none() {
        now += 200;
        decide(&mut allocator, at(now), budget(1_000), &mut requests);
    }
    let doubtful = Budget {
        congested: true,
        doubtful: true,
        ..budget(200)
    };
    decide(&mut allocator, at(now + 3_000), doubtful, &mut requests);
    assert!(requests.iter().all(|request| request.current.is_some()));
    decide(&mut allocator, at(now + 3_400), budget(200), &mut requests);
    assert!(requests[2].current.is_none());
    // Enough for the lowest layers once they have fitted for a while, but not for who did not last.
    for step in 0..45 {
        let later = at(now + 4_500 + step * 200);
        decide(&mut allocator, later, budget(500), &mut requests);
    }
    assert!(requests.iter().all(|request| request.current.is_some()));
}
