//! A run with the relay.

use std::time::Duration;

use super::figures::{Figures, STEP, Sampler};
use super::{Case, Kind};
use crate::harness::{Sim, Video};

/// Viewers that join the scripted one in [`Kind::OneOfTwenty`].
const OTHERS: usize = 19;

pub(super) fn run(case: &Case, seed: u64) -> Figures {
    let script = case.script();
    let mut sim = Sim::new(seed);
    let publisher = sim.client();
    let uplink = case.kind == Kind::PublisherUplink;
    if uplink {
        sim.clients[publisher].follow_uplink();
        sim.clients[publisher].up.set_model(script.start.up);
        sim.clients[publisher].down.set_model(script.start.down);
    }
    sim.clients[publisher].publish_audio();
    if case.kind != Kind::Sound {
        sim.clients[publisher].publish_video(Video::Simulcast);
    }
    sim.join(publisher);
    sim.run(Duration::from_secs(2));
    if case.kind == Kind::OneOfTwenty {
        for _ in 0..OTHERS {
            sim.viewer();
        }
        sim.run(Duration::from_secs(2));
    }
    let viewer = sim.client();
    sim.clients[viewer].tolerates_lost_start = true;
    sim.clients[viewer].wants_pictures = true;
    sim.clients[viewer].receive(1, u16::from(case.kind != Kind::Sound));
    let scripted = if uplink { publisher } else { viewer };
    if !uplink {
        sim.clients[viewer].up.set_model(script.start.up);
        sim.clients[viewer].down.set_model(script.start.down);
    }
    sim.join(viewer);
    let start = sim.now;
    let mut playback = script.play(start);
    let mut link = if uplink {
        script.start.up
    } else {
        script.start.down
    };
    let mut sampler = Sampler::new(case, start);
    while sim.now < start + Duration::from_secs(case.seconds) {
        while let Some(change) = playback.poll(sim.now) {
            let (now, client) = (sim.now, &mut sim.clients[scripted]);
            client.up.set_model_at(now, change.models.up);
            client.down.set_model_at(now, change.models.down);
            link = if uplink {
                change.models.up
            } else {
                change.models.down
            };
        }
        sim.run(STEP);
        let peer = sim.clients[viewer].peer.expect("it has joined");
        let stats = sim.relay.peer_stats(peer).ok();
        // The estimate is of the viewer's link, not the publisher's.
        let estimate = stats
            .filter(|_| !uplink)
            .and_then(|stats| stats.bandwidth.estimate);
        let now = sim.now;
        sampler.sample(now, &mut sim.clients[viewer], link, estimate);
    }
    let now = sim.now;
    sampler.finish(now, &sim.clients[viewer])
}
