//! Checks by way of TURN: the server's own, and those of other operators that it names. Each makes an allocation, and
//! sends a check of ICE through it to the server's media.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::{join_all, select_ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Boxed;
use super::offer::{Protocol, Ways};
use super::probe::{Answered, FIRST_TIMEOUT, MESSAGE_BYTES, MESSAGES};
use super::reach::Unreached;
use super::scope::Scope;
use super::stun::{Check, Reply};
use super::tls::{Shown, Tls, Unshaken};
use crate::config::{TurnAddress, turn_server};
use crate::protocol::native::IceServer;
use crate::turn::{Client, Credentials, Frame, Frames, Heard};

/// Addresses of TURN that are tried. A server names a few.
const MOST: usize = 8;
/// Addresses of a name that are tried.
const MOST_OF_A_NAME: usize = 4;
/// Media addresses that are checked through one relay.
const MOST_PEERS: usize = 4;
/// Bytes of an indication around a datagram.
const AROUND: usize = 128;

/// The reason that media is not reached by way of TURN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Blocked {
    /// Not an address that browsers take.
    BadUrl(String),
    /// TLS over UDP, which is not tried.
    Dtls,
    /// There is no user for it.
    NoUser,
    NameUnknown,
    Unreached(Unreached),
    /// The handshake failed, with what is known of the certificate.
    Tls(Unshaken, Option<Shown>),
    /// Something took the connection, and answers nothing or something else.
    NotTurn,
    /// No allocation, by its code.
    Refused(u16),
    /// An answer that is not the server's.
    Forged,
    /// The relay refuses all addresses for media; one of them, and the code.
    PeerRefused(SocketAddr, u16),
    /// No address for media is of the relayed address's family.
    OtherFamily {
        relayed: SocketAddr,
    },
    /// Nothing came back from media.
    MediaSilent {
        relayed: SocketAddr,
        peer: SocketAddr,
    },
    /// Somebody else answered for media.
    MediaForeign {
        peer: SocketAddr,
    },
}

/// Media that answered through a relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Relayed {
    pub(super) relayed: SocketAddr,
    pub(super) answered: Answered,
    /// The certificate, if it was taken though browsers do not take it.
    pub(super) doubted: Option<Shown>,
}

/// A TURN server, what came of it, and the time that it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trial {
    pub(super) url: String,
    /// None: it could not be read.
    pub(super) address: Option<TurnAddress>,
    pub(super) outcome: Result<Relayed, Blocked>,
    pub(super) took: Duration,
}

/// Tries all at once.
pub(super) async fn all(
    servers: &[IceServer],
    ways: &Ways,
    own_ufrag: &str,
    tls: &Tls,
    within: Duration,
) -> Vec<Trial> {
    let until = Instant::now() + within;
    let named = servers.iter().flat_map(|server| {
        let urls = server.urls.iter();
        urls.map(move |url| (server, url, turn_server(url)))
    });
    let turns = named.filter(|(_, _, address)| !matches!(address, Ok(None)));
    let trials = turns.take(MOST).map(async |(server, url, address)| {
        let begun = Instant::now();
        let (address, outcome) = match address {
            Ok(Some(address)) => {
                let check = Check::new(&ways.ufrag, own_ufrag, &ways.password);
                let tried = through(&address, server, ways, &check, &tls.anew(), until).await;
                (Some(address), tried)
            }
            Ok(None) => (None, Err(Blocked::BadUrl(String::new()))),
            Err(said) => (None, Err(Blocked::BadUrl(said))),
        };
        Trial {
            url: url.clone(),
            address,
            outcome,
            took: begun.elapsed(),
        }
    });
    join_all(trials).await
}

async fn through(
    address: &TurnAddress,
    server: &IceServer,
    ways: &Ways,
    check: &Check,
    tls: &Tls,
    until: Instant,
) -> Result<Relayed, Blocked> {
    let (Some(username), Some(password)) = (&server.username, &server.credential) else {
        return Err(Blocked::NoUser);
    };
    let mut client = Client::new(Credentials {
        username: username.clone(),
        password: password.clone(),
    });
    let mut link = Link::open(address, tls, until).await?;
    let relayed = allocate(&mut link, &mut client, until).await?;
    let peers = permitted(&mut link, &mut client, ways, relayed, until).await?;
    let checked = checked(&mut link, &mut client, &peers, check, relayed, until).await;
    // A relay of another's is not left behind. Its answer is of no use.
    let _ = timeout_at(until, link.send(&client.free())).await;
    let doubted = tls.shown().filter(|shown| shown.fault.is_some());
    checked.map(|answered| Relayed {
        relayed,
        answered,
        doubted,
    })
}

