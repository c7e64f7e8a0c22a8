//! The bot's own interceptors inside the crate's chain.
//!
//! The crate hands media to the application through a queue of 256 packets for each track and drops
//! packets that do not fit. A burst on a busy machine overflows it. The crate also keeps RTCP
//! feedback to itself. An interceptor sees both where they are decrypted, without queue or task
//! switch. So `Ears` is nearest to the application in the chain and takes all media. `Stamp` is
//! just under the NACK responder and adds the header extensions that the crate leaves to the
//! application, also to retransmissions (the responder sends those without any).

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rtc::interceptor::{
    Attribute, AttributedPacket, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket,
};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use super::receive::Receiver;
use crate::measure::{Measure, Sent, ntp, wall_time};

/// Place of `Stamp` in the chain: wire-ward of the NACK responder, above the pacer and the TWCC
/// sender.
const STAMP: Slot = Slot::Custom(3_500);
/// Place of `Ears` in the chain: nearest to the application.
const EARS: Slot = Slot::Custom(20_000);

/// Packets of a stream that name its m-line and layer. Browsers do so until the other side has
/// acknowledged the stream (RFC 8852 section 3.1 leaves it open); about two seconds of video.
const NAMED_PACKETS: u64 = 200;

/// The fixed part: what bots count of a header, because the rest is not the publisher's.
pub(crate) const RTP_HEADER: usize = 12;

/// The extensions to be written into the packets of one SSRC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    /// Sent on the first packets only: (id, value).
    pub(crate) naming: Vec<(u8, Bytes)>,
    /// Sent on every packet.
    pub(crate) always: Vec<(u8, Bytes)>,
    /// The id under which every packet tells when it was sent.
    pub(crate) capture_time: Option<u8>,
}

/// The packets that leave: shared between the bot and `Stamp`.
#[derive(Debug, Default)]
pub struct Outgoing {
    extensions: Mutex<HashMap<u32, (Extensions, u64)>>,
    keyframes: Mutex<HashMap<u32, Arc<AtomicBool>>>,
    measure: OnceLock<Arc<Measure>>,
    sent: Mutex<Sent>,
}

impl Outgoing {
    /// The counts so far.
    pub fn sent(&self) -> Sent {
        *lock(&self.sent)
    }

    pub(crate) fn add_late(&self, packets: u64) {
        lock(&self.sent).late += packets;
    }

    /// Makes it also count sent packets in the run's seconds.
    pub(crate) fn report_to(&self, measure: Arc<Measure>) {
        // Set once, before the bot starts.
        let _ = self.measure.set(measure);
    }

    pub(crate) fn set_extensions(&self, ssrc: u32, extensions: Extensions) {
        lock(&self.extensions)
            .entry(ssrc)
            .or_insert_with(|| (Extensions::default(), 0))
            .0 = extensions;
    }

    /// The flag raised when the server wants a keyframe of `ssrc`.
    pub(crate) fn keyframe_flag(&self, ssrc: u32) -> Arc<AtomicBool> {
        Arc::clone(lock(&self.keyframes).entry(ssrc).or_default())
    }

    fn request_keyframe(&self, ssrc: u32) {
        if let Some(flag) = lock(&self.keyframes).get(&ssrc) {
            lock(&self.sent).keyframe_requests_received += 1;
            flag.store(true, Ordering::Relaxed);
        }
    }

    fn count(&self, packet: &rtp::Packet, again: bool) {
        let mut sent = lock(&self.sent);
        if again {
            sent.retransmissions += 1;
            return;
        }
        sent.packets += 1;
        sent.bytes += (RTP_HEADER + packet.payload.len()) as u64;
        drop(sent);
        if let Some(measure) = self.measure.get() {
            measure.record(Instant::now(), |second| second.sent += 1);
        }
    }

    fn stamp(&self, packet: &mut rtp::Packet) {
        let mut extensions = lock(&self.extensions);
        let Some((extensions, sent)) = extensions.get_mut(&packet.header.ssrc) else {
            return;
        };
        *sent += 1;
        let naming = (*sent <= NAMED_PACKETS).then_some(&extensions.naming);
        for (id, value) in naming.into_iter().flatten().chain(&extensions.always) {
            // Fails only on ids outside 1..=14, which the crate never negotiates.
            let _ = packet.header.set_extension(*id, value.clone());
        }
        if let Some(id) = extensions.capture_time {
            let now = Bytes::copy_from_slice(&ntp(wall_time()).to_be_bytes());
            let _ = packet.header.set_extension(id, now);
        }
    }
}

/// Locks, also after a panic elsewhere: every value guarded here is valid at all times.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds the bot's interceptors.
pub(crate) fn register(
    registry: Registry,
    receiver: Arc<Mutex<Receiver>>,
    outgoing: Arc<Outgoing>,
) -> Registry {
    let tap = |receiver| Tap {
        receiver,
        outgoing: Arc::clone(&outgoing),
        reads: VecDeque::new(),
        writes: VecDeque::new(),
    };
    let registry = registry.with(STAMP, tap(None));
    registry.with(EARS, tap(Some(receiver)))
}

/// `Ears` with a receiver, `Stamp` without.
struct Tap {
    receiver: Option<Arc<Mutex<Receiver>>>,
    outgoing: Arc<Outgoing>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    fn hear_rtcp(&self, packets: &[Box<dyn rtcp::Packet>]) {
        for packet in packets {
            let packet = packet.as_any();
            if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.outgoing.request_keyframe(pli.media_ssrc);
            } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                for entry in &fir.fir {
                    self.outgoing.request_keyframe(entry.ssrc);
                }
            }
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, msg: TaggedPacket) -> Result<(), Error> {
        let Some(receiver) = &self.receiver else {
            self.reads.push_back(msg);
            return Ok(());
        };
        match &msg.message.packet {
            Packet::Rtp(packet) => {
                let keyframe_of = lock(receiver).observe(packet, msg.now);
                if let Some(media_ssrc) = keyframe_of {
                    let pli = PictureLossIndication {
                        sender_ssrc: 1,
                        media_ssrc,
                    };
                    self.writes.push_back(TaggedPacket {
                        now: msg.now,
                        // The crate fills in the selected pair, as for its own reports.
                        transport: TransportContext::default(),
                        message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(pli)])),
                    });
                }
            }
            Packet::Rtcp(packets) => self.hear_rtcp(packets),
            _ => {}
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut msg: TaggedPacket) -> Result<(), Error> {
        let again = msg.message.has(&Attribute::Retransmission);
        if self.receiver.is_none()
            && let Packet::Rtp(packet) = &mut msg.message.packet
        {
            self.outgoing.stamp(packet);
            self.outgoing.count(packet, again);
        }
        self.writes.push_back(msg);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
