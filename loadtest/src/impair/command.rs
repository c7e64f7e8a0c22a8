//! The commands of a running proxy: one line each.

use std::str::FromStr;

use tertulia_sfu::testing::network::{Models, PathModel, SettingError};

/// A change asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Settings of a direction or of both, such as `down rate=500k loss=5%`.
    Change {
        /// The direction from clients.
        up: bool,
        /// The direction to clients.
        down: bool,
        /// Settings, `clear` or `reset`.
        words: String,
    },
    /// Begins the script, or begins it again.
    Start,
}

/// The reason that a command cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("`{0}` is none of: up|down|both SETTINGS, clear, reset, start, stats")]
    Unknown(String),
    /// A direction, and nothing else.
    #[error("`{0}` wants settings, such as rate=500k loss=5%")]
    Empty(String),
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// There is no script to start.
    #[error("there is no script: give one with --script")]
    NoScript,
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, CommandError> {
        let line = line.trim();
        let (first, words) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (up, down) = match first {
            "up" => (true, false),
            "down" => (false, true),
            "both" => (true, true),
            "clear" | "reset" if words.is_empty() => {
                let words = first.to_owned();
                return Ok(Self::Change {
                    up: true,
                    down: true,
                    words,
                });
            }
            "start" if words.is_empty() => return Ok(Self::Start),
            _ => return Err(CommandError::Unknown(line.into())),
        };
        if words.trim().is_empty() {
            return Err(CommandError::Empty(first.into()));
        }
        // Found out here rather than when it is done.
        let mut tried = PathModel::CLEAR;
        tried.change(words, &PathModel::CLEAR)?;
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self::Change { up, down, words })
    }
}

impl Command {
    /// Changes `models`; `reset` goes back to `start`. Returns the change in words.
    pub(super) fn apply(
        &self,
        models: &mut Models,
        start: &Models,
    ) -> Result<String, SettingError> {
        let Self::Change { up, down, words } = self else {
            return Ok("start".into());
        };
        if *up {
            models.up.change(words, &start.up)?;
        }
        if *down {
            models.down.change(words, &start.down)?;
        }
        let direction = match (up, down) {
            (true, true) => "both",
            (true, false) => "up",
            _ => "down",
        };
        Ok(format!("{direction} {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_change_their_direction() {
        let start = Models {
            down: PathModel::LAN,
            ..Models::CLEAR
        };
        let mut models = start;
        let mut run = |line: &str| {
            let command: Command = line.parse().unwrap();
            let text = command.apply(&mut models, &start).unwrap();
            (text, models)
        };
        let (text, models) = run("down  rate=500k   loss=5%");
        assert_eq!(text, "down rate=500k loss=5%");
        assert_eq!((models.down.rate, models.down.loss), (Some(500_000), 0.05));
        assert_eq!((models.down.delay, models.up), (start.down.delay, start.up));
        let (_, models) = run("both delay=20ms");
        assert_eq!(models.up.delay, models.down.delay);
        assert_eq!(run("reset").1, start);
        assert_eq!(run("clear").1, Models::CLEAR);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (line, expected) in [
            ("", "none of: up|down|both"),
            ("left rate=1M", "`left rate=1M` is none of"),
            ("reset now", "none of"),
            ("down", "`down` wants settings"),
            ("down rate", "`rate` is not like"),
            ("down rate=x", "is not a rate"),
            ("down speed=1", "no setting `speed`"),
        ] {
            let error = line.parse::<Command>().unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
