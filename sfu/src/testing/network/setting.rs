//! A path's model in words: `rate=500k queue=200ms loss=5%`.

use std::time::Duration;

use super::model::{Burst, Noise, PathModel, Reorder, Rival};

/// A setting that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// No such setting.
    #[error("there is no setting `{0}`; there are {names}", names = PathModel::SETTINGS.join(", "))]
    Unknown(String),
    /// The word is not of the form `NAME=VALUE`.
    #[error("`{0}` is not like rate=500k, `clear` or `reset`")]
    Form(String),
    /// The value does not suit the setting.
    #[error("{name}: `{value}` is not {wanted}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The form that it should have.
        wanted: &'static str,
    },
}

const TIME: &str = "a time such as 30ms, 1.5s or 0";
const SHARE: &str = "a share such as 5% or 0.05, below 100%";
const RATE: &str = "a rate such as 500k, 3M or none (bits a second)";
const BYTES: &str = "a size such as 64000 or none (bytes)";
const BURST: &str = "a share and a mean length such as 5%/8, or none";
const REORDER: &str = "a share and a time such as 2%/20ms, or none";
const NOISE: &str = "a share and a period such as 20%/500ms, or none";
const RIVAL: &str = "a round trip such as 60ms, or none";
const FLAG: &str = "yes or no";

impl PathModel {
    /// The names that [`set`](Self::set) knows.
    pub const SETTINGS: [&str; 12] = [
        "delay",
        "jitter",
        "overtake",
        "turns",
        "loss",
        "burst",
        "reorder",
        "rate",
        "noise",
        "queue",
        "queue-bytes",
        "rival",
    ];

    /// Changes one setting: `delay`, `jitter`, `turns`, `queue` are times (`30ms`, `1.5s`), `loss` a share
    /// (`5%`), `rate` bits a second (`500k`, `none`), `queue-bytes` a number or `none`, `overtake`
    /// `yes` or `no`; `burst` is share/mean length (`5%/8`), `reorder` share/time (`2%/20ms`),
    /// `noise` share/period (`20%/500ms`), `rival` its round trip (`60ms`), and these four `none`.
    ///
    /// # Errors
    ///
    /// [`SettingError`]; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let known = Self::SETTINGS.iter().find(|known| **known == name);
        let name = *known.ok_or_else(|| SettingError::Unknown(name.into()))?;
        let value = value.trim();
        let (wanted, done) = match name {
            "delay" => (TIME, put(&mut self.delay, duration(value))),
            "jitter" => (TIME, put(&mut self.jitter, duration(value))),
            "turns" => (TIME, put(&mut self.turns, duration(value))),
            "queue" => (TIME, put(&mut self.queue, duration(value))),
            "overtake" => (FLAG, put(&mut self.overtake, flag(value))),
            "loss" => (SHARE, put(&mut self.loss, share(value))),
            "rate" => (RATE, put(&mut self.rate, or_none(value, rate))),
            "queue-bytes" => {
                let bytes = or_none(value, |value| value.parse().ok());
                (BYTES, put(&mut self.queue_bytes, bytes))
            }
            "burst" => (BURST, put(&mut self.burst, or_none(value, burst))),
            "reorder" => (REORDER, put(&mut self.reorder, or_none(value, reorder))),
            "noise" => (NOISE, put(&mut self.noise, or_none(value, noise))),
            _ => {
                let rival = or_none(value, |value| {
                    Some(Rival {
                        rtt: duration(value)?,
                    })
                });
                (RIVAL, put(&mut self.rival, rival))
            }
        };
        let value = || value.to_owned();
        done.ok_or_else(|| SettingError::Value {
            name,
            value: value(),
            wanted,
        })
    }

    /// Applies some words, such as `rate=500k loss=5%`. `clear` removes all impairment, `reset` goes back to `start`.
    ///
    /// # Errors
    ///
    /// [`SettingError`]; nothing has changed then.
    pub fn change(&mut self, words: &str, start: &Self) -> Result<(), SettingError> {
        let mut model = *self;
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => model.set(name, value)?,
                None if word == "clear" => model = Self::CLEAR,
                None if word == "reset" => model = *start,
                None => return Err(SettingError::Form(word.into())),
            }
        }
        *self = model;
        Ok(())
    }
}

/// A time: a number with `us`, `ms`, `s` or `m`, or 0; at most an hour.
pub fn duration(text: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let (number, scale) = units
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .or_else(|| (text == "0").then_some((text, 1.0)))?;
    let seconds = number.trim().parse::<f64>().ok()? * scale;
    (0.0..=3_600.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

/// A share from 0 to below 1: `5%` or `0.05`.
pub fn share(text: &str) -> Option<f64> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 0.01),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().ok()? * scale;
    (0.0..1.0).contains(&share).then_some(share)
}

/// Bits a second: a number, with `k`, `M` or `G` and, if one likes, `bit`.
fn rate(text: &str) -> Option<u64> {
    let text = text
        .strip_suffix("bit/s")
        .or(text.strip_suffix("bit"))
        .unwrap_or(text);
    let units = [("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9)];
    let (number, scale) = units
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .unwrap_or((text, 1.0));
    let rate = number.trim().parse::<f64>().ok()? * scale;
    // Slower than a packet each second is an outage, which is loss.
    (10_000.0..=1e12).contains(&rate).then_some(rate as u64)
}

fn burst(text: &str) -> Option<Burst> {
    let (loss, length) = text.split_once('/')?;
    let (loss, length) = (share(loss)?, length.parse::<f64>().ok()?);
    (1.0..=1e6)
        .contains(&length)
        .then_some(Burst { loss, length })
}

fn reorder(text: &str) -> Option<Reorder> {
    let (part, delay) = text.split_once('/')?;
    Some(Reorder {
        share: share(part)?,
        delay: duration(delay)?,
    })
}

fn noise(text: &str) -> Option<Noise> {
    let (part, period) = text.split_once('/')?;
    Some(Noise {
        share: share(part)?,
        period: duration(period)?,
    })
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn or_none<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        "none" => Some(None),
        _ => read(text).map(Some),
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}
