//! A network that changes over time, written down.

use std::time::{Duration, Instant};

use toml::{Table, Value};

use super::model::PathModel;
use super::setting::{SettingError, duration};

/// Both directions of a client's path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Models {
    /// The path from the client.
    pub up: PathModel,
    /// The path to the client.
    pub down: PathModel,
}

impl Models {
    /// No impairment either way.
    pub const CLEAR: Self = Self {
        up: PathModel::CLEAR,
        down: PathModel::CLEAR,
    };
}

/// Timed changes of a path, with the seed of its random numbers. As text (TOML):
///
/// ```toml
/// seed = 7                 # if it is to say
/// [start]                  # before any change, if not as the caller has it
/// down = "rate=3M queue=300ms delay=30ms"
/// up = "delay=30ms"
/// [[change]]               # what is not named stays
/// at = "10s"
/// down = "rate=600k"
/// [[change]]
/// at = "25s"
/// down = "reset"           # as it started; `clear` is no impairment at all
/// ```
///
/// The words are those of [`PathModel::set`]; a direction may be a table of them instead.
#[derive(Clone, PartialEq, Debug)]
pub struct Script {
    /// Seed of its random numbers, if the text has one.
    pub seed: Option<u64>,
    /// The path at the beginning.
    pub start: Models,
    /// The changes, earliest first.
    pub changes: Vec<Change>,
}

/// One timed change of a script.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Since the beginning.
    pub at: Duration,
    /// The path from then on.
    pub models: Models,
    /// The change as written, to be shown: `down rate=600k`.
    pub text: String,
}

/// The fault of a script, and its place.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ScriptError {
    /// No TOML.
    #[error("{0}")]
    Toml(String),
    /// Something that no script has.
    #[error("{place}: there is no `{key}` here; there is {known}")]
    Unknown {
        /// The place in the text.
        place: String,
        /// The word found there.
        key: String,
        /// The words that may.
        known: &'static str,
    },
    /// A value is not of the expected kind.
    #[error("{place}: {wanted}")]
    Wrong {
        /// The place in the text.
        place: String,
        /// The expected kind of value.
        wanted: &'static str,
    },
    /// A change before the one above it.
    #[error("{place}: it is before the change above it")]
    Order {
        /// The place in the text.
        place: String,
    },
    /// A setting.
    #[error("{place}: {source}")]
    Setting {
        /// The place in the text.
        place: String,
        /// The fault there.
        source: SettingError,
    },
}

/// Changes of one script: a network worse than that is not being tested but replayed, and wants a
/// program.
const MAX_CHANGES: usize = 10_000;

impl Script {
    /// Reads a script; `start` gives the path where the text does not.
    ///
    /// # Errors
    ///
    /// [`ScriptError`].
    pub fn parse(text: &str, start: Models) -> Result<Self, ScriptError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ScriptError::Toml(error.to_string()))?;
        let mut script = Self {
            seed: None,
            start,
            changes: Vec::new(),
        };
        for (key, value) in &table {
            let place = || key.clone();
            match (key.as_str(), value) {
                ("seed", Value::Integer(seed)) if *seed >= 0 => script.seed = Some(*seed as u64),
                ("seed", _) => return Err(wrong(place(), "a number from 0 on")),
                ("start", Value::Table(table)) => {
                    (script.start, _) = directions(table, "start", start, start, &["up", "down"])?;
                }
                ("start", _) => return Err(wrong(place(), "a table: [start]")),
                ("change", Value::Array(_)) => {}
                ("change", _) => return Err(wrong(place(), "tables: [[change]]")),
                _ => {
                    return Err(ScriptError::Unknown {
                        place: "the script".into(),
                        key: key.clone(),
                        known: "seed, [start] and [[change]]",
                    });
                }
            }
        }
        let changes = table.get("change").and_then(Value::as_array);
        let mut models = script.start;
        for (index, change) in changes.into_iter().flatten().enumerate() {
            let place = format!("change {}", index + 1);
            let Value::Table(change) = change else {
                return Err(wrong(place, "a table: [[change]]"));
            };
            if index >= MAX_CHANGES {
                return Err(wrong(place, "fewer than 10,000 changes"));
            }
            let at = change.get("at").and_then(Value::as_str).and_then(duration);
            let at = at
                .ok_or_else(|| wrong(place.clone(), "at = a time such as \"10s\" or \"1500ms\""))?;
            if script.changes.last().is_some_and(|last| at < last.at) {
                return Err(ScriptError::Order { place });
            }
            let text;
            (models, text) =
                directions(change, &place, models, script.start, &["at", "up", "down"])?;
            script.changes.push(Change { at, models, text });
        }
        Ok(script)
    }

    /// Starts a playback at `now`.
    pub fn play(&self, now: Instant) -> Playback<'_> {
        Playback {
            script: self,
            began: now,
            next: 0,
        }
    }
}

/// A script under way.
#[derive(Clone, Debug)]
pub struct Playback<'a> {
    script: &'a Script,
    began: Instant,
    next: usize,
}

impl<'a> Playback<'a> {
    /// The time of the next change.
    pub fn next_at(&self) -> Option<Instant> {
        let change = self.script.changes.get(self.next)?;
        Some(self.began + change.at)
    }

    /// The next change, if it is due.
    pub fn poll(&mut self, now: Instant) -> Option<&'a Change> {
        if self.next_at()? > now {
            return None;
        }
        self.next += 1;
        self.script.changes.get(self.next - 1)
    }
}

/// The directions that a table names, and that in words.
fn directions(
    table: &Table,
    place: &str,
    before: Models,
    start: Models,
    known: &[&str],
) -> Result<(Models, String), ScriptError> {
    let mut models = before;
    let mut text = Vec::new();
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            return Err(ScriptError::Unknown {
                place: place.into(),
                key: key.clone(),
                known: match known.len() {
                    2 => "up and down",
                    _ => "at, up and down",
                },
            });
        }
        let (model, start) = match key.as_str() {
            "up" => (&mut models.up, &start.up),
            "down" => (&mut models.down, &start.down),
            _ => continue,
        };
        let place = format!("{place}: {key}");
        let words = words(value).ok_or_else(|| {
            wrong(
                place.clone(),
                "words such as \"rate=500k loss=5%\", or a table of them",
            )
        })?;
        let changed = model.change(&words, start);
        changed.map_err(|source| ScriptError::Setting { place, source })?;
        text.push(format!("{key} {words}"));
    }
    Ok((models, text.join(", ")))
}

fn words(value: &Value) -> Option<String> {
    let table = match value {
        Value::String(words) => return Some(words.clone()),
        Value::Table(table) => table,
        _ => return None,
    };
    let words = table.iter().map(|(name, value)| {
        Some(match value {
            Value::String(value) => format!("{name}={value}"),
            Value::Integer(value) => format!("{name}={value}"),
            Value::Float(value) => format!("{name}={value}"),
            Value::Boolean(value) => format!("{name}={value}"),
            _ => return None,
        })
    });
    Some(words.collect::<Option<Vec<_>>>()?.join(" "))
}

fn wrong(place: String, wanted: &'static str) -> ScriptError {
    ScriptError::Wrong { place, wanted }
}
