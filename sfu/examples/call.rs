//! A call without any signaling: two `str0m` clients in this process, one publishing, one watching,
//! through a relay that this program embeds. `cargo run -p tertulia-sfu --example call`
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clients are this program's"
)]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, MediaTime};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tertulia_sfu::{Join, Sfu, SfuConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sfu, mut events) = Sfu::start(SfuConfig::loopback())?;
    let room = sfu.create_room().await?;
    let mut clients = Vec::new();
    for direction in [Direction::SendOnly, Direction::RecvOnly] {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let mut rtc = Rtc::new(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr()?, "udp")?);
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, direction, None, None, None);
        let (offer, pending) = api.apply().ok_or("nothing to offer")?;
        let join = Join {
            offer: offer.to_sdp_string(),
            auto_subscribe: true,
        };
        let (peer, answer) = sfu.join(room, join).await?;
        println!(
            "{peer} publishes {:?} and receives on {:?}",
            answer.published, answer.slots
        );
        rtc.sdp_api()
            .accept_answer(pending, SdpAnswer::from_sdp_string(&answer.sdp)?)?;
        clients.push((rtc, socket, mid));
    }
    let (mut heard, started) = (0, Instant::now());
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while heard < 100 && started.elapsed() < Duration::from_secs(20) {
        ticks.tick().await;
        for (rtc, socket, mid) in &mut clients {
            heard += drive(rtc, socket)?;
            let pt = rtc
                .writer(*mid)
                .and_then(|writer| writer.payload_params().next().map(|params| params.pt()));
            if let (true, Some(pt), Some(writer)) = (rtc.is_connected(), pt, rtc.writer(*mid)) {
                let time = MediaTime::from(started.elapsed());
                // 20 ms of silence in Opus; the watching client's m-line does not send.
                let _ = writer.write(pt, Instant::now(), time, vec![0xf8, 0xff, 0xfe]);
                heard += drive(rtc, socket)?;
            }
        }
        while let Ok(event) = events.try_recv() {
            println!("{event:?}");
        }
    }
    println!("the viewer heard {heard} frames in {:?}", started.elapsed());
    sfu.close_room(room).await?;
    sfu.shutdown().await;
    if heard < 100 {
        Err("the viewer did not hear the publisher".into())
    } else {
        Ok(())
    }
}

/// Moves a client's datagrams; how many frames of media it got.
fn drive(rtc: &mut Rtc, socket: &UdpSocket) -> Result<usize, Box<dyn std::error::Error>> {
    let (mut heard, mut buf) = (0, [0; 2_000]);
    loop {
        match rtc.poll_output()? {
            Output::Timeout(_) => match socket.recv_from(&mut buf) {
                Ok((len, source)) => {
                    let (destination, contents) = (socket.local_addr()?, buf[..len].try_into()?);
                    let receive = Receive {
                        proto: Protocol::Udp,
                        source,
                        destination,
                        contents,
                    };
                    rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                }
                Err(_) => break,
            },
            Output::Transmit(transmit) => {
                drop(socket.send_to(&transmit.contents, transmit.destination)?)
            }
            Output::Event(event) => heard += usize::from(matches!(event, Event::MediaData(_))),
        }
    }
    rtc.handle_input(Input::Timeout(Instant::now()))?;
    Ok(heard)
}
