//! Batched send over UDP paths: runs of equal packets to one address as one message (`UDP_SEGMENT`), and many
//! messages in one system call (`sendmmsg`).

#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use arrayvec::ArrayVec;

use super::address::{self, Family, RawAddr};
use crate::transmit::{SendReport, Transmits};
use crate::transport::path::Path;

/// The addresses to send from; the route decides where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Source {
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
}

/// Sends batches, and remembers whether the kernel can segment.
#[derive(Debug)]
pub(super) struct Sender {
    family: Family,
    source: Source,
    gso: bool,
    /// Messages in a row that were sent only after being taken apart.
    gso_failures: u32,
}

/// Failures in a row after which segmentation is switched off. A single refusal may come from a path whose MTU is below
/// the packet; as many in a row come from the machine.
const GSO_FAILURES: u32 = 16;
/// Waits for a full socket buffer in one batch, of 1 ms each: a wire of 1 Gbit/s drains 125 kB in
/// that time. Longer, and every other peer's media would be late.
const WAITS: u32 = 3;

impl Sender {
    pub(super) fn new(family: Family, gso: bool) -> Self {
        Self {
            family,
            source: Source::default(),
            gso,
            gso_failures: 0,
        }
    }

    pub(super) fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> bool {
        self.gso
    }

    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, transmits: &Transmits) -> SendReport {
        let mut attempt = Attempt {
            socket,
            report: SendReport::default(),
            waits: WAITS,
        };
        let mut batch = Batch::new();
        for run in transmits.runs() {
            let Path::Udp(addr) = run.path() else {
                continue;
            };
            let Some((to, len)) = address::encode(self.family, addr) else {
                attempt.report.refused += run.count() as u64;
                continue;
            };
            let source = Control::source(self.family, addr, &self.source);
            let mut segments = Segments::default();
            for datagram in run.datagrams() {
                if batch.iovecs.is_full() || !(self.gso && segments.accept(datagram.len())) {
                    if batch.is_full() {
                        self.transmit(&mut attempt, &mut batch);
                    }
                    batch.begin(to, len, source);
                    segments = Segments::begin(datagram.len());
                }
                batch.push(datagram);
            }
        }
        self.transmit(&mut attempt, &mut batch);
        attempt.report
    }

    fn transmit(&mut self, attempt: &mut Attempt<'_>, batch: &mut Batch<'_>) {
        batch.prepare();
        let mut at = 0;
        while at < batch.headers.len() {
            let waiting = &mut batch.headers[at..];
            // SAFETY: `prepare` pointed every header at addresses, slices and control messages that
            // live in `batch` or in the Transmits it borrows.
            let sent = unsafe {
                libc::sendmmsg(
                    attempt.socket.as_raw_fd(),
                    waiting.as_mut_ptr(),
                    waiting.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                for shape in &batch.shapes[at..at + sent] {
                    if shape.datagrams > 1 {
                        self.gso_failures = 0;
                    }
                    attempt.report.message(shape.datagrams, shape.bytes as u64);
                }
                at += sent;
                continue;
            }
            let error = io::Error::last_os_error();
            match Refusal::of(&error) {
                Refusal::Interrupted => {}
                Refusal::Full => {
                    if !attempt.wait() {
                        let waiting = batch.shapes[at..].iter();
                        let dropped: usize = waiting.map(|shape| shape.datagrams).sum();
                        attempt.report.dropped += dropped as u64;
                        break;
                    }
                }
                Refusal::Message => {
                    if batch.shapes[at].datagrams > 1 {
                        self.transmit_apart(attempt, batch, at, &error);
                    } else {
                        attempt.refused(&error);
                    }
                    at += 1;
                }
            }
        }
        batch.clear();
    }

    /// Sends the datagrams of a refused message one by one, and switches segmentation off if that is the cause.
    fn transmit_apart(
        &mut self,
        attempt: &mut Attempt<'_>,
        batch: &mut Batch<'_>,
        message: usize,
        refusal: &io::Error,
    ) {
        let shape = batch.shapes[message];
        let mut header = batch.headers[message].msg_hdr;
        header.msg_iovlen = 1;
        batch.controls[message].attach(&mut header, None);
        let mut any = false;
        let mut datagram = Datagrams::of(shape, &batch.iovecs);
        while let Some(mut one) = datagram.next() {
            header.msg_iov = &raw mut one;
            loop {
                // SAFETY: as for sendmmsg: the header points into `batch`, which is borrowed, and at
                // `one`, a part of what an iovec of `batch` holds.
                let sent = unsafe {
                    libc::sendmsg(
                        attempt.socket.as_raw_fd(),
                        &raw const header,
                        libc::MSG_DONTWAIT,
                    )
                };
                if sent >= 0 {
                    attempt.report.message(1, one.iov_len as u64);
                    any = true;
                    break;
                }
                let error = io::Error::last_os_error();
                match Refusal::of(&error) {
                    Refusal::Interrupted => {}
                    Refusal::Full if attempt.wait() => {}
                    Refusal::Full => {
                        attempt.report.dropped += 1;
                        break;
                    }
                    Refusal::Message => {
                        attempt.refused(&error);
                        break;
                    }
                }
            }
        }
        if any {
            self.gso_failures += 1;
            // EIO: the device cannot checksum segments (a driver's or a tunnel's limit).
            if refusal.raw_os_error() == Some(libc::EIO) || self.gso_failures >= GSO_FAILURES {
                self.gso = false;
                tracing::info!(%refusal, "sending without UDP segmentation offload from now on");
            }
        }
    }
}

