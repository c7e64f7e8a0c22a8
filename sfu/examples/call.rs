//! The relay embedded, without any signaling: one `str0m` client of this same program joins a room.
//! `cargo run -p tertulia-sfu --example call`
#![allow(clippy::disallowed_methods, reason = "the client is this program's")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};
use tertulia_sfu::{Event, Join, Sfu, SfuConfig};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let sfu = Sfu::start(SfuConfig::loopback())?;
    let (room, mut events) = sfu.create_room().await?;

    // A client that would send a microphone offers; the relay answers.
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(5)))?;
    let mut rtc = Rtc::new(Instant::now());
    rtc.add_local_candidate(Candidate::host(socket.local_addr()?, "udp")?);
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    let (offer, pending) = api.apply().ok_or("nothing to offer")?;
    let join = Join {
        auto_subscribe: true,
        ..Join::new(offer.to_sdp_string())
    };
    let (peer, answer) = sfu.join(room, join).await?;
    println!("{peer} publishes {:?}", answer.published);
    let answer = SdpAnswer::from_sdp_string(&answer.sdp)?;
    rtc.sdp_api().accept_answer(pending, answer)?;

    // Media flows over UDP, past this program's control; what changes is told by events.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        drive(&mut rtc, &socket)?;
        match events.try_recv() {
            Ok(Event::PeerConnected { .. }) => break,
            Ok(event) => println!("{event:?}"),
            Err(_) if Instant::now() > deadline => return Err("not connected".into()),
            Err(_) => {}
        }
    }
    println!("{:?}", sfu.peer_stats(peer).await?.srtp_profile);

    sfu.close_room(room).await?;
    println!("{:?}", events.recv().await);
    sfu.shutdown().await;
    Ok(())
}

/// Moves the client's datagrams once.
fn drive(rtc: &mut Rtc, socket: &UdpSocket) -> Result<()> {
    while let Output::Transmit(transmit) = rtc.poll_output()? {
        socket.send_to(&transmit.contents, transmit.destination)?;
    }
    let (mut buf, now) = ([0; 2_000], Instant::now());
    let Ok((len, source)) = socket.recv_from(&mut buf) else {
        return Ok(rtc.handle_input(Input::Timeout(now))?);
    };
    let receive = Receive {
        proto: Protocol::Udp,
        source,
        destination: socket.local_addr()?,
        contents: buf[..len].try_into()?,
    };
    Ok(rtc.handle_input(Input::Receive(now, receive))?)
}
