//! The outcome of a scenario: the JSON report, its summary for people, and the verdict.

pub use figures::Spread;
pub use html::page;
pub use model::{
    ChurnOutcome, Encoding, Event, Failure, Floor, Generator, JoinPhases, MissingTrack, Moment,
    Report, Server, Stage, ViolationSample, Window,
};
pub use percentiles::{FirstFrame, Percentiles};

pub mod compare;
pub(crate) mod figures;
pub(crate) mod html;
pub(crate) mod number;

mod collect;
mod model;
mod percentiles;
#[cfg(test)]
pub(crate) mod sample;
mod summary;

pub(crate) use summary::{circumstances, name};
