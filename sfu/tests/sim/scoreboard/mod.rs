//! Figures of viewers on scripted networks: for the relay, and for `str0m`'s own estimator as the
//! reference.

mod cases;
mod figures;
mod ours;
mod reference;
mod table;

use tertulia_sfu::testing::network::{Models, Script};

pub(crate) use cases::{CASES, Case, Kind};
pub(crate) use figures::{Figures, median};
pub(crate) use table::page;

/// The sender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sender {
    Ours,
    Reference,
}

impl Case {
    pub(crate) fn script(&self) -> Script {
        Script::parse(self.text, Models::CLEAR).expect("scripts are right")
    }

    /// Runs it once. `None` if there is nothing to compare with.
    pub(crate) fn run(&self, sender: Sender, seed: u64) -> Option<Figures> {
        match sender {
            Sender::Ours => Some(ours::run(self, seed)),
            Sender::Reference if self.kind == Kind::PublisherUplink => None,
            Sender::Reference => Some(reference::run(self, seed)),
        }
    }
}
