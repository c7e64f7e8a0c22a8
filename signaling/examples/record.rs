//! Records a call: sound and picture of the first participant as one WebM file, which browsers play.
//!
//! `cargo run -p tertulia-signaling --example record -- call.webm`: open the address, talk, press Ctrl-C.

use std::collections::BTreeMap;
use std::{error::Error, fs::File, pin::pin, sync::Arc, time::Duration};

use tertulia_sfu::{Sfu, SfuConfig, TapFrame, TapFrames, TapSettings};
use tertulia_signaling::Node;
use webm::mux::{AudioCodecId::Opus, Segment, SegmentBuilder, VideoCodecId::VP8, Writer};

/// Frames wait this long, to be written in the order of their times. The first report on sound, without which its
/// times are not known, takes a browser up to five seconds.
const HOLD: Duration = Duration::from_secs(6);
/// The header of Opus in a container (RFC 7845 section 5.1): two channels at 48 kHz, nothing to skip.
const OPUS: &[u8] = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or("call.webm".to_owned());
    let mut config = SfuConfig::default();
    config.media_port = 0;
    let sfu = Sfu::start(config)?;
    let node = Node::builder().media(Arc::new(sfu.clone())).build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("open http://{}/?room=recorded", listener.local_addr()?);
    tokio::spawn(async move { node.serve(listener).await });
    let taps = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let stats = sfu.stats().await?;
        let mut peers = stats.workers.iter().flat_map(|worker| &worker.peers);
        let two = peers.find_map(|peer| peer.published.first_chunk());
        if let Some([one, other]) = two {
            let one = sfu.tap(one.track, TapSettings::default()).await?;
            break [one, sfu.tap(other.track, TapSettings::default()).await?];
        }
    };
    let [mut one, mut other] = taps.map(TapFrames::new);
    println!("recording");
    let mut recording = Recording::default();
    // One for all turns: a signal that comes while a frame is written would be lost with the turn's own.
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        let frame = tokio::select! {
            frame = one.next() => frame,
            frame = other.next() => frame,
            _ = &mut stop => None,
        };
        let Some(frame) = frame else { break };
        recording.add(frame, &path)?;
    }
    recording.write(Duration::MAX)?;
    let (file, ..) = recording.file.ok_or("no picture came")?;
    file.finalize(None)
        .map_err(|_| "the file cannot be finished")?;
    Ok(())
}

#[derive(Default)]
struct Recording {
    /// Frames that wait, by their times; a picture is after the sound of its time.
    frames: BTreeMap<(Duration, bool), TapFrame>,
    /// The file, its tracks, and the time at which it begins and to which it is written.
    file: Option<(Segment<File>, [u64; 2], Duration, Duration)>,
}

impl Recording {
    /// Adds a frame, and writes those that have waited. The first picture begins the file.
    fn add(&mut self, frame: TapFrame, path: &str) -> Result<(), Box<dyn Error>> {
        let time = frame.time();
        if let (None, Some((width, height))) = (&self.file, frame.dimensions) {
            let file = SegmentBuilder::new(Writer::new(File::create(path)?))?;
            let (file, picture) = file.add_video_track(width.into(), height.into(), VP8, None)?;
            let (file, sound) = file.add_audio_track(48_000, 2, Opus, None)?;
            let file = file.set_codec_private(sound, OPUS)?.build();
            self.file = Some((file, [sound.into(), picture.into()], time, time));
        }
        self.frames.insert((time, !frame.codec.is_audio()), frame);
        self.write(time.saturating_sub(HOLD))
    }

    /// Writes the frames up to a time.
    fn write(&mut self, until: Duration) -> Result<(), Box<dyn Error>> {
        while let Some(first) = self
            .frames
            .first_entry()
            .filter(|first| first.key().0 <= until)
        {
            let ((time, is_picture), frame) = first.remove_entry();
            if let Some((file, tracks, start, written)) = &mut self.file
                && time >= *written
            {
                let (at, track) = ((time - *start).as_nanos(), tracks[usize::from(is_picture)]);
                file.add_frame(track, &frame.data, at as u64, frame.keyframe)?;
                *written = time;
            }
        }
        Ok(())
    }
}
