//! A client's offer, with the tracks that it may publish.

use crate::event::MediaKind;

/// An SDP offer of a client. A text alone is an offer that may publish anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientOffer {
    /// The session description (RFC 8866).
    pub sdp: String,
    /// The tracks that it may publish.
    pub may_publish: MayPublish,
}

impl From<String> for ClientOffer {
    fn from(sdp: String) -> Self {
        Self {
            sdp,
            may_publish: MayPublish::default(),
        }
    }
}

impl From<&str> for ClientOffer {
    fn from(sdp: &str) -> Self {
        sdp.to_owned().into()
    }
}

/// The tracks that an offer may publish. An m-line that sends another track is answered `inactive`, and
/// [`Answer::refused`](crate::Answer::refused) says [`SdpError::NotAllowed`](crate::SdpError::NotAllowed); a track that
/// it carried before ends. A later offer that may publish the track publishes it there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MayPublish {
    /// Audio tracks.
    pub audio: bool,
    /// Video tracks.
    pub video: bool,
    /// m-lines for which the opposite holds, by their `a=mid`, if they have this kind.
    pub except: Vec<(String, MediaKind)>,
}

impl Default for MayPublish {
    fn default() -> Self {
        Self {
            audio: true,
            video: true,
            except: Vec::new(),
        }
    }
}

impl MayPublish {
    /// Whether an m-line of this `a=mid` and kind may send.
    pub(crate) fn allows(&self, mid: &str, kind: MediaKind) -> bool {
        let usually = match kind {
            MediaKind::Audio => self.audio,
            MediaKind::Video => self.video,
        };
        let mut except = self.except.iter();
        usually != except.any(|(other, of)| other == mid && *of == kind)
    }

    /// Whether nothing can be refused.
    pub(crate) fn is_everything(&self) -> bool {
        self.audio && self.video && self.except.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_turns_what_holds_for_its_kind() {
        let screen_alone = MayPublish {
            audio: false,
            video: false,
            except: vec![("2".into(), MediaKind::Video)],
        };
        let no_screen = MayPublish {
            except: vec![("2".into(), MediaKind::Video)],
            ..MayPublish::default()
        };
        for (mid, kind, alone, without) in [
            ("0", MediaKind::Audio, false, true),
            ("1", MediaKind::Video, false, true),
            ("2", MediaKind::Video, true, false),
            // The name of a screen's m-line on sound is no way around.
            ("2", MediaKind::Audio, false, true),
        ] {
            assert_eq!(screen_alone.allows(mid, kind), alone, "{mid} {kind:?}");
            assert_eq!(no_screen.allows(mid, kind), without, "{mid} {kind:?}");
        }
        assert!(MayPublish::default().is_everything() && !no_screen.is_everything());
    }
}
