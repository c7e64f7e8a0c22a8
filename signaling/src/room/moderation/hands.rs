//! Raised hands, in the order of raising.

use crate::room::ParticipantId;

/// The participants with a raised hand. Bounded by the participants of the room.
#[derive(Default)]
pub(in crate::room) struct Hands(Vec<ParticipantId>);

impl Hands {
    /// Raises a hand, behind all others. False if it is raised already: it keeps its place.
    pub(in crate::room) fn raise(&mut self, id: &ParticipantId) -> bool {
        if self.0.contains(id) {
            return false;
        }
        self.0.push(id.clone());
        true
    }

    /// Lowers a hand. False if it is not raised.
    pub(in crate::room) fn lower(&mut self, id: &ParticipantId) -> bool {
        let before = self.0.len();
        self.0.retain(|other| other != id);
        self.0.len() < before
    }

    pub(in crate::room) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::room) fn is_raised(&self, id: &ParticipantId) -> bool {
        self.0.contains(id)
    }

    /// The first who raised a hand comes first.
    pub(in crate::room) fn in_order(&self) -> Vec<ParticipantId> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A plain list of (number, raised) tells the same as the hands do.
        #[test]
        fn hands_stand_in_the_order_of_raising(steps in prop::collection::vec((0..5_usize, any::<bool>()), 0..40)) {
            let people: Vec<_> = (0..5).map(|_| ParticipantId::random()).collect();
            let mut hands = Hands::default();
            let mut since = [None; 5];
            for (time, (who, raise)) in steps.into_iter().enumerate() {
                let id = &people[who];
                let changed = if raise { hands.raise(id) } else { hands.lower(id) };
                prop_assert_eq!(changed, since[who].is_some() != raise);
                since[who] = raise.then(|| since[who].unwrap_or(time));
            }
            let mut raised: Vec<_> = (0..5).filter(|who| since[*who].is_some()).collect();
            raised.sort_by_key(|who| since[*who]);
            let expected: Vec<_> = raised.into_iter().map(|who| people[who].clone()).collect();
            prop_assert_eq!(hands.in_order(), expected);
        }
    }
}
