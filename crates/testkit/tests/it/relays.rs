//! A relay injects exactly the planned faults.

use std::time::{Duration, Instant};

use testkit::kafka::Kafka;
use testkit::relay::plan::{Act, When, code};

use super::client::{Sender, read, topic};

/// A new topic on the shared broker, and a client for it.
fn sender(kafka: &Kafka, name: &str) -> Sender {
    topic(kafka, name);
    Sender::new(&kafka.relayed(), name, name, &[])
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[test]
fn waiting_producer_survives_every_act() {
    let Some(kafka) = Kafka::shared() else { return };
    let acts = [
        Act::Swallow,
        Act::CloseBefore,
        Act::CloseAfter,
        Act::Refuse(code::NOT_LEADER_OR_FOLLOWER),
        Act::RefuseLate(code::NOT_ENOUGH_REPLICAS, Duration::from_millis(100)),
        Act::RefuseAfter(code::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        Act::DelayAnswer(Duration::from_secs(3)),
        Act::DelayRequest(Duration::from_secs(3)),
    ];
    let sender = sender(kafka, "acts");
    // Far enough apart that the retries of one fault are over before the next.
    for (act, nth) in acts.into_iter().zip((2..).step_by(10)) {
        kafka.plan().on("acts", When::Nth(nth), act);
    }
    let mut sent = 0;
    while kafka.plan().hurts("acts").len() < acts.len() {
        assert!(sender.send(&sent.to_string()).is_ok(), "{:?}", kafka.plan().hurts("acts"));
        sent += 1;
    }
    sender.send(&sent.to_string()).expect("delivered");
    let hurts = kafka.plan().hurts("acts");
    assert_eq!(hurts.iter().map(|hurt| hurt.act).collect::<Vec<_>>(), acts);
    assert_eq!(read(kafka.bootstrap(), "acts", &[]), numbers(sent + 1));
}

#[test]
fn permanent_refusal_reaches_the_producer() {
    let Some(kafka) = Kafka::shared() else { return };
    let sender = sender(kafka, "final");
    kafka.plan().on("final", When::Nth(2), Act::Refuse(code::MESSAGE_TOO_LARGE));
    assert_eq!(sender.send("0"), Ok(0));
    let refused = sender.send("1").expect_err("refused");
    assert!(refused.contains("MessageSizeTooLarge"), "{refused}");
    assert_eq!(read(kafka.bootstrap(), "final", &[]), ["0"]);
}

#[test]
fn rule_fits_first_requests_of_producers_or_connections() {
    let Some(kafka) = Kafka::shared() else { return };
    topic(kafka, "firsts");
    let refuse = Act::Refuse(code::NOT_LEADER_OR_FOLLOWER);
    kafka.plan().on("firsts-*", When::FirstOfProducer, refuse);
    for client in ["firsts-a", "firsts-b", "firsts-b"] {
        let sender = Sender::new(&kafka.relayed(), client, "firsts", &[]);
        assert!(sender.send(client).is_ok());
        assert!(sender.send(client).is_ok());
        assert!(kafka.relay(1).cut(client) > 0, "it has connections");
        assert!(sender.send(client).is_ok());
    }
    assert_eq!(kafka.plan().hurts("firsts-a").len(), 1);
    assert_eq!(kafka.plan().hurts("firsts-b").len(), 2);
    kafka.plan().clear("firsts-*");
    kafka.plan().on("firsts-c", When::FirstOfConnection, Act::DelayAnswer(Duration::from_millis(1)));
    let sender = Sender::new(&kafka.relayed(), "firsts-c", "firsts", &[]);
    assert!(sender.send("c").is_ok());
    kafka.relay(1).cut("firsts-c");
    assert!(sender.send("c").is_ok());
    assert!(sender.send("c").is_ok());
    assert_eq!(kafka.plan().hurts("firsts-c").iter().map(|hurt| hurt.nth).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(kafka.plan().seen("firsts-c"), 3);
}

#[test]
fn chaos_loses_no_record_of_a_waiting_producer() {
    let Some(kafka) = Kafka::shared() else { return };
    let sender = sender(kafka, "chaos");
    kafka.plan().chaos("chaos", 200, 7);
    for n in 0..60 {
        assert!(sender.send(&n.to_string()).is_ok());
    }
    assert!(kafka.plan().hurts("chaos").len() > 5);
    assert_eq!(read(kafka.bootstrap(), "chaos", &[]), numbers(60));
}

#[test]
fn relay_stays_down_until_it_is_up() {
    // A cluster of its own, because `down` cuts all clients.
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let sender = sender(&kafka, "down");
    assert_eq!(sender.send("0"), Ok(0));
    kafka.relay(1).down();
    sender.start("1");
    let until = Instant::now() + Duration::from_millis(700);
    while Instant::now() < until {
        assert_eq!(sender.delivered(), 0);
        std::thread::sleep(Duration::from_millis(20));
    }
    kafka.relay(1).up();
    assert!(sender.send("2").is_ok());
    assert_eq!(read(kafka.bootstrap(), "down", &[]), ["0", "1", "2"]);
    // The end of a broker closes the connections through the relay.
    kafka.kill(1);
    let until = Instant::now() + Duration::from_secs(10);
    while kafka.relay(1).cut("down") > 0 {
        assert!(Instant::now() < until, "connections to a dead broker");
    }
}
