use super::*;

#[test]
fn runs_arrive_as_sent_with_the_time() {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (from, to) = (Socket::bind(here).unwrap(), Socket::bind(here).unwrap());
    from.connect(to.address().unwrap()).unwrap();
    let mut poller = Poller::new().unwrap();
    poller.add(&to, 7).unwrap();
    let mut outbox = Outbox::default();
    let sizes = [100, 100, 100, 40, 60, 60, 200];
    for (index, size) in sizes.iter().enumerate() {
        outbox.push(|bytes| bytes.extend(std::iter::repeat_n(index as u8, *size)));
    }
    outbox.push(|_| {});
    assert_eq!(outbox.datagrams().count(), sizes.len());
    let before = wall_time();
    assert_eq!(from.send(&outbox), 0);
    let mut receiver = Receiver::new();
    let mut seen = Vec::new();
    while seen.len() < sizes.len() {
        let names: Vec<_> = poller.wait(Duration::from_secs(5)).unwrap().collect();
        assert_eq!(names, [7], "nothing came");
        let deliver = |arrived: Arrived<'_>| {
            assert!(arrived.at >= before && arrived.at <= wall_time());
            for datagram in arrived.bytes.chunks(arrived.segment) {
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
    let (mut poller, waker) = (Poller::new().unwrap(), Waker::new().unwrap());
    poller.add_waker(&waker, 1).unwrap();
    waker.wake();
    waker.wake();
    assert_eq!(poller.wait(Duration::from_secs(5)).unwrap().count(), 1);
    waker.reset();
    assert_eq!(poller.wait(Duration::ZERO).unwrap().count(), 0);
}
