//! Random operations in random order on bad networks: nothing panics, and the relay's parts agree with
//! each other and with what clients were told.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use str0m::media::MediaKind;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{TrackId, TrackSettings};

use crate::harness::{Sim, Video};

/// Clients over a run; those that left stay in the list.
const CLIENTS: usize = 8;
const STEPS: usize = 40;

struct Run {
    sim: Sim,
    rng: StdRng,
}

impl Run {
    fn new(seed: u64, workers: u16, sharing: SimSharing) -> Self {
        Self {
            sim: Sim::sharing(seed, workers, sharing),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..13) {
            0..=2 => self.join(),
            3..=4 => self.subscribe(),
            5 => self.unsubscribe(),
            6 => self.publish(),
            7 => self.unpublish(),
            8 => self.leave(),
            9 => self.impair(),
            10 => self.roam(),
            11 => self.mute(),
            _ => self.pause_layer(),
        }
        let millis = [0, 1, 20, 100, 700, 1_600][self.rng.random_range(0..6)];
        self.sim.run(Duration::from_millis(millis));
    }

    /// A client that believes itself in the call.
    fn anyone(&mut self) -> Option<usize> {
        let there: Vec<usize> = (0..self.sim.clients.len())
            .filter(|index| !self.sim.clients[*index].frozen)
            .filter(|index| self.sim.clients[*index].peer.is_some())
            .collect();
        there.choose(&mut self.rng).copied()
    }

    fn video(&mut self) -> Video {
        *[Video::Single, Video::Simulcast]
            .choose(&mut self.rng)
            .expect("two")
    }

    fn join(&mut self) {
        if self.sim.clients.len() >= CLIENTS {
            return;
        }
        let index = self.sim.client();
        self.sim.clients[index].tolerates_lost_start = true;
        self.sim.clients[index].auto_subscribe = self.rng.random_bool(0.7);
        self.sim.clients[index].follows_needs = self.rng.random_bool(0.8);
        if self.rng.random_bool(0.6) {
            self.sim.clients[index].publish_audio();
        }
        if self.rng.random_bool(0.6) {
            let video = self.video();
            self.sim.clients[index].publish_video(video);
        }
        self.sim.clients[index].receive(self.rng.random_range(1..3), self.rng.random_range(0..3));
        if self.rng.random_bool(0.3) {
            self.sim.clients[index].open_channels();
        }
        self.sim.join(index);
    }

    fn a_track(&mut self) -> Option<TrackId> {
        let publishers = self.sim.clients.iter();
        let tracks: Vec<TrackId> = publishers
            .flat_map(|client| client.published.clone())
            .collect();
        tracks.choose(&mut self.rng).copied()
    }

    fn subscribe(&mut self) {
        if let (Some(viewer), Some(track)) = (self.anyone(), self.a_track()) {
            let peer = self.sim.clients[viewer].peer.expect("joined");
            // Its own, or of one who left: refused, and the audit says whether anything was kept.
            let _ = self.sim.relay.subscribe(self.sim.now, peer, track);
        }
    }

    fn unsubscribe(&mut self) {
        if let (Some(viewer), Some(track)) = (self.anyone(), self.a_track()) {
            let peer = self.sim.clients[viewer].peer.expect("joined");
            let _ = self.sim.relay.unsubscribe(self.sim.now, peer, track);
        }
    }

    fn publish(&mut self) {
        if let Some(index) = self.anyone()
            && self.sim.clients[index].published.len() < 4
        {
            let video = self.video();
            self.sim.clients[index].publish_video(video);
            self.sim.join(index);
        }
    }

    fn unpublish(&mut self) {
        if let Some(index) = self.anyone() {
            let kind = *[MediaKind::Audio, MediaKind::Video]
                .choose(&mut self.rng)
                .expect("two");
            if self.sim.clients[index].publishes(kind) {
                self.sim.clients[index].unpublish(kind);
                self.sim.join(index);
            }
        }
    }

    fn leave(&mut self) {
        if let Some(index) = self.anyone() {
            // Half of them say so.
            if self.rng.random_bool(0.5) {
                let peer = self.sim.clients[index].peer.expect("joined");
                self.sim.relay.close_peer(self.sim.now, peer);
            }
            self.sim.clients[index].frozen = true;
        }
    }

