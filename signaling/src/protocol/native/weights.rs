//! Events are counted with what they really hold, or a little more.

use std::sync::Arc;

use super::convert::{Greeting, Own, text};
use super::server_message::{DataChannels, MessageLimits};
use crate::access::Access;
use crate::hooks::Permissions;
use crate::live::Live;
use crate::media::MediaKind;
use crate::memory::allocated::held_by;
use crate::room::{
    ChatEntry, Event, ParticipantId, ParticipantInfo, Refusal, Rules, Snapshot, Source, Told,
    TrackInfo, TrackName, WaitingPerson,
};

fn greeting() -> Greeting {
    Greeting {
        ice_servers: Live::new(Arc::from([])),
        turn: None,
        limits: MessageLimits {
            message_bytes: 1,
            chat_chars: 1,
            publisher_bitrate: 0,
        },
        data: DataChannels {
            protocol: String::new(),
            message_bytes: 1,
            messages_per_second: 1,
        },
        access: Access::Open,
    }
}

fn person(metadata: &str, tracks: usize) -> ParticipantInfo {
    let track = || TrackInfo {
        name: TrackName::random(),
        kind: MediaKind::Video,
        source: Source::Camera,
        muted: false,
        simulcast: true,
        codec: "vp8",
    };
    ParticipantInfo {
        id: ParticipantId::random(),
        name: "Ada Lovelace".to_owned(),
        // Read from its text each time, as if nobody else had it.
        metadata: serde_json::from_str(metadata).expect("an object"),
        tracks: std::iter::repeat_with(track).take(tracks).collect(),
        connected: true,
    }
}

fn said(text: &str) -> ChatEntry {
    ChatEntry {
        id: 1,
        participant: ParticipantId::random(),
        name: "Ada Lovelace".to_owned(),
        text: text.into(),
        at_ms: 1_700_000_000_000,
    }
}

fn welcome(participants: Vec<ParticipantInfo>) -> Event {
    Event::Welcome(Snapshot {
        request: None,
        room: "room".into(),
        participant: ParticipantId::random(),
        name: String::new(),
        metadata: Default::default(),
        permissions: Permissions::default(),
        participants,
        chat: vec![said("hello")],
        rules: Rules::default(),
        hands: Vec::new(),
        audience: None,
    })
}

/// An event, and the text that is kept with it, hold at most one and a half times of what is counted. An event of any
/// size is not counted with more than four times what it holds, either: who keeps little would pay for it.
fn assert_weighed(what: &str, make: impl FnOnce() -> Told) {
    let greeting = greeting();
    let (told, held) = held_by(|| {
        let told = make();
        drop(text(&told, &greeting, &Own::default));
        told
    });
    let counted = told.weight();
    assert!(
        2 * held <= 3 * counted,
        "{what}: it holds {held} bytes, and {counted} are counted"
    );
    assert!(
        counted <= 4 * held,
        "{what}: it holds {held} bytes, and {counted} are counted"
    );
}

#[test]
fn events_are_counted_with_what_they_hold() {
    let objects = format!(r#"{{"a":[{}{{}}]}}"#, r#"{"":0},"#.repeat(570));
    let lists = format!(r#"{{"a":[{}0]}}"#, "[[]],".repeat(800));
    let numbers = format!(r#"{{"a":[{}0]}}"#, "1,".repeat(2_000));
    let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(4_000));
    for metadata in [&*objects, &*lists, &*numbers, &*text, "{}"] {
        for tracks in [0, 8] {
            let info = || person(metadata, tracks);
            assert_weighed("an update", || {
                Told::several(Event::ParticipantUpdated(info()))
            });
            let people = || std::iter::repeat_with(info).take(50).collect();
            assert_weighed("a welcome", || Told::one(welcome(people())));
            assert_weighed("a batch", || {
                let joined = || Told::several(Event::ParticipantJoined(info()));
                let parts = std::iter::repeat_with(joined).take(30);
                Told::several(Event::Batch(parts.collect()))
            });
        }
    }
    for text in ["", "hello", &"\"".repeat(4_000), &"x".repeat(4_000)] {
        assert_weighed("a chat message", || Told::several(Event::Chat(said(text))));
    }
    assert_weighed("a presence", || {
        Told::several(Event::Presence {
            participant: ParticipantId::random(),
            connected: true,
        })
    });
    assert_weighed("people who wait", || {
        let person = || WaitingPerson {
            id: ParticipantId::random(),
            name: "\u{1f600}".repeat(64),
        };
        let people = std::iter::repeat_with(person).take(100);
        Told::several(Event::Waiting(people.collect()))
    });
    assert_weighed("a refusal", || {
        Told::one(Event::Refused {
            request: None,
            refusal: Refusal::new("bad_field", "x".repeat(1_000)),
        })
    });
}
