use super::*;
use crate::rtp::extension::ExtensionMap;
use crate::rtp::{HeaderWriter, OutHeader, RtpHeader};

const ID: u8 = 3;

/// One stream and its packets, which come in order unless told otherwise.
struct Stream {
    start: Instant,
    reader: FrameReader,
    codec: Codec,
    sequence: u64,
}

impl Stream {
    fn new(codec: Codec) -> Self {
        Self {
            start: Instant::now(),
            reader: FrameReader::default(),
            codec,
            sequence: 100,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// A packet with a dependency descriptor, if any.
    fn packet(&mut self, ms: u64, payload: &[u8], dependencies: Option<&[u8]>) -> Described {
        self.sequence += 1;
        self.packet_numbered(self.sequence, ms, payload, dependencies)
    }

    fn packet_numbered(
        &mut self,
        sequence: u64,
        ms: u64,
        payload: &[u8],
        dependencies: Option<&[u8]>,
    ) -> Described {
        let mut ids = ExtensionMap::default();
        ids.insert(ID, ExtensionKind::DependencyDescriptor);
        let mut datagram = vec![0; 300];
        let mut writer = HeaderWriter::new(&mut datagram, &OutHeader::default());
        if let Some(value) = dependencies {
            assert!(writer.extension(ID, value));
        }
        let len = writer.finish();
        datagram.truncate(len);
        datagram.extend_from_slice(payload);
        let header = RtpHeader::parse(&datagram).unwrap();
        let passed_on = PassedOn::find(&header, &datagram, &ids);
        let packet = StreamPacket {
            codec: self.codec,
            sequence,
            datagram: &datagram,
            payload,
            passed_on: &passed_on,
        };
        let now = self.at(ms);
        self.reader.receive(now, packet)
    }

    /// Sends three seconds of pictures, ten a second.
    fn send(&mut self, pictures: impl Fn(u64) -> Vec<Vec<u8>>) {
        for picture in 0..30 {
            for payload in pictures(picture) {
                self.packet(picture * 100, &payload, None);
            }
        }
    }

    /// Rates rounded to the next hundred kbit/s.
    fn rates(&self) -> [[Option<u64>; TEMPORAL]; SPATIAL] {
        let rates = self.reader.rates(self.at(3_000));
        rates.map(|row| row.map(|rate| rate.map(|rate| (rate + 50_000) / 100_000 * 100)))
    }
}

/// VP8 with a temporal layer (RFC 7741 section 4.2: X, then T, then TID).
fn vp8(temporal: u8, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0x90, 0x20, temporal << 6, 1];
    payload.resize(bytes, 0);
    payload
}

/// VP9 in non-flexible mode; `first` has the flags of RFC 9628 section 4.2.
fn vp9(first: u8, spatial: u8, temporal: u8, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0x2c | first, temporal << 5 | spatial << 1, 0, 1];
    payload.resize(bytes, 0);
    payload
}

const P: u8 = 0x40;
const Z: u8 = 0x01;

/// Bits as they are written, in groups.
fn bits(text: &str) -> Vec<u8> {
    let bits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    let bytes = bits.chunks(8).map(|bits| {
        let bits = bits.iter().enumerate();
        bits.fold(0, |byte, (at, bit)| byte | (bit - b'0') << (7 - at))
    });
    bytes.collect()
}

/// A descriptor with a structure of two frame rates: templates `offset` (a keyframe) and the one
/// behind it (of the higher rate, refers to the frame before).
fn structure(offset: u8, height: u16) -> Vec<u8> {
    let dimensions = format!("{:016b} {:016b}", height * 16 / 9 - 1, height - 1);
    bits(&format!(
        "11 {offset:06b} {:016b} 10000 {offset:06b} 00001 01 11 1010 0001 0 1 0000 0 0 1 {dimensions}",
        7
    ))
}

fn names(template: u8) -> Vec<u8> {
    bits(&format!("11 {template:06b} {:016b}", 8))
}

#[test]
fn a_stream_without_layers_has_no_rates_of_layers() {
    let mut stream = Stream::new(Codec::Vp8);
    stream.send(|_| vec![vp8(0, 1_000)]);
    assert!(!stream.reader.has_layers());
    assert_eq!(stream.rates(), [[None; TEMPORAL]; SPATIAL]);
    assert_eq!(stream.reader.dies_at(), None);
    assert_eq!(stream.reader.spatial_layers(), 1);
}

#[test]
fn a_frame_rate_costs_the_lower_ones_too() {
    let mut stream = Stream::new(Codec::Vp8);
    // 10 packets a second of 2,500 bytes are 200 kbit/s.
    stream.send(|_| vec![vp8(0, 2_500), vp8(1, 3_750), vec![]]);
    assert!(stream.reader.has_layers());
    let rates = stream.rates();
    assert_eq!(rates[0], [Some(200), Some(500), None, None]);
    assert_eq!(rates[1..], [[None; TEMPORAL]; SPATIAL - 1]);
}

#[test]
fn a_picture_size_costs_what_of_the_lower_ones_it_builds_on() {
    let mut stream = Stream::new(Codec::Vp9);
    stream.send(|_| {
        vec![
            vp9(P, 0, 0, 2_500),
            // Upper layers do not get the frames they do not need.
            vp9(P | Z, 0, 1, 5_000),
            vp9(P, 1, 0, 10_000),
        ]
    });
    let rates = stream.rates();
    assert_eq!(rates[0], [Some(200), Some(600), None, None]);
    assert_eq!(rates[1], [Some(1_000), None, None, None]);
    assert_eq!(
        stream.reader.spatial_layers(),
        2,
        "told by the highest that came"
    );
}

