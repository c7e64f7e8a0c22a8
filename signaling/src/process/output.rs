//! Lines to whoever started the server. With `--log json` each line on either stream is JSON, in the
//! form of the log. A stream that is closed takes nothing, and nothing ends over that.

use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};
use tertulia_signaling::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Without `RUST_LOG`. rtc-dtls warns of every extension of DTLS 1.3 that a browser's ClientHello has.
const LOG_FILTER: &str = "info,rtc_dtls=error";

/// Logs go to stderr. `RUST_LOG` filters them, e.g. `tertulia_signaling=debug`.
pub(crate) fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // A terminal that is gone would make this a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => {
            lines.json().init();
            std::panic::set_hook(Box::new(|panic| {
                let backtrace = std::backtrace::Backtrace::capture();
                tracing::error!(%panic, %backtrace, "panicked");
            }));
        }
    }
}

/// Says on stdout that the server runs. `facts` are those of the sentence, for machines.
pub(crate) fn started(format: LogFormat, sentence: &str, facts: Map<String, Value>) {
    let line = match format {
        LogFormat::Text => sentence.to_owned(),
        LogFormat::Json => json_line("INFO", sentence, facts),
    };
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Says on stderr why the server does not run, or ended.
pub(crate) fn failed(format: LogFormat, sentence: &str) {
    let line = match format {
        LogFormat::Text => format!("tertulia: {sentence}"),
        LogFormat::Json => json_line("ERROR", sentence, Map::new()),
    };
    let _ = writeln!(io::stderr(), "{line}");
}

fn json_line(level: &str, sentence: &str, facts: Map<String, Value>) -> String {
    let mut timestamp = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let mut fields = Map::from_iter([("message".to_owned(), sentence.into())]);
    fields.extend(facts);
    json!({
        "timestamp": timestamp,
        "level": level,
        "fields": fields,
        "target": "tertulia",
    })
    .to_string()
}
