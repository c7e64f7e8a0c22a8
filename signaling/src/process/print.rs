//! The commands that print something and end.

use tertulia_signaling::Config;
use tertulia_signaling::access::{Keys, new_key_set, new_token_id};
use tertulia_signaling::config::{Command, Flags, NewKey, NewToken};

/// The line that a command prints, or a sentence about its failure.
pub(crate) fn line(command: Command, flags: Flags) -> Result<String, String> {
    match command {
        Command::Token(new) => token(&new, flags),
        Command::Key(NewKey { id }) => key(&id),
        Command::Check(_) => Err("a check prints a report".to_owned()),
    }
}

fn key(id: &str) -> Result<String, String> {
    let set = new_key_set(id);
    // An id of the wrong length.
    let read = Keys::from_json(&set).map_err(|error| error.to_string());
    read.map(|_| set)
}

fn token(new: &NewToken, flags: Flags) -> Result<String, String> {
    let mut claims = new.claims()?;
    let id = claims.id.get_or_insert_with(new_token_id).clone();
    let config = Config::load(flags).map_err(|error| error.to_string())?;
    let keys = config.keys.ok_or(
        "there are no keys to sign with: give --keys FILE or TERTULIA_KEYS; `tertulia key` prints new ones",
    )?;
    let token = keys.issue(&claims, new.valid, new.key.as_deref());
    let token = token.map_err(|error| error.to_string())?;
    Ok(match new.show_id {
        true => format!("{id} {}", token.as_str()),
        false => token.as_str().to_owned(),
    })
}
