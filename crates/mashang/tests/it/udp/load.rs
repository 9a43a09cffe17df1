//! Datagrams and requests at once, in numbers: every event is accounted for.

use super::{Client, UDP, accepted, adds_up, con, sum, until, visit};
use crate::program::done;
use crate::serve::server::{Server, post};
use crate::serve::setup::shop;

const SENDERS: usize = 3;
const DATAGRAMS: usize = 4_000;
const REQUESTS: usize = 60;
const ASKED: u16 = 200;

#[test]
fn http_and_udp_under_load_account_for_every_event() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let (http, udp) = (&server.http, server.udp.expect("an address"));
    std::thread::scope(|threads| {
        for sender in 0..SENDERS {
            // No client waits for these: a socket may overflow, and the loss is counted.
            threads.spawn(move || {
                let client = Client::from("127.0.0.1", udp);
                for i in 0..DATAGRAMS {
                    let wrong = if i % 10 == 0 { "{\"id\":\"wrong\"}" } else { "" };
                    client.send(format!("{}\n{wrong}", visit(&format!("d{sender}-{i}"))).as_bytes());
                }
            });
            threads.spawn(move || {
                for i in 0..REQUESTS {
                    let lines: Vec<String> = (0..50).map(|j| visit(&format!("h{sender}-{i}-{j}"))).collect();
                    let answer =
                        post(http, "application/x-ndjson", lines.join("\n").as_bytes(), None).expect("an answer");
                    assert_eq!(answer.status, 202);
                }
            });
            threads.spawn(move || {
                let client = Client::from("127.0.0.1", udp);
                for id in 0..ASKED {
                    let asked = con(id, &visit(&format!("c{sender}-{id}")));
                    // Where a socket overflows a request is lost, and sent again.
                    client.0.set_read_timeout(Some(std::time::Duration::from_secs(1))).expect("a timeout");
                    let mut buffer = [0; 2_000];
                    let answered = (0..60).any(|_| {
                        client.send(&asked);
                        client.0.recv(&mut buffer).is_ok()
                    });
                    assert!(answered, "{id} of {sender} is answered");
                }
            });
        }
    });
    let asked = SENDERS as u64 * u64::from(ASKED);
    let of = |name: &str| sum(&server, name);
    let datagrams = (SENDERS * DATAGRAMS) as u64;
    until(
        || of("mashang_udp_datagrams_total") + of("mashang_udp_kernel_drops_total") >= datagrams + asked,
        "every datagram is received, or counted as dropped",
    );
    adds_up(&server);
    let http = server.metric("mashang_events_accepted_total{transport=\"http\"}");
    assert_eq!(http, (SENDERS * REQUESTS * 50) as u64);
    server.settle();
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert_eq!(dump.lines().count() as u64, http + accepted(&server));
    assert_eq!(dump.lines().filter(|line| line.contains("\"id\":\"c")).count() as u64, asked);
    println!(
        "{} datagrams, {} dropped by the kernel",
        of("mashang_udp_datagrams_total"),
        of("mashang_udp_kernel_drops_total")
    );
}

#[test]
fn what_the_kernel_drops_is_counted() {
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let client = Client::to(&server);
    let stop = |signal: &str| {
        let sent = std::process::Command::new("kill").args([signal, &server.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    // The stopped process receives nothing while more is sent than a socket holds.
    stop("-STOP");
    let large = format!("{}{}", visit("a"), " ".repeat(60_000));
    (0..1_000).for_each(|_| client.send(large.as_bytes()));
    stop("-CONT");
    let of = |name: &str| sum(&server, name);
    let mut sent = 1_000;
    // The count comes with a datagram that is received later.
    until(
        || {
            client.send(visit("b").as_bytes());
            sent += 1;
            of("mashang_udp_kernel_drops_total") > 0
        },
        "drops are counted",
    );
    until(|| of("mashang_udp_datagrams_total") + of("mashang_udp_kernel_drops_total") == sent, "all is accounted for");
    adds_up(&server);
}
