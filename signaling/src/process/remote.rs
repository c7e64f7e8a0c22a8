//! `tertulia check URL`.

use std::path::Path;
use std::time::Duration;

use tertulia_signaling::access::{Claims, Keys, Token, new_token_id};
use tertulia_signaling::check::{self, Options};
use tertulia_signaling::config::{CHECK_TOKEN_VARIABLE, CheckUrl};
use tertulia_signaling::hooks::Permissions;

/// Validity of a token for one check, with some difference between two clocks.
const VALID: Duration = Duration::from_secs(120);

/// The text that is printed, and the exit status.
///
/// # Errors
///
/// A sentence: a file cannot be used.
pub(crate) async fn report(wanted: &CheckUrl, keys: Option<&Path>) -> Result<(String, u8), String> {
    let mut options = Options::default();
    options.insecure = wanted.insecure;
    let variable = std::env::var_os(CHECK_TOKEN_VARIABLE);
    let given = wanted.access_token(variable.as_deref())?;
    options.token = match (given, keys) {
        (Some(token), _) => Some(token),
        (None, Some(keys)) => Some(own_token(keys)?),
        (None, None) => None,
    };
    let in_file = |path: &Path, error: &str| format!("--ca {}: {error}", path.display());
    if let Some(path) = &wanted.ca {
        let read = std::fs::read(path).map_err(|error| in_file(path, &error.to_string()))?;
        options.authorities = Some(read);
    }
    let report = check::run(&wanted.url, &options).await;
    let report = report.map_err(|error| match &wanted.ca {
        Some(path) => in_file(path, &error),
        None => error,
    })?;
    let text = match wanted.json {
        true => report.to_json(),
        false => report.to_string(),
    };
    Ok((text, report.outcome.status()))
}

/// A token for a room that nobody else is in, and for nothing else.
fn own_token(keys: &Path) -> Result<Token, String> {
    let keys = Keys::from_file(keys).map_err(|error| error.to_string())?;
    let room = format!("tertulia-check-{}", new_token_id());
    let claims = Claims::join(&room, Permissions::listener()).invited(true);
    let token = keys.issue(&claims, VALID, None);
    token.map_err(|error| error.to_string())
}
