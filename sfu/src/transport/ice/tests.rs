use super::testing::{Check, answer, mapped_address, read_answer};
use super::*;
use proptest::prelude::*;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::message::{BINDING_SUCCESS, Getter, Message};
use std::time::Duration;

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.into(),
        pwd: format!("{ufrag}-password-of-some-length"),
    }
}

fn server() -> IceCredentials {
    credentials("serverfragment16")
}

fn check() -> Check {
    Check::new(&server(), &credentials("clnt"))
}

fn agent() -> IceLite {
    IceLite::new(&server(), &credentials("clnt"), 7, [1; 32])
}

fn path(last: u8) -> Path {
    Path::from(([10, 0, 0, last], 5_000))
}

/// A check's outcome as far as most tests ask.
struct Checked {
    outcome: StunOutcome,
    response: Option<Vec<u8>>,
    moved_from: Option<Path>,
    forgotten: Option<Path>,
    /// The server's own checks, with their destinations.
    checks: Vec<(Path, Vec<u8>)>,
}

impl IceLite {
    fn take(&mut self, now: Instant, from: Path, datagram: &[u8]) -> Checked {
        let (outcome, mut steps) = self.handle(now, from, datagram);
        let response = (!steps.send.is_empty() && outcome != StunOutcome::Proven).then(|| {
            let (to, response) = steps.send.remove(0);
            assert_eq!(to, from);
            response
        });
        Checked {
            outcome,
            response,
            moved_from: steps.moved.map(|moved| moved.from),
            forgotten: steps.forgotten,
            checks: steps.send,
        }
    }

    /// The client answers a check there.
    fn take_answer_to(&mut self, now: Instant, check: &(Path, Vec<u8>)) -> Checked {
        let answer = answer(&check.1, check.0.mapped_addr(), &credentials("clnt"));
        self.take(now, check.0, &answer)
    }

    /// The client checks from an address, and answers the server's check.
    fn take_proven(&mut self, now: Instant, from: Path, check: &Check) -> Checked {
        let mut checked = self.take(now, from, &check.bytes());
        for check in std::mem::take(&mut checked.checks) {
            let proven = self.take_answer_to(now, &check);
            assert_eq!(proven.outcome, StunOutcome::Proven);
            checked.moved_from = checked.moved_from.or(proven.moved_from);
        }
        checked
    }
}

fn error_code(message: &Message) -> u16 {
    let mut code = ErrorCodeAttribute::default();
    code.get_from(message).unwrap();
    code.code.0
}

#[test]
fn a_check_is_answered_with_the_senders_address() {
    for (from, seen) in [
        ("192.0.2.7:4711", "192.0.2.7:4711"),
        ("[::ffff:192.0.2.7]:4711", "192.0.2.7:4711"),
        ("[2001:db8::7]:4711", "[2001:db8::7]:4711"),
    ] {
        let mut agent = agent();
        let from = Path::Udp(from.parse().unwrap());
        let checked = agent.take(Instant::now(), from, &check().bytes());
        assert_eq!(checked.outcome, StunOutcome::Bound);
        let answer = read_answer(&checked.response.unwrap(), &server());
        assert_eq!(answer.typ, BINDING_SUCCESS);
        let seen: std::net::SocketAddr = seen.parse().unwrap();
        assert_eq!(mapped_address(&answer), seen);
        let again = agent.take(Instant::now(), from, &check().bytes());
        assert_eq!(again.outcome, StunOutcome::Refreshed);
        assert_eq!(agent.selected(), Some(from));
    }
}

