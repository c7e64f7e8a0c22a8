//! The end of the process, on a thread of its own: the process ends in time even if the runtime or the log hangs.

use std::future::pending;
use std::io;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tertulia_signaling::config::LogFormat;
use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::log::Log;
use super::output;
use super::signals::StopSignals;

/// Time after which the process ends in any case: more than [`Node::shutdown`](tertulia_signaling::Node::shutdown)
/// takes, and usually less than a supervisor's patience.
const HARD_STOP: Duration = Duration::from_secs(4);
/// Time for lines that wait in the log, at the end. With all of the shutdown's time it is within the hard stop.
pub(crate) const LAST_LINES: Duration = Duration::from_millis(400);
/// The status of any other failure.
const UNFINISHED: i32 = 1;

/// The server's side of the thread.
pub(crate) struct Stop {
    told: oneshot::Receiver<()>,
    begins: Option<oneshot::Sender<()>>,
    reloads: Arc<Notify>,
}

impl Stop {
    /// # Errors
    ///
    /// No thread, or no signals.
    pub(crate) fn listen(format: LogFormat, log: Log) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let reloads = Arc::<Notify>::default();
        let signals = {
            let _inside = runtime.enter();
            StopSignals::listen(reloads.clone())?
        };
        let (tell, told) = oneshot::channel();
        let (begins, begun) = oneshot::channel();
        let watch = watch(signals, tell, begun, format, log);
        thread::Builder::new()
            .name("stop".into())
            .spawn(move || runtime.block_on(watch))?;
        Ok(Self {
            told,
            begins: Some(begins),
            reloads,
        })
    }

    /// Told each time that the settings are to be read again.
    pub(crate) fn reloads(&self) -> Arc<Notify> {
        self.reloads.clone()
    }

    /// Returns when the process is told to stop.
    pub(crate) async fn wait(&mut self) {
        if (&mut self.told).await.is_err() {
            pending().await
        }
    }

    /// The server stops by itself: from now on it has as much time as after a signal.
    pub(crate) fn begin(&mut self) {
        self.begins.take();
    }
}

async fn watch(
    mut signals: StopSignals,
    tell: oneshot::Sender<()>,
    begun: oneshot::Receiver<()>,
    format: LogFormat,
    log: Log,
) {
    tokio::select! {
        () = signals.wait() => {}
        _ = begun => {}
    }
    let _ = tell.send(());
    let (sentence, status) = tokio::select! {
        () = signals.wait() => ("stopped at once", 0),
        () = sleep(HARD_STOP) => ("stopped without finishing", UNFINISHED),
    };
    output::failed(format, Some(&log), sentence);
    log.flush(LAST_LINES);
    end(status)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whatever destructors would do hangs, or was asked not to be waited for"
)]
fn end(status: i32) -> ! {
    exit(status)
}