async fn allocate(
    link: &mut Link,
    client: &mut Client,
    until: Instant,
) -> Result<SocketAddr, Blocked> {
    // Once for the realm, and once more if the nonce has become stale meanwhile.
    for _ in 0..3 {
        let asked = client.allocate();
        let heard = link.ask(&asked, until, |bytes| match client.hear(bytes) {
            Heard::Allocated { relayed, .. } => Some(Ok(Some(relayed))),
            Heard::Again => Some(Ok(None)),
            Heard::Refused(code) => Some(Err(Blocked::Refused(code))),
            Heard::Wrong | Heard::Granted => Some(Err(Blocked::Forged)),
            Heard::Data { .. } | Heard::Other => None,
        });
        if let Some(relayed) = heard.await.map_err(|quiet| link.silence(quiet))?? {
            return Ok(relayed);
        }
    }
    Err(Blocked::Refused(438))
}

/// The addresses for media that the relay sends to.
async fn permitted(
    link: &mut Link,
    client: &mut Client,
    ways: &Ways,
    relayed: SocketAddr,
    until: Instant,
) -> Result<Vec<SocketAddr>, Blocked> {
    let of_family = ways.candidates.iter().filter(|candidate| {
        candidate.protocol == Protocol::Udp && candidate.address.is_ipv4() == relayed.is_ipv4()
    });
    let mut peers: Vec<SocketAddr> = of_family.map(|it| it.address).collect();
    // Those that reach furthest first: a relay elsewhere gets to no others.
    peers.sort_by_key(|peer| std::cmp::Reverse(Scope::of(peer.ip())));
    peers.truncate(MOST_PEERS);
    let mut permitted = Vec::new();
    let mut refused = Blocked::OtherFamily { relayed };
    for peer in peers {
        for _ in 0..2 {
            let asked = client.permit(peer);
            let heard = link.ask(&asked, until, |bytes| match client.hear(bytes) {
                Heard::Granted => Some(Ok(true)),
                Heard::Again => Some(Ok(false)),
                Heard::Refused(code) => Some(Err(Blocked::PeerRefused(peer, code))),
                Heard::Wrong | Heard::Allocated { .. } => Some(Err(Blocked::Forged)),
                Heard::Data { .. } | Heard::Other => None,
            });
            match heard.await.map_err(|quiet| link.silence(quiet))? {
                Ok(true) => permitted.push(peer),
                Ok(false) => continue,
                Err(blocked) => refused = blocked,
            }
            break;
        }
    }
    match permitted.is_empty() {
        true => Err(refused),
        false => Ok(permitted),
    }
}

/// Checks the peers at once, and again and again, as datagrams between relay and media get lost.
async fn checked(
    link: &mut Link,
    client: &mut Client,
    peers: &[SocketAddr],
    check: &Check,
    relayed: SocketAddr,
    until: Instant,
) -> Result<Answered, Blocked> {
    let local = link.local();
    let checks = peers.iter().map(|peer| Client::send(*peer, check.bytes()));
    let checks: Vec<Vec<u8>> = checks.collect();
    let (mut foreign, mut sent) = (None, Instant::now());
    let heard = link.exchange(&checks, true, &mut sent, until, |bytes| {
        let Heard::Data { peer, bytes } = client.hear(bytes) else {
            return None;
        };
        match check.read(bytes) {
            Reply::Success(mapped) if peers.contains(&peer) => Some(mapped),
            Reply::Success(_) | Reply::Foreign => {
                foreign = Some(peer);
                None
            }
            Reply::Other => None,
        }
    });
    let silent = Blocked::MediaSilent {
        relayed,
        peer: peers.first().copied().unwrap_or(relayed),
    };
    match heard.await {
        Ok(mapped) => Ok(Answered {
            round_trip: sent.elapsed(),
            mapped,
            local,
        }),
        Err(_) => Err(foreign.map_or(silent, |peer| Blocked::MediaForeign { peer })),
    }
}

/// The connection to a TURN server.
enum Link {
    Datagrams(UdpSocket),
    Stream {
        io: Boxed,
        frames: Frames,
        local: SocketAddr,
    },
}

/// The reason that no answer came.
enum Quiet {
    Silent,
    /// The connection ended, or what came is no TURN.
    Ended(io::Error),
}

impl Link {
    async fn open(address: &TurnAddress, tls: &Tls, until: Instant) -> Result<Self, Blocked> {
        if address.is_tls && !address.is_tcp {
            return Err(Blocked::Dtls);
        }
        let looking = lookup_host((address.host.as_str(), address.port));
        let found = timeout_at(until, looking).await;
        let found = found.ok().and_then(Result::ok);
        let addresses: Vec<SocketAddr> = found.into_iter().flatten().take(MOST_OF_A_NAME).collect();
        if addresses.is_empty() {
            return Err(Blocked::NameUnknown);
        }
        if !address.is_tcp {
            return datagrams(&addresses).await.map_err(Blocked::Unreached);
        }
        // The first that takes the connection, as browsers try all of them.
        let connecting = addresses.iter().map(|to| Box::pin(TcpStream::connect(*to)));
        let connected = timeout_at(until, select_ok(connecting)).await;
        let connected = connected.map_err(|_| Blocked::Unreached(Unreached::Silent))?;
        let of = |error: io::Error| Blocked::Unreached(Unreached::of(&error));
        let (tcp, _) = connected.map_err(of)?;
        let local = tcp.local_addr().map_err(of)?;
        let io = match address.is_tls {
            false => Box::new(tcp) as Boxed,
            true => shaken(tls, &address.host, tcp, until)
                .await
                .map_err(|unshaken| Blocked::Tls(unshaken, tls.shown()))?,
        };
        let frames = Frames::new(Vec::new());
        Ok(Self::Stream { io, frames, local })
    }

