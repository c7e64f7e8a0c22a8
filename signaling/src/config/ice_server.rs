//! STUN and TURN servers that clients are told of. A browser throws at a URL it does not like, or at
//! TURN without credentials, and the call ends there; so such an entry is refused at the start.

#[cfg(test)]
mod coturn_tests;
mod secret;
mod url;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::files;

pub use secret::IceSecret;
pub(super) use url::stun_server;
use url::{Scheme, Url};
pub(crate) use url::{TurnAddress, turn_server};

/// A STUN server, or a TURN server with either one user for everybody (`username`, `credential`), or a secret by which
/// each participant is given a user of its own, for a time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceServer {
    /// Addresses: `stun:`, `turn:` or `turns:`.
    pub urls: Vec<String>,
    /// The user's name.
    pub username: Option<String>,
    /// The user's password.
    pub credential: Option<String>,
    /// The secret that the server shares with the TURN server: coturn's `static-auth-secret`.
    pub secret: Option<IceSecret>,
    /// A file with the secret; [`Config::load`](super::Config::load) reads it into `secret`.
    pub secret_file: Option<PathBuf>,
    /// The time for which users by `secret` are taken, in seconds. None: a day.
    pub ttl_s: Option<u64>,
}

/// RFC 8489 section 14.3. Chromium throws at a longer one.
const USERNAME_BYTES: usize = 509;
/// The longest password that a server makes up is far shorter. Each welcome carries it.
const CREDENTIAL_BYTES: usize = 1_024;
/// Addresses of all entries together: Chromium takes no more TURN servers than this, and each makes a call begin later.
const URLS: usize = 32;

/// The environment variable with the secret of TURN servers that have no credentials in the file. There is no such flag:
/// others see the arguments of a process.
pub const TURN_SECRET_VARIABLE: &str = "TERTULIA_TURN_SECRET";
/// Bytes of a file with a secret.
const SECRET_FILE_BYTES: usize = 4_096;
/// Time for which users by a secret are taken, in seconds. Clients are given another one after half of it; one that was
/// cut off for longer than the rest joins anew, and is given one then.
const TTL_S: u64 = 24 * 3_600;
const SHORTEST_TTL_S: u64 = 60;
/// A week.
const LONGEST_TTL_S: u64 = 7 * 24 * 3_600;

/// Gives each entry its secret, from its file or the value of [`TURN_SECRET_VARIABLE`].
pub(super) fn complete(
    servers: &mut [IceServer],
    variable: Option<&OsString>,
) -> Result<(), ConfigError> {
    for (index, server) in servers.iter_mut().enumerate() {
        let has_none = server.username.is_none() && server.credential.is_none();
        let secret = match (&server.secret_file, &server.secret) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Value(format!(
                    "ice_servers[{index}].secret_file: there is a `secret` too; give it in one place"
                )));
            }
            (Some(path), None) => {
                let text = files::read_text(path, SECRET_FILE_BYTES);
                text.map_err(|source| ConfigError::Read {
                    path: path.clone(),
                    source,
                })?
            }
            (None, None) if has_none && server.is_turn() => match variable {
                Some(variable) => variable.to_string_lossy().into_owned(),
                None => continue,
            },
            (None, _) => continue,
        };
        server.secret = Some(IceSecret::from(secret.trim()));
    }
    Ok(())
}

/// Refuses entries that browsers would refuse, and those that name a server a second time.
///
/// # Errors
///
/// A sentence without its beginning `ice_servers`.
pub(super) fn check(servers: &[IceServer]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        let urls = server.check().map_err(|what| format!("[{index}]{what}"))?;
        for (at, (url, text)) in urls.into_iter().zip(&server.urls).enumerate() {
            let place = format!("[{index}].urls[{at}]");
            if let Some(first) = seen.insert(url, place.clone()) {
                return Err(format!(
                    "{place}: `{text}` leads to the server of ice_servers{first} again: leave one of them out"
                ));
            }
        }
    }
    match seen.len() {
        0..=URLS => Ok(()),
        count => Err(format!(
            ": {count} addresses are more than the {URLS} that browsers try: leave some out"
        )),
    }
}

impl IceServer {
    /// # Errors
    ///
    /// A clause that follows the entry's place: `.urls: ...` or `.urls[1]: ...`.
    fn check(&self) -> Result<Vec<Url>, String> {
        if self.urls.is_empty() {
            return Err(".urls: names no server: write one, like `stun:stun.example.org`".into());
        }
        let mut urls = Vec::with_capacity(self.urls.len());
        for (index, text) in self.urls.iter().enumerate() {
            let wrong = |what: String| format!(".urls[{index}]: `{text}` {what}");
            let url = Url::parse(text).map_err(wrong)?;
            if url.scheme == Scheme::Turn && self.secret.is_none() {
                self.check_credentials().map_err(wrong)?;
            }
            urls.push(url);
        }
        if urls.iter().all(|url| url.scheme == Scheme::Stun) {
            self.check_no_credentials()?;
        }
        match &self.secret {
            Some(secret) => self.check_secret(secret)?,
            None if self.ttl_s.is_some() => {
                return Err(
                    ".ttl_s: there is no `secret`, whose users it is for: leave it out".into(),
                );
            }
            None => {}
        }
        Ok(urls)
    }

