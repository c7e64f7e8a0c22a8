//! A room's name where machines and operators read it.

use std::fmt;
use std::sync::Arc;

/// A room's name, once it has been found to be one. Written out, for logs, it is ASCII: percent-encoded as in the
/// room's address, so that a line of the log reads from left to right and no two rooms look alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RoomName(Arc<str>);

impl RoomName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl From<Arc<str>> for RoomName {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii() {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_log_it_is_ascii() {
        for (name, shown) in [
            ("daily-standup", "daily-standup"),
            ("caf\u{e9}", "caf%C3%A9"),
            ("\u{5d0}\u{5d1}-1", "%D7%90%D7%91-1"),
        ] {
            assert_eq!(RoomName::from(Arc::from(name)).to_string(), shown);
        }
    }
}
