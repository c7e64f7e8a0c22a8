//! Calls on a simulated network: the real worker, `str0m` clients, virtual time, seeds.
#![allow(
    clippy::disallowed_methods,
    reason = "a run starts at some instant; virtual time goes on from there"
)]

mod bad_input;
mod calls;
mod data;
mod harness;
mod impaired;
mod mobility;
mod random;
mod renegotiation;
mod storms;
