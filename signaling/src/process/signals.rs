//! Signals that end the server, each with a goodbye to everybody: SIGTERM of a supervisor, SIGINT and
//! SIGQUIT of a keyboard, SIGHUP of a terminal that closed. There is nothing to reload by SIGHUP.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    /// SIGHUP; none if `nohup` or a supervisor has it ignored, so that the server outlives its terminal.
    hangup: Option<Signal>,
}

impl StopSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        let hangup = SignalKind::hangup();
        let ignored = is_ignored(hangup.as_raw_value());
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: (!ignored).then(|| signal(hangup)).transpose()?,
        })
    }

    pub(crate) async fn wait(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let signal = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
            _ = hangup => "SIGHUP",
        };
        info!(signal, "told to stop");
    }
}

/// Whether the process was started with a signal ignored. Where there is no `/proc` it was not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status, signal)
}

/// `status` has a line `SigIgn:` with a bit for each signal, the lowest for signal 1.
fn ignored_in(status: &str, signal: i32) -> bool {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_bits_of_a_mask() {
        let status =
            "Name:\ttertulia\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0";
        assert!(ignored_in(status, 1) && ignored_in(status, 13));
        assert!(!ignored_in(status, 2) && !ignored_in(status, 15));
        assert!(!ignored_in("", 1) && !ignored_in("SigIgn:\tx", 1));
    }
}
