//! The floor: the cost of sealing and sending a packet with nothing else around it.
//!
//! It covers a copy, a header rewrite, AES-128-GCM by the relay's own SRTP with a key for each destination, and the
//! kernel: datagram by datagram (`sendto`), many in one system call (`sendmmsg`), and runs of equal datagrams as one
//! message (`UDP_SEGMENT`). No relay on this machine can do better with this kernel and this cipher.
//!
//! # Honest receivers
//!
//! Over loopback the sender pays for delivery up to the receiver's queue. So receivers are part of the figure, and the
//! floor and the figures compared with it must use the same ones ([`Sink`]). They are bound sockets with `UDP_GRO`: a
//! network card's transmit queue also takes a run whole, and does not cut it in software at the sender's cost. Their
//! queues have room, as dropping is cheaper than queueing. This thread empties them while no time is taken: a reading
//! thread would wake up on the other core at random moments and move cache lines about. The figure leaves out what a
//! real reader's wake-up costs its sender.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use crate::runtime::measure::{CountingAllocator, Sink, Stopwatch};

use crate::rtp::{HeaderWriter, OutHeader};
use crate::runtime::measure::Direct;
use crate::transport::{Backend, Srtp, SrtpProfile};

/// The way to hand packets to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// `sendto` for each.
    SendTo,
    /// One `sendmmsg` for many messages of one datagram each.
    Sendmmsg,
    /// One `sendmmsg` for many runs of this many datagrams.
    Gso(u16),
}

impl Method {
    /// Methods whose figures a relay is compared with.
    pub const ALL: [Self; 6] = [
        Self::SendTo,
        Self::Sendmmsg,
        Self::Gso(1),
        Self::Gso(2),
        Self::Gso(4),
        Self::Gso(10),
    ];

    /// Packets to one destination at a time.
    pub fn run(self) -> usize {
        match self {
            Self::SendTo | Self::Sendmmsg => 1,
            Self::Gso(run) => run.max(1).into(),
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SendTo => f.write_str("sendto"),
            Self::Sendmmsg => f.write_str("sendmmsg"),
            Self::Gso(run) => write!(f, "gso {run}"),
        }
    }
}

/// The cost of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// The number of packets sent.
    pub packets: u64,
    /// CPU time of the sending thread.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

impl Cost {
    /// Nanoseconds of CPU for each packet.
    pub fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// Nanoseconds on the wall for each packet.
    pub fn wall_ns(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

/// The floor by method: medians of several rounds.
#[derive(Clone, Debug)]
pub struct FloorReport {
    /// Nanoseconds of CPU, and on the wall, for each packet.
    pub figures: Vec<(Method, f64, f64)>,
}

impl FloorReport {
    /// Nanoseconds of CPU for each packet; 0 if the method was not measured.
    pub fn cpu_ns(&self, method: Method) -> f64 {
        let mut figures = self.figures.iter();
        figures
            .find(|(measured, ..)| *measured == method)
            .map_or(0.0, |(_, cpu, _)| *cpu)
    }
}

/// Measures the floor on the calling thread: `rounds` medians of every method, interleaved,
/// `packets` or somewhat more in each. A pinned thread measures its core.
///
/// # Errors
///
/// The system's: a socket for each destination is needed.
pub fn measure(
    destinations: usize,
    packet_bytes: usize,
    rounds: usize,
    packets: usize,
) -> io::Result<FloorReport> {
    let sinks = bind_sinks(destinations)?;
    let mut floor = Floor::new(&sinks, packet_bytes)?;
    let mut costs = vec![Vec::new(); Method::ALL.len()];
    for round in 0..=rounds {
        for (method, costs) in Method::ALL.into_iter().zip(&mut costs) {
            let cost = floor.round(method, packets)?;
            // The first warms the caches and the branch predictor.
            if round > 0 {
                costs.push((cost.cpu_ns(), cost.wall_ns()));
            }
        }
    }
    let median = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let figures = Method::ALL.into_iter().zip(&costs);
    Ok(FloorReport {
        figures: figures
            .map(|(method, costs)| {
                let cpu = median(&mut costs.iter().map(|(cpu, _)| *cpu));
                let wall = median(&mut costs.iter().map(|(_, wall)| *wall));
                (method, cpu, wall)
            })
            .collect(),
    })
}

/// Receivers on loopback.
///
/// # Errors
///
/// The system's.
pub fn bind_sinks(count: usize) -> io::Result<Vec<Sink>> {
    (0..count).map(|_| Sink::bind()).collect()
}

/// Packets between two drains of the receivers: none of their queues fills up, and reading the clocks is a thousandth
/// of the measured time.
pub const DRAINED_EVERY: usize = 400;

/// Sealed bytes of one `sendmmsg`: they stay in the second-level cache until the kernel copies them.
const SLAB_BYTES: usize = 256 << 10;
/// Messages of one `sendmmsg`.
const MESSAGES: usize = 64;
/// AES-128-GCM's (RFC 7714 section 14.2).
const TAG: usize = 16;

/// Sealed packets, made as for a floor: a copy, a header, and a key for each destination.
pub struct Packets {
    keys: Vec<Srtp>,
    payload: Vec<u8>,
    packet_bytes: usize,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("destinations", &self.keys.len())
            .field("packet_bytes", &self.packet_bytes)
            .finish_non_exhaustive()
    }
}

impl Packets {
    /// Packets of `packet_bytes`, 40 at least, for so many destinations.
    ///
    /// # Errors
    ///
    /// The cipher refuses the keys.
    pub fn new(destinations: usize, packet_bytes: usize) -> io::Result<Self> {
        let profile = SrtpProfile::AeadAes128Gcm;
        let keys = (0..destinations)
            .map(|key| {
                let material: Vec<u8> = (0..profile.keying_material_len())
                    .map(|byte| (byte * 7 + key * 13) as u8)
                    .collect();
                Srtp::from_keying_material(Backend::default(), profile, &material)
                    .ok_or_else(|| io::ErrorKind::InvalidInput.into())
            })
            .collect::<io::Result<_>>()?;
        let packet_bytes = packet_bytes.max(40);
        Ok(Self {
            keys,
            payload: (0..packet_bytes).map(|byte| byte as u8).collect(),
            packet_bytes,
        })
    }