    fn impair(&mut self) {
        let model = PathModel {
            delay: Duration::from_millis(self.rng.random_range(1..80)),
            jitter: Duration::from_millis(self.rng.random_range(0..30)),
            overtake: true,
            loss: self.rng.random_range(0.0..0.2),
            rate: self.rng.random_bool(0.3).then_some(1_000_000),
            ..PathModel::LAN
        };
        if let Some(index) = self.anyone() {
            self.sim.set_path(index, model);
        }
    }

    fn roam(&mut self) {
        if let Some(index) = self.anyone() {
            let addr = (
                [203, 0, 113, index as u8],
                self.rng.random_range(1_024..60_000),
            );
            if self.rng.random_bool(0.5) {
                self.sim.clients[index].rebind(addr.into());
            } else {
                self.sim.clients[index].roam(addr.into());
            }
            if self.rng.random_bool(0.3) {
                self.sim.clients[index].restart_ice();
                self.sim.join(index);
            }
        }
    }

    fn pause_layer(&mut self) {
        if let Some(index) = self.anyone() {
            let rid = *["q", "h", "f"].choose(&mut self.rng).expect("three");
            let active = self.rng.random_bool(0.5);
            self.sim.clients[index].set_layer_active(rid, active);
        }
    }

    fn mute(&mut self) {
        if let Some(index) = self.anyone()
            && let Some(track) = self.sim.clients[index]
                .published
                .choose(&mut self.rng)
                .copied()
        {
            let peer = self.sim.clients[index].peer.expect("joined");
            let (muted, screen) = (self.rng.random_bool(0.6), self.rng.random_bool(0.3));
            let settings = TrackSettings::default()
                .with_muted(muted)
                .with_screen(screen);
            let _ = self
                .sim
                .relay
                .set_track(self.sim.now, peer, track, settings);
        }
    }

    /// Checks that the relay's parts, and its clients, agree.
    fn check(&self, what: &str) {
        assert_eq!(self.sim.relay.audit(), Vec::<String>::new(), "{what}");
        for client in self.sim.clients.iter().filter(|client| !client.frozen) {
            let Some(stats) = client
                .peer
                .and_then(|peer| self.sim.relay.peer_stats(peer).ok())
            else {
                continue;
            };
            for slot in &client.slots {
                let sent = stats.subscriptions.iter();
                let mut sent = sent.filter(|sent| sent.mid.as_ref() == Some(&slot.mid));
                assert_eq!(
                    sent.next().map(|sent| sent.track),
                    slot.track,
                    "{what}: {slot:?}"
                );
            }
            let published: Vec<TrackId> = stats.published.iter().map(|track| track.track).collect();
            let mut told = client.published.clone();
            told.sort();
            assert_eq!(published.len(), told.len(), "{what}");
            assert!(published.iter().all(|track| told.contains(track)), "{what}");
            for (ssrc, report) in client.reports() {
                assert!(report.violations.is_empty(), "{what}: {ssrc:#x} {report:?}");
            }
        }
    }
}

fn run(seed: u64, workers: u16, sharing: SimSharing) {
    let mut run = Run::new(seed, workers, sharing);
    for step in 0..STEPS {
        run.step();
        run.check(&format!("seed {seed}, step {step}"));
    }
    // Clients that left without a word are given up, and the others go on.
    run.sim.run(Duration::from_secs(32));
    run.check(&format!("seed {seed}, in the end"));
    let now = run.sim.now;
    run.sim.relay.close_room(now, run.sim.room);
    run.sim.run(Duration::from_millis(100));
    assert_eq!(run.sim.relay.holdings(), 0, "seed {seed}");
}

#[test]
fn random_calls_keep_the_relay_sound() {
    for seed in 800..804 {
        run(seed, 1, SimSharing::default());
    }
}

#[test]
fn random_calls_over_several_workers_keep_the_relay_sound() {
    for seed in 810..812 {
        run(seed, 2, SimSharing::default());
        run(seed + 10, 3, SimSharing::default());
    }
}

#[test]
fn random_calls_over_short_rings_keep_the_relay_sound() {
    let sharing = SimSharing {
        room_peers_per_worker: 2,
        batches: 1,
        control: 1,
        ..SimSharing::default()
    };
    for seed in 830..832 {
        run(seed, 2, sharing);
    }
}
