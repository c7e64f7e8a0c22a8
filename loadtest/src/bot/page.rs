//! A bot's screen: the first videos of a call that it hears of, one large and the others small. It tells
//! the server, as a client does whose window has room for so many tiles.

use std::collections::BTreeSet;

use tertulia_signaling::protocol::native::{ClientMessage, MediaKind, Track, TrackView, View};

/// Heights of the tiles in device pixels.
const LARGE: u16 = 720;
const SMALL: u16 = 180;
/// Tracks named in a message; the server takes 256.
const NAMED: usize = 100;

/// A page of tiles.
#[derive(Debug)]
pub(super) struct Page {
    tiles: usize,
    shown: usize,
}

impl Page {
    pub(super) fn new(tiles: usize) -> Self {
        Self { tiles, shown: 0 }
    }

    /// Gives new tracks their tiles, while there are any; the others are hidden, and recorded as such. Returns the
    /// views to tell the server.
    pub(super) fn place<'a>(
        &mut self,
        tracks: impl IntoIterator<Item = &'a Track>,
        hidden: &mut BTreeSet<String>,
    ) -> Vec<ClientMessage> {
        let tracks = tracks.into_iter();
        let videos = tracks.filter(|track| track.kind == MediaKind::Video);
        let views: Vec<TrackView> = videos
            .map(|track| {
                let visible = self.shown < self.tiles;
                let height = if self.shown == 0 { LARGE } else { SMALL };
                if visible {
                    self.shown += 1;
                } else {
                    hidden.insert(track.id.clone());
                }
                TrackView {
                    track: track.id.clone(),
                    visible,
                    height: if visible { height } else { 0 },
                    pinned: false,
                }
            })
            .collect();
        let told = views.chunks(NAMED).map(<[TrackView]>::to_vec);
        told.map(|tracks| ClientMessage::View(View { tracks }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tertulia_signaling::protocol::native::Source;

    use super::*;

    fn track(id: &str, kind: MediaKind) -> Track {
        Track {
            id: id.into(),
            kind,
            source: match kind {
                MediaKind::Audio => Source::Microphone,
                MediaKind::Video => Source::Camera,
            },
            muted: false,
            simulcast: false,
            codec: String::new(),
        }
    }

    #[test]
    fn the_first_videos_get_tiles_and_sound_is_nothing_to_see() {
        let tracks = [
            track("a", MediaKind::Video),
            track("b", MediaKind::Audio),
            track("c", MediaKind::Video),
        ];
        let (mut page, mut hidden) = (Page::new(2), BTreeSet::new());
        let told = |messages: Vec<ClientMessage>| -> Vec<(String, bool, u16)> {
            let views = messages.into_iter().flat_map(|message| match message {
                ClientMessage::View(view) => view.tracks,
                other => panic!("{other:?}"),
            });
            let views = views.map(|view| (view.track, view.visible, view.height));
            views.collect()
        };
        let first = told(page.place(&tracks, &mut hidden));
        assert_eq!(first, [("a".into(), true, 720), ("c".into(), true, 180)]);
        assert_eq!(told(page.place(&tracks[1..2], &mut hidden)), []);
        let crowd: Vec<_> = (0..250)
            .map(|index| track(&format!("d{index}"), MediaKind::Video))
            .collect();
        let messages = page.place(&crowd, &mut hidden);
        assert_eq!(messages.len(), 3, "no message names more than is taken");
        assert!(told(messages).iter().all(|view| !view.1));
        assert_eq!(hidden.len(), 250);
    }
}