    /// Appends the packet with this sequence number for a destination.
    pub fn append(&mut self, destination: usize, sequence: u16, out: &mut Vec<u8>) {
        let at = out.len();
        out.resize(at + self.packet_bytes, 0);
        let room = &mut out[at..];
        let srtp = &mut self.keys[destination];
        let len = write(srtp, room, &self.payload, self.packet_bytes, sequence);
        out.truncate(at + len);
    }
}

/// The floor to some receivers.
pub struct Floor<'a> {
    sinks: &'a [Sink],
    to: Vec<SocketAddr>,
    direct: Direct,
    packets: Packets,
    slab: Vec<u8>,
    sequence: u16,
}

impl std::fmt::Debug for Floor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Floor")
            .field("destinations", &self.sinks.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Floor<'a> {
    /// Sends packets of `packet_bytes` of UDP payload, 40 at least, to each of `sinks`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new(sinks: &'a [Sink], packet_bytes: usize) -> io::Result<Self> {
        let packets = Packets::new(sinks.len(), packet_bytes)?;
        Ok(Self {
            sinks,
            to: sinks.iter().map(Sink::addr).collect(),
            direct: Direct::bind()?,
            slab: vec![0; SLAB_BYTES + 64 * packets.packet_bytes],
            packets,
            sequence: 0,
        })
    }

    /// Sends `packets` or somewhat more, and empties the receivers.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn round(&mut self, method: Method, packets: usize) -> io::Result<Cost> {
        let mut total = Cost::default();
        let frame = method.run() * self.sinks.len();
        let frames = DRAINED_EVERY.div_ceil(frame.max(1));
        while total.packets < packets as u64 {
            let watch = Stopwatch::start();
            for _ in 0..frames {
                self.frame(method)?;
            }
            let (cpu, wall) = watch.stop();
            total.add(Cost {
                packets: (frames * frame) as u64,
                cpu,
                wall,
            });
            for sink in self.sinks {
                sink.drain();
            }
        }
        Ok(total)
    }

    /// A frame of as many packets as a run to every destination.
    fn frame(&mut self, method: Method) -> io::Result<()> {
        let run = method.run();
        let first = self.sequence;
        self.sequence = first.wrapping_add(run as u16);
        let Packets {
            keys,
            payload,
            packet_bytes,
        } = &mut self.packets;
        let packet_bytes = *packet_bytes;
        let message_len = run * packet_bytes;
        let messages = match method {
            Method::SendTo => 1,
            _ => (SLAB_BYTES / message_len).clamp(1, MESSAGES),
        };
        for (to, keys) in self.to.chunks(messages).zip(keys.chunks_mut(messages)) {
            let mut at = 0;
            for srtp in keys {
                for packet in 0..run {
                    let room = &mut self.slab[at..];
                    let sequence = first.wrapping_add(packet as u16);
                    at += write(srtp, room, payload, packet_bytes, sequence);
                }
            }
            match (method, to) {
                (Method::SendTo, [to]) => self.direct.send_to(&self.slab[..at], *to)?,
                _ => {
                    self.direct
                        .send_all(&self.slab[..at], message_len, packet_bytes as u16, to)?
                }
            }
        }
        Ok(())
    }
}

/// Copy, header, seal; the length.
fn write(srtp: &mut Srtp, buf: &mut [u8], payload: &[u8], len: usize, sequence: u16) -> usize {
    let header = OutHeader {
        marker: false,
        payload_type: 96,
        sequence,
        timestamp: 3_000 * u32::from(sequence),
        ssrc: 0x1234_5678,
    };
    let mut writer = HeaderWriter::new(buf, &header);
    writer.extension(1, &[1, 2, 3]);
    writer.extension(2, &sequence.to_be_bytes());
    let header_len = writer.finish();
    let plain = len - TAG;
    buf[header_len..plain].copy_from_slice(&payload[header_len..plain]);
    srtp.seal_rtp(buf, header_len, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_arrives_by_every_method() {
        let sinks = bind_sinks(3).unwrap();
        let mut floor = Floor::new(&sinks, 1_200).unwrap();
        for method in Method::ALL {
            floor.frame(method).unwrap();
            for sink in &sinks {
                assert_eq!(sink.drain(), 1_200 * method.run() as u64, "{method}");
            }
        }
        let report = measure(2, 100, 1, 10).unwrap();
        assert!(report.cpu_ns(Method::Gso(10)) > 0.0);
    }
}