#[test]
fn a_layer_that_ceases_is_dead_after_a_while_and_alive_with_its_next_packet() {
    let mut stream = Stream::new(Codec::Vp8);
    for ms in (0..2_000).step_by(100) {
        stream.packet(ms, &vp8(0, 100), None);
        if ms < 1_000 {
            stream.packet(ms, &vp8(1, 100), None);
        }
    }
    assert!(stream.reader.update(stream.at(2_000)));
    let alive = |stream: &Stream| [0, 1, 2].map(|temporal| stream.reader.is_alive(0, temporal));
    assert_eq!(alive(&stream), [true, true, false]);
    // Its last packet was at 900 ms.
    let dies = stream.reader.dies_at().unwrap();
    assert_eq!(dies, stream.at(900) + SILENCE);
    assert!(!stream.reader.update(dies - Duration::from_millis(1)));
    assert!(stream.reader.update(dies));
    assert_eq!(alive(&stream), [true, false, false]);
    assert_eq!(stream.reader.dies_at(), Some(stream.at(1_900) + SILENCE));
    stream.packet(2_500, &vp8(1, 100), None);
    assert!(stream.reader.update(stream.at(2_500)));
    assert_eq!(alive(&stream), [true, true, false]);
}

#[test]
fn packets_are_read_by_the_newest_structure_and_it_may_be_another() {
    let mut stream = Stream::new(Codec::Av1);
    let plain = stream.packet(0, &[1], Some(&names(5)));
    assert_eq!(plain.frame, FrameInfo::plain(false), "nothing known yet");
    assert_eq!(plain.dependencies.map(|read| read.template_id), Some(5));

    let key = stream.packet(10, &[1], Some(&structure(5, 360)));
    assert!(key.frame.key && key.frame.begins && key.frame.ends);
    assert_eq!(stream.reader.height(0), 360);
    let higher = stream.packet(20, &[1], Some(&names(6))).frame;
    assert_eq!((higher.temporal, higher.key), (1, false));
    assert!(!higher.needed.has(0, 0) && higher.needed.has(0, 1));

    // The next keyframe has other names, and another size.
    let late = stream.sequence;
    stream.sequence += 10;
    stream.packet(30, &[1], Some(&structure(20, 720)));
    assert_eq!(stream.reader.height(0), 720);
    assert_eq!(stream.packet(40, &[1], Some(&names(21))).frame.temporal, 1);
    // An old structure that comes late does not bring the old names back.
    stream.packet_numbered(late, 50, &[1], Some(&structure(5, 360)));
    assert_eq!(stream.packet(60, &[1], Some(&names(21))).frame.temporal, 1);
    assert_eq!(stream.reader.height(0), 720);
    let unknown = stream.packet(70, &[1], Some(&names(6))).frame;
    assert_eq!(unknown, FrameInfo::plain(false));
    // A structure that is cut short does not count either.
    let cut = &structure(30, 180)[..9];
    stream.packet(80, &[1], Some(cut));
    assert_eq!(stream.packet(90, &[1], Some(&names(20))).frame.temporal, 0);
    assert!(stream.packet(95, &[1], Some(&names(20))).frame.key);
}

#[test]
fn heights_of_vp9_are_its_own_and_a_descriptor_beside_it_changes_nothing() {
    let mut stream = Stream::new(Codec::Vp9);
    // A scalability structure of two sizes without pictures.
    let mut key = vec![0x2e, 0, 0, 0x30];
    for (width, height) in [(320u16, 180u16), (640, 360)] {
        key.extend_from_slice(&width.to_be_bytes());
        key.extend_from_slice(&height.to_be_bytes());
    }
    key.push(1);
    stream.packet(0, &key, Some(&structure(0, 720)));
    assert_eq!(stream.reader.heights(), [180, 360, 0, 0]);
    assert_eq!(stream.reader.spatial_layers(), 2);
    // A structure without sizes keeps the known ones.
    stream.packet(10, &[0x2e, 0, 0, 0x20, 1], None);
    assert_eq!(stream.reader.heights(), [180, 360, 0, 0]);
    stream.reader.set_heights([0, 0, 720, 0]);
    assert_eq!(stream.reader.heights(), [180, 360, 720, 0]);
    assert_eq!(stream.reader.height(9), 0);
}

#[test]
fn who_is_told_what_a_packet_says_learns_the_same() {
    let (mut here, mut there) = (Stream::new(Codec::Av1), FrameReader::default());
    let ids = {
        let mut ids = ExtensionMap::default();
        ids.insert(ID, ExtensionKind::DependencyDescriptor);
        ids
    };
    for (sequence, value) in [(1, structure(9, 540)), (2, names(10)), (3, names(9))] {
        let said = here.packet_numbered(sequence, sequence * 10, &[1], Some(&value));
        let mut datagram = vec![0; 300];
        let mut writer = HeaderWriter::new(&mut datagram, &OutHeader::default());
        assert!(writer.extension(ID, &value));
        let len = writer.finish();
        datagram.truncate(len);
        datagram.push(1);
        let header = RtpHeader::parse(&datagram).unwrap();
        let packet = StreamPacket {
            codec: Codec::Av1,
            sequence,
            datagram: &datagram,
            payload: &[1],
            passed_on: &PassedOn::find(&header, &datagram, &ids),
        };
        there.follow(here.at(sequence * 10), packet, &said);
        assert_eq!(there.describe(packet), said, "packet {sequence}");
    }
    let now = here.at(100);
    assert!(here.reader.update(now) && there.update(now));
    assert_eq!(here.reader.alive(), there.alive());
    assert_eq!(here.reader.heights(), there.heights());
}
