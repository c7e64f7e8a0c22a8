//! Batched receive: `recvmmsg`, and the datagrams the kernel coalesced (`UDP_GRO`) split again.

#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::{self, RawAddr};

/// Messages of one system call. Each may hold dozens of coalesced datagrams.
const MESSAGES: usize = 32;
/// A coalesced message is at most an IP packet.
const MESSAGE_BYTES: usize = 65_536;
/// Distance of the buffers. It is no power of two, or the headers of all of them would compete for the same few cache
/// lines.
const STRIDE: usize = MESSAGE_BYTES + 4_096 + 128;

/// Receives datagrams, and keeps those that a call did not deliver.
#[derive(Debug)]
pub(super) struct Receiver {
    buffers: Box<[u8]>,
    arrived: [Arrived; MESSAGES],
    /// The number of `arrived` that the last system call filled, and the next to deliver.
    filled: usize,
    next: usize,
    /// Bytes of `next` already delivered.
    offset: usize,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    from: Option<SocketAddr>,
    len: usize,
    /// Datagrams of this many bytes, the last may be shorter.
    segment: usize,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; MESSAGES * STRIDE].into_boxed_slice(),
            arrived: [Arrived {
                from: None,
                len: 0,
                segment: 0,
            }; MESSAGES],
            filled: 0,
            next: 0,
            offset: 0,
        }
    }

    /// Delivers at most `budget` datagrams; fewer mean that the socket is drained.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        budget: usize,
        mut deliver: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<usize> {
        let mut delivered = 0;
        loop {
            delivered += self.deliver(budget - delivered, &mut deliver);
            if delivered == budget {
                return Ok(delivered);
            }
            // A call that did not fill every message has emptied the queue; asking again is one
            // system call for each wake-up too many.
            let emptied = self.filled > 0 && self.filled < MESSAGES;
            self.filled = 0;
            if emptied || self.fill(socket)? == 0 {
                return Ok(delivered);
            }
        }
    }

    fn deliver(&mut self, budget: usize, deliver: &mut impl FnMut(SocketAddr, &mut [u8])) -> usize {
        let mut delivered = 0;
        for (arrived, buffer) in self.arrived[..self.filled]
            .iter()
            .zip(self.buffers.chunks_exact_mut(STRIDE))
            .skip(self.next)
        {
            if let Some(from) = arrived.from {
                for datagram in buffer[self.offset..arrived.len].chunks_mut(arrived.segment) {
                    if delivered == budget {
                        return delivered;
                    }
                    self.offset += datagram.len();
                    deliver(from, datagram);
                    delivered += 1;
                }
            }
            self.next += 1;
            self.offset = 0;
        }
        delivered
    }

    fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.next = 0;
        self.offset = 0;
        let mut names = [address::empty(); MESSAGES];
        let mut controls = [Control::default(); MESSAGES];
        // SAFETY: iovec and mmsghdr are integers and pointers, for which all zeroes is a value.
        let mut iovecs: [libc::iovec; MESSAGES] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        for (i, (message, buffer)) in messages
            .iter_mut()
            .zip(self.buffers.chunks_exact_mut(STRIDE))
            .enumerate()
        {
            iovecs[i] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: MESSAGE_BYTES,
            };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<RawAddr>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[i]).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let received = loop {
            // SAFETY: every pointer of `messages` is to a buffer of the length beside it, exclusively
            // borrowed here, and outlives the call; the timeout may be null.
            let received = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    messages.as_mut_ptr(),
                    MESSAGES as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            if received >= 0 {
                break received as usize;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => break 0,
                _ => return Err(error),
            }
        };
        for (i, message) in messages[..received].iter().enumerate() {
            let len = (message.msg_len as usize).min(MESSAGE_BYTES);
            self.arrived[i] = Arrived {
                from: address::decode(&names[i]),
                len,
                segment: coalesced_segment(&message.msg_hdr)
                    .filter(|segment| *segment > 0)
                    .unwrap_or(len)
                    .max(1),
            };
        }
        self.filled = received;
        Ok(received)
    }
}

/// Room for one `UDP_GRO` message, aligned as a `cmsghdr`.
#[derive(Clone, Copy, Default)]
#[repr(C, align(8))]
struct Control([u8; 32]);

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
// SAFETY: arithmetic on its argument.
const _: () = assert!(
    unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as _) } <= size_of::<Control>() as _
);

/// The length of the datagrams in a message the kernel coalesced.
fn coalesced_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel wrote msg_controllen bytes of control messages into an aligned buffer that
    // is still alive; the macros walk it within that length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: `at` is null or a whole control message.
    while let Some(control) = unsafe { at.as_ref() } {
        if control.cmsg_level == libc::SOL_UDP && control.cmsg_type == libc::UDP_GRO {
            // SAFETY: a UDP_GRO message carries one int, perhaps unaligned.
            let segment = unsafe { libc::CMSG_DATA(at).cast::<libc::c_int>().read_unaligned() };
            return usize::try_from(segment).ok();
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    None
}
