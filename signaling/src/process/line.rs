//! Events as log lines. Strangers supply much of their contents. So fields are cut to a readable length, no character
//! moves the cursor or begins a line, and sources of too many lines are left out.

use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tertulia_signaling::config::LogFormat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::rates::Rates;

/// A name has at most 64 characters, an error a sentence or two.
const FIELD_CHARS: usize = 1_000;
/// Ours, not a stranger's.
const BACKTRACE_CHARS: usize = 32_000;
/// The fields that say whose doing an event is.
const PEERS: [&str; 5] = ["room", "participant", "peer", "address", "worker"];

pub(crate) struct Lines {
    pub(crate) format: LogFormat,
    pub(crate) ansi: bool,
    pub(crate) rates: Arc<Rates>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    /// An error means that there is no line.
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::new(self.format);
        event.record(&mut said);
        let level = *event.metadata().level();
        // Events of the crate `log` have one call site, and name their origin in a field.
        let target = said.target.take();
        let target = target.as_deref().unwrap_or(event.metadata().target());
        // A filter in RUST_LOG for more than this means all of it.
        if level <= Level::INFO {
            let mut cause = DefaultHasher::new();
            (event.metadata().callsite(), target).hash(&mut cause);
            let admitted = self.rates.admit(cause.finish(), said.peer.finish());
            let left_out = admitted.ok_or(fmt::Error)?;
            if left_out > 0 {
                said.add("left_out", left_out.to_string(), left_out.into());
            }
        }
        match self.format {
            LogFormat::Text => self.text(writer, level, target, &said),
            LogFormat::Json => json(writer, level, target, said),
        }
    }
}

impl Lines {
    fn text(&self, mut writer: Writer<'_>, level: Level, target: &str, said: &Said) -> fmt::Result {
        let (dim, colour, plain) = match self.ansi {
            true => ("\x1b[2m", colour(level), "\x1b[0m"),
            false => ("", "", ""),
        };
        writer.write_str(dim)?;
        SystemTime.format_time(&mut writer)?;
        let level = level.as_str();
        write!(
            writer,
            "{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} "
        )?;
        writeln!(writer, "{}", said.text.trim_start())
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        _ => "\x1b[35m",
    }
}

fn json(mut writer: Writer<'_>, level: Level, target: &str, said: Said) -> fmt::Result {
    let mut timestamp = String::new();
    SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
    let line = json!({
        "timestamp": timestamp,
        "level": level.as_str(),
        "fields": said.fields,
        "target": target,
    });
    writeln!(writer, "{line}")
}

/// The fields of an event, in the form asked for.
struct Said {
    format: LogFormat,
    /// The message, and ` name=value` of each field.
    text: String,
    fields: Map<String, Value>,
    peer: DefaultHasher,
    target: Option<String>,
}

impl Said {
    fn new(format: LogFormat) -> Self {
        Self {
            format,
            text: String::new(),
            fields: Map::new(),
            peer: DefaultHasher::new(),
            target: None,
        }
    }

    fn add(&mut self, name: &str, text: String, value: Value) {
        if PEERS.contains(&name) {
            text.hash(&mut self.peer);
        }
        match (self.format, name) {
            // These hold the source's file and line.
            (_, name) if name.starts_with("log.") => {}
            (LogFormat::Json, name) => {
                self.fields.insert(name.to_owned(), value);
            }
            (LogFormat::Text, "message") => self.text.insert_str(0, &text),
            (LogFormat::Text, name) => {
                let _ = write!(self.text, " {name}={text}");
            }
        }
    }

