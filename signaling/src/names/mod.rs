//! Names of people and rooms: the rules they follow, and the equality of two. `web/client/names.js` has the same rules,
//! and `signaling/golden/names.json` tests both.
//!
//! - A **display name** follows the Nickname profile of PRECIS (RFC 8266): any letters, marks, numbers, punctuation and
//!   symbols, with spaces of every kind made one. It shows something, and nothing in it is invisible or changes the
//!   direction of the text around it. It differs from the profile in two points. It is composed (NFC) and keeps its
//!   compatibility forms, as it is shown and never compared. Invisible characters stand where writing needs them: in
//!   emoji (UTS 51), in variants of Han and Mongolian letters, and as joiners by RFC 5892 appendix A.
//! - A **room name** consists of `A-Z a-z 0-9 . _ -` and, beyond ASCII, of the letters, marks and digits of
//!   UsernameCasePreserved (RFC 8265 section 3.4). It is composed (NFC), in the case it was written in, with the
//!   contextual rules of RFC 5892 appendix A and the direction rule of RFC 5893, by ranges instead of Bidi_Class, which
//!   browsers do not tell. Names that differ after NFC are two rooms.
//!
//! Lengths are in code points of the composed text. A page that shortens a name cuts between grapheme clusters (UAX
//! 29); the server refuses long names.

mod characters;
mod chat;
mod emoji;
mod joiner;
mod label;

use icu_normalizer::ComposingNormalizerBorrowed;

use characters::{is_mark, is_nonspacing, is_shown, is_space};

pub(crate) use chat::check_chat;
pub(crate) use label::RoomName;

/// Code points of a name: it fits under a tile, with room for scripts that need several for one sign, and makes an
/// address of at most 600 characters.
pub(crate) const CHARS: usize = 64;
/// Marks on one letter: so many one upon another, which would cover what stands around, and as many that take a
/// place beside it. No language needs more (UTS 39 section 5.4); Burmese has four beside and two upon one letter.
const MARKS: usize = 4;

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// The reason that a text is no name: a clause whose subject is the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("shows nothing")]
    Empty,
    #[error("has more than {CHARS} characters (Unicode code points)")]
    TooLong,
    #[error("has the character U+{:04X}, which it may not have{}", *.0 as u32, place(*.0))]
    Character(char),
    #[error("has the mark U+{:04X} without a letter before it", *.0 as u32)]
    Mark(char),
    #[error("has more than {MARKS} marks of a kind on one letter")]
    Marks,
    #[error(
        "mixes writing from right to left with letters or digits that run the other way, or does not begin and end \
         with its own"
    )]
    Direction,
}

/// The end of the sentence: " there" for a character that may stand elsewhere.
fn place(c: char) -> &'static str {
    match c {
        ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER | '\u{fe0e}' | '\u{fe0f}' => " there",
        _ => "",
    }
}

/// A person's name in the form shown.
///
/// # Errors
///
/// The reason that it is no name.
pub(crate) fn display_name(text: &str) -> Result<String, NameError> {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let words = composed.split(is_space).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join(" ");
    check_length(&name)?;
    let chars: Vec<char> = name.chars().collect();
    let mut marks = Marks::default();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let (before, rest) = chars.split_at(at);
        let taken = emoji::length(rest);
        if taken > 0 {
            marks = Marks::default();
            at += taken;
            continue;
        }
        marks.take(before.last(), c)?;
        let fits = c == ' '
            || is_shown(c)
            || emoji::is_variant(before.last(), c)
            || joiner::fits(before, c, &rest[1..]);
        if !fits {
            return Err(NameError::Character(c));
        }
        at += 1;
    }
    Ok(name)
}

/// A room's name in its one form.
///
/// # Errors
///
/// The reason that it is no name.
pub(crate) fn room_name(text: &str) -> Result<String, NameError> {
    let name = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    check_length(&name)?;
    let chars: Vec<char> = name.chars().collect();
    let mut marks = Marks::default();
    for (at, &c) in chars.iter().enumerate() {
        marks.take(chars[..at].last(), c)?;
        let fits =
            characters::is_of_room(&chars, at) || joiner::fits(&chars[..at], c, &chars[at + 1..]);
        if !fits {
            return Err(NameError::Character(c));
        }
    }
    characters::check_direction(&chars)?;
    Ok(name.into_owned())
}

fn check_length(name: &str) -> Result<(), NameError> {
    match name.chars().count() {
        0 => Err(NameError::Empty),
        1..=CHARS => Ok(()),
        _ => Err(NameError::TooLong),
    }
}

/// Counts marks that follow each other.
#[derive(Default)]
struct Marks {
    stacked: usize,
    beside: usize,
}

impl Marks {
    fn take(&mut self, before: Option<&char>, c: char) -> Result<(), NameError> {
        // A joiner is seen in the letters around it alone.
        if matches!(c, ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER) {
            return Ok(());
        }
        if !is_mark(c) {
            *self = Self::default();
            return Ok(());
        }
        if before.is_none_or(|before| *before == ' ') {
            return Err(NameError::Mark(c));
        }
        let count = if is_nonspacing(c) {
            &mut self.stacked
        } else {
            &mut self.beside
        };
        *count += 1;
        if *count > MARKS {
            return Err(NameError::Marks);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
