//! `tertulia-loadtest mesh`.

use std::path::PathBuf;
use std::time::Duration;

use super::report::save_both;
use super::{Status, failed, usage};
use crate::bot::publish::Video;
use crate::mesh::Mesh;
use crate::scenario::settings::duration;

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct MeshArgs {
    /// Number of people of the real mesh
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=20))]
    people: u16,
    /// Video of each: none, 180p or 720p (one encoding: nobody is there to choose among several)
    #[arg(long, default_value = "720p", value_parser = one_encoding)]
    video: Video,
    /// Everybody sends audio too
    #[arg(long)]
    audio: bool,
    /// Time that it is measured
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Where the JSON report goes; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl MeshArgs {
    pub(super) async fn run(&self) -> Status {
        if self.video == Video::None && !self.audio {
            return Err(usage("people need --video or --audio"));
        }
        let mesh = Mesh {
            people: self.people.into(),
            video: self.video,
            audio: self.audio,
            duration: self.duration,
        };
        let report = mesh.run().await.map_err(failed)?;
        eprintln!("{report}");
        save_both(&self.json, &None, &report, |_| String::new())?;
        Ok(report.exit_status())
    }
}

fn one_encoding(text: &str) -> Result<Video, String> {
    match text.parse()? {
        video @ (Video::None | Video::P180 | Video::P720) => Ok(video),
        _ => Err("none, 180p or 720p".into()),
    }
}