/// Each forgery is one packet that anyone can send. `rtc-ice` flips its role for the second one.
#[test]
fn forged_checks_change_nothing() {
    let (good, now) = (check(), Instant::now());
    let unsigned = Check {
        password: None,
        ..good.clone()
    };
    let role_flip = Check {
        controlled: true,
        ..unsigned.clone()
    };
    let signed_otherwise = Check {
        password: Some("guess".into()),
        ..good.clone()
    };
    let other_server = Check {
        username: "another:clnt".into(),
        ..good.clone()
    };
    let other_client = Check {
        username: "serverfragment16:else".into(),
        ..good.clone()
    };
    let mut flipped_bit = good.bytes();
    flipped_bit[30] ^= 1;
    let mut unknown_length = good.bytes();
    unknown_length[3] = unknown_length[3].wrapping_add(4);
    let without_fingerprint = {
        let mut bytes = good.bytes();
        bytes.truncate(bytes.len() - 8);
        bytes[3] -= 8;
        bytes
    };
    for (forged, code) in [
        (unsigned.bytes(), DropReason::StunNoIntegrity),
        (role_flip.bytes(), DropReason::StunNoIntegrity),
        (signed_otherwise.bytes(), DropReason::StunBadIntegrity),
        (other_server.bytes(), DropReason::StunBadUsername),
        (other_client.bytes(), DropReason::StunBadUsername),
        (flipped_bit, DropReason::StunBadFingerprint),
        (unknown_length, DropReason::StunMalformed),
        (without_fingerprint, DropReason::StunNoFingerprint),
    ] {
        let mut agent = agent();
        let checked = agent.take(now, path(1), &forged);
        assert_eq!(checked.outcome, StunOutcome::Rejected(code));
        assert!(checked.response.is_none());
        assert!(agent.paths.is_empty());
        assert!(agent.paths.capacity() == 0);
        assert_eq!((agent.selected(), agent.last_check()), (None, None));
    }
    for len in 0..good.bytes().len() {
        let mut agent = agent();
        let checked = agent.take(now, path(1), &good.bytes()[..len]);
        assert_eq!(
            checked.outcome,
            StunOutcome::Rejected(DropReason::StunMalformed)
        );
        assert_eq!(agent.last_check(), None);
    }
}

#[test]
fn refusals_to_an_authenticated_client_are_answered_and_change_nothing() {
    let controlled = Check {
        controlled: true,
        ..check()
    };
    let unknown = Check {
        extra: Some(0x0033),
        ..check()
    };
    for (refused, reason, code) in [
        (controlled, DropReason::StunRoleConflict, 487),
        (unknown, DropReason::StunUnknownAttribute, 420),
    ] {
        let mut agent = agent();
        let checked = agent.take(Instant::now(), path(1), &refused.bytes());
        assert_eq!(checked.outcome, StunOutcome::Rejected(reason));
        let answer = read_answer(&checked.response.unwrap(), &server());
        assert_eq!(error_code(&answer), code);
        assert_eq!((agent.selected(), agent.last_check()), (None, None));
    }
    let optional = Check {
        extra: Some(0xc057),
        ..check()
    };
    let checked = agent().take(Instant::now(), path(1), &optional.bytes());
    assert_eq!(checked.outcome, StunOutcome::Bound);
}

#[test]
fn nomination_moves_the_path_and_so_does_silence() {
    let (mut agent, start) = (agent(), Instant::now());
    let plain = Check {
        nominate: false,
        ..check()
    };
    let nominating = check();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(agent.take_proven(at(0), path(1), &plain).moved_from, None);
    assert_eq!(agent.selected(), Some(path(1)));
    assert_eq!(agent.take_proven(at(1), path(2), &plain).moved_from, None);
    assert_eq!(agent.selected(), Some(path(1)));
    // Proven a second ago: it is followed at once.
    let moved = agent.take(at(2), path(2), &nominating.bytes()).moved_from;
    assert_eq!(moved, Some(path(1)));
    assert_eq!(agent.take_proven(at(9), path(3), &plain).moved_from, None);
    let moved = agent.take(at(10), path(3), &plain.bytes()).moved_from;
    assert_eq!(moved, Some(path(2)));
    assert_eq!(agent.selected(), Some(path(3)));
}