    fn shown(&self, name: &str, value: &dyn Debug) -> String {
        let most = match name {
            "backtrace" => BACKTRACE_CHARS,
            _ => FIELD_CHARS,
        };
        let mut shown = Shown {
            text: String::new(),
            left: most,
            lines: self.format == LogFormat::Json,
        };
        if write!(shown, "{value:?}").is_err() {
            shown.text.push_str("...");
        }
        shown.text
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = self.shown(field.name(), value);
        self.add(field.name(), text.clone(), text.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(self.shown(field.name(), &format_args!("{value}")));
            return;
        }
        let bare = self.shown(field.name(), &format_args!("{value}"));
        let text = match field.name() {
            "message" => bare.clone(),
            name => self.shown(name, &value),
        };
        self.add(field.name(), text, bare.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.to_string(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.to_string(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), format!("{value:?}"), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.to_string(), value.into());
    }
}

/// Text for a line. Ends in an error where it is too long.
struct Shown {
    text: String,
    left: usize,
    /// JSON escapes what would end a line.
    lines: bool,
}

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            let by_json = self.lines && character < ' ';
            if (character.is_control() && !by_json) || turns(character) {
                self.text.extend(character.escape_default());
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

/// Whether a character ends a line, or changes the direction of the following text.
fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shown = tracing_subscriber::fmt::layer()
            .event_format(Lines {
                format,
                ansi: false,
                rates: Arc::default(),
            })
            .log_internal_errors(false)
            .with_writer({
                let lines = lines.clone();
                move || Tee(lines.clone())
            });
        let subscriber = tracing_subscriber::registry().with(shown);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    struct Tee(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Tee {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .expect("not poisoned")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const NASTY: &str = "a\nINFO forged\r\x1b[2J\u{9b}\u{202e}";

    fn event() {
        let room = tracing::field::display(NASTY);
        tracing::info!(room, code = "x", count = 3, live = true, quoted = ?NASTY, "it {}", "happens");
    }

    #[test]
    fn a_line_of_text_is_one_line_whatever_is_in_it() {
        let line = logged(LogFormat::Text, event);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        let (_, line) = line.split_once("INFO").expect("a level");
        let nasty = r"a\nINFO forged\r\u{1b}[2J\u{9b}\u{202e}";
        let expected = format!(
            " tertulia::process::line::tests: it happens room={nasty} code=\"x\" count=3 live=true quoted=\"{nasty}\"\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_of_json_keeps_types_and_names() {
        let line = logged(LogFormat::Json, event);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.contains('\u{9b}') && !line.contains('\u{202e}'));
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let fields = json!({
            "message": "it happens", "code": "x", "count": 3, "live": true,
            "room": "a\nINFO forged\r\u{1b}[2J\\u{9b}\\u{202e}",
            "quoted": r#""a\nINFO forged\r\u{1b}[2J\u{9b}\u{202e}""#,
        });
        assert_eq!(line["fields"], fields);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "tertulia::process::line::tests");
    }

    #[test]
    fn fields_are_cut() {
        let long = "\u{1b}".repeat(6_000);
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = logged(format, || {
                tracing::warn!(%long, debug = ?long, text = long.as_str(), "{long}");
            });
            assert!(line.len() < 4 * 8 * FIELD_CHARS, "{}", line.len());
            assert!(line.contains("..."), "{line}");
        }
    }

    #[test]
    fn who_makes_many_lines_is_left_out_and_the_others_are_not() {
        let lines = logged(LogFormat::Text, || {
            let log = |participant: &str| tracing::info!(participant, "track muted");
            (0..1_000).for_each(|_| log("Mallory"));
            log("Ada");
        });
        let of = |name: &str| lines.lines().filter(|line| line.contains(name)).count();
        assert!((10..50).contains(&of("Mallory")), "{lines}");
        let last = lines.lines().last().expect("a line");
        let left_out = 1_000 - of("Mallory");
        assert!(
            last.ends_with(&format!("participant=\"Ada\" left_out={left_out}")),
            "{last}"
        );
        let lines = logged(LogFormat::Text, || {
            (0..1_000).for_each(|_| tracing::error!("no peer"));
        });
        assert!(lines.lines().count() < 50);
    }
}