    /// Whether browsers take it.
    pub(crate) fn is_right(&self) -> bool {
        self.check().is_ok()
    }

    fn check_credentials(&self) -> Result<(), String> {
        let given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
        for (key, field, most) in [
            ("username", &self.username, USERNAME_BYTES),
            ("credential", &self.credential, CREDENTIAL_BYTES),
        ] {
            if !given(field) {
                return Err(format!(
                    "needs a `{key}`: a TURN server asks for one; or the `secret` that it shares with this server"
                ));
            }
            if field.as_ref().is_some_and(|text| text.len() > most) {
                return Err(format!("needs a `{key}` of at most {most} bytes"));
            }
        }
        Ok(())
    }

    fn check_secret(&self, secret: &IceSecret) -> Result<(), String> {
        for (key, field) in self.user() {
            if field.is_some() {
                return Err(format!(
                    ".{key}: there is a `secret`, which gives each participant one: leave one of the two out"
                ));
            }
        }
        if secret.is_empty() {
            let variable = TURN_SECRET_VARIABLE;
            return Err(format!(
                ".secret: it is empty: write that of the TURN server here, into `secret_file` or into {variable}"
            ));
        }
        let ttl = self.ttl_s.unwrap_or(TTL_S);
        match (SHORTEST_TTL_S..=LONGEST_TTL_S).contains(&ttl) {
            true => Ok(()),
            false => Err(format!(
                ".ttl_s: {ttl} is no time from {SHORTEST_TTL_S} to {LONGEST_TTL_S} seconds"
            )),
        }
    }

    /// Refuses a STUN server with credentials: a TURN server is meant, and calls that do not connect would be the first to tell.
    fn check_no_credentials(&self) -> Result<(), String> {
        let secret = self.secret.as_ref().map(|_| "secret");
        let user = self.user().into_iter();
        let given = user.filter_map(|(key, field)| field.as_ref().map(|_| key));
        match secret.into_iter().chain(given).next() {
            None => Ok(()),
            Some(key) => Err(format!(
                ".{key}: STUN servers ask for none: leave it out, or write `turn:` for a TURN server"
            )),
        }
    }

    fn user(&self) -> [(&'static str, &Option<String>); 2] {
        [
            ("username", &self.username),
            ("credential", &self.credential),
        ]
    }

    fn is_turn(&self) -> bool {
        let mut schemes = self.urls.iter().map(|url| url.split(':').next());
        schemes.any(|scheme| {
            scheme.is_some_and(|it| {
                ["turn", "turns"]
                    .iter()
                    .any(|name| it.eq_ignore_ascii_case(name))
            })
        })
    }

    /// The time for which a user by the secret is taken; none if it has one user for everybody, or needs none.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        let has_secret = self.secret.is_some();
        has_secret.then(|| Duration::from_secs(self.ttl_s.unwrap_or(TTL_S)))
    }

