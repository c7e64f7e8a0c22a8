//! The path in use, among those that a client checks.
//!
//! The first path is used until the client nominates one. Then nominations decide or, when the selected path is silent,
//! any path that is still checked. But a proven path stays selected until another is proven: what a client nominates
//! may be another's address.

use super::Path;

/// The path in use, and the one that takes its place as soon as it is proven.
#[derive(Debug, Default)]
pub(in crate::transport) struct Selection {
    selected: Option<Path>,
    nominee: Option<Path>,
}

/// A check of the client, and the state of the paths concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport) struct CheckFacts {
    /// It nominates its path (USE-CANDIDATE, RFC 8445 section 7.1.2).
    pub(in crate::transport) nominates: bool,
    /// Its path is proven.
    pub(in crate::transport) is_proven: bool,
    /// The selected path is proven.
    pub(in crate::transport) selected_is_proven: bool,
    /// The selected path is not checked any more.
    pub(in crate::transport) selected_is_silent: bool,
}

/// The selected path before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::transport) struct Moved {
    pub(in crate::transport) from: Path,
    pub(in crate::transport) to: Path,
}

impl Selection {
    /// The path in use.
    pub(in crate::transport) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Records that the client is not at the selected path any more: the next that it checks is selected.
    pub(in crate::transport) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets a path that is not the selected one.
    pub(in crate::transport) fn forget(&mut self, path: Path) {
        self.nominee = self.nominee.filter(|nominee| *nominee != path);
    }

    /// Follows a check of the client.
    pub(in crate::transport) fn checked(&mut self, at: Path, check: CheckFacts) -> Option<Moved> {
        let Some(selected) = self.selected else {
            self.selected = Some(at);
            return None;
        };
        if selected == at {
            if check.nominates {
                self.nominee = None;
            }
        } else if check.nominates || check.selected_is_silent {
            if check.is_proven || !check.selected_is_proven {
                return self.move_to(at);
            }
            self.nominee = Some(at);
        }
        None
    }

    /// Follows a proof that the client is at a path.
    pub(in crate::transport) fn proven(
        &mut self,
        at: Path,
        selected_was_proven: bool,
    ) -> Option<Moved> {
        if self.selected != Some(at) && (!selected_was_proven || self.nominee == Some(at)) {
            return self.move_to(at);
        }
        None
    }

    fn move_to(&mut self, to: Path) -> Option<Moved> {
        self.nominee = None;
        let from = self.selected.replace(to)?;
        Some(Moved { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(last: u8) -> Path {
        Path::from(([10, 0, 0, last], 5_000))
    }

    #[test]
    fn checks_and_proofs_decide() {
        // A path is selected and another is checked: nominated, proven, selected one proven, selected one silent; then
        // the other is proven. The path selected after each.
        for (nominates, is_proven, selected_is_proven, selected_is_silent, checked, proven) in [
            (false, false, true, false, 1, 1),
            (false, true, true, false, 1, 1),
            (true, false, true, false, 1, 2),
            (true, true, true, false, 2, 2),
            (true, false, false, false, 2, 2),
            (false, false, false, false, 1, 2),
            (false, false, true, true, 1, 2),
            (false, true, true, true, 2, 2),
            (false, false, false, true, 2, 2),
        ] {
            let facts = CheckFacts {
                nominates,
                is_proven,
                selected_is_proven,
                selected_is_silent,
            };
            let mut selection = Selection::default();
            assert_eq!(selection.checked(path(1), facts), None);
            let moved = selection.checked(path(2), facts);
            let expected = (checked == 2).then(|| Moved {
                from: path(1),
                to: path(2),
            });
            assert_eq!(moved, expected, "{facts:?}");
            assert_eq!(selection.selected(), Some(path(checked)), "{facts:?}");
            selection.proven(path(2), selected_is_proven);
            assert_eq!(selection.selected(), Some(path(proven)), "{facts:?}");
        }
    }

    #[test]
    fn a_nomination_is_taken_back_and_forgotten() {
        let nominating = CheckFacts {
            nominates: true,
            is_proven: false,
            selected_is_proven: true,
            selected_is_silent: false,
        };
        for forgotten in [false, true] {
            let mut selection = Selection::default();
            selection.checked(path(1), nominating);
            selection.checked(path(2), nominating);
            match forgotten {
                true => selection.forget(path(2)),
                false => assert_eq!(selection.checked(path(1), nominating), None),
            }
            assert_eq!(selection.proven(path(2), true), None);
            assert_eq!(selection.selected(), Some(path(1)));
        }
    }
}
