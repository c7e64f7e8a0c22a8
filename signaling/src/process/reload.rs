//! SIGHUP: settings, keys and certificate are read again, and those that may change take effect.

use tertulia_signaling::access::Keys;
use tertulia_signaling::config::{ConfigError, Flags};
use tertulia_signaling::tls::Certificate;
use tertulia_signaling::{Config, Node};
use tracing::{error, info, warn};

use super::output::Filter;

/// The sources of the settings, and those that are in use.
pub(crate) struct Reload {
    pub(crate) flags: Flags,
    /// The settings of the start, as they were asked for.
    pub(crate) started: Config,
    pub(crate) filter: Filter,
}

impl Reload {
    /// Reloads. If anything cannot be used, nothing changes, and the log says why.
    pub(crate) async fn run(&self, node: &Node) {
        match self.take(node).await {
            Ok((keys, fixed)) => {
                let revoked = keys.as_ref().map(Keys::revoked_count);
                let keys = keys.as_ref().map(Keys::key_count);
                let certificate = node.certificate();
                let fingerprint = certificate.as_ref().map(Certificate::fingerprint);
                info!(fingerprint, keys, revoked, "settings reloaded");
                if let Some(warning) = certificate.and_then(|it| it.warning()) {
                    warn!("{warning}");
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
        // Files may be on a disk that hangs.
        let read = tokio::task::spawn_blocking(move || {
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
