//! The measurements of bots of every kind, in one form.
//!
//! A [`bot`](crate::bot) and a wire bot see the same things; what they saw lands in
//! [`Observed`], one for each bot, and in the run's [`Measure`], which cuts time into seconds.
//!
//! # Forwarding delay
//!
//! A publisher writes the time at which a packet is handed to the kernel into the header extension
//! abs-capture-time (64-bit NTP time, which a relay passes on untouched), so that its own pacing
//! and queueing are not counted. A receiver on the same machine subtracts it from the time the
//! packet reached its socket. What remains is the relay and twice the loopback.
//!
//! Bots of the `webrtc` crate cannot come as near to the kernel: theirs write the time before the
//! crate seals the packet and wakes the task that sends it, and read it after the crate's task was
//! woken and has decrypted the packet. Some tenths of a millisecond are thus the bots' own.
//! Retransmitted packets do not count. `tests/delay.rs` holds both against a known delay.

mod clock;
mod histogram;
mod observed;
mod timeline;

pub use clock::{ntp, since_ntp};
pub use histogram::Histogram;
pub use observed::{EncodingSent, Observed, Phases, Sent, StreamOutcome};
pub use timeline::{Finished, Measure, Second, Span};
