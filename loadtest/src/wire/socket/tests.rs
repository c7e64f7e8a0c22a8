use super::*;
use crate::measure::wall_time;

#[test]
fn runs_arrive_as_sent_with_the_time() {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (mut from, to) = (Socket::bind(here).unwrap(), Socket::bind(here).unwrap());
    from.connect(to.udp.local_addr().unwrap()).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::default());
    poller.add(&to.udp, 7).unwrap();
    let mut outbox = Outbox::default();
    let sizes = [100, 100, 100, 40, 60, 60, 200];
    for (index, size) in sizes.iter().enumerate() {
        outbox.push(|bytes| bytes.extend(std::iter::repeat_n(index as u8, *size)));
    }
    outbox.push(|_| {});
    assert_eq!(outbox.datagrams().count(), sizes.len());
    let before = wall_time();
    from.send(&outbox);
    let mut receiver = Receiver::new();
    let mut seen = Vec::new();
    while seen.len() < sizes.len() {
        let names = poller.wait(&mut events, Duration::from_secs(5)).unwrap();
        let names: Vec<_> = names.collect();
        assert_eq!(names, [7], "nothing came");
        let deliver = |meta: &RecvMeta, bytes: &mut [u8]| {
            let at = meta.timestamp.unwrap();
            assert!(at >= before && at <= wall_time());
            for datagram in bytes.chunks(meta.stride) {
                assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                assert_eq!(usize::from(datagram[0]), seen.len());
                seen.push(datagram.len());
            }
        };
        receiver.receive(&to, deliver).unwrap();
    }
    assert_eq!(seen, sizes);
}

#[test]
fn a_waker_wakes_once() {
    let (poller, waker) = (Poller::new().unwrap(), Waker::new().unwrap());
    let mut events = Events::default();
    let mut count = |timeout| poller.wait(&mut events, timeout).unwrap().count();
    poller.add(&waker.fd, 1).unwrap();
    waker.wake();
    waker.wake();
    assert_eq!(count(Duration::from_secs(5)), 1);
    waker.reset();
    assert_eq!(count(Duration::ZERO), 0);
}
