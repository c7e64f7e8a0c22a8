use super::testing::{Check, mapped_address, read_answer};
use super::*;
use proptest::prelude::*;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::message::{BINDING_SUCCESS, Getter, Message};

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
    IceLite::new(&server(), &credentials("clnt"))
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 5_000))
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
        let from = from.parse().unwrap();
        let checked = agent.handle(Instant::now(), from, &check().bytes());
        assert_eq!(checked.outcome, StunOutcome::Bound);
        let answer = read_answer(&checked.response.unwrap(), &server());
        assert_eq!(answer.typ, BINDING_SUCCESS);
        let seen: SocketAddr = seen.parse().unwrap();
        assert_eq!(mapped_address(&answer), seen);
        let again = agent.handle(Instant::now(), from, &check().bytes());
        assert_eq!(again.outcome, StunOutcome::Refreshed);
        assert_eq!(agent.selected(), Some(from));
    }
}

/// Each is one packet anyone can send. `rtc-ice` flips its role for the second one.
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
        (unsigned.bytes(), "stun_no_integrity"),
        (role_flip.bytes(), "stun_no_integrity"),
        (signed_otherwise.bytes(), "stun_bad_integrity"),
        (other_server.bytes(), "stun_bad_username"),
        (other_client.bytes(), "stun_bad_username"),
        (flipped_bit, "stun_bad_fingerprint"),
        (unknown_length, "stun_malformed"),
        (without_fingerprint, "stun_no_fingerprint"),
    ] {
        let mut agent = agent();
        let checked = agent.handle(now, address(1), &forged);
        assert_eq!(checked.outcome, StunOutcome::Rejected(code));
        assert!(checked.response.is_none());
        assert!(agent.paths.is_empty());
        assert!(agent.paths.capacity() == 0);
        assert_eq!((agent.selected(), agent.last_check()), (None, None));
    }
    for len in 0..good.bytes().len() {
        let mut agent = agent();
        let checked = agent.handle(now, address(1), &good.bytes()[..len]);
        assert_eq!(checked.outcome, StunOutcome::Rejected("stun_malformed"));
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
        (controlled, "stun_role_conflict", 487),
        (unknown, "stun_unknown_attribute", 420),
    ] {
        let mut agent = agent();
        let checked = agent.handle(Instant::now(), address(1), &refused.bytes());
        assert_eq!(checked.outcome, StunOutcome::Rejected(reason));
        let answer = read_answer(&checked.response.unwrap(), &server());
        assert_eq!(error_code(&answer), code);
        assert_eq!((agent.selected(), agent.last_check()), (None, None));
    }
    let optional = Check {
        extra: Some(0xc057),
        ..check()
    };
    let checked = agent().handle(Instant::now(), address(1), &optional.bytes());
    assert_eq!(checked.outcome, StunOutcome::Bound);
}

#[test]
fn nomination_moves_the_path_and_so_does_silence() {
    let (mut agent, start) = (agent(), Instant::now());
    let plain = Check {
        nominate: false,
        ..check()
    }
    .bytes();
    let nominating = check().bytes();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(agent.handle(at(0), address(1), &plain).moved_from, None);
    assert_eq!(agent.selected(), Some(address(1)));
    assert_eq!(agent.handle(at(1), address(2), &plain).moved_from, None);
    assert_eq!(agent.selected(), Some(address(1)));
    let moved = agent.handle(at(2), address(2), &nominating).moved_from;
    assert_eq!(moved, Some(address(1)));
    assert_eq!(agent.handle(at(9), address(3), &plain).moved_from, None);
    let moved = agent.handle(at(10), address(3), &plain).moved_from;
    assert_eq!(moved, Some(address(2)));
    assert_eq!(agent.selected(), Some(address(3)));
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
        assert_eq!(agent.handle(now, address(last), &plain).forgotten, None);
    }
    let now = start + Duration::from_secs(1);
    // The first one is selected and stays.
    let checked = agent.handle(now, address(16), &plain);
    assert_eq!(checked.forgotten, Some(address(1)));
    assert!(agent.is_verified(address(0)));
    assert!(!agent.is_verified(address(1)));
    assert_eq!(agent.paths.len(), MAX_PATHS);
}

#[test]
fn a_restart_takes_both_credentials_until_the_new_ones_are_used() {
    let (mut agent, now) = (agent(), Instant::now());
    let old = check().bytes();
    agent.handle(now, address(1), &old);
    let (ours, theirs) = (credentials("restartedserver1"), credentials("clnt2"));
    agent.restart(&ours, &theirs);
    let new = Check::new(&ours, &theirs).bytes();
    let mixed = Check::new(&ours, &credentials("clnt")).bytes();
    assert_eq!(
        agent.handle(now, address(1), &old).outcome,
        StunOutcome::Refreshed
    );
    assert_eq!(
        agent.handle(now, address(1), &mixed).outcome,
        StunOutcome::Rejected("stun_bad_username")
    );
    let checked = agent.handle(now, address(2), &new);
    assert_eq!(checked.outcome, StunOutcome::Bound);
    read_answer(&checked.response.unwrap(), &ours);
    assert_eq!(
        agent.handle(now, address(1), &old).outcome,
        StunOutcome::Rejected("stun_bad_username")
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
    #[test]
    fn anything_may_arrive(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut agent = agent();
        let checked = agent.handle(Instant::now(), address(1), &bytes);
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
        let outcome = agent.handle(Instant::now(), address(1), &bytes).outcome;
        prop_assert!(matches!(outcome, StunOutcome::Rejected(_)));
        prop_assert_eq!(agent.last_check(), None);
        let _ = stun_local_ufrag(&bytes);
    }
}
