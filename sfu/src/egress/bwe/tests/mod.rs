//! The estimator in a closed loop, and under hostile feedback.

mod flow;
mod harness;
mod paths;
mod properties;
mod scripts;
