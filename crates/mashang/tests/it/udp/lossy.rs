//! A way on which datagrams are lost, between clients that repeat themselves and the service.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Answer, UDP, accepted, adds_up, con, ids, sum, visit};
use crate::serve::faults::chaos::Dice;
use crate::serve::server::Server;
use crate::serve::setup::shop;

const CLIENTS: usize = 4;
const REQUESTS: u16 = 60;
const LOST_PERCENT: u64 = 30;
/// Timeout and maximum number of the repetitions of a request, enough for all to be answered.
const REPEAT_AFTER: Duration = Duration::from_millis(30);
const REPEATS_MAX: usize = 400;

/// Passes datagrams on between one client and the service, but for some.
fn relay(to: SocketAddr, seed: u64, stop: &Arc<AtomicBool>, lost: &Arc<AtomicU64>) -> SocketAddr {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let address = near.local_addr().expect("an address");
    far.connect(to).expect("an address");
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    }
    let client = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
    let (near, far) = (Arc::new(near), Arc::new(far));
    for (direction, (from, on)) in [(Arc::clone(&near), Arc::clone(&far)), (far, near)].into_iter().enumerate() {
        let (stop, lost, client) = (Arc::clone(stop), Arc::clone(lost), Arc::clone(&client));
        let mut dice = Dice::seeded(seed * 2 + direction as u64);
        std::thread::spawn(move || {
            let mut buffer = [0; 2_000];
            while !stop.load(Ordering::Acquire) {
                let Ok((bytes, sender)) = from.recv_from(&mut buffer) else { continue };
                if direction == 0 {
                    *client.lock().expect("no panic") = Some(sender);
                }
                if dice.next(100) < LOST_PERCENT {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let known = *client.lock().expect("no panic");
                let sent = match (direction, known) {
                    (0, _) => on.send(&buffer[..bytes]),
                    (_, Some(client)) => on.send_to(&buffer[..bytes], client),
                    (_, None) => continue,
                };
                sent.expect("it is passed on");
            }
        });
    }
    address
}

#[test]
fn answered_events_count_once_despite_loss() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut dice = Dice::new();
    let seeds: Vec<u64> = (0..CLIENTS).map(|_| dice.next(1 << 30)).collect();
    let repeats: usize = std::thread::scope(|threads| {
        let clients = seeds.iter().enumerate().map(|(number, seed)| {
            let through = relay(server.udp.expect("an address"), *seed, &stop, &lost);
            threads.spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                socket.connect(through).expect("an address");
                socket.set_read_timeout(Some(REPEAT_AFTER)).expect("a timeout");
                let mut repeats = 0;
                for id in 0..REQUESTS {
                    let asked = con(id, &visit(&format!("{number}-{id:02}")));
                    let mut buffer = [0; 2_000];
                    let answer = (0..REPEATS_MAX).find_map(|_| {
                        socket.send(&asked).expect("it is sent");
                        repeats += 1;
                        loop {
                            let bytes = socket.recv(&mut buffer).ok()?;
                            // Answers to what was asked before come late.
                            let answer = Answer::of(&buffer[..bytes]);
                            if answer.id == id {
                                return Some(answer);
                            }
                        }
                    });
                    assert_eq!(answer.expect("in the end it gets through").code, "2.04");
                }
                repeats - usize::from(REQUESTS)
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("all are answered")).sum()
    });
    stop.store(true, Ordering::Release);
    adds_up(&server);
    let answered = CLIENTS as u64 * u64::from(REQUESTS);
    println!(
        "{answered} answered, {} datagrams lost, {repeats} sent again, {} of them taken for what they are",
        lost.load(Ordering::Relaxed),
        sum(&server, "mashang_udp_retransmissions_total"),
    );
    assert!(lost.load(Ordering::Relaxed) > answered / 4 && repeats > 0);
    assert_eq!(accepted(&server), answered, "none was taken twice");
    server.settle();
    let mut wanted: Vec<String> =
        (0..CLIENTS).flat_map(|number| (0..REQUESTS).map(move |id| format!("{number}-{id:02}"))).collect();
    wanted.sort();
    assert_eq!(ids(dir.path()), wanted);
    assert_eq!(server.metric("mashang_duplicates_total"), 0);
}
