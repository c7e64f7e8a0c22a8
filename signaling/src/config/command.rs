//! Commands of the binary besides serving: new access tokens and keys, and the check of a server.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::access::{Claims, ROOM_ANY, TOKEN_ID_BYTES, Token};
use crate::check::Target;
use crate::hooks::Permissions;
use crate::{files, names};

/// Longest validity: longer than any key should be used.
const LONGEST_DAYS: u64 = 3_660;

/// Something else to do than to serve.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print an access token, signed with a key of --keys or TERTULIA_KEYS
    Token(NewToken),
    /// Print a JSON Web Key Set with one fresh secret, for --keys
    Key(NewKey),
    /// Check from this machine how people get into a server, and say what to mend
    ///
    /// Exit status: 0 all is well, 1 nobody gets in, 3 some ways in fail or could not be tried.
    Check(CheckUrl),
}

/// A token to print.
#[derive(Clone, Debug, Args)]
pub struct NewToken {
    /// Room that it is for, `*` for every room
    #[arg(long, value_name = "NAME")]
    pub room: String,
    /// Your own key of the user, at most 256 bytes [default: none]
    #[arg(long, value_name = "ID")]
    pub identity: Option<String>,
    /// Name in the room [default: the one that the client asks for]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Sources that may be published [default: microphone,camera,screen]
    #[arg(long, value_name = "SOURCE", value_enum, value_delimiter = ',')]
    pub publish: Vec<Source>,
    /// May receive no track of others
    #[arg(long)]
    pub no_subscribe: bool,
    /// May not write in the chat
    #[arg(long)]
    pub no_chat: bool,
    /// May not send data channel messages
    #[arg(long)]
    pub no_data: bool,
    /// May not change its name and metadata
    #[arg(long)]
    pub no_update: bool,
    /// May moderate: mute and remove others, lock the room, admit who waits, end the call
    #[arg(long)]
    pub moderate: bool,
    /// Passes the waiting room
    #[arg(long)]
    pub invited: bool,
    /// The token's own id (`jti`), at most 64 bytes, by which it can be revoked [default: a random one]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Print the token's id before it, and a space
    #[arg(long)]
    pub show_id: bool,
    /// Time for which it lets in, such as 90s, 15m, 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    pub valid: Duration,
    /// Id (`kid`) of the key that signs [default: the first that can]
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
}

/// A key to print.
#[derive(Clone, Debug, Args)]
pub struct NewKey {
    /// Id (`kid`) of the key
    #[arg(long, value_name = "ID", default_value = "1")]
    pub id: String,
}

/// A server to check.
#[derive(Clone, Debug, Args)]
pub struct CheckUrl {
    /// Address of its page, such as https://host or http://host:8080
    #[arg(value_name = "URL")]
    pub url: Target,
    /// Access token for the join, which others see among the arguments of the process; a file or TERTULIA_CHECK_TOKEN
    /// hides it [default: one by --keys, if that is given]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<Token>,
    /// File with the access token for the join
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// File with certificates (PEM) of authorities to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Take any certificate: the access token goes to whoever answers
    #[arg(long)]
    pub insecure: bool,
}

/// A source that may be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Source {
    /// Sound
    Microphone,
    /// A camera
    Camera,
    /// A screen and its sound
    Screen,
    /// Nothing
    None,
}

/// The environment variable with the access token of a check, in place of [`CheckUrl::token`].
pub const CHECK_TOKEN_VARIABLE: &str = "TERTULIA_CHECK_TOKEN";
/// Bytes of a file with a token. The server reads no longer one, and a line may end it.
const TOKEN_FILE_BYTES: usize = 8_192;

impl CheckUrl {
    /// The access token: of the flag, its file, or the value of [`CHECK_TOKEN_VARIABLE`].
    ///
    /// # Errors
    ///
    /// A sentence: the file cannot be read, or has no token.
    pub fn access_token(&self, variable: Option<&OsStr>) -> Result<Option<Token>, String> {
        let (from, text) = match (&self.token, &self.token_file, variable) {
            (Some(token), _, _) => return Ok(Some(token.clone())),
            (None, Some(path), _) => {
                let from = format!("--token-file {}", path.display());
                let read = files::read_text(path, TOKEN_FILE_BYTES);
                let text = read.map_err(|error| format!("{from}: {error}"))?;
                (from, text)
            }
            (None, None, Some(text)) => {
                let text = text.to_string_lossy().into_owned();
                (CHECK_TOKEN_VARIABLE.to_owned(), text)
            }
            (None, None, None) => return Ok(None),
        };
        match text.trim() {
            "" => Err(format!("{from}: there is no token in it")),
            token => Ok(Some(Token::from(token))),
        }
    }
}