    fn local(&self) -> SocketAddr {
        match self {
            Self::Datagrams(socket) => {
                let local = socket.local_addr();
                local.unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
            }
            Self::Stream { local, .. } => *local,
        }
    }

    /// The meaning of a request that was not answered.
    fn silence(&self, quiet: Quiet) -> Blocked {
        match (self, quiet) {
            (Self::Datagrams(_), Quiet::Silent) => Blocked::Unreached(Unreached::Silent),
            (Self::Datagrams(_), Quiet::Ended(error)) => Blocked::Unreached(Unreached::of(&error)),
            (Self::Stream { .. }, _) => Blocked::NotTurn,
        }
    }

    async fn ask<T>(
        &mut self,
        request: &[u8],
        until: Instant,
        hear: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Quiet> {
        // TCP repeats by itself.
        let repeats = matches!(self, Self::Datagrams(_));
        let mut sent = Instant::now();
        let request = [request.to_vec()];
        self.exchange(&request, repeats, &mut sent, until, hear)
            .await
    }

    /// Sends, perhaps again and again, until something is heard. `sent` is the time of the last sending.
    async fn exchange<T>(
        &mut self,
        messages: &[Vec<u8>],
        repeats: bool,
        sent: &mut Instant,
        until: Instant,
        mut hear: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Quiet> {
        let mut pause = FIRST_TIMEOUT;
        let mut left = MESSAGES;
        while Instant::now() < until {
            *sent = Instant::now();
            for message in messages {
                let sending = timeout_at(until, self.send(message)).await;
                sending.map_err(|_| Quiet::Silent)?.map_err(Quiet::Ended)?;
            }
            let next = match repeats {
                true => (*sent + pause).min(until),
                false => until,
            };
            pause *= 2;
            while let Ok(received) = timeout_at(next, self.receive()).await {
                let message = received.map_err(Quiet::Ended)?;
                if let Some(heard) = hear(&message) {
                    return Ok(heard);
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return Err(Quiet::Ended(ErrorKind::InvalidData.into()));
                }
            }
        }
        Err(Quiet::Silent)
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message).await.map(|_| ()),
            Self::Stream { io, .. } => {
                io.write_all(message).await?;
                io.flush().await
            }
        }
    }

    /// The next message. Loses nothing if it is given up.
    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Datagrams(socket) => {
                let mut bytes = vec![0; MESSAGE_BYTES + AROUND];
                let len = socket.recv(&mut bytes).await?;
                bytes.truncate(len);
                Ok(bytes)
            }
            Self::Stream { io, frames, .. } => loop {
                let peeked = frames.peek(MESSAGE_BYTES + AROUND);
                let peeked = peeked.map_err(|_| ErrorKind::InvalidData)?;
                if let Some((frame, len)) = peeked {
                    let message = match frame {
                        Frame::Message(bytes) => bytes.to_vec(),
                        // No channel was asked for.
                        Frame::Channel(..) => Vec::new(),
                    };
                    frames.take(len);
                    return Ok(message);
                }
                let buffer = frames.buffer();
                buffer.reserve(MESSAGE_BYTES);
                if io.read_buf(buffer).await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

/// A socket to the first address that there is a route to.
async fn datagrams(addresses: &[SocketAddr]) -> Result<Link, Unreached> {
    let mut unreached = Unreached::NoRoute;
    for to in addresses {
        let any = match to.is_ipv4() {
            true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            false => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let connecting = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            Ok(socket)
        };
        match connecting.await {
            Ok(socket) => return Ok(Link::Datagrams(socket)),
            Err(error) => unreached = Unreached::of(&error),
        }
    }
    Err(unreached)
}

async fn shaken(tls: &Tls, host: &str, tcp: TcpStream, until: Instant) -> Result<Boxed, Unshaken> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| Unshaken::Refused(error.to_string()))?;
    let shaking = timeout_at(until, tls.connector().connect(name, tcp)).await;
    let shaken = shaking.map_err(|_| Unshaken::Silent)?;
    let stream = shaken.map_err(|error| Unshaken::of(&error))?;
    Ok(Box::new(stream))
}
