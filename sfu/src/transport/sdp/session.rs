//! The state of each m-line, over all offers of one peer.

use crate::event::MediaKind;
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::parameters::{MediaRole, SectionKind, SectionParameters, SlotIdentity, SsrcPair};
use crate::transport::{Candidate, Fingerprint, IceCredentials};

use super::answer;
use super::error::SdpError;
use super::extmap::{self, Extmap};
use super::media::{Direction, OfferedExtension, OfferedMedia};
use super::offer::{Offer, RemoteDescription};

/// The m-lines of one peer, from its first offer to its last.
///
/// A failed [`negotiate`](Self::negotiate) changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// `sess-id` of the answers (RFC 8866 section 5.2).
    id: u64,
    /// Answers written.
    version: u64,
    /// The client's end of the transport, as its last offer described it.
    remote: Option<RemoteDescription>,
    lines: Vec<Line>,
}

/// An m-line's place. Never more than the limit of one offer, since each offer repeats them all.
#[derive(Clone, Debug)]
struct Line {
    mid: String,
    /// The mid is the client's, not one that this side made up.
    named: bool,
    kind: SectionKind,
    /// Answered with port 0: free for a new m-line (RFC 8829 section 5.2.2).
    vacant: bool,
    /// Kept while the m-line lives, also through `inactive`.
    slot: Option<SlotIdentity>,
}

/// The server's part of the answer.
#[derive(Clone, Debug)]
pub(crate) struct LocalDescription<'a> {
    /// Our credentials.
    pub(crate) ice: &'a IceCredentials,
    /// The fingerprint of the server's certificate.
    pub(crate) fingerprint: &'a Fingerprint,
    /// The worker's addresses, the preferred first.
    pub(crate) candidates: &'a [Candidate],
    /// The canonical name of the server's RTP streams (RFC 3550 section 6.5.1), the same for all of a peer: browsers
    /// synchronise only streams that share one.
    pub(crate) cname: &'a str,
    /// The largest data channel message that the server accepts, in bytes.
    pub(crate) max_message_size: usize,
}

/// The outcome of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Negotiated {
    /// The answer.
    pub(crate) sdp: String,
    /// One for each m-line of the offer, in its order.
    pub(crate) media: Vec<SectionParameters>,
    /// Mids of the m-lines that were offered for use and refused, or whose tracks were, with the reasons.
    pub(crate) refused: Vec<(String, SdpError)>,
    /// The client's credentials are others than before: it restarts ICE (RFC 8445 section 9).
    pub(crate) ice_restarted: bool,
}

impl Session {
    /// A session before its first offer. `id` is random; RFC 8829 section 5.2.1 leaves 63 bits of it.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id: id >> 1,
            version: 0,
            remote: None,
            lines: Vec::new(),
        }
    }

    /// Answers the peer's next offer. `slots` names a slot the first time its m-line is one, by its `a=mid`, empty
    /// without; it is not called for offers that are refused.
    ///
    /// # Errors
    ///
    /// [`SdpError::BadOrder`].
    pub(crate) fn negotiate(
        &mut self,
        offer: &Offer,
        ours: &LocalDescription<'_>,
        slots: &mut dyn FnMut(&str, MediaKind) -> SlotIdentity,
    ) -> Result<Negotiated, SdpError> {
        self.renamed(offer)?;
        let mut shared = Shared::default();
        let agreed = offer.media.iter().map(|offered| shared.negotiate(offered));
        let (mut media, extensions): (Vec<_>, Vec<_>) = agreed.unzip();

        let ice_restarted = self
            .remote
            .as_ref()
            .zip(offer.remote.as_ref())
            .is_some_and(|(before, now)| before.ice != now.ice);
        self.remote = offer.remote.clone().or(self.remote.take());
        self.place(offer, &mut media, slots);
        self.version += 1;
        Ok(Negotiated {
            sdp: answer::write((self.id, self.version), offer, ours, &media, &extensions),
            media,
            refused: offer.refusals().collect(),
            ice_restarted,
        })
    }

    /// The m-lines without `a=mid` that this offer renames: old and new name of each. The offer gives the m-line an
    /// `a=mid`, or gives the name that the server had made up to another m-line.
    ///
    /// # Errors
    ///
    /// [`SdpError::BadOrder`]. RFC 8829 section 5.2.2: m-lines are added at the end or in a vacant place, nothing else
    /// moves.
    pub(crate) fn renamed<'a>(
        &'a self,
        offer: &'a Offer,
    ) -> Result<Vec<(&'a str, &'a str)>, SdpError> {
        let (before, now) = (self.lines.len(), offer.media.len());
        if now < before {
            return Err(SdpError::BadOrder(format!(
                "there were {before}, this offer has {now}; one no longer needed is stopped by port 0"
            )));
        }
        let mut renamed = Vec::new();
        for (index, (line, offered)) in self.lines.iter().zip(&offer.media).enumerate() {
            let unnamed = offered.stopped && offered.mid.is_empty();
            let same_name = offered.mid == line.mid || !line.named;
            let same = same_name && (offered.stopped || offered.kind == line.kind);
            if !line.vacant && !unnamed && !same {
                return Err(SdpError::BadOrder(format!(
                    "{} was {:?} with mid {} before",
                    offered.describe(index),
                    line.kind,
                    line.mid,
                )));
            }
            if !line.vacant && !unnamed && offered.mid != line.mid {
                renamed.push((line.mid.as_str(), offered.mid.as_str()));
            }
        }
        Ok(renamed)
    }

    /// Enters the m-lines into their places and names the slots.
    fn place(
        &mut self,
        offer: &Offer,
        media: &mut [SectionParameters],
        slots: &mut dyn FnMut(&str, MediaKind) -> SlotIdentity,
    ) {
        for (index, (media, offered)) in media.iter_mut().zip(&offer.media).enumerate() {
            let line = Line {
                mid: media.mid.clone(),
                named: offered.named,
                kind: media.kind,
                vacant: media.role == MediaRole::Rejected,
                slot: None,
            };
            let line = match self.lines.get_mut(index) {
                None => {
                    self.lines.push(line);
                    self.lines.last_mut()
                }
                Some(known) => {
                    if known.vacant || line.vacant {
                        *known = line;
                    } else {
                        (known.mid, known.named) = (line.mid, line.named);
                    }
                    // A client that sends on it meanwhile is answered without these SSRCs, and forgets them. They must
                    // not be used again: under the old keys their numbers would be used twice.
                    if media.role == MediaRole::Publish {
                        known.slot = None;
                    }
                    Some(known)
                }
            };
            if let (Some(line), MediaRole::Slot) = (line, media.role) {
                let kind = match media.kind {
                    SectionKind::Audio => MediaKind::Audio,
                    _ => MediaKind::Video,
                };
                // A name that was made up may become another m-line's.
                let mid = if line.named { &*media.mid } else { "" };
                let slot = line.slot.get_or_insert_with(|| slots(mid, kind));
                media.slot = Some(slot.clone());
            }
        }
    }
}

