//! Reads compounds.

use super::*;

/// Packets read of one datagram. A compound has a report, an SDES and a few feedback packets of
/// 12 bytes or more; 32 is twice what fits between a report of 31 blocks and the MTU.
pub const MAX_PACKETS: usize = 32;

/// Sequence numbers read of one NACK packet, at most. libwebrtc's receiver keeps at most 1,000
/// missing packets and asks for a keyframe beyond; further numbers are ignored.
pub const MAX_LOST: usize = 1_024;

/// Iterates over the packets of a compound, reduced-size ones (RFC 5506) included.
///
/// A packet whose content is malformed is an error between its neighbours; malformed framing is an
/// error at the end, for the packets after it cannot be told apart.
pub fn parse_compound(datagram: &[u8]) -> Packets<'_> {
    Packets {
        rest: datagram,
        read: 0,
    }
}

/// See [`parse_compound`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    read: usize,
}

impl Iterator for Packets<'_> {
    type Item = Result<Rtcp, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.read == MAX_PACKETS {
            self.rest = &[];
            return Some(Err(RtcpError::TooMany));
        }
        self.read += 1;
        let Some(frame) = Frame::split(&mut self.rest) else {
            self.rest = &[];
            return Some(Err(RtcpError::Framing));
        };
        Some(frame.parse().ok_or(RtcpError::Content))
    }
}

