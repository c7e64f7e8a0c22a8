//! The order of encodings that a description suggests, used until packets tell the real one.
//!
//! `max-height` and similar restrictions (RFC 8851 section 5) are upper bounds, and RIDs are names without meaning (RFC
//! 8853 section 5.2). A hint is right often enough to begin with, and is replaced after the first keyframes.

use super::ladder::{Ranks, SPATIAL};

/// Names that clients give their encodings, the smallest first. All names together tell which list applies: `h` is the
/// middle of `q`, `h`, `f` and the top of `l`, `m`, `h`.
const NAMES: [[&[&str]; 3]; 4] = [
    [&["q", "quarter"], &["h", "half"], &["f", "full"]],
    [
        &["l", "lo", "low"],
        &["m", "mid", "med", "medium"],
        &["h", "hi", "high"],
    ],
    [&["s", "small"], &["m", "medium"], &["l", "large"]],
    [&["ld"], &["sd"], &["hd"]],
];

/// An encoding in a description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint<'a> {
    /// Its RID; empty without one.
    pub(super) name: &'a str,
    /// The upper bound of its picture; 0 is unknown. A higher bound suggests a larger picture.
    pub(super) bound: u32,
}

/// The order suggested, by places in the list; the list's own order without a hint.
pub(super) fn order(hints: &[Hint<'_>]) -> Ranks {
    let mut places: Vec<usize> = (0..hints.len().min(SPATIAL)).collect();
    let bounds = || hints.iter().map(|hint| hint.bound);
    let numbers = numbers(hints);
    if bounds().all(|bound| bound > 0) {
        places.sort_by_key(|place| hints[*place].bound);
    } else if let Some(ranks) = NAMES.iter().find_map(|names| ranks(names, hints)) {
        places.sort_by_key(|place| ranks[*place]);
    } else if let Some(numbers) = numbers {
        places.sort_by_key(|place| numbers[*place]);
    }
    Ranks::of(&places)
}

/// Each encoding's rank in a list of names; none if the list does not have all of them.
fn ranks(names: &[&[&str]], hints: &[Hint<'_>]) -> Option<Vec<usize>> {
    let named = |hint: &Hint<'_>| {
        let name = hint.name.to_ascii_lowercase();
        names.iter().position(|same| same.contains(&name.as_str()))
    };
    hints.iter().map(named).collect()
}

/// Numbers of names that differ in nothing else: `0`, `1`, `2`, or `r0`, `r1`, or `180p`, `360p`.
fn numbers(hints: &[Hint<'_>]) -> Option<Vec<u64>> {
    let mut form = None;
    let mut number = |hint: &Hint<'_>| {
        let start = hint.name.find(|c: char| c.is_ascii_digit())?;
        let (before, rest) = hint.name.split_at(start);
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = rest.split_at(end.unwrap_or(rest.len()));
        let this = (before.to_owned(), after.to_owned());
        (*form.get_or_insert_with(|| this.clone()) == this).then_some(())?;
        digits.parse().ok()
    };
    hints.iter().map(&mut number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bounds_are_hints_and_the_list_is_the_last() {
        for (names, expected) in [
            (&["q", "h", "f"][..], &["q", "h", "f"][..]),
            (&["f", "h", "q"], &["q", "h", "f"]),
            (&["hi", "mid", "lo"], &["lo", "mid", "hi"]),
            (&["High", "low"], &["low", "High"]),
            (&["h", "m", "l"], &["l", "m", "h"]),
            (&["h", "l"], &["l", "h"]),
            (&["h", "f"], &["h", "f"]),
            (&["l", "m", "s"], &["s", "m", "l"]),
            (&["2", "1", "0"], &["0", "1", "2"]),
            (&["r2", "r10", "r1"], &["r1", "r2", "r10"]),
            (&["720p", "180p", "360p"], &["180p", "360p", "720p"]),
            (&["a1", "b0"], &["a1", "b0"]),
            (&["f", "low"], &["f", "low"]),
            (&["zebra", "apple"], &["zebra", "apple"]),
            (
                &["99999999999999999999999", "1"],
                &["99999999999999999999999", "1"],
            ),
            (&["", ""], &["", ""]),
            (&["x"], &["x"]),
        ] {
            let hints: Vec<_> = names.iter().map(|name| Hint { name, bound: 0 }).collect();
            let order: Vec<_> = order(&hints).encodings().map(|at| names[at]).collect();
            assert_eq!(order, expected, "{names:?}");
        }
        for (bounds, expected) in [
            ([720, 180, 360], [1, 2, 0]),
            ([360, 180, 0], [0, 1, 2]), // Not of all: then the names.
        ] {
            let named = ["q", "h", "f"].into_iter().zip(bounds);
            let hints: Vec<_> = named.map(|(name, bound)| Hint { name, bound }).collect();
            let order: Vec<_> = order(&hints).encodings().collect();
            assert_eq!(order, expected, "{bounds:?}");
        }
    }
}
