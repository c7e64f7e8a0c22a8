//! What a scenario showed: the JSON report, its summary for people, and the verdict.

pub use model::{
    ChurnOutcome, Event, Failure, Floor, Generator, JoinPhases, MissingTrack, Moment, Report,
    Server, Stage, ViolationSample, Window,
};
pub use percentiles::{FirstFrame, Percentiles};

mod collect;
mod model;
mod percentiles;
mod summary;
