//! The table that the web client is held to as well, and what holds for every text.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Table {
    names: Vec<Case>,
    rooms: Vec<Case>,
    chat: Vec<Said>,
    joins_next: Vec<(u32, u32)>,
    joins_previous: Vec<(u32, u32)>,
    viramas: Vec<(u32, u32)>,
}

#[derive(Deserialize)]
struct Case {
    what: String,
    given: String,
    /// Its one form; null: it is none.
    taken: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    what: String,
    text: String,
    taken: bool,
}

fn table() -> Table {
    let text = include_str!("../../golden/names.json");
    serde_json::from_str(text).expect("the table")
}

#[test]
fn names_and_rooms_are_as_the_table_says() {
    let Table { names, rooms, .. } = table();
    for Case { what, given, taken } in names {
        assert_eq!(display_name(&given).ok(), taken, "{what}: {given:?}");
    }
    for Case { what, given, taken } in rooms {
        assert_eq!(room_name(&given).ok(), taken, "{what}: {given:?}");
    }
    for Said { what, text, taken } in table().chat {
        assert_eq!(check_chat(&text, 10).is_ok(), taken, "{what}: {text:?}");
    }
}

/// Its length is looked at before its characters, of which there may be a million.
#[test]
fn a_long_chat_text_is_refused_by_its_length_whatever_is_in_it() {
    for long in [" ".repeat(11), " ".repeat(1_000_000), "\u{1b}".repeat(11)] {
        let said = check_chat(&long, 10).expect_err("too long");
        assert!(said.contains("more than 10 characters"), "{said}");
    }
    assert_eq!(check_chat(&"\u{1f600}".repeat(10), 10), Ok(()));
    assert_eq!(
        check_chat(" ".repeat(10).as_str(), 10),
        Err("shows nothing".into())
    );
}

/// Browsers do not tell these properties, so that the client has them as ranges.
#[test]
fn the_joining_letters_of_the_table_are_unicodes() {
    let table = table();
    let told = [&table.joins_next, &table.joins_previous, &table.viramas];
    let is: [fn(char) -> bool; 3] = [
        joiner::joins_next,
        joiner::joins_previous,
        joiner::is_virama,
    ];
    let found = is.map(|is| {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for c in ('\0'..=char::MAX).filter(|c| is(*c)).map(u32::from) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == c => *last = c,
                _ => ranges.push((c, c)),
            }
        }
        ranges
    });
    assert_eq!(found.each_ref(), told);
}

#[test]
fn a_refusal_says_what_is_wrong() {
    for (given, said) in [
        ("", "shows nothing"),
        ("\u{200b}", "U+200B"),
        ("a\u{202e}b", "U+202E"),
        ("a\u{200d}b", "U+200D, which it may not have there"),
        ("\u{301}a", "U+0301 without a letter"),
    ] {
        let error = display_name(given).expect_err(given).to_string();
        assert!(error.contains(said), "{given:?}: {error}");
    }
    let error = room_name("a b").expect_err("a space").to_string();
    assert!(error.contains("U+0020"), "{error}");
}

#[test]
fn rooms_of_before_are_what_they_were() {
    for code in 0..0x80 {
        let c = char::from(code);
        let was = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name = format!("a{c}");
        assert_eq!(room_name(&name).ok(), was.then_some(name));
    }
    assert!(room_name(&"x".repeat(64)).is_ok() && room_name(&"x".repeat(65)).is_err());
    assert!(room_name("..").is_ok());
}

proptest! {
    #[test]
    fn a_name_taken_once_is_taken_again_as_it_is(text in "\\PC{0,40}|[\u{0}-\u{2ff}\u{200b}-\u{206f} \u{301}\u{5d0}👩🏽\u{200d}\u{fe0f}🏴\u{e0067}\u{e007f}]{0,12}") {
        for rule in [display_name, room_name] {
            if let Ok(name) = rule(&text) {
                prop_assert_eq!(rule(&name), Ok(name.clone()));
                prop_assert!((1..=CHARS).contains(&name.chars().count()));
                prop_assert!(!name.starts_with(' ') && !name.ends_with(' '));
            }
        }
    }

    /// Two texts are one room only if they are one text in all but its encoding.
    #[test]
    fn two_names_are_two_rooms(a in "[a-zA-Z\u{e0}-\u{ff}\u{301}\u{430}-\u{44f}-]{1,6}", b in "[a-zA-Z\u{e0}-\u{ff}\u{301}\u{430}-\u{44f}-]{1,6}") {
        if let (Ok(one), Ok(other)) = (room_name(&a), room_name(&b)) {
            let nfd = icu_normalizer::DecomposingNormalizerBorrowed::new_nfd();
            prop_assert_eq!(one == other, nfd.normalize(&a) == nfd.normalize(&b));
        }
    }
}
