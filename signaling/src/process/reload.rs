//! SIGHUP: settings, keys and certificate are read again, and those that may change take effect.

use std::convert::Infallible;
use std::time::Duration;

use tertulia_signaling::access::Keys;
use tertulia_signaling::config::{ConfigError, Flags};
use tertulia_signaling::tls::Certificate;
use tertulia_signaling::{Config, Node};
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::output::Filter;

/// The sources of the settings, and those that are in use.
pub(crate) struct Reload {
    pub(crate) flags: Flags,
    /// The settings of the start, as they were asked for.
    pub(crate) started: Config,
    pub(crate) filter: Filter,
}

/// The time for the files, beyond which the log says that they are waited for. A disk that is well takes milliseconds.
const SLOW: Duration = Duration::from_secs(5);

impl Reload {
    /// Reloads each time that `wanted` tells, one reload after the other: those that are wanted meanwhile become one. A file
    /// may never be read to its end, so that other things are to be awaited beside this.
    pub(crate) async fn attend(&self, wanted: &Notify, node: &Node) -> Infallible {
        loop {
            wanted.notified().await;
            self.run(node).await;
        }
    }

    /// Reloads. If anything cannot be used, nothing changes, and the log says why.
    async fn run(&self, node: &Node) {
        match self.take(node).await {
            Ok((keys, fixed)) => {
                let revoked = keys.as_ref().map(Keys::revoked_count);
                let keys = keys.as_ref().map(Keys::key_count);
                let certificate = node.certificate();
                let fingerprint = certificate.as_ref().map(Certificate::fingerprint);
                info!(fingerprint, keys, revoked, "settings reloaded");
                if let Some(certificate) = certificate {
                    let of_name = certificate.name_warning(&self.started.allowed_hosts);
                    for warning in certificate.warning().into_iter().chain(of_name) {
                        warn!("{warning}");
                    }
                }
                if !fixed.is_empty() {
                    warn!(
                        "these settings take effect at the next start: {}",
                        fixed.join(", ")
                    );
                }
            }
            Err(wrong) => error!("settings not reloaded, those from before stay: {wrong}"),
        }
    }

    /// The keys, and the settings that take effect at the next start only.
    async fn take(&self, node: &Node) -> Result<(Option<Keys>, Vec<&'static str>), String> {
        let flags = self.flags.clone();
        let node = node.clone();
        let read = apart(move || {
            let config = Config::load(flags)?;
            config.check_listen()?;
            node.reload(&config)?;
            Ok::<_, ConfigError>(config)
        });
        let read = read.await.map_err(|error| error.to_string())?;
        let config = read.map_err(|error| error.to_string())?;
        self.filter.set(config.log_filter.as_deref())?;
        let fixed = self.started.fixed_changes(&config);
        Ok((config.keys, fixed))
    }
}

/// Reads files on a thread of its own, for they may be on a disk that hangs. The log says so when it takes long.
async fn apart<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let mut reading = spawn_blocking(read);
    if let Ok(read) = timeout(SLOW, &mut reading).await {
        return read;
    }
    warn!(
        seconds = SLOW.as_secs(),
        "settings are not read yet: a file of settings, keys or certificate may be on a disk that hangs; everything else goes on"
    );
    reading.await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use tokio::task::yield_now;
    use tokio::time::advance;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Tee(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Tee {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_tells_of_files_that_take_long_and_they_are_waited_for() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || Tee(writer.clone()));
        let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
        let said = || String::from_utf8(log.lock().expect("not poisoned").clone()).expect("text");

        assert_eq!(apart(|| 1).await.ok(), Some(1));
        assert_eq!(said(), "", "a disk that is well");
        let (answer, disk) = mpsc::channel();
        let hang = async {
            advance(SLOW).await;
            // The timer's turn comes within a few of these.
            for _ in 0..1_000 {
                yield_now().await;
            }
            assert_eq!(said().matches("hangs").count(), 1, "{}", said());
            answer.send(2).expect("it is waited for");
        };
        let (read, ()) = tokio::join!(apart(move || disk.recv()), hang);
        assert_eq!(read.expect("no panic"), Ok(2));
    }
}
