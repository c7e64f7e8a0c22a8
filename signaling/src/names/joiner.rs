//! The zero-width joiners of Persian, and of scripts of India (RFC 5892 appendix A.1 and A.2).

use icu_properties::CodePointMapData;
use icu_properties::props::{CanonicalCombiningClass, JoiningType};

use super::characters::is_mark;
use super::{ZERO_WIDTH_JOINER, ZERO_WIDTH_NON_JOINER};

/// Whether a joiner does something where it stands. After a virama it chooses how letters are put together; the
/// non-joiner also parts letters that would join.
pub(super) fn fits(before: &[char], c: char, after: &[char]) -> bool {
    match c {
        ZERO_WIDTH_JOINER => follows_virama(before),
        ZERO_WIDTH_NON_JOINER => {
            let before_marks = before.iter().rev().find(|c| !is_mark(**c));
            let after_marks = after.iter().find(|c| !is_mark(**c));
            follows_virama(before)
                || before_marks.is_some_and(|c| joins_next(*c))
                    && after_marks.is_some_and(|c| joins_previous(*c))
        }
        _ => false,
    }
}

fn follows_virama(before: &[char]) -> bool {
    before.last().is_some_and(|c| is_virama(*c))
}

pub(super) fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn joining(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

pub(super) fn joins_next(c: char) -> bool {
    matches!(
        joining(c),
        JoiningType::DualJoining | JoiningType::LeftJoining
    )
}

pub(super) fn joins_previous(c: char) -> bool {
    matches!(
        joining(c),
        JoiningType::DualJoining | JoiningType::RightJoining
    )
}