/// Identifiers that the m-lines of one offer share because they share a transport.
#[derive(Default)]
struct Shared {
    extmap: Extmap,
    ssrcs: Vec<u32>,
}

impl Shared {
    fn negotiate(&mut self, offered: &OfferedMedia) -> (SectionParameters, Vec<OfferedExtension>) {
        let mut media = SectionParameters {
            mid: offered.mid.clone(),
            kind: offered.kind,
            role: role(offered),
            codecs: Vec::new(),
            extensions: ExtensionMap::default(),
            rids: Vec::new(),
            rid_bounds: Vec::new(),
            ssrcs: Vec::new(),
            sim: Vec::new(),
            slot: None,
        };
        if matches!(media.role, MediaRole::Data | MediaRole::Rejected) {
            return (media, Vec::new());
        }
        let extensions = self.extmap.share(&extmap::nameable(offered));
        // Its simulcast is answered as if it were sent: a browser would forget encodings that the answer leaves out.
        let sent_as = match offered.forbidden {
            Some(_) => MediaRole::Publish,
            None => media.role,
        };
        media.extensions = extmap::in_use(&extensions, sent_as);
        media.codecs.clone_from(&offered.codecs);
        let twcc = media.extensions.id(ExtensionKind::TransportCc).is_some();
        for codec in &mut media.codecs {
            let feedback = &mut codec.feedback;
            feedback.twcc &= twcc;
            // One estimator is enough, and transport-wide feedback knows more.
            feedback.remb &= !feedback.twcc;
        }
        // Without the extension the encodings cannot be told apart.
        let rid = media.extensions.id(ExtensionKind::Rid);
        if sent_as == MediaRole::Publish && rid.is_some() {
            media.rids.clone_from(&offered.rids);
            media.rid_bounds.clone_from(&offered.rid_bounds);
        }
        if media.role == MediaRole::Publish {
            media.ssrcs = self.share_ssrcs(&offered.ssrcs);
            if media.rids.is_empty() {
                media.sim = simulcast_of(&offered.sim, &media.ssrcs);
            }
        }
        (media, extensions)
    }

    /// Keeps SSRCs that no m-line before has claimed.
    fn share_ssrcs(&mut self, offered: &[SsrcPair]) -> Vec<SsrcPair> {
        let mut claim = |ssrc: u32| {
            let free = !self.ssrcs.contains(&ssrc);
            self.ssrcs.extend(free.then_some(ssrc));
            free
        };
        offered
            .iter()
            .filter_map(|offered| {
                let ssrc = claim(offered.ssrc).then_some(offered.ssrc)?;
                let rtx = offered.rtx.filter(|rtx| claim(*rtx));
                Some(SsrcPair { ssrc, rtx })
            })
            .collect()
    }
}

fn role(offered: &OfferedMedia) -> MediaRole {
    match (offered.kind, offered.direction) {
        _ if !offered.is_usable() => MediaRole::Rejected,
        (SectionKind::Other, _) => MediaRole::Rejected,
        (SectionKind::Data, _) => MediaRole::Data,
        (_, Direction::SendOnly | Direction::SendRecv) => MediaRole::Publish,
        (_, Direction::RecvOnly) => MediaRole::Slot,
        (_, Direction::Inactive) => MediaRole::Inactive,
    }
}

/// The encodings of an SSRC group that are still to be had; one alone is no simulcast.
fn simulcast_of(group: &[u32], ssrcs: &[SsrcPair]) -> Vec<u32> {
    let known = |ssrc: &u32| ssrcs.iter().any(|known| known.ssrc == *ssrc);
    let mut simulcast: Vec<u32> = group.iter().copied().filter(known).collect();
    if simulcast.len() < 2 {
        simulcast.clear();
    }
    simulcast
}
