//! The changes that people make.

use clap::ValueEnum;
use tertulia_signaling::protocol::native::{Chat, ClientFrame, ClientMessage, Hand, Update};

use super::books::Books;

/// A kind of change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Change {
    /// Another name.
    Update,
    /// A raised hand, and its end in turn.
    Hand,
    /// A line in the chat.
    Chat,
    /// Somebody leaves, and somebody joins.
    ComeAndGo,
}

impl Change {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Update, Self::Hand, Self::Chat, Self::ComeAndGo];

    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Hand => "hand",
            Self::Chat => "chat",
            Self::ComeAndGo => "come_and_go",
        }
    }

    /// The message that makes it. `round` counts the changes of this person.
    pub(super) fn message(self, number: usize, round: usize, books: &Books) -> String {
        let message = match self {
            Self::Update => ClientMessage::Update(Update {
                name: Some(format!("{} {}", name(number), books.stamp())),
                metadata: None,
            }),
            Self::Hand => ClientMessage::Hand(Hand {
                raised: round.is_multiple_of(2),
            }),
            Self::Chat => ClientMessage::Chat(Chat {
                text: format!(
                    "A line of the usual length, written by one of many. {}",
                    books.stamp()
                ),
            }),
            Self::ComeAndGo => ClientMessage::Leave,
        };
        let id = Some(1);
        ClientFrame { id, message }.write()
    }
}

/// The name of a person.
pub(super) fn name(number: usize) -> String {
    format!("Person {number}")
}
