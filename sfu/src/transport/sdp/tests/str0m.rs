//! Offers of an independent stack, which must take the answers.

use std::net::SocketAddr;
use std::time::Instant;

use ::str0m::change::{SdpAnswer, SdpPendingOffer};
use ::str0m::media::{Direction as Str0mDirection, MediaKind as Str0mKind};
use ::str0m::{Candidate, Rtc};

use super::*;

fn accept(
    session: &mut Session,
    rtc: &mut Rtc,
    offer: &str,
    pending: SdpPendingOffer,
) -> Negotiated {
    let negotiated = answer(session, offer).expect("negotiates");
    let answer = SdpAnswer::from_sdp_string(&negotiated.sdp).expect("parses");
    let accepted = rtc.sdp_api().accept_answer(pending, answer);
    accepted.expect("takes the answer");
    negotiated
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the other stack wants a start, no time passes"
)]
fn publishes_then_receives() {
    let mut rtc = Rtc::builder().build(Instant::now());
    let address: SocketAddr = ([127, 0, 0, 1], 5000).into();
    rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
    let mut session = session();

    let mut api = rtc.sdp_api();
    api.add_media(Str0mKind::Audio, Str0mDirection::SendOnly, None, None, None);
    api.add_media(Str0mKind::Video, Str0mDirection::SendOnly, None, None, None);
    api.add_channel("reliable".into());
    let (offer, pending) = api.apply().expect("an offer");
    let negotiated = accept(&mut session, &mut rtc, &offer.to_sdp_string(), pending);
    let roles = |negotiated: &Negotiated| -> Vec<MediaRole> {
        negotiated.media.iter().map(|media| media.role).collect()
    };
    use MediaRole::{Data, Publish, Slot};
    let mut first = roles(&negotiated);
    first.sort_by_key(|role| *role == Data);
    assert_eq!(first, [Publish, Publish, Data]);
    for media in negotiated.media.iter().filter(|m| m.role == Publish) {
        assert!(!media.ssrcs.is_empty(), "{media:?}");
    }

    let mut api = rtc.sdp_api();
    api.add_media(Str0mKind::Audio, Str0mDirection::RecvOnly, None, None, None);
    api.add_media(Str0mKind::Video, Str0mDirection::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().expect("an offer");
    let negotiated = accept(&mut session, &mut rtc, &offer.to_sdp_string(), pending);
    assert_eq!(roles(&negotiated)[3..], [Slot, Slot]);
    assert!(!negotiated.ice_restarted);
}