/// The body of one packet, without padding.
struct Frame<'a> {
    packet_type: u8,
    /// The count or format field.
    format: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Cuts a packet off the front (RFC 3550 section 6.4.1).
    fn split(rest: &mut &'a [u8]) -> Option<Self> {
        let (header, behind) = rest.split_first_chunk::<4>()?;
        let len = 4 * u16::from_be_bytes([header[2], header[3]]) as usize;
        let (mut body, behind) = behind.split_at_checked(len)?;
        if header[0] >> 6 != 2 {
            return None;
        }
        if header[0] & 0x20 != 0 {
            let padding = *body.last()? as usize;
            if padding == 0 || padding > body.len() {
                return None;
            }
            body = &body[..body.len() - padding];
        }
        *rest = behind;
        Some(Self {
            packet_type: header[1],
            format: header[0] & 0x1f,
            body,
        })
    }

    fn parse(self) -> Option<Rtcp> {
        let mut body = Reader(self.body);
        Some(match (self.packet_type, self.format) {
            (SENDER_REPORT, count) => Rtcp::SenderReport {
                ssrc: body.u32()?,
                ntp: body.u64()?,
                rtp: body.u32()?,
                packets: body.u32()?,
                octets: body.u32()?,
                reports: body.report_blocks(count)?,
            },
            (RECEIVER_REPORT, count) => Rtcp::ReceiverReport {
                ssrc: body.u32()?,
                reports: body.report_blocks(count)?,
            },
            (SOURCE_DESCRIPTION, count) => Rtcp::Sdes {
                cnames: (0..count).map(|_| body.chunk()).collect::<Option<_>>()?,
            },
            (GOODBYE, count) => Rtcp::Bye {
                ssrcs: (0..count).map(|_| body.u32()).collect::<Option<_>>()?,
            },
            (TRANSPORT_FEEDBACK, GENERIC_NACK) => Rtcp::Nack {
                sender: body.u32()?,
                media: body.u32()?,
                lost: body.lost(),
            },
            (TRANSPORT_FEEDBACK, TRANSPORT_CC) => Rtcp::Twcc(TransportFeedback::parse(self.body)?),
            (PAYLOAD_FEEDBACK, PICTURE_LOSS) => Rtcp::Pli {
                sender: body.u32()?,
                media: body.u32()?,
            },
            (PAYLOAD_FEEDBACK, FULL_INTRA) => {
                let sender = body.u32()?;
                body.u32()?;
                let mut entries = Vec::new();
                while let (Some(ssrc), Some([sequence, ..])) = (body.u32(), body.array::<4>()) {
                    entries.push((ssrc, sequence));
                }
                Rtcp::Fir { sender, entries }
            }
            (PAYLOAD_FEEDBACK, APPLICATION_LAYER) => {
                let sender = body.u32()?;
                body.u32()?;
                if body.array::<4>()? != *REMB_NAME {
                    return Some(self.unknown());
                }
                body.remb(sender)?
            }
            (EXTENDED_REPORT, _) => body.extended_report()?,
            _ => self.unknown(),
        })
    }

    fn unknown(&self) -> Rtcp {
        Rtcp::Unknown {
            packet_type: self.packet_type,
            format: self.format,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn report_blocks(&mut self, count: u8) -> Option<Vec<ReportBlock>> {
        (0..count)
            .map(|_| {
                let ssrc = self.u32()?;
                let lost = self.u32()?;
                Some(ReportBlock {
                    ssrc,
                    fraction_lost: (lost >> 24) as u8,
                    // Sign-extends 24 bits.
                    cumulative_lost: (lost << 8) as i32 >> 8,
                    highest_sequence: self.u32()?,
                    jitter: self.u32()?,
                    last_sender_report: self.u32()?,
                    delay: self.u32()?,
                })
            })
            .collect()
    }

    /// An SDES chunk: items up to a zero type, then zeros to the next word.
    fn chunk(&mut self) -> Option<(u32, Option<String>)> {
        let ssrc = self.u32()?;
        let mut cname = None;
        let len = self.0.len();
        loop {
            let [item] = self.array()?;
            if item == 0 {
                let consumed = len - self.0.len();
                self.bytes(consumed.next_multiple_of(4) - consumed)?;
                return Some((ssrc, cname));
            }
            let [len] = self.array()?;
            let text = self.bytes(len as usize)?;
            if item == CNAME {
                cname = std::str::from_utf8(text).ok().map(str::to_owned);
            }
        }
    }

    fn lost(&mut self) -> Vec<u16> {
        let mut lost = Vec::new();
        while let (Some(first), Some(following)) = (self.u16(), self.u16()) {
            let more = (0..16).filter(|bit| following >> bit & 1 != 0);
            let all = std::iter::once(first).chain(more.map(|bit| first.wrapping_add(bit + 1)));
            lost.extend(all.take(MAX_LOST - lost.len()));
        }
        lost
    }

    /// Reads the fields after the name: a count of SSRCs, 6 bits of exponent and 18 of mantissa,
    /// the SSRCs.
    fn remb(&mut self, sender: u32) -> Option<Rtcp> {
        let word = self.u32()?;
        let (exponent, mantissa) = (word >> 18 & 0x3f, u64::from(word & 0x3_ffff));
        let fits = mantissa == 0 || exponent <= mantissa.leading_zeros();
        Some(Rtcp::Remb {
            sender,
            bitrate: if fits { mantissa << exponent } else { u64::MAX },
            ssrcs: (0..word >> 24).map(|_| self.u32()).collect::<Option<_>>()?,
        })
    }

    fn extended_report(&mut self) -> Option<Rtcp> {
        let ssrc = self.u32()?;
        let (mut reference_time, mut delays) = (None, Vec::new());
        while let Some([block, _]) = self.array() {
            let words = self.u16()? as usize;
            let mut block_body = Reader(self.bytes(4 * words)?);
            match block {
                REFERENCE_TIME_BLOCK => reference_time = block_body.u64(),
                DELAY_BLOCK => {
                    while let (Some(ssrc), Some(last_reference), Some(delay)) =
                        (block_body.u32(), block_body.u32(), block_body.u32())
                    {
                        delays.push(DelayBlock {
                            ssrc,
                            last_reference,
                            delay,
                        });
                    }
                }
                _ => {}
            }
        }
        Some(Rtcp::Xr {
            ssrc,
            reference_time,
            delays,
        })
    }
}
