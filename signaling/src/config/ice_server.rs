//! STUN and TURN servers that clients are told of. A browser throws at a URL it does not like, or at
//! TURN without credentials, and the call ends there; so such an entry is refused at the start.

mod url;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use url::{Scheme, Url};

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// Addresses: `stun:`, `turn:` or `turns:`.
    pub urls: Vec<String>,
    /// The user's name; TURN needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password; TURN needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// RFC 8489 section 14.3. Chromium throws at a longer one.
const USERNAME_BYTES: usize = 509;
/// The longest password that a server makes up is far shorter. Each welcome carries it.
const CREDENTIAL_BYTES: usize = 1_024;
/// Addresses of all entries together: Chromium takes no more TURN servers than this, and each makes a call begin later.
const URLS: usize = 32;

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
            if url.scheme == Scheme::Turn {
                self.check_credentials().map_err(wrong)?;
            }
            urls.push(url);
        }
        if urls.iter().all(|url| url.scheme == Scheme::Stun) {
            self.check_no_credentials()?;
        }
        Ok(urls)
    }

    fn check_credentials(&self) -> Result<(), String> {
        let given = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
        for (key, field, most) in [
            ("username", &self.username, USERNAME_BYTES),
            ("credential", &self.credential, CREDENTIAL_BYTES),
        ] {
            if !given(field) {
                return Err(format!("needs a `{key}`: a TURN server asks for one"));
            }
            if field.as_ref().is_some_and(|text| text.len() > most) {
                return Err(format!("needs a `{key}` of at most {most} bytes"));
            }
        }
        Ok(())
    }

    /// Who gives a STUN server credentials means a TURN server, and would find out by calls that do not connect.
    fn check_no_credentials(&self) -> Result<(), String> {
        let user = self.user().into_iter();
        let mut given = user.filter_map(|(key, field)| field.as_ref().map(|_| key));
        match given.next() {
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
}