#[test]
fn media_waits_for_an_answer_from_where_it_is_to_go() {
    let (mut agent, now) = (agent(), Instant::now());
    let checked = agent.take(now, path(1), &check().bytes());
    assert_eq!((agent.selected(), agent.media()), (Some(path(1)), None));
    let [ours] = &checked.checks[..] else {
        panic!("one check of ours: {:?}", checked.checks);
    };
    // An answer from elsewhere, to another check, or cut short is no proof.
    let right = answer(&ours.1, path(1).mapped_addr(), &credentials("clnt"));
    let mut other = right.clone();
    other[15] ^= 1;
    for (from, forged, code) in [
        (path(2), right.clone(), DropReason::StunUnaskedAnswer),
        (path(1), other, DropReason::StunBadIntegrity),
        (
            path(1),
            right[..right.len() - 8].to_vec(),
            DropReason::StunMalformed,
        ),
    ] {
        let outcome = agent.take(now, from, &forged).outcome;
        assert_eq!(outcome, StunOutcome::Rejected(code));
        assert_eq!(agent.media(), None);
    }
    let proven = agent.take(now, path(1), &right);
    assert_eq!(proven.outcome, StunOutcome::Proven);
    assert_eq!(agent.media(), Some(path(1)));
    // Once.
    let again = agent.take(now, path(1), &right).outcome;
    assert_eq!(again, StunOutcome::Rejected(DropReason::StunUnaskedAnswer));
}

#[test]
fn a_nominated_address_without_proof_moves_nothing() {
    let (mut agent, start) = (agent(), Instant::now());
    agent.take_proven(start, path(1), &check());
    let mut checks = Vec::new();
    for ms in (0..4_000).step_by(20) {
        let now = start + Duration::from_millis(ms);
        let mut checked = agent.take(now, path(2), &check().bytes());
        assert_eq!(checked.moved_from, None);
        checks.append(&mut checked.checks);
        assert_eq!(agent.media(), Some(path(1)));
    }
    // The last of them is answered: it moves in the round trip of the nomination.
    let now = start + Duration::from_millis(4_000);
    let moved = agent.take_answer_to(now, checks.last().unwrap());
    assert_eq!(moved.moved_from, Some(path(1)));
    assert_eq!(agent.media(), Some(path(2)));
}

/// RFC 7675 section 5.1: a proof is good for 30 s.
#[test]
fn an_old_proof_is_asked_for_again() {
    let (mut agent, start) = (agent(), Instant::now());
    let plain = Check {
        nominate: false,
        ..check()
    };
    agent.take_proven(start, path(2), &plain);
    let at = |seconds| start + Duration::from_secs(seconds);
    for seconds in (1..32).step_by(2) {
        agent.take_proven(at(seconds), path(1), &check());
        for (to, ours) in agent.handle_timeout(at(seconds)).send {
            agent.take_answer_to(at(seconds), &(to, ours));
        }
    }
    assert_eq!(agent.media(), Some(path(1)));
    let checked = agent.take(at(32), path(2), &check().bytes());
    assert_eq!((checked.moved_from, agent.media()), (None, Some(path(1))));
    let moved = agent.take_answer_to(at(32), &checked.checks[0]);
    assert_eq!(moved.moved_from, Some(path(1)));
}

/// Firefox nominates every path that it checks. A firewall closes path 1 for what we send, and Firefox goes to path 2, but
/// it nominates path 1 for some more seconds.
#[test]
fn a_path_that_was_closed_since_is_not_returned_to() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    for speaks in [true, false] {
        let mut agent = agent();
        agent.take_proven(at(0), path(2), &check());
        agent.take_proven(at(10), path(1), &check());
        assert!(agent.spoken(at(20), path(1), false).is_none());
        assert_eq!(agent.media(), Some(path(1)));
        // Its media, or its nomination if it sends none, tells where it is.
        for ms in [5_000, 5_020, 5_040] {
            match speaks {
                true => drop(agent.spoken(at(ms), path(2), false)),
                false => drop(agent.take_proven(at(ms), path(2), &check())),
            }
        }
        assert_eq!(agent.media(), Some(path(2)), "speaks {speaks}");
        let mut unanswered = 0;
        for ms in (5_050..11_500).step_by(50) {
            if speaks && ms % 500 == 0 {
                agent.spoken(at(ms), path(2), false);
            }
            let checked = agent.take(at(ms), path(1), &check().bytes());
            unanswered += checked.checks.len();
            assert_eq!(
                agent.selected(),
                Some(path(2)),
                "speaks {speaks} at {ms} ms"
            );
        }
        assert_eq!(unanswered > 0, !speaks, "asked for proof: {unanswered}");
    }
}