/// One call of [`Sender::send`].
struct Attempt<'s> {
    socket: BorrowedFd<'s>,
    report: SendReport,
    waits: u32,
}

impl Attempt<'_> {
    fn refused(&mut self, error: &io::Error) {
        self.report.refused += 1;
        tracing::debug!(%error, "the kernel refused a datagram");
    }

    /// Waits for room in the socket's buffer; false if this batch has waited enough.
    fn wait(&mut self) -> bool {
        let Some(left) = self.waits.checked_sub(1) else {
            return false;
        };
        self.waits = left;
        let mut fd = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one descriptor, which is open and outlives the call.
        unsafe { libc::poll(&raw mut fd, 1, 1) };
        true
    }
}

enum Refusal {
    Interrupted,
    /// No room for now.
    Full,
    /// This message cannot be sent; the next may.
    Message,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINTR) => Self::Interrupted,
            Some(libc::EAGAIN | libc::ENOBUFS) => Self::Full,
            _ => Self::Message,
        }
    }
}

/// The datagrams that may share a message: equal lengths, of which the last may be shorter.
#[derive(Clone, Copy, Default, Debug)]
struct Segments {
    segment: usize,
    last: usize,
    count: usize,
    bytes: usize,
}

/// The kernel's `UDP_MAX_SEGMENTS` before 6.9.
const MAX_SEGMENTS: usize = 64;
/// All segments together are at first one IP packet; its headers need room too.
const MAX_MESSAGE_BYTES: usize = 65_000;

impl Segments {
    fn begin(len: usize) -> Self {
        Self {
            segment: len,
            last: len,
            count: 1,
            bytes: len,
        }
    }

    /// Adds a datagram if it may follow the others.
    fn accept(&mut self, len: usize) -> bool {
        let fits = self.count > 0
            && self.count < MAX_SEGMENTS
            && self.last == self.segment
            && len <= self.segment
            && self.bytes + len <= MAX_MESSAGE_BYTES;
        if fits {
            self.last = len;
            self.count += 1;
            self.bytes += len;
        }
        fits
    }
}

/// Messages of one system call.
const MESSAGES: usize = 64;
/// Datagrams of one system call.
const IOVECS: usize = 256;

/// The arguments of one `sendmmsg`. They live on the stack: pointers never outlast the call that set them. Room that a
/// small batch does not use is not written to.
struct Batch<'a> {
    headers: ArrayVec<libc::mmsghdr, MESSAGES>,
    shapes: ArrayVec<Shape, MESSAGES>,
    controls: ArrayVec<Control, MESSAGES>,
    iovecs: ArrayVec<libc::iovec, IOVECS>,
    datagrams: PhantomData<&'a [u8]>,
}