impl NewToken {
    /// The claims of the token. They have the id that was asked for, if any was.
    ///
    /// # Errors
    ///
    /// A sentence: a name that no room or nobody can have, an identity or an id that is too long, or sources that
    /// contradict.
    pub fn claims(&self) -> Result<Claims, String> {
        if self.room != ROOM_ANY {
            names::room_name(&self.room).map_err(|error| format!("--room {error}"))?;
        }
        let name = self.name.as_deref().map(names::display_name).transpose();
        let name = name.map_err(|error| format!("--name {error}"))?;
        let most = crate::room::IDENTITY_BYTES;
        if self.identity.as_ref().is_some_and(|it| it.len() > most) {
            return Err(format!("--identity must have at most {most} bytes"));
        }
        let is_long = |id: &String| !(1..=TOKEN_ID_BYTES).contains(&id.len());
        if self.id.as_ref().is_some_and(is_long) {
            return Err(format!("--id must have 1 to {TOKEN_ID_BYTES} bytes"));
        }
        if self.publish.contains(&Source::None) && self.publish.len() > 1 {
            return Err("--publish none contradicts the other sources".to_owned());
        }
        let may = |source| self.publish.is_empty() || self.publish.contains(&source);
        let permissions = Permissions::all()
            .microphone(may(Source::Microphone))
            .camera(may(Source::Camera))
            .screen(may(Source::Screen))
            .subscribe(!self.no_subscribe)
            .chat(!self.no_chat)
            .data(!self.no_data)
            .update(!self.no_update)
            .moderate(self.moderate);
        let mut claims = Claims::join(&self.room, permissions).invited(self.invited);
        claims.id.clone_from(&self.id);
        claims.identity.clone_from(&self.identity);
        claims.name = name;
        Ok(claims)
    }
}

/// Parses a time like `90s`, `15m`, `1h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time such as 90s, 15m, 1h or 7d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    let total = count.checked_mul(seconds).filter(|total| *total > 0);
    let most = LONGEST_DAYS * 86_400;
    let total = total.filter(|total| *total <= most);
    total
        .map(Duration::from_secs)
        .ok_or_else(|| format!("not between 1s and {LONGEST_DAYS}d"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Flags;

    fn parsed(arguments: &str) -> Result<NewToken, String> {
        let arguments = ["tertulia", "token"]
            .into_iter()
            .chain(arguments.split(' '));
        match Flags::try_parse_from(arguments).map(|flags| flags.command) {
            Ok(Some(Command::Token(token))) => Ok(token),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_are_claims() {
        let all = Permissions::all();
        for (arguments, permissions) in [
            ("--room a", all),
            (
                "--room a --publish camera",
                all.microphone(false).screen(false),
            ),
            ("--room a --publish camera,microphone", all.screen(false)),
            (
                "--room a --publish camera --publish screen",
                all.microphone(false),
            ),
            (
                "--room a --publish none --no-chat --no-data --no-update",
                Permissions::listener(),
            ),
            ("--room a --no-subscribe", all.subscribe(false)),
            ("--room a --moderate", all.moderate(true)),
        ] {
            let claims = parsed(arguments).expect(arguments).claims();
            assert_eq!(claims, Ok(Claims::join("a", permissions)), "{arguments}");
        }
        let invited = parsed("--room a --invited --id staff").expect("a token");
        let mut expected = Claims::join("a", all).invited(true);
        expected.id = Some("staff".into());
        assert_eq!(invited.claims(), Ok(expected));
        let claims = parsed("--room * --identity u --name Ada")
            .expect("a token")
            .claims();
        let claims = claims.expect("claims");
        assert_eq!(
            (
                claims.room(),
                claims.identity.as_deref(),
                claims.name.as_deref()
            ),
            ("*", Some("u"), Some("Ada"))
        );
    }

    #[test]
    fn what_nobody_could_use_is_refused() {
        for (arguments, named) in [
            ("--name x", "--room"),
            ("--room a --publish lidar", "lidar"),
            ("--room a --valid 1", "not a time"),
            ("--room a --valid h", "not a time"),
            ("--room a --valid 0s", "not between"),
            ("--room a --valid 99999d", "not between"),
            ("--room a --valid 18446744073709551615d", "not between"),
        ] {
            let said = parsed(arguments).expect_err(arguments);
            assert!(said.contains(named), "{said}");
        }
        let long = format!("--room a --identity {}", "i".repeat(257));
        let room = format!("--room {}", "r".repeat(65));
        let id = format!("--room a --id {}", "i".repeat(65));
        for (arguments, named) in [
            (room.as_str(), "--room"),
            (long.as_str(), "--identity"),
            (id.as_str(), "--id"),
            ("--room a --id=", "--id"),
            ("--room a --publish none,camera", "--publish"),
        ] {
            let said = parsed(arguments)
                .expect(arguments)
                .claims()
                .expect_err(arguments);
            assert!(said.contains(named), "{said}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }
}
