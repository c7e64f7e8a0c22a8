//! A client of TURN over a stream, by `rtc-turn`: an implementation independent of the server's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rtc_crypto::default_provider;
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol;
use tertulia_signaling::protocol::native::IceServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::Connection;
use crate::bot::BotError;

/// One allocation, and the peer that is reached by it.
pub(super) struct Turn {
    client: Client,
    server: SocketAddr,
    peer: SocketAddr,
    relayed: Option<SocketAddr>,
}

/// The client's own address in messages of the crate, which says nothing over a stream.
const LOCAL: ([u8; 4], u16) = ([192, 0, 2, 1], 9);
const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;
const IDLE: Duration = Duration::from_secs(3_600);

impl Turn {
    /// A client of the server at `server`, with the credentials of `offered`.
    pub(super) fn new(
        server: SocketAddr,
        offered: &IceServer,
        peer: SocketAddr,
    ) -> io::Result<Self> {
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.to_string(),
            local_addr: LOCAL.into(),
            transport_protocol: TransportProtocol::TCP,
            username: offered.username.clone().unwrap_or_default(),
            password: offered.credential.clone().unwrap_or_default(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            allocation_refresh_interval_cap: None,
        };
        let provider = default_provider().map_err(io::Error::other)?;
        Ok(Self {
            client: Client::new(config, provider).map_err(io::Error::other)?,
            server,
            peer,
            relayed: None,
        })
    }

    /// Allocates, and asks for permission to reach the peer.
    pub(super) async fn allocate(&mut self, io: &mut Box<dyn Connection>) -> Result<(), BotError> {
        self.client.allocate(now()).map_err(io::Error::other)?;
        let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
        loop {
            self.poll(&mut outbox);
            io.write_all(&outbox).await?;
            io.flush().await?;
            outbox.clear();
            match self.client.poll_event() {
                Some(Event::AllocateResponse(_, relayed)) => {
                    self.relayed = Some(relayed);
                    let mut relay = self.client.relay(relayed).map_err(io::Error::other)?;
                    let asked = relay.create_permission(now(), self.peer);
                    asked.map_err(io::Error::other)?;
                    continue;
                }
                Some(Event::CreatePermissionResponse(..)) => return Ok(()),
                Some(Event::AllocateError(_, error) | Event::CreatePermissionError(_, error)) => {
                    return Err(BotError::Refused(format!("TURN refuses: {error}")));
                }
                _ => {}
            }
            if io.read_buf(&mut inbox).await? == 0 {
                let why = "the TURN server closed the connection";
                return Err(BotError::Refused(why.to_owned()));
            }
            self.read_all(&mut inbox)?;
        }
    }

    pub(super) fn take(
        &mut self,
        inbox: &mut Vec<u8>,
        mut deliver: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.read_all(inbox)?;
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::DataIndicationOrChannelData(_, _, datagram) => deliver(&datagram),
                Event::CreatePermissionError(_, error) => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let relayed = self.relayed.ok_or(io::ErrorKind::NotConnected)?;
        let mut relay = self.client.relay(relayed).map_err(io::Error::other)?;
        let sent = relay.send_to(now(), datagram, self.peer);
        sent.map_err(io::Error::other)
    }

    pub(super) fn poll(&mut self, out: &mut Vec<u8>) {
        while let Some(transmit) = self.client.poll_write() {
            out.extend_from_slice(&transmit.message);
            // Over a stream ChannelData is padded (RFC 8656 section 12.5); messages have such a length already.
            out.resize(out.len() + transmit.message.len().wrapping_neg() % 4, 0);
        }
    }

    pub(super) fn poll_timeout(&mut self) -> Instant {
        let next = self.client.poll_timeout();
        next.map_or_else(|| Instant::now() + IDLE, Instant::from_std)
    }

    pub(super) fn handle_timeout(&mut self) -> io::Result<()> {
        self.client.handle_timeout(now()).map_err(io::Error::other)
    }

    /// Gives the client the whole messages at the front of `inbox`.
    fn read_all(&mut self, inbox: &mut Vec<u8>) -> io::Result<()> {
        let (now, mut at) = (now(), 0);
        while let Some(head) = inbox[at..].first_chunk::<CHANNEL_HEADER>() {
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (len, padded) = match head[0] >> 6 {
                0 => (STUN_HEADER + len, STUN_HEADER + len),
                _ => (
                    CHANNEL_HEADER + len,
                    CHANNEL_HEADER + len.next_multiple_of(4),
                ),
            };
            if inbox.len() < at + padded {
                break;
            }
            let message = TransportMessage {
                now,
                transport: TransportContext {
                    local_addr: LOCAL.into(),
                    peer_addr: self.server,
                    transport_protocol: TransportProtocol::TCP,
                    ecn: None,
                },
                message: inbox[at..at + len].into(),
            };
            self.client.handle_read(message).map_err(io::Error::other)?;
            at += padded;
        }
        inbox.drain(..at);
        Ok(())
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}
