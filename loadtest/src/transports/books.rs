//! The counts of what clients hear, and the check that each hears every line once and in order.

use std::cmp::Ordering as Order;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tertulia_signaling::protocol::native::ServerMessage;
use tokio::time::Instant;

use super::line;
use crate::bot::tap::lock;
use crate::measure::Histogram;
use crate::report::Percentiles;

/// Counts of all clients of one measurement.
pub(super) struct Books {
    began: Instant,
    /// Lines that listeners heard, each as often as there were listeners who did.
    heard: AtomicU64,
    /// Lines that speakers heard of themselves.
    echoed: AtomicU64,
    /// Bytes of the JSON of the lines that were heard.
    bytes: AtomicU64,
    faults: AtomicU64,
    first_fault: Mutex<Option<String>>,
    delays: Mutex<Histogram>,
}

/// The part that a client has in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Listener,
    Speaker,
}

/// The attention of one client.
pub(super) struct Ear {
    books: Arc<Books>,
    part: Part,
    /// The number of the line that comes next.
    next: u64,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::default(),
            echoed: AtomicU64::default(),
            bytes: AtomicU64::default(),
            faults: AtomicU64::default(),
            first_fault: Mutex::default(),
            delays: Mutex::default(),
        }
    }
}

impl Books {
    /// A line that is made now.
    pub(super) fn line(&self, number: u64) -> String {
        line::line(number, self.began.elapsed())
    }

    /// Counts a fault: a line that was lost or came twice, a client that could not join or was dropped.
    pub(super) fn fault(&self, fault: String) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        lock(&self.first_fault).get_or_insert(fault);
    }

    pub(super) fn faults(&self) -> (u64, Option<String>) {
        let first = lock(&self.first_fault).clone();
        (self.faults.load(Ordering::Relaxed), first)
    }

    /// Lines that listeners heard, and lines that speakers heard of themselves.
    pub(super) fn heard(&self) -> (u64, u64) {
        (
            self.heard.load(Ordering::Relaxed),
            self.echoed.load(Ordering::Relaxed),
        )
    }

    /// Bytes of the JSON of one line, on average; 0 if none was heard.
    pub(super) fn line_bytes(&self) -> f64 {
        let (heard, echoed) = self.heard();
        self.bytes.load(Ordering::Relaxed) as f64 / (heard + echoed).max(1) as f64
    }

    /// The time from when a line was made until a listener had it.
    pub(super) fn delays(&self) -> Percentiles {
        lock(&self.delays).percentiles()
    }
}

impl Ear {
    pub(super) fn new(books: &Arc<Books>, part: Part) -> Self {
        Self {
            books: Arc::clone(books),
            part,
            next: 0,
        }
    }

    /// Takes a message of the server. Returns whether it is the welcome.
    ///
    /// # Errors
    ///
    /// The server refuses something, or ends the connection; in words.
    pub(super) fn hear(&mut self, json: &str) -> Result<bool, String> {
        let message = serde_json::from_str(json)
            .map_err(|error| format!("the server said {json:.100}: {error}"))?;
        match message {
            ServerMessage::Welcome(_) => return Ok(true),
            ServerMessage::Chat { message } => {
                if let Some((number, made)) = line::read(&message.text) {
                    self.take(number, made, json.len());
                }
            }
            ServerMessage::Error(_) | ServerMessage::Bye { .. } => return Err(json.to_owned()),
            _ => {}
        }
        Ok(false)
    }

    fn take(&mut self, number: u64, made: Duration, bytes: usize) {
        let books = &self.books;
        match number.cmp(&self.next) {
            Order::Less => {
                return books.fault(format!(
                    "line {number} came again, or after line {}",
                    self.next.saturating_sub(1)
                ));
            }
            Order::Equal => {}
            Order::Greater => books.fault(format!(
                "line {number} came, and line {} before it did not",
                self.next
            )),
        }
        self.next = number + 1;
        books.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        match self.part {
            Part::Speaker => books.echoed.fetch_add(1, Ordering::Relaxed),
            Part::Listener => {
                let delay = books.began.elapsed().saturating_sub(made);
                lock(&books.delays).record(delay);
                books.heard.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(text: &str) -> String {
        format!(
            r#"{{"type":"chat","message":{{"id":1,"participant":"pa_x","name":"Ada","text":"{text}","at_ms":7}}}}"#
        )
    }

    #[test]
    fn each_line_counts_once_and_in_its_order() {
        let books = Arc::new(Books::default());
        let mut listener = Ear::new(&books, Part::Listener);
        let mut speaker = Ear::new(&books, Part::Speaker);
        for number in 0..3 {
            let text = chat(&books.line(number));
            assert_eq!(listener.hear(&text), Ok(false));
            assert_eq!(speaker.hear(&text), Ok(false));
        }
        assert_eq!(listener.hear(&chat("something else")), Ok(false));
        assert_eq!((books.heard(), books.faults()), ((3, 3), (0, None)));
        assert_eq!(books.line_bytes(), chat(&books.line(0)).len() as f64);
        assert!(books.delays().max.is_some_and(|most| most < 60_000.0));
        // Twice, and then one that is missing.
        for (number, faults, heard) in [(2, 1, 3), (4, 2, 4), (3, 3, 4), (5, 3, 5)] {
            listener.hear(&chat(&books.line(number))).unwrap();
            assert_eq!((books.faults().0, books.heard().0), (faults, heard));
        }
        let first = books.faults().1.unwrap();
        assert!(first.contains("line 2 came again"), "{first}");
    }

    #[test]
    fn a_refusal_and_a_goodbye_are_faults() {
        let books = Arc::new(Books::default());
        let mut ear = Ear::new(&books, Part::Listener);
        for text in [
            r#"{"type":"error","code":"rate_limited","message":"Too many messages.","fatal":false}"#,
            r#"{"type":"bye","reason":"server_shutdown","message":"The server ends."}"#,
            "{}",
        ] {
            assert!(ear.hear(text).is_err(), "{text}");
        }
        assert_eq!(ear.hear(r#"{"type":"ok","id":1}"#), Ok(false));
    }
}
