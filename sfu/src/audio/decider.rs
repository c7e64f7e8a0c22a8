//! The worker that decides who speaks in a room with parts on several workers.

/// The worker that decides for the part at `here`: the lowest-numbered worker with a part. None if that is `here`
/// itself. All parts come to the same result without asking each other.
pub(crate) fn decider<W: Ord + Copy>(here: W, others: &[W]) -> Option<W> {
    others.iter().copied().min().filter(|least| *least < here)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_number_decides() {
        for (here, others, expected) in [
            (0, &[][..], None),
            (7, &[], None),
            (0, &[1, 2], None),
            (1, &[2, 0], Some(0)),
            (2, &[3, 1], Some(1)),
        ] {
            assert_eq!(decider(here, others), expected, "{here} beside {others:?}");
        }
    }

    proptest! {
        #[test]
        fn all_parts_agree_on_one(parts in prop::collection::btree_set(0u16..20, 1..6)) {
            let deciders = parts.iter().map(|here| {
                let others: Vec<u16> = parts.iter().copied().filter(|other| other != here).collect();
                decider(*here, &others).unwrap_or(*here)
            });
            let first = parts.first().copied();
            prop_assert!(deciders.map(Some).all(|found| found == first));
        }
    }
}
