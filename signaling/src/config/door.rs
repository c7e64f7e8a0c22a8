//! The door: keys of access tokens, or none.

use std::ffi::OsString;
use std::path::Path;

use super::{Config, ConfigError};
use crate::access::Keys;

/// The environment variable with a JSON Web Key Set. There is no such flag: others see the arguments of a process.
pub const KEYS_VARIABLE: &str = "TERTULIA_KEYS";

/// Reads the keys from a file, or from the value of [`KEYS_VARIABLE`].
pub(super) fn keys(
    file: Option<&Path>,
    variable: Option<OsString>,
) -> Result<Option<Keys>, ConfigError> {
    match (file, variable) {
        (Some(_), Some(_)) => Err(ConfigError::Value(format!(
            "keys_file: keys are in {KEYS_VARIABLE} too; give them in one place"
        ))),
        (Some(file), None) => read("keys_file", Keys::from_file(file)),
        (None, Some(set)) => read(KEYS_VARIABLE, Keys::from_json(&set.to_string_lossy())),
        (None, None) => Ok(None),
    }
}

fn read(
    from: &'static str,
    keys: Result<Keys, crate::access::KeysError>,
) -> Result<Option<Keys>, ConfigError> {
    keys.map(Some)
        .map_err(|source| ConfigError::Keys { from, source })
}

impl Config {
    pub(super) fn check_door(&self) -> Result<(), ConfigError> {
        if self.open && self.keys.is_some() {
            return Err(ConfigError::Value(
                "open: there are keys, and with them a join needs an access token; leave one of the two out".into(),
            ));
        }
        Ok(())
    }

    /// Refuses one address for both listeners, and a server that lets everybody in on an address that others reach,
    /// unless `open` says so. An embedder's node does not ask this: it may be mounted anywhere.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`]. The sentence says what to do.
    pub fn check_listen(&self) -> Result<(), ConfigError> {
        // The kernel chooses another port for each 0.
        if self.listen.port() != 0 && self.admin_listen == Some(self.listen) {
            return Err(ConfigError::Value(format!(
                "admin_listen: {} is the address of listen; give the counters another port",
                self.listen
            )));
        }
        if self.keys.is_some() || self.open || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(ConfigError::Value(format!(
            "listen: others reach {}, and could join any room: give the keys of access tokens (--keys FILE, or \
             {KEYS_VARIABLE}), or let everybody in (--open)",
            self.listen
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::new_key_set;

    fn config(listen: &str) -> Config {
        Config {
            listen: listen.parse().expect("an address"),
            ..Config::default()
        }
    }

    #[test]
    fn only_loopback_is_open_without_a_word() {
        for listen in [
            "127.0.0.1:1",
            "127.1.2.3:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(config(listen).check_listen().is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            let said = config(listen).check_listen().expect_err(listen).to_string();
            for named in [listen, "--keys", KEYS_VARIABLE, "--open"] {
                assert!(said.contains(named), "{said}");
            }
            let mut open = config(listen);
            open.open = true;
            assert!(open.check_listen().is_ok() && open.check().is_ok());
            let mut locked = config(listen);
            locked.keys = Keys::from_json(&new_key_set("1")).ok();
            assert!(locked.check_listen().is_ok() && locked.check().is_ok());
        }
    }

    #[test]
    fn the_two_listeners_have_two_addresses() {
        let with_admin = |listen: &str, admin: &str| {
            let mut config = config(listen);
            config.admin_listen = Some(admin.parse().expect("an address"));
            config.check_listen().map_err(|error| error.to_string())
        };
        let said = with_admin("127.0.0.1:1", "127.0.0.1:1").expect_err("the same");
        assert!(
            said.contains("admin_listen") && said.contains("127.0.0.1:1"),
            "{said}"
        );
        assert_eq!(with_admin("127.0.0.1:1", "127.0.0.1:2"), Ok(()));
        assert_eq!(with_admin("127.0.0.1:0", "127.0.0.1:0"), Ok(()));
    }

    #[test]
    fn keys_and_open_contradict() {
        let mut both = config("127.0.0.1:1");
        both.open = true;
        both.keys = Keys::from_json(&new_key_set("1")).ok();
        assert!(
            both.check()
                .is_err_and(|error| error.to_string().contains("open"))
        );
    }

    #[test]
    fn keys_come_from_a_file_or_from_the_environment() {
        let set = new_key_set("1");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, &set).expect("write");
        let variable = || Some(OsString::from(&set));
        let read = |file, variable| keys(file, variable).map(|keys| keys.is_some());
        assert!(matches!(read(None, None), Ok(false)));
        assert!(matches!(read(Some(&path), None), Ok(true)));
        assert!(matches!(read(None, variable()), Ok(true)));
        let both = read(Some(&path), variable()).expect_err("both").to_string();
        std::fs::remove_file(&path).expect("remove");
        assert!(
            both.contains("keys_file") && both.contains(KEYS_VARIABLE),
            "{both}"
        );
        let gone = read(Some(&path), None).expect_err("gone").to_string();
        assert!(
            gone.contains("keys_file") && gone.contains("cannot read"),
            "{gone}"
        );
        // A variable that is set and empty does not open the door.
        let empty = read(None, Some("".into())).expect_err("empty").to_string();
        assert!(empty.contains(KEYS_VARIABLE), "{empty}");
    }
}