#[test]
fn media_over_an_unknown_path_is_proven_before_it_is_followed() {
    let (mut agent, now) = (agent(), Instant::now());
    agent.take_proven(now, path(1), &check());
    assert!(agent.spoken(now, path(1), false).is_none());
    let mut sent = 0;
    let mut ours = Vec::new();
    for packet in 0..100 {
        let now = now + Duration::from_millis(20 * packet);
        let steps = agent.rebound(now, path(9), 60);
        sent += steps
            .send
            .iter()
            .map(|(_, check)| check.len())
            .sum::<usize>();
        ours.extend(steps.send);
        assert_eq!((steps.moved, agent.media()), (None, Some(path(1))));
        assert!(sent <= 3 * 60 * (packet as usize + 1), "{sent}");
    }
    let proven = agent.take_answer_to(now + Duration::from_secs(2), ours.last().unwrap());
    assert_eq!(proven.moved_from, Some(path(1)));
    assert_eq!(agent.media(), Some(path(9)));
}

#[test]
fn checks_without_answer_end_and_stay_within_what_came() {
    let (mut agent, start) = (agent(), Instant::now());
    let bytes = check().bytes();
    let checked = agent.take(start, path(1), &bytes);
    let sent =
        |checks: &[(Path, Vec<u8>)]| -> usize { checks.iter().map(|(_, check)| check.len()).sum() };
    let mut total = checked.response.map_or(0, |response| response.len());
    total += sent(&checked.checks);
    let mut unproven = 0;
    while let Some(due) = agent.poll_timeout(start) {
        let steps = agent.handle_timeout(due);
        total += sent(&steps.send);
        unproven += steps.unproven;
        assert!(due < start + Duration::from_secs(4));
    }
    assert_eq!(unproven, 1);
    assert!(
        total > 2 * bytes.len() && total <= 3 * bytes.len(),
        "{total}"
    );
    assert!(!agent.admits(start, path(1), 1_200));
    assert!(!agent.admits(start, path(9), 1));
}

#[test]
fn a_seventeenth_address_replaces_the_one_silent_longest() {
    let (mut agent, start) = (agent(), Instant::now());
    let plain = Check {
        nominate: false,
        ..check()
    }
    .bytes();
    for last in 0..16 {
        let now = start + Duration::from_millis(last.into());
        assert_eq!(agent.take(now, path(last), &plain).forgotten, None);
    }
    let now = start + Duration::from_secs(1);
    // The first one is selected and stays.
    let checked = agent.take(now, path(16), &plain);
    assert_eq!(checked.forgotten, Some(path(1)));
    assert!(agent.is_known(path(0)));
    assert!(!agent.is_known(path(1)));
    assert_eq!(agent.paths.len(), MAX_PATHS);
}

#[test]
fn a_restart_takes_both_credentials_until_the_new_ones_are_used() {
    let (mut agent, now) = (agent(), Instant::now());
    let old = check().bytes();
    agent.take(now, path(1), &old);
    let (ours, theirs) = (credentials("restartedserver1"), credentials("clnt2"));
    agent.restart(&ours, &theirs);
    let new = Check::new(&ours, &theirs).bytes();
    let mixed = Check::new(&ours, &credentials("clnt")).bytes();
    assert_eq!(
        agent.take(now, path(1), &old).outcome,
        StunOutcome::Refreshed
    );
    assert_eq!(
        agent.take(now, path(1), &mixed).outcome,
        StunOutcome::Rejected(DropReason::StunBadUsername)
    );
    let checked = agent.take(now, path(2), &new);
    assert_eq!(checked.outcome, StunOutcome::Bound);
    read_answer(&checked.response.unwrap(), &ours);
    assert_eq!(
        agent.take(now, path(1), &old).outcome,
        StunOutcome::Rejected(DropReason::StunBadUsername)
    );
}