#[derive(Clone, Copy)]
struct Shape {
    to: RawAddr,
    to_len: libc::socklen_t,
    /// Index of its first entry in `iovecs`.
    first: usize,
    count: usize,
    datagrams: usize,
    /// The length of its datagrams, of which the last may be shorter.
    segment: usize,
    bytes: usize,
}

/// The datagrams of a message, one by one.
struct Datagrams<'a> {
    rest: &'a [libc::iovec],
    offset: usize,
    segment: usize,
}

impl<'a> Datagrams<'a> {
    fn of(shape: Shape, iovecs: &'a [libc::iovec]) -> Self {
        Self {
            rest: &iovecs[shape.first..shape.first + shape.count],
            offset: 0,
            segment: shape.segment,
        }
    }

    /// Every iovec begins with a datagram, since all but a message's last are of one length.
    fn next(&mut self) -> Option<libc::iovec> {
        let iovec = self.rest.first()?;
        let len = self.segment.min(iovec.iov_len - self.offset);
        let datagram = libc::iovec {
            iov_base: iovec.iov_base.cast::<u8>().wrapping_add(self.offset).cast(),
            iov_len: len,
        };
        self.offset += len.max(1);
        if self.offset >= iovec.iov_len {
            self.rest = &self.rest[1..];
            self.offset = 0;
        }
        Some(datagram)
    }
}

impl<'a> Batch<'a> {
    fn new() -> Self {
        Self {
            headers: ArrayVec::new(),
            shapes: ArrayVec::new(),
            controls: ArrayVec::new(),
            iovecs: ArrayVec::new(),
            datagrams: PhantomData,
        }
    }

    fn is_full(&self) -> bool {
        self.shapes.is_full() || self.iovecs.is_full()
    }

    fn begin(&mut self, to: RawAddr, to_len: libc::socklen_t, source: Control) {
        self.controls.push(source);
        self.shapes.push(Shape {
            to,
            to_len,
            first: self.iovecs.len(),
            count: 0,
            datagrams: 0,
            segment: 0,
            bytes: 0,
        });
    }

    /// Adds a datagram to the last message. If it directly follows the last one in memory, as those of a viewer do, its
    /// iovec grows: the kernel then copies a whole run at a time.
    fn push(&mut self, datagram: &'a [u8]) {
        let Some(shape) = self.shapes.last_mut() else {
            return;
        };
        let last = self.iovecs[shape.first..].last_mut();
        let base = datagram.as_ptr().cast_mut().cast();
        match last {
            Some(last) if last.iov_base.cast::<u8>().wrapping_add(last.iov_len).cast() == base => {
                last.iov_len += datagram.len();
            }
            _ => {
                self.iovecs.push(libc::iovec {
                    iov_base: base,
                    iov_len: datagram.len(),
                });
                shape.count += 1;
                shape.segment = shape.segment.max(datagram.len());
            }
        }
        shape.datagrams += 1;
        shape.bytes += datagram.len();
    }

    /// Points the headers at addresses, iovecs and control messages.
    fn prepare(&mut self) {
        let iovecs = self.iovecs.as_mut_ptr();
        for (shape, control) in self.shapes.iter_mut().zip(&mut self.controls) {
            let segment = (shape.datagrams > 1).then_some(shape.segment as u16);
            // SAFETY: mmsghdr is integers and pointers, for which all zeroes is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut shape.to).cast();
            header.msg_namelen = shape.to_len;
            header.msg_iov = iovecs.wrapping_add(shape.first);
            header.msg_iovlen = shape.count as _;
            control.attach(header, segment);
            self.headers.push(message);
        }
    }

    fn clear(&mut self) {
        self.headers.clear();
        self.shapes.clear();
        self.controls.clear();
        self.iovecs.clear();
    }
}

/// A message's control messages: where to send from, and the length to cut at.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    bytes: [u8; Self::ROOM],
    /// Bytes the source takes.
    source_len: usize,
}

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
// SAFETY: arithmetic on its argument.
const _: () = assert!(
    unsafe {
        libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _)
            + libc::CMSG_SPACE(size_of::<u16>() as _)
    } <= Control::ROOM as _
);

