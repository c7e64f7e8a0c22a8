//! The permissions of a participant, as its offers meet them.

use super::participant::Track;
use super::{Carried, Refusal, Source};
use crate::hooks::Permissions;
use crate::media::{MayPublish, MediaKind};

/// The tracks that an offer may publish. The source of an m-line is the one that the offer tells, else the one that was
/// told before.
pub(super) fn may_publish(
    permissions: Permissions,
    carries: &[Carried],
    tracks: &[Track],
) -> MayPublish {
    let Permissions {
        microphone,
        camera,
        screen,
        ..
    } = permissions;
    let mut except: Vec<(String, MediaKind)> = Vec::new();
    let told = carries.iter().map(|carried| (&carried.mid, carried.source));
    let known = tracks.iter().map(|track| (&track.mid, track.info.source));
    let mut named: Vec<&str> = Vec::new();
    for (mid, source) in told.chain(known) {
        // The first that names an m-line counts.
        if named.contains(&mid.as_str()) {
            continue;
        }
        named.push(mid);
        match source {
            Source::Screen if screen != camera => except.push((mid.clone(), MediaKind::Video)),
            Source::ScreenAudio if screen != microphone => {
                except.push((mid.clone(), MediaKind::Audio));
            }
            _ => {}
        }
    }
    MayPublish {
        audio: microphone,
        video: camera,
        except,
    }
}

/// The answer to an m-line that publishes what its sender may not.
pub(super) fn refusal(carried: Option<&Carried>) -> Refusal {
    Refusal::not_allowed(match carried.map(|carried| carried.source) {
        Some(Source::Camera) => "You may not send a camera in this room.",
        Some(Source::Microphone) => "You may not send sound in this room.",
        Some(Source::Screen | Source::ScreenAudio) => "You may not share a screen in this room.",
        Some(Source::Other) | None => "You may not send this in this room.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(mid: &str, source: Source) -> Carried {
        Carried {
            mid: mid.into(),
            source,
            muted: false,
        }
    }

    #[test]
    fn sources_are_what_the_first_to_name_an_m_line_says() {
        let mut screen = Permissions::listener();
        screen.screen = true;
        let carries = [
            carried("0", Source::Microphone),
            carried("1", Source::Screen),
            carried("2", Source::ScreenAudio),
            carried("3", Source::Camera),
            carried("3", Source::Screen),
        ];
        let alone = may_publish(screen, &carries, &[]);
        let expected = [
            ("1".to_owned(), MediaKind::Video),
            ("2".to_owned(), MediaKind::Audio),
        ];
        assert_eq!((alone.audio, alone.video), (false, false));
        assert_eq!(alone.except, expected);
        let mut no_screen = Permissions::all();
        no_screen.screen = false;
        assert_eq!(may_publish(no_screen, &carries, &[]).except, expected);
        let all = may_publish(Permissions::all(), &carries, &[]);
        assert_eq!(all, MayPublish::default());
    }
}