#[test]
fn the_user_fragment_is_found_without_the_password() {
    assert_eq!(
        stun_local_ufrag(&check().bytes()),
        Some(&b"serverfragment16"[..])
    );
    let without_colon = Check {
        username: "nocolon".into(),
        ..check()
    };
    assert_eq!(stun_local_ufrag(&without_colon.bytes()), None);
    let mut response = check().bytes();
    response[0] = 1;
    assert_eq!(stun_local_ufrag(&response), None);
}

proptest! {
    /// With any checks and answers from any address, forged or not: media goes only to addresses that answered in the
    /// last 30 s, and an unproven address is sent at most three times the bytes that came from it.
    #[test]
    fn media_goes_only_where_it_is_proved(
        steps in proptest::collection::vec((0_u8..6, 0_u8..4, 0_u64..4_000), 1..120),
    ) {
        let (mut agent, start) = (agent(), Instant::now());
        let mut now = start;
        let mut asked: Vec<(Path, Vec<u8>)> = Vec::new();
        let mut proved: std::collections::BTreeMap<Path, Instant> = Default::default();
        let mut came: std::collections::BTreeMap<Path, (usize, usize)> = Default::default();
        for (step, last, ms) in steps {
            now += Duration::from_millis(ms / 4);
            let mut sent = match step {
                0..=2 => {
                    let nominate = step != 0;
                    let bytes = Check { nominate, ..check() }.bytes();
                    came.entry(path(last)).or_default().0 += bytes.len();
                    agent.handle(now, path(last), &bytes).1.send
                }
                // One of the latest checks is answered, perhaps from elsewhere.
                3 | 4 if !asked.is_empty() => {
                    let (to, ours) = asked[asked.len() - 1 - usize::from(last) % asked.len()].clone();
                    let from = if step == 3 { to } else { path(last) };
                    let answer = answer(&ours, to.mapped_addr(), &credentials("clnt"));
                    let (outcome, steps) = agent.handle(now, from, &answer);
                    if outcome == StunOutcome::Proven {
                        prop_assert_eq!(from, to);
                        proved.insert(from, now);
                    }
                    steps.send
                }
                _ => Vec::new(),
            };
            sent.extend(agent.handle_timeout(now).send);
            for (to, message) in sent {
                if proved.get(&to).is_none_or(|at| now >= *at + Duration::from_secs(30)) {
                    came.entry(to).or_default().1 += message.len();
                }
                if message[..2] == [0, 1] {
                    asked.push((to, message));
                }
            }
            if let Some(media) = agent.media() {
                let at = proved.get(&media);
                prop_assert!(at.is_some_and(|at| now < *at + Duration::from_secs(30)));
            }
            for (addr, (received, sent)) in &came {
                if !proved.contains_key(addr) {
                    prop_assert!(*sent <= 3 * received, "{addr}: {sent} of {received}");
                }
            }
            prop_assert!(agent.poll_timeout(now).is_none_or(|due| due > now));
        }
    }

    #[test]
    fn anything_may_arrive(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut agent = agent();
        let checked = agent.take(Instant::now(), path(1), &bytes);
        prop_assert!(matches!(checked.outcome, StunOutcome::Rejected(_)));
        prop_assert_eq!(agent.last_check(), None);
        let _ = stun_local_ufrag(&bytes);
    }

    /// Real checks with bytes changed, inserted lengths and cuts: never accepted, never a panic.
    #[test]
    fn a_changed_check_is_rejected(at in 0_usize..128, change in 1_u8.., cut in 0_usize..128) {
        let original = check().bytes();
        let mut bytes = original.clone();
        let at = at % bytes.len();
        bytes[at] ^= change;
        bytes.truncate(bytes.len() - cut.min(bytes.len()) * usize::from(change & 1));
        let mut agent = agent();
        let outcome = agent.take(Instant::now(), path(1), &bytes).outcome;
        prop_assert!(matches!(outcome, StunOutcome::Rejected(_)));
        prop_assert_eq!(agent.last_check(), None);
        let _ = stun_local_ufrag(&bytes);
    }
}