    /// The user's name and password for a participant who joins or comes back `now`, in seconds since 1970.
    pub(crate) fn user_of(&self, participant: &str, now: u64) -> (Option<String>, Option<String>) {
        match (&self.secret, self.ttl()) {
            (Some(secret), Some(ttl)) => {
                let username = format!("{}:{participant}", now.saturating_add(ttl.as_secs()));
                let credential = secret.credential(&username);
                (Some(username), Some(credential))
            }
            _ => (self.username.clone(), self.credential.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of the table that browsers are held to as well.
    #[derive(Deserialize)]
    struct Case {
        server: IceServer,
        /// A word of the refusal; none: the entry is good.
        refused: Option<String>,
    }

    #[test]
    fn every_form_of_a_url_is_taken_or_refused_for_its_reason() {
        let table = include_str!("../../golden/ice_servers.json");
        let cases: Vec<Case> = serde_json::from_str(table).expect("the table");
        for Case { server, refused } in cases {
            match (check(std::slice::from_ref(&server)), refused) {
                (Ok(()), None) => {}
                (Err(said), Some(word)) => assert!(said.contains(&word), "{server:?}: {said}"),
                (said, refused) => panic!("{server:?}: {said:?} instead of {refused:?}"),
            }
        }
    }

    fn stun(urls: impl IntoIterator<Item = String>) -> IceServer {
        IceServer {
            urls: urls.into_iter().collect(),
            ..IceServer::default()
        }
    }

    #[test]
    fn a_server_is_named_once() {
        let one = stun(["stun:a.example".into(), "stun:b.example".into()]);
        let other = stun(["stun:c.example".into(), "STUN:B.example:3478".into()]);
        assert_eq!(check(std::slice::from_ref(&one)), Ok(()));
        let said = check(&[one, other]).expect_err("twice");
        assert!(said.starts_with("[1].urls[1]: `STUN:B"), "{said}");
        assert!(said.contains("ice_servers[0].urls[1]"), "{said}");
    }

    #[test]
    fn servers_are_as_many_as_browsers_try() {
        let many = |count| [stun((0..count).map(|at| format!("stun:s{at}.example")))];
        assert_eq!(check(&many(URLS)), Ok(()));
        let said = check(&many(URLS + 1)).expect_err("too many");
        assert!(said.starts_with(": 33 addresses"), "{said}");
    }

    fn turn(more: &str) -> IceServer {
        toml::from_str(&format!("urls = [\"turn:turn.example.org\"]\n{more}")).expect(more)
    }

    #[test]
    fn a_secret_takes_the_place_of_a_user() {
        for (more, refused) in [
            ("secret = \"s\"", None),
            ("secret = \"s\"\nttl_s = 60", None),
            ("secret = \"s\"\nttl_s = 604800", None),
            ("secret = \"\"", Some("empty")),
            ("secret = \"s\"\nttl_s = 59", Some("[0].ttl_s: 59")),
            ("secret = \"s\"\nttl_s = 604801", Some("[0].ttl_s")),
            ("secret = \"s\"\nusername = \"u\"", Some("[0].username")),
            ("secret = \"s\"\ncredential = \"c\"", Some("[0].credential")),
            (
                "username = \"u\"\ncredential = \"c\"\nttl_s = 60",
                Some("no `secret`"),
            ),
            ("secret_file = \"/not/read\"", Some("needs a `username`")),
        ] {
            match (check(&[turn(more)]), refused) {
                (Ok(()), None) => {}
                (Err(said), Some(word)) => assert!(said.contains(word), "{more}: {said}"),
                (said, _) => panic!("{more}: {said:?}"),
            }
        }
        let mut with_stun = turn("secret = \"s\"");
        with_stun.urls.push("stun:stun.example.org".into());
        assert_eq!(check(std::slice::from_ref(&with_stun)), Ok(()));
        with_stun.urls.remove(0);
        let said = check(&[with_stun]).expect_err("no TURN");
        assert!(said.starts_with("[0].secret: STUN"), "{said}");
    }

    #[test]
    fn a_secret_comes_from_a_file_or_from_the_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "of the file\n").expect("written");
        let variable = OsString::from("of the environment");
        let of_file = format!("secret_file = {path:?}");
        let given = "username = \"u\"\ncredential = \"c\"";
        let secret = |more: &str, variable| {
            let mut servers = [turn(more)];
            complete(&mut servers, variable).map(|()| servers[0].secret.take())
        };
        let is = |text: &str| Some(IceSecret::from(text));
        let expect = |more, variable| secret(more, variable).expect(more);
        assert_eq!(expect(&of_file, None), is("of the file"));
        assert_eq!(expect(&of_file, Some(&variable)), is("of the file"));
        assert_eq!(expect("", Some(&variable)), is("of the environment"));
        assert_eq!(expect("", None), None);
        assert_eq!(expect(given, Some(&variable)), None);
        let both = secret(&format!("{of_file}\nsecret = \"s\""), None);
        assert!(both.is_err_and(|said| said.to_string().contains("one place")));
        std::fs::remove_file(&path).expect("removed");
        let gone = secret(&of_file, None).expect_err("gone").to_string();
        assert!(gone.contains(path.to_str().expect("a name")), "{gone}");
        let mut stun = [stun(["stun:stun.example.org".into()])];
        complete(&mut stun, Some(&variable)).expect("no secret");
        assert_eq!(stun[0].secret, None);
    }

    #[test]
    fn a_user_by_a_secret_ends_after_its_time() {
        let server = turn("secret = \"north\"\nttl_s = 3600");
        let (username, credential) = server.user_of("pa_1", 1_795_737_600);
        assert_eq!(username.as_deref(), Some("1795741200:pa_1"));
        // printf 1795741200:pa_1 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credential.as_deref(), Some("4zG+S7ydHS0OKyWRqtlNVCU0DaI="));
        let (of_another, _) = server.user_of("pa_2", 1_795_737_600);
        assert_ne!(of_another, username);
        let one = turn("username = \"u\"\ncredential = \"c\"");
        let user = (Some("u".to_owned()), Some("c".to_owned()));
        assert_eq!(one.user_of("pa_1", 0), user);
    }
}
