//! The character classes that names are checked by.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory as Gc, Script};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::NameError;

fn category(c: char) -> Gc {
    CodePointMapData::<Gc>::new().get(c)
}

pub(super) fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

/// Whether a character is invisible, or visible only by its effect on others.
pub(super) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Whether a character is a space of any width, U+2800 included, which is a cell of Braille without dots.
pub(super) fn is_space(c: char) -> bool {
    c == '\u{2800}' || category(c) == Gc::SpaceSeparator
}

pub(super) fn is_mark(c: char) -> bool {
    is_nonspacing(c) || category(c) == Gc::SpacingMark
}

pub(super) fn is_nonspacing(c: char) -> bool {
    matches!(category(c), Gc::NonspacingMark | Gc::EnclosingMark)
}

/// Characters that may stand anywhere in a display name: visible letters, marks, numbers, punctuation and symbols.
pub(super) fn is_shown(c: char) -> bool {
    let seen = !matches!(
        category(c),
        Gc::Control
            | Gc::Format
            | Gc::Surrogate
            | Gc::PrivateUse
            | Gc::Unassigned
            | Gc::SpaceSeparator
            | Gc::LineSeparator
            | Gc::ParagraphSeparator
    );
    seen && !is_ignorable(c) && !is_old_jamo(c) && !is_blank(c)
}

/// Letters and symbols by category that show nothing: a place for an object, a musical null, blanks of Egyptian and
/// Khitan.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{fffc}' | '\u{1d159}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}'
    )
}

/// Parts of syllables that NFC has not put together (RFC 8264 section 9.9): they show as they like.
fn is_old_jamo(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}')
}

/// Whether the character at a place of a room's name may be there.
pub(super) fn is_of_room(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    }
    let before = at.checked_sub(1).map(|before| chars[before]);
    let after = chars.get(at + 1).copied();
    let any = |of: &dyn Fn(char) -> bool| chars.iter().any(|c| of(*c));
    match c {
        // RFC 5892 section 2.6: valid though their properties say otherwise, and the reverse.
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => true,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => {
            false
        }
        // RFC 5892 appendix A.3 to A.9: punctuation within words of one script, and one kind of digits.
        '\u{b7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => after.is_some_and(|after| script(after) == Script::Greek),
        '\u{5f3}' | '\u{5f4}' => before.is_some_and(|before| script(before) == Script::Hebrew),
        '\u{30fb}' => {
            any(&|c| matches!(script(c), Script::Hiragana | Script::Katakana | Script::Han))
        }
        '\u{660}'..='\u{669}' => !any(&|c| matches!(c, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !any(&|c| matches!(c, '\u{660}'..='\u{669}')),
        c => is_letter_or_digit(c) && !is_ignorable(c) && !is_old_jamo(c) && !has_compatible(c),
    }
}

fn is_letter_or_digit(c: char) -> bool {
    is_letter(c)
        || matches!(
            category(c),
            Gc::DecimalNumber | Gc::NonspacingMark | Gc::SpacingMark
        )
}

fn is_letter(c: char) -> bool {
    matches!(
        category(c),
        Gc::UppercaseLetter | Gc::LowercaseLetter | Gc::OtherLetter | Gc::ModifierLetter
    )
}

/// Whether another character is equivalent (RFC 8264 section 9.17), so that two names would look alike.
fn has_compatible(c: char) -> bool {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    !nfkc.is_normalized(c.encode_utf8(&mut [0; 4]))
}

/// Letters in these ranges run from right to left, and so will those to come (Unicode's DerivedBidiClass).
fn is_right_to_left(c: char) -> bool {
    let range = matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    range && is_letter(c)
}

/// RFC 5893 section 2: a name from right to left begins and ends as such, and nothing in it runs the other way, or
/// it would be read in two ways.
pub(super) fn check_direction(chars: &[char]) -> Result<(), NameError> {
    if !chars.iter().any(|c| is_right_to_left(*c)) {
        return Ok(());
    }
    let is_digit = |c: char| category(c) == Gc::DecimalNumber;
    let arabic = chars.iter().any(|c| matches!(c, '\u{660}'..='\u{669}'));
    let european = chars
        .iter()
        .any(|c| c.is_ascii_digit() || matches!(c, '\u{6f0}'..='\u{6f9}'));
    let first = chars.first().is_some_and(|c| is_right_to_left(*c));
    let last = chars.iter().rev().find(|c| !is_mark(**c));
    let last = last.is_some_and(|c| is_right_to_left(*c) || is_digit(*c));
    let other = chars.iter().any(|c| is_letter(*c) && !is_right_to_left(*c));
    if first && last && !other && !(arabic && european) {
        Ok(())
    } else {
        Err(NameError::Direction)
    }
}
