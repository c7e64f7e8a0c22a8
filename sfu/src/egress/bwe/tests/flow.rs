//! A greedy flow that reacts to losses only, like TCP Reno.

use std::collections::VecDeque;

pub(super) struct Flow {
    window: f64,
    threshold: f64,
    next: u32,
    acknowledged: u32,
    /// The times of acknowledgements, with their packets.
    acks: VecDeque<(f64, u32)>,
    in_flight: i64,
    recover: u32,
    last_ack: f64,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            window: 10.0,
            threshold: 1e9,
            next: 0,
            acknowledged: 0,
            acks: VecDeque::new(),
            in_flight: 0,
            recover: 0,
            last_ack: 0.0,
        }
    }
}

impl Flow {
    pub(super) fn arrived(&mut self, acked_at: f64, payload: &[u8]) {
        let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
        self.acks.push_back((acked_at, number));
    }

    pub(super) fn send(&mut self, at: f64, mut send: impl FnMut(Vec<u8>)) {
        while let Some((_, number)) = self.acks.front().copied().filter(|ack| ack.0 <= at) {
            self.acks.pop_front();
            self.last_ack = at;
            let lost = number.saturating_sub(self.acknowledged);
            self.in_flight -= i64::from(lost) + 1;
            self.acknowledged = number + 1;
            if lost > 0 && number >= self.recover {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                self.recover = self.next;
            } else if self.window < self.threshold {
                self.window += 1.0;
            } else {
                self.window += 1.0 / self.window;
            }
        }
        if at - self.last_ack > 1.0 {
            (self.window, self.in_flight, self.last_ack) = (2.0, 0, at);
        }
        while (self.in_flight as f64) < self.window {
            let mut payload = vec![0; 1_200];
            payload[..4].copy_from_slice(&self.next.to_be_bytes());
            self.next += 1;
            self.in_flight += 1;
            send(payload);
        }
    }
}
