//! Lines for the operator. With `--log json` each line on either stream is JSON, in the form of the log. A closed
//! stream takes no lines, and nothing ends because of that.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tertulia_signaling::config::LogFormat;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::line::Lines;
use super::log::Log;
use super::rates::Rates;

/// The filter without `RUST_LOG`. dimpl warns of each client that floods its handshake: strangers could fill the log.
const LOG_FILTER: &str = "info,dimpl=error";

/// The filter of a log that runs.
pub(crate) struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Sets another filter; none is the usual one.
    ///
    /// # Errors
    ///
    /// A sentence: the filter cannot be read.
    pub(crate) fn set(&self, filter: Option<&str>) -> Result<(), String> {
        let filter = EnvFilter::try_new(filter.unwrap_or(LOG_FILTER));
        let filter = filter.map_err(|error| format!("log_filter: {error}"))?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

/// Logs go to stderr, through a queue. `filter` says which, e.g. `tertulia_signaling=debug`.
///
/// # Errors
///
/// No thread could be started.
pub(crate) fn log(
    format: LogFormat,
    filter: Option<&str>,
) -> io::Result<(Log, Arc<Rates>, Filter)> {
    let log = Log::to(io::stderr(), move |lost| missing(format, lost))?;
    let rates = Arc::<Rates>::default();
    // A filter of the settings has been checked.
    let (filter, handle) = reload::Layer::new(EnvFilter::new(filter.unwrap_or(LOG_FILTER)));
    let shared = std::env::var_os(EnvFilter::DEFAULT_ENV).filter(|value| !value.is_empty());
    let refused = shared.and_then(|_| EnvFilter::try_from_default_env().err());
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines {
            format,
            ansi: io::stderr().is_terminal(),
            rates: rates.clone(),
        })
        // Internal errors would go to stderr directly, where the logging thread would wait.
        .log_internal_errors(false)
        .with_writer(log.clone());
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(|event| {
            may_be_told(event.target(), event.level())
        }))
        .with(lines)
        .init();
    if let Some(error) = refused {
        tracing::warn!(%error, "RUST_LOG cannot be read, so the log is as without it");
    }
    // The hook that Rust brings writes to stderr itself.
    let queue = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::capture();
        match format {
            LogFormat::Json => tracing::error!(%panic, %backtrace, "panicked"),
            LogFormat::Text if backtrace.status() == BacktraceStatus::Captured => {
                queue.line(format!("{panic}\n{backtrace}\n").as_bytes());
            }
            LogFormat::Text => queue.line(format!("{panic}\n").as_bytes()),
        }
    }));
    Ok((log, rates, Filter(handle)))
}

/// Whether an event may be logged. Below `info`, the crates that carry the server's messages log their contents:
/// passwords of ICE and TURN, and chat.
fn may_be_told(target: &str, level: &Level) -> bool {
    *level <= Level::INFO || target.starts_with("tertulia")
}

fn missing(format: LogFormat, lost: u64) -> String {
    let sentence =
        "log lines are missing here: they came faster than they were read, or could not be written";
    let facts = Map::from_iter([("lost".to_owned(), lost.into())]);
    line(format, "WARN", &format!("{lost} {sentence}"), facts)
}

/// Prints the result of a command on stdout.
pub(crate) fn printed(line: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints a report on stdout. A command whose report nobody can read has failed.
pub(crate) fn reported(text: &str, status: u8) -> ExitCode {
    match printed(text) == ExitCode::SUCCESS {
        true => ExitCode::from(status),
        false => ExitCode::FAILURE,
    }
}

/// Says on stdout that the settings can be used.
pub(crate) fn checked(format: LogFormat) -> ExitCode {
    let sentence = "configuration is good";
    match format {
        LogFormat::Text => printed(sentence),
        LogFormat::Json => printed(json_line("INFO", sentence, Map::new()).trim_end()),
    }
}

/// Says on stdout that the server runs. `facts` are the contents of the sentence, for machines.
pub(crate) fn started(format: LogFormat, sentence: &str, facts: Map<String, Value>) {
    let line = match format {
        LogFormat::Text => format!("{sentence}\n"),
        LogFormat::Json => json_line("INFO", sentence, facts),
    };
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(line.as_bytes());
    let _ = written.and_then(|()| stdout.flush());
}

/// Says on stderr what may be wrong, before there is a log.
pub(crate) fn warned(format: LogFormat, sentence: &str) {
    let line = line(format, "WARN", sentence, Map::new());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Says on stderr why the server does not run, or ended: after the lines in the log, if there is one yet.
pub(crate) fn failed(format: LogFormat, log: Option<&Log>, sentence: &str) {
    let line = line(format, "ERROR", sentence, Map::new());
    match log {
        Some(log) => log.line(line.as_bytes()),
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

fn line(format: LogFormat, level: &str, sentence: &str, facts: Map<String, Value>) -> String {
    match format {
        LogFormat::Text => format!("tertulia: {sentence}\n"),
        LogFormat::Json => json_line(level, sentence, facts),
    }
}

fn json_line(level: &str, sentence: &str, facts: Map<String, Value>) -> String {
    let mut timestamp = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let mut fields = Map::from_iter([("message".to_owned(), sentence.into())]);
    fields.extend(facts);
    let line = json!({
        "timestamp": timestamp,
        "level": level,
        "fields": fields,
        "target": "tertulia",
    });
    format!("{line}\n")
}
