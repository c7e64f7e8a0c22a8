//! Which layer a viewer is sent.
//!
//! A selector is given a target and sees every packet of every layer; it switches at the target's
//! next keyframe and keeps sending the old layer until then, so that no frame is ever torn.
//! Who sets the target, and why, is not its business.

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Send it.
    Forward,
    /// Send it; it is the first of another layer.
    Switch,
    /// Send it, but not yet: it is the first of another layer, whose frame would tear the one being
    /// sent.
    Hold,
    /// Do not.
    Drop,
}

/// The selector of one video subscription, or of one audio subscription with its single layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LayerSelector {
    target: Option<usize>,
    current: Option<usize>,
}

impl LayerSelector {
    /// The layer being sent.
    pub(crate) fn current(&self) -> Option<usize> {
        self.current
    }

    /// The layer to be sent.
    pub(crate) fn target(&self) -> Option<usize> {
        self.target
    }

    /// Points at another layer, or at none, which stops at once.
    pub(crate) fn set_target(&mut self, target: Option<usize>) {
        self.target = target;
        if target.is_none() {
            self.current = None;
        }
    }

    /// The layer a keyframe is needed of, if any.
    pub(crate) fn awaits_keyframe_of(&self) -> Option<usize> {
        self.target.filter(|_| self.current != self.target)
    }

    /// Decides on a packet. `switchable`: a decoder can begin at it. `torn`: the current layer is
    /// in the middle of a frame.
    pub(crate) fn select(&mut self, layer: usize, switchable: bool, torn: bool) -> Decision {
        if self.current == Some(layer) {
            return Decision::Forward;
        }
        if !self.is_target(layer) || !switchable {
            return Decision::Drop;
        }
        if self.current.is_some() && torn {
            return Decision::Hold;
        }
        self.current = Some(layer);
        Decision::Switch
    }

    fn is_target(&self, layer: usize) -> bool {
        self.target == Some(layer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn switches_at_the_targets_keyframe_and_sends_the_old_layer_until_then() {
        let mut selector = LayerSelector::default();
        assert_eq!(selector.select(0, true, false), Decision::Drop);
        selector.set_target(Some(0));
        assert_eq!(selector.select(0, false, false), Decision::Drop);
        assert_eq!(selector.awaits_keyframe_of(), Some(0));
        assert_eq!(selector.select(0, true, false), Decision::Switch);
        assert_eq!(selector.awaits_keyframe_of(), None);
        selector.set_target(Some(2));
        assert_eq!(selector.select(2, false, false), Decision::Drop);
        assert_eq!(selector.select(0, false, false), Decision::Forward);
        assert_eq!(selector.select(1, true, false), Decision::Drop);
        assert_eq!(selector.select(2, true, true), Decision::Hold);
        assert_eq!(selector.select(0, false, false), Decision::Forward);
        assert_eq!(selector.select(2, true, false), Decision::Switch);
        assert_eq!(selector.select(2, true, false), Decision::Forward);
        assert_eq!(selector.select(0, true, false), Decision::Drop);
        selector.set_target(None);
        assert_eq!(selector.select(2, false, false), Decision::Drop);
        assert_eq!(selector.current(), None);
    }

    proptest! {
        #[test]
        fn a_viewer_never_sees_a_layer_from_its_middle(
            steps in prop::collection::vec((0usize..3, any::<bool>(), any::<bool>(), prop::option::of(0usize..3)), 1..200),
        ) {
            let mut selector = LayerSelector::default();
            let mut shown = None;
            for (layer, keyframe, torn, target) in steps {
                if let Some(target) = target {
                    selector.set_target(Some(target));
                }
                match selector.select(layer, keyframe, torn) {
                    Decision::Switch => {
                        prop_assert!(keyframe);
                        prop_assert!(!torn || shown.is_none());
                        shown = Some(layer);
                    }
                    Decision::Forward => prop_assert_eq!(shown, Some(layer)),
                    Decision::Hold | Decision::Drop => {}
                }
            }
        }
    }
}
