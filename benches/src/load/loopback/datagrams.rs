//! Runs over UDP: datagrams without answers, and CoAP; some datagrams are lost.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use wire::coap::{Code, Kind, Message, Writer, number};

use super::{Faults, Stub, counted, run, take};
use crate::load::report::Ledger;

/// Answers of CoAP, by the client's address and the message id.
type Answers = HashMap<(SocketAddr, u16), Vec<u8>>;

/// Receives datagrams, and answers those of CoAP; a repeated request gets the same answer.
pub(super) async fn serve(stub: Arc<Stub>, socket: UdpSocket) {
    let (mut buffer, mut answers, mut count) = (vec![0; 65_536], Answers::new(), 0_u64);
    while let Ok((bytes, from)) = socket.recv_from(&mut buffer).await {
        let datagram = &buffer[..bytes];
        count += 1;
        let is_turn = |every: u64| every > 0 && count.is_multiple_of(every);
        if is_turn(stub.faults.drop_every) {
            stub.taken.lock().dropped += u64::from(stub.faults.drop_is_counted);
            continue;
        }
        stub.taken.lock().datagrams += 1;
        if matches!(datagram[0], b'{' | b'[') {
            take(&mut stub.taken.lock(), "udp", datagram);
            continue;
        }
        let message = Message::parse(datagram).expect("a message");
        if message.code == Code::EMPTY {
            continue;
        }
        let is_shed = is_turn(stub.faults.shed_every);
        let answer = answers.entry((from, message.id)).or_insert_with(|| answer(&stub, &message, is_shed));
        // The answer is lost.
        if !is_turn(stub.faults.break_every) {
            socket.send_to(answer, from).await.expect("it is sent");
        }
    }
}

fn answer(stub: &Stub, message: &Message<'_>, is_shed: bool) -> Vec<u8> {
    assert!(message.kind == Kind::Confirmable && message.path_is(&["v1", "events"]));
    let mut buffer = [0; 64];
    let code = if is_shed { Code::TOO_MANY_REQUESTS } else { Code::CHANGED };
    let mut writer = Writer::new(&mut buffer, Kind::Acknowledgement, code, message.id, message.token);
    if is_shed {
        writer = writer.uint(number::MAX_AGE, 0);
    } else {
        take(&mut stub.taken.lock(), "udp", message.payload);
    }
    writer.payload(&[]).expect("it fits").to_vec()
}

#[tokio::test]
async fn coap_is_accepted_once_despite_loss_and_shedding() {
    let faults = Faults { drop_every: 5, break_every: 7, shed_every: 11, ..Faults::default() };
    let options = "--transport coap --rate 400 --connections 4 --nstart 4 --ack-timeout 20 --duplicates 1/20";
    let (report, stub) = run(faults, options).await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.ledger, Ledger::Right);
    assert_eq!((report.sent, report.accepted, report.ack.count), (400, 400, 400));
    assert!(report.retransmissions > 0 && report.shed_requests > 0 && report.duplicates > 0);
    let taken = stub.taken.lock();
    assert_eq!(taken.ids.len() as u64 + report.duplicates, 400);
    let answers: HashSet<&str> = report.answers.iter().map(|(status, _)| status.as_str()).collect();
    assert!(answers.contains("2.04") && answers.contains("4.29"), "{answers:?}");
}

#[tokio::test]
async fn coap_without_a_server_fails() {
    let faults = Faults { drop_every: 1, ..Faults::default() };
    let (report, _) = run(faults, "--transport coap --rate 10 --connections 2 --ack-timeout 1 --retry-for 1").await;
    let report = report.expect("a report");
    assert!(report.lost > 0 && report.accepted == 0 && report.retransmissions > 0);
    assert!(report.failures[0].contains("no acknowledgement after 4 retransmissions"), "{:?}", report.failures);
}

// The following tests send so few datagrams that the socket's buffer holds all of them.

#[tokio::test]
async fn datagrams_are_counted_by_the_server() {
    for options in ["--batch 5", "--batch 5 --format array", "--batch 5 --arrivals poisson"] {
        let options = format!("--transport udp --rate 500 --connections 3 --duplicates 1/20 {options}");
        let (report, stub) = run(Faults::default(), &options).await;
        let report = report.expect("a report");
        assert_eq!(report.failures, [""; 0], "{options}");
        assert_eq!(report.ledger, Ledger::Right, "{options}");
        assert_eq!(i64::try_from(report.accepted), Ok(counted(&stub)));
        let counted = report.counted.expect("counts");
        assert_eq!(counted.datagrams_sent, report.sent / 5 + 3);
        assert_eq!(counted.datagrams_sent, counted.datagrams + counted.kernel_drops);
        assert!(report.measured > 0 && report.client_wait.count == report.sent / 5);
    }
}

#[tokio::test]
async fn kernel_drops_are_reported_and_others_counted() {
    let faults = Faults { drop_every: 10, drop_is_counted: true, ..Faults::default() };
    let (report, stub) = run(faults, "--transport udp --rate 150 --connections 3").await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!((report.ledger, report.sent), (Ledger::Right, 150));
    assert_eq!(report.counted.map(|counted| counted.kernel_drops), Some(15));
    assert_eq!(i64::try_from(report.accepted), Ok(counted(&stub)));
    assert!(report.accepted < 150);
}

#[tokio::test]
async fn unreported_loss_of_datagrams_fails_the_run() {
    let faults = Faults { drop_every: 10, ..Faults::default() };
    let (report, _) = run(faults, "--transport udp --rate 150 --connections 3 --drain 1").await;
    let report = report.expect("a report");
    assert!(
        report.failures[0].contains("153 datagrams sent = received + dropped by the kernel"),
        "{:?}",
        report.failures
    );
}
