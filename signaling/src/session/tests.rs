//! A client and a server that exchange messages over connections which are cut at any time: whatever happens, each message
//! comes once and in order.

use std::collections::VecDeque;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::memory::Budget;

/// A frame on its way to the server.
enum Frame {
    Message(u32),
    Ack(u64),
}

/// The bytes under way. Cut, both directions are lost.
struct Wire {
    down: VecDeque<u32>,
    up: VecDeque<Frame>,
    /// The token that this connection came with.
    token: Option<Token>,
}

struct World {
    // The server.
    outbox: Outbox<u32>,
    inbox: Inbox<u32>,
    ledger: Ledger,
    told: u32,
    heard: Vec<u32>,
    /// Tokens that may never be taken again.
    dead: Vec<Token>,
    wire: Option<Wire>,
    // The client.
    token: Token,
    received: Vec<u32>,
    said: Vec<u32>,
}

fn ways() -> (Outbox<u32>, Inbox<u32>) {
    let budget = Budget::new(usize::MAX);
    let outbox = Outbox::new(usize::MAX, |evicted| {
        budget.open(None, move || evicted.notify_one())
    });
    let mut inbox = outbox.attach();
    inbox.keep_taken();
    (outbox, inbox)
}

impl World {
    fn new() -> Self {
        let ledger = Ledger::new(Secret::random());
        let (outbox, inbox) = ways();
        Self {
            outbox,
            inbox,
            token: ledger.token(),
            ledger,
            told: 0,
            heard: Vec::new(),
            dead: Vec::new(),
            wire: Some(Wire {
                down: VecDeque::new(),
                up: VecDeque::new(),
                token: None,
            }),
            received: Vec::new(),
            said: Vec::new(),
        }
    }

    fn tell(&mut self) {
        self.outbox.put(self.told, 1).expect("a place");
        self.told += 1;
    }

    fn say(&mut self) {
        let number = self.said.len() as u32;
        self.said.push(number);
        if let Some(wire) = &mut self.wire {
            wire.up.push_back(Frame::Message(number));
        }
    }

    fn ack(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.up.push_back(Frame::Ack(self.received.len() as u64));
        }
    }

    /// The server writes what it has.
    fn write(&mut self, most: usize) {
        if let Some(wire) = &mut self.wire {
            let mut events = Vec::new();
            self.inbox.recv_many(&mut events, most).now_or_never();
            wire.down.extend(events);
        }
    }

    /// Frames reach the server, and messages the client.
    fn carry(&mut self, most: usize) {
        let Some(wire) = &mut self.wire else { return };
        for _ in 0..most {
            let Some(frame) = wire.up.pop_front() else {
                break;
            };
            self.dead.extend(wire.token.take());
            match frame {
                Frame::Message(number) => {
                    self.ledger.heard(true);
                    self.heard.push(number);
                }
                Frame::Ack(number) => {
                    self.ledger.heard(false);
                    assert!(self.inbox.acknowledge(number));
                }
            }
        }
        let count = most.min(wire.down.len());
        self.received.extend(wire.down.drain(..count));
    }

    /// A new connection with the client's token. The reply may be lost.
    fn resume(&mut self, is_lost: bool) {
        let comeback = Comeback::After(self.received.len() as u64);
        let resumed = self
            .ledger
            .resume(self.token.nonce, comeback, self.inbox.kept(), None);
        assert_eq!(resumed, Ok(()));
        self.inbox.rewind(self.received.len() as u64);
        self.begin(is_lost);
    }

    fn begin(&mut self, is_lost: bool) {
        self.wire = (!is_lost).then(|| Wire {
            down: VecDeque::new(),
            up: VecDeque::new(),
            token: Some(self.token),
        });
        let Some(wire) = &mut self.wire else { return };
        self.token = self.ledger.token();
        wire.up.push_back(Frame::Ack(self.received.len() as u64));
        let had = self.ledger.received() as usize;
        let again = self.said[had..].iter().copied();
        wire.up.extend(again.map(Frame::Message));
    }

    /// A page that was loaded again.
    fn reload(&mut self) {
        let resumed =
            self.ledger
                .resume(self.token.nonce, Comeback::Fresh, self.inbox.kept(), None);
        assert_eq!(resumed, Ok(()));
        (self.outbox, self.inbox) = ways();
        self.told = 0;
        (self.heard, self.received, self.said) = Default::default();
        self.begin(false);
    }

    /// Somebody tries tokens that were used, and numbers that cannot be.
    fn attack(&mut self, which: usize) {
        let before = self.ledger.token();
        let kept = self.inbox.kept();
        if let Some(token) = self.dead.get(which % self.dead.len().max(1)) {
            for comeback in [Comeback::Fresh, Comeback::After(*kept.end())] {
                let resumed = self
                    .ledger
                    .resume(token.nonce, comeback, kept.clone(), None);
                assert_eq!(resumed, Err(ResumeFault::Used));
            }
        }
        let beyond = Comeback::After(kept.end() + 1 + which as u64);
        let resumed = self.ledger.resume(self.token.nonce, beyond, kept, None);
        assert!(resumed.is_err());
        assert_eq!(self.ledger.token(), before);
    }

    fn settle(&mut self) {
        self.resume(false);
        self.write(usize::MAX);
        self.carry(usize::MAX);
        assert_eq!(self.received, (0..self.told).collect::<Vec<_>>());
        assert_eq!(self.heard, self.said);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_message_comes_once_and_in_order(
        steps in prop::collection::vec((0..10_u8, 0..9_usize), 0..120),
    ) {
        let mut world = World::new();
        for (step, count) in steps {
            match step {
                0 => (0..count).for_each(|_| world.tell()),
                1 => (0..count).for_each(|_| world.say()),
                2 => world.ack(),
                3 => world.write(count),
                4 | 5 => world.carry(count),
                6 => world.wire = None,
                7 => world.resume(count % 3 == 0),
                8 => world.attack(count),
                _ if count == 0 => world.reload(),
                _ => world.settle(),
            }
        }
        world.settle();
    }
}