impl Control {
    const ROOM: usize = 64;
    const EMPTY: Self = Self {
        bytes: [0; Self::ROOM],
        source_len: 0,
    };

    fn source(family: Family, to: SocketAddr, source: &Source) -> Self {
        let mut control = Self::EMPTY;
        control.source_len = match (family, to.ip().to_canonical()) {
            (Family::V4, IpAddr::V4(_)) => source.v4.map(|ip| {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                control.put(0, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }),
            (Family::V4, IpAddr::V6(_)) => None,
            (Family::Dual, to) => match to {
                IpAddr::V4(_) => source.v4.map(|ip| ip.to_ipv6_mapped()),
                IpAddr::V6(_) => source.v6,
            }
            .map(|ip| {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                control.put(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }),
        }
        .unwrap_or(0);
        control
    }

    /// Points `header` at the source and, for a message of several datagrams, at their length.
    fn attach(&mut self, header: &mut libc::msghdr, segment: Option<u16>) {
        let len = match segment {
            Some(segment) => {
                self.source_len
                    + self.put(self.source_len, libc::SOL_UDP, libc::UDP_SEGMENT, segment)
            }
            None => self.source_len,
        };
        header.msg_control = if len == 0 {
            std::ptr::null_mut()
        } else {
            self.bytes.as_mut_ptr().cast()
        };
        header.msg_controllen = len as _;
    }

    /// Writes a control message at `at` and returns the space it takes.
    fn put<T: Copy>(
        &mut self,
        at: usize,
        level: libc::c_int,
        kind: libc::c_int,
        value: T,
    ) -> usize {
        // SAFETY: arithmetic on their arguments.
        let (space, len) = unsafe {
            (
                libc::CMSG_SPACE(size_of::<T>() as _) as usize,
                libc::CMSG_LEN(size_of::<T>() as _),
            )
        };
        let room = &mut self.bytes[at..at + space];
        let control = room.as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: `room` holds the header and the value, and begins aligned: the buffer does, and
        // CMSG_SPACE is a multiple of the alignment. The value may be unaligned behind the header.
        unsafe {
            (*control).cmsg_level = level;
            (*control).cmsg_type = kind;
            (*control).cmsg_len = len as _;
            libc::CMSG_DATA(control).cast::<T>().write_unaligned(value);
        }
        space
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of datagrams of `lens` that each message takes.
    fn messages(lens: &[usize]) -> Vec<usize> {
        let mut messages = Vec::new();
        let mut segments = Segments::default();
        for len in lens {
            if segments.accept(*len) {
                *messages.last_mut().unwrap() += 1;
            } else {
                segments = Segments::begin(*len);
                messages.push(1);
            }
        }
        messages
    }

    #[test]
    fn equal_datagrams_share_a_message_and_a_shorter_one_ends_it() {
        for (lens, expected) in [
            (vec![], vec![]),
            (vec![100], vec![1]),
            (vec![100, 100, 100], vec![3]),
            (vec![100, 100, 60, 60], vec![3, 1]),
            (vec![60, 100, 100], vec![1, 2]),
            (vec![100; 65], vec![64, 1]),
            (vec![1_400; 50], vec![46, 4]),
        ] {
            assert_eq!(messages(&lens), expected, "{lens:?}");
        }
    }

    proptest! {
        #[test]
        fn the_kernel_would_cut_every_message_where_the_datagrams_end(
            lens in prop::collection::vec(prop_oneof![Just(1_200), Just(80), 1..1_472usize], 0..300)
        ) {
            let mut rest = &lens[..];
            for count in messages(&lens) {
                let (message, after) = rest.split_at(count);
                let total: usize = message.iter().sum();
                prop_assert!(count <= MAX_SEGMENTS && total <= MAX_MESSAGE_BYTES);
                let whole = message.len() - 1;
                prop_assert!(message[..whole].iter().all(|len| *len == message[0]));
                prop_assert!(message[whole] <= message[0]);
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
