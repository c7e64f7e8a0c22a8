//! Calls of several publishers and one viewer on a narrow link, with the audio and video that the viewer gets.
//!
//! Publishers encode as browsers do, with audio beside each camera. Figures count from 3 s after each change of the
//! link.

mod cases;
mod figures;
mod table;

use std::time::Duration;

use tertulia_sfu::testing::network::PathModel;

use crate::harness::{Sim, Video};

pub(crate) use cases::{CALLS, Narrow};
pub(crate) use figures::{Calm, calm_median};
pub(crate) use table::calm_page;

use figures::Sampler;

/// Interval of samples.
const STEP: Duration = Duration::from_millis(20);
/// Time until publishers have begun, and time for the viewer's link to be estimated.
const BEFORE: Duration = Duration::from_secs(4);
const FINDS_OUT: Duration = Duration::from_secs(8);
/// Delay of each path, as in `quality.mjs`.
const DELAY: Duration = Duration::from_millis(30);

impl Narrow {
    pub(crate) fn run(&self, seed: u64) -> Calm {
        let mut sim = Sim::new(seed);
        for number in 0..self.publishers {
            let publisher = sim.client();
            if number < self.talkers {
                sim.clients[publisher].publish_audio();
            }
            sim.clients[publisher].publish_video(Video::Simulcast);
            sim.clients[publisher].encodes_as_browsers();
            sim.join(publisher);
        }
        sim.run(BEFORE);
        let viewer = sim.client();
        sim.clients[viewer].tolerates_lost_start = true;
        sim.clients[viewer].wants_pictures = true;
        sim.clients[viewer].receive(self.talkers, self.publishers);
        let model = |rate| {
            let mut model = PathModel {
                delay: DELAY,
                rate,
                ..PathModel::CLEAR
            };
            let start = model;
            let words = model.change(self.path, &start);
            words.expect("the words of a case are right");
            model
        };
        let up = PathModel {
            delay: model(None).delay,
            ..PathModel::CLEAR
        };
        sim.clients[viewer].up.set_model(up);
        sim.clients[viewer].down.set_model(model(self.first));
        sim.join(viewer);
        sim.run(FINDS_OUT);
        let now = sim.now;
        sim.clients[viewer]
            .down
            .set_model_at(now, model(Some(self.rate)));
        let mut sampler = Sampler::new(now);
        while sim.now < now + Duration::from_secs(self.seconds) {
            sim.run(STEP);
            sampler.sample(&mut sim, viewer);
        }
        sampler.finish(&sim, viewer, self)
    }
}
