//! Answers to Firefox's offers, to the letter. Firefox ESR 153 took each of them, with the direction and
//! the encodings one expects. It limits extensions to a direction, and lists SSRCs beside RIDs.

use super::*;
use crate::rtp::extension::ExtensionKind;
use ExtensionKind::{
    AbsSendTime, AudioLevel, DependencyDescriptor, Mid, PlayoutDelay, RepairedRid, Rid, TransportCc,
};

pub(super) const PUBLISH: (&str, &str) = fixture!("firefox-publish");
pub(super) const SIMULCAST: (&str, &str) = fixture!("firefox-simulcast");
pub(super) const RECEIVE: (&str, &str) = fixture!("firefox-receive");

fn extensions(negotiated: &Negotiated, index: usize) -> Vec<(u8, ExtensionKind)> {
    negotiated.media[index].extensions.iter().collect()
}

#[test]
fn a_simulcast_publisher_is_read_by_what_it_may_send() {
    let [negotiated] = &assert_answers(&[SIMULCAST])[..] else {
        panic!("one answer");
    };
    assert_eq!(
        roles(negotiated),
        [("0", MediaRole::Publish), ("1", MediaRole::Publish)]
    );
    assert_eq!(negotiated.media[1].rids, ["l", "m", "h"]);
    assert_eq!(
        extensions(negotiated, 0),
        [(1, AudioLevel), (3, Mid), (7, TransportCc)]
    );
    assert_eq!(
        extensions(negotiated, 1),
        [
            (3, Mid),
            (4, AbsSendTime),
            (7, TransportCc),
            (8, DependencyDescriptor),
            (9, Rid),
            (10, RepairedRid),
        ]
    );
}

#[test]
fn a_publisher_without_simulcast() {
    let [negotiated] = &assert_answers(&[PUBLISH])[..] else {
        panic!("one answer");
    };
    let [audio, video] = &negotiated.media[..] else {
        panic!("two m-lines");
    };
    assert_eq!(audio.ssrcs.len(), 1);
    assert!(matches!(video.ssrcs[..], [SsrcPair { rtx: Some(_), .. }]));
    assert!(video.rids.is_empty());
}

#[test]
fn a_viewer_is_written_to_by_what_it_may_receive() {
    let [negotiated] = &assert_answers(&[RECEIVE])[..] else {
        panic!("one answer");
    };
    assert_eq!(
        roles(negotiated),
        [
            ("0", MediaRole::Slot),
            ("1", MediaRole::Slot),
            ("2", MediaRole::Data)
        ]
    );
    assert_eq!(
        extensions(negotiated, 1),
        [
            (3, Mid),
            (4, AbsSendTime),
            (6, PlayoutDelay),
            (7, TransportCc),
        ]
    );
}
