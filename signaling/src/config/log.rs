//! The filter of log lines.

use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError};

/// The environment variable that programs with this logging library share. `log_filter` of the file gives way to it.
pub(super) const SHARED_VARIABLE: &str = EnvFilter::DEFAULT_ENV;

/// The filter of `RUST_LOG`, if there is one that can be read.
pub(super) fn shared_filter() -> Option<String> {
    let filter = std::env::var(SHARED_VARIABLE).ok();
    filter.filter(|filter| !filter.is_empty() && EnvFilter::try_new(filter).is_ok())
}

impl Config {
    pub(super) fn check_log(&self) -> Result<(), ConfigError> {
        let read = self.log_filter.as_ref().map(EnvFilter::try_new);
        match read.transpose() {
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::Value(format!(
                "log_filter: this is not like info,tertulia_signaling=debug: {error}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for (filter, is_good) in [
            ("info", true),
            ("info,dimpl=error,tertulia_sfu=debug", true),
            ("tertulia_sfu=loud", false),
            ("=", false),
        ] {
            let config = Config {
                log_filter: Some(filter.into()),
                ..Config::default()
            };
            let checked = config.check();
            assert_eq!(checked.is_ok(), is_good, "{filter}");
            let said = checked.err().map(|error| error.to_string());
            assert!(said.is_none_or(|said| said.starts_with("log_filter")));
        }
    }
}
