//! Signals. SIGTERM of a supervisor, SIGINT and SIGQUIT of a keyboard, and the SIGHUP of a terminal that closed end the
//! server, with a goodbye to everybody. Any other SIGHUP reloads.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::info;

pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    /// Whether a terminal that closes ends the server: it has one, and neither `nohup` nor a supervisor had SIGHUP
    /// ignored, so that the server would outlive it.
    of_terminal: bool,
    reloads: Arc<Notify>,
}

impl StopSignals {
    /// `reloads` is told of each SIGHUP that is not of a terminal.
    pub(crate) fn listen(reloads: Arc<Notify>) -> io::Result<Self> {
        let hangup = SignalKind::hangup();
        let ignored = is_ignored(hangup.as_raw_value());
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(hangup)?,
            of_terminal: !ignored && has_terminal(),
            reloads,
        })
    }

    pub(crate) async fn wait(&mut self) {
        let signal = loop {
            tokio::select! {
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.quit.recv() => break "SIGQUIT",
                _ = self.hangup.recv() => {}
            }
            // The kernel takes the terminal away before it tells so.
            if self.of_terminal && !has_terminal() {
                break "SIGHUP";
            }
            self.reloads.notify_one();
        };
        info!(signal, "told to stop");
    }
}

/// Whether the process has a controlling terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
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
