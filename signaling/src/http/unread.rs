//! The bound on bytes that were received and are not whole messages yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::memory::Unread;
use crate::watched::Watch;

/// Interval of the checks whether there is memory for more of a message.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts the bytes of a connection as [`Unread`], and has reads wait while there is no memory for more of a message.
/// Over TLS it watches the decrypted side.
pub(super) struct UnreadWatch {
    unread: Unread,
    /// While there is no memory for more of a message.
    pause: Option<Pin<Box<Sleep>>>,
}

impl UnreadWatch {
    pub(super) fn new(unread: Unread) -> Self {
        Self {
            unread,
            pause: None,
        }
    }
}

impl Watch for UnreadWatch {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.unread.may_come() {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unread.came(bytes.len());
        Ok(())
    }
}
