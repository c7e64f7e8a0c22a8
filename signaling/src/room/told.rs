//! An event on its way to participants: kept once for all of them, and written once.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Event;

/// An event as participants are told it. Cheap to clone.
#[derive(Clone)]
pub struct Told(Arc<Kept>);

struct Kept {
    event: Event,
    /// Whether several are told it, so that its text is worth keeping.
    is_shared: bool,
    text: OnceLock<Utf8Bytes>,
}

impl Told {
    /// An event for one participant.
    pub(crate) fn one(event: Event) -> Self {
        Self::new(event, false)
    }

    /// An event for several participants.
    pub(crate) fn several(event: Event) -> Self {
        Self::new(event, true)
    }

    fn new(event: Event, is_shared: bool) -> Self {
        Self(Arc::new(Kept {
            event,
            is_shared,
            text: OnceLock::new(),
        }))
    }

    /// Bytes that it takes while it waits: the event, and the text that is kept with it.
    pub(crate) fn weight(&self) -> usize {
        /// The text of a short one.
        const SHORT: usize = 64;
        let event = self.0.event.weight();
        match (self.0.is_shared, &self.0.event) {
            (false, _) => event,
            // One of its parts counts with its own text already.
            (true, Event::Batch(_)) => event + event / 2 + SHORT,
            (true, _) => 2 * event + SHORT,
        }
    }

    /// The event as a protocol writes it: by `write`, which is called once for all participants. Every caller writes it in
    /// the same way.
    pub(crate) fn text(&self, write: impl FnOnce(&Event) -> String) -> Utf8Bytes {
        match self.0.is_shared {
            true => {
                let text = self.0.text.get_or_init(|| {
                    let mut text = write(&self.0.event);
                    // It is kept, and has grown by doubling.
                    text.shrink_to_fit();
                    text.into()
                });
                text.clone()
            }
            false => write(&self.0.event).into(),
        }
    }
}

impl Deref for Told {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0.event
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.event.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_several_is_written_once() {
        let mut written = 0;
        let mut write = |told: &Told| {
            told.text(|event| {
                written += 1;
                format!("{event:?}")
            })
        };
        let told = Told::several(Event::MediaConnected);
        assert_eq!(
            (write(&told), write(&told.clone())),
            ("MediaConnected".into(), "MediaConnected".into())
        );
        let told = Told::one(Event::Done { request: Some(1) });
        assert_eq!(write(&told), write(&told));
        assert_eq!(written, 3);
    }
}
