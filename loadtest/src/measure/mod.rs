//! The measurements of bots of every kind, in one form.
//!
//! A [`bot`](crate::bot) and a wire bot observe the same things. Their observations go into
//! [`Observed`], one for each bot, and into the run's [`Measure`], which cuts time into seconds.
//!
//! # Forwarding delay
//!
//! A publisher writes the time at which a packet is given to the kernel into the header extension
//! abs-capture-time (64-bit NTP time, which a relay passes on untouched). So its own pacing and
//! queueing do not count. A receiver on the same machine subtracts that from the time at which the
//! packet reached its socket. The rest is the relay and twice the loopback.
//!
//! Bots of the `webrtc` crate cannot come as near to the kernel. They write the time before the
//! crate seals the packet and wakes the task that sends it, and read it after the crate's task was
//! woken and has decrypted the packet. So some tenths of a millisecond are the bots' own.
//! Retransmitted packets do not count. `tests/delay.rs` compares both with a known delay.

mod clock;
mod histogram;
mod observed;
mod timeline;

pub use clock::{ntp, since_ntp, wall_time};
pub use histogram::Histogram;
pub use observed::{EncodingSent, Observed, Phases, Sent, StreamOutcome, Totals};
pub use timeline::{Measure, Second, Span};
