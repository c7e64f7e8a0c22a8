//! Sequences in which invisible characters make one picture of several (UTS 51), and variants of letters.

use icu_properties::CodePointSetData;
use icu_properties::props::{EmojiModifier, ExtendedPictographic, Script};

use super::ZERO_WIDTH_JOINER;
use super::characters::script;

const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';
const KEYCAP: char = '\u{20e3}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';

/// The number of characters of a text's beginning that are one emoji; 0: none. Pictographs that are not assigned
/// yet count as well: phones are newer than servers.
pub(super) fn length(chars: &[char]) -> usize {
    match flag(chars).or_else(|| keycap(chars)) {
        Some(length) => length,
        None => joined(chars),
    }
}

/// Flags made of a black one and a region in tags: England, Scotland and Wales, the only ones that Unicode recommends
/// (RGI, UTS 51) and systems draw. Other tags would be invisible text.
const REGIONS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];

fn flag(chars: &[char]) -> Option<usize> {
    let tags = chars.strip_prefix(&[BLACK_FLAG])?;
    let region = REGIONS.iter().find(|region| {
        let told = region.chars().map(tag).chain([CANCEL_TAG]);
        told.eq(tags.iter().copied().take(region.len() + 1))
    })?;
    Some(region.len() + 2)
}

/// The tag that stands for an ASCII character.
fn tag(c: char) -> char {
    char::from_u32(0xe0000 + u32::from(c)).unwrap_or(c)
}

fn keycap(chars: &[char]) -> Option<usize> {
    match chars {
        ['0'..='9' | '#' | '*', EMOJI_STYLE, KEYCAP, ..] => Some(3),
        ['0'..='9' | '#' | '*', KEYCAP, ..] => Some(2),
        _ => None,
    }
}

/// Pictographs with joiners between them.
fn joined(chars: &[char]) -> usize {
    let mut length = pictograph(chars);
    while length > 0 && chars.get(length) == Some(&ZERO_WIDTH_JOINER) {
        match pictograph(&chars[length + 1..]) {
            0 => break,
            next => length += 1 + next,
        }
    }
    length
}

/// The length of one pictograph with its skin colour or its style.
fn pictograph(chars: &[char]) -> usize {
    let is_pictograph = CodePointSetData::new::<ExtendedPictographic>();
    let is_modifier = CodePointSetData::new::<EmojiModifier>();
    match chars {
        [first, ..] if !is_pictograph.contains(*first) => 0,
        [] => 0,
        [_, EMOJI_STYLE, KEYCAP, ..] => 3,
        [_, EMOJI_STYLE | TEXT_STYLE, ..] => 2,
        [_, second, ..] if is_modifier.contains(*second) => 2,
        [_, ..] => 1,
    }
}

/// Whether a variation selector chooses a form of the letter before it: of a Han character as names in Japan have
/// them, or of a Mongolian letter.
pub(super) fn is_variant(before: Option<&char>, c: char) -> bool {
    let of = before.map(|before| script(*before));
    match c {
        '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => of == Some(Script::Han),
        // Selectors belong to that script themselves, and one is enough.
        '\u{180b}'..='\u{180d}' | '\u{180f}' => {
            let is_selector = |c: &char| matches!(c, '\u{180b}'..='\u{180f}');
            of == Some(Script::Mongolian) && !before.is_some_and(is_selector)
        }
        _ => false,
    }
}
