//! The cost of packets in TCP connections, with TLS or without, and nothing else around it.
//!
//! For each destination ten packets are sealed, put behind a length each (RFC 4571) and written in one call, which with
//! TLS is one record. Over loopback the sender pays for delivery up to the receiver's queue; the receivers are emptied while
//! no time is taken.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tertulia_sfu::testing::floor::{Cost, Packets, Stopwatch};

/// Packets of one write.
const RUN: u16 = 10;
/// Bytes that are read from a receiver at a time.
const READ: usize = 64 << 10;

/// Connections to receivers, which this thread reads itself.
pub(super) struct Streams {
    packets: Packets,
    connections: Vec<Connection>,
    sequence: u16,
    bytes: Vec<u8>,
    read: Vec<u8>,
}

struct Connection {
    sends: TcpStream,
    receives: TcpStream,
    tls: Option<ServerConnection>,
}

impl Streams {
    /// Connects so many times.
    pub(super) fn connect(count: usize, packet_bytes: usize, is_tls: bool) -> io::Result<Self> {
        let tls = match is_tls {
            true => Some(Tls::new()?),
            false => None,
        };
        let connections = (0..count).map(|_| Connection::open(tls.as_ref()));
        Ok(Self {
            packets: Packets::new(count, packet_bytes)?,
            connections: connections.collect::<io::Result<_>>()?,
            sequence: 0,
            bytes: Vec::new(),
            read: vec![0; READ],
        })
    }

    /// Sends `packets` or somewhat more.
    pub(super) fn round(&mut self, packets: usize) -> io::Result<Cost> {
        let mut total = Cost::default();
        while total.packets < packets as u64 {
            let watch = Stopwatch::start();
            self.frame()?;
            let (cpu, wall) = watch.stop();
            total.add(Cost {
                packets: u64::from(RUN) * self.connections.len() as u64,
                cpu,
                wall,
            });
            for connection in &mut self.connections {
                connection.drain(&mut self.read)?;
            }
        }
        Ok(total)
    }

    fn frame(&mut self) -> io::Result<()> {
        let first = self.sequence;
        self.sequence = first.wrapping_add(RUN);
        for (destination, connection) in self.connections.iter_mut().enumerate() {
            self.bytes.clear();
            for packet in 0..RUN {
                let at = self.bytes.len();
                self.bytes.extend([0; 2]);
                let sequence = first.wrapping_add(packet);
                self.packets.append(destination, sequence, &mut self.bytes);
                let len = (self.bytes.len() - at - 2) as u16;
                self.bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
            }
            connection.write(&self.bytes)?;
        }
        Ok(())
    }
}

impl Connection {
    fn open(tls: Option<&Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut receives = TcpStream::connect(listener.local_addr()?)?;
        let (mut sends, _) = listener.accept()?;
        sends.set_nodelay(true)?;
        let tls = match tls {
            Some(tls) => Some(tls.handshake(&mut sends, &mut receives)?),
            None => None,
        };
        receives.set_nonblocking(true)?;
        Ok(Self {
            sends,
            receives,
            tls,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.sends.write_all(bytes);
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.sends)?;
        }
        Ok(())
    }

    fn drain(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.receives.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Both ends' TLS.
struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn new() -> io::Result<Self> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let own = own.map_err(io::Error::other)?;
        let certificate = own.cert.der().clone();
        let key = PrivateKeyDer::from_pem_slice(own.signing_key.serialize_pem().as_bytes());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(io::Error::other)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }

    /// Completes a handshake, both ends in turn on this thread.
    fn handshake(
        &self,
        sends: &mut TcpStream,
        receives: &mut TcpStream,
    ) -> io::Result<ServerConnection> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.client), name);
        let mut client = client.map_err(io::Error::other)?;
        let server = ServerConnection::new(Arc::clone(&self.server));
        let mut server = server.map_err(io::Error::other)?;
        while client.is_handshaking() || server.is_handshaking() {
            while client.wants_write() {
                client.write_tls(receives)?;
            }
            if server.is_handshaking() {
                server.read_tls(sends)?;
                server.process_new_packets().map_err(io::Error::other)?;
            }
            while server.wants_write() {
                server.write_tls(sends)?;
            }
            if client.is_handshaking() {
                client.read_tls(receives)?;
                client.process_new_packets().map_err(io::Error::other)?;
            }
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_arrives_with_tls_and_without() {
        for is_tls in [false, true] {
            let mut streams = Streams::connect(2, 100, is_tls).unwrap();
            assert_eq!(streams.round(30).unwrap().packets, 40);
            streams.frame().unwrap();
            for connection in &mut streams.connections {
                let mut received = vec![0; 4_096];
                let mut len = 0;
                // Loopback delivers within the call, but is not bound to.
                while len < usize::from(RUN) * 102 {
                    match connection.receives.read(&mut received[len..]) {
                        Ok(read) => len += read,
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    }
                }
                let is_plain = received[..2] == 100_u16.to_be_bytes();
                assert_eq!(is_plain, !is_tls);
            }
        }
    }
}
