//! When a batcher closes its rounds, whom it reports to, and its end: what was submitted before is durable, though the log is
//! closed right after it.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::frame::Frame;
use domain::model::address::Partitions;
use domain::model::event::{Action, Event};
use edge::ingest::batcher::{BatchPolicy, Batcher, Busy, SubmitError};
use edge::ingest::clock::Stamps;
use edge::metrics::{Metrics, Transport};
use edge::spool::Durable;
use edge::spool::append_target::AppendTarget;
use eventlog::api::{Append, AppendError, Appender, Done, Health, OnFull};
use eventlog::files::memory::Memory;
use eventlog::local::log::Log;
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use prometheus::Registry;
use tokio::sync::Semaphore;

const ENDS: u64 = 500;
/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing in these tests waits for it.
const NEVER: Duration = Duration::from_secs(3600);

/// Rounds as a log gets them: their number of events, and the callback that ends them.
type Rounds = Receiver<(u32, Done)>;

/// A log that answers when the test does.
#[derive(Debug)]
struct Slow(Mutex<Sender<(u32, Done)>>);

impl Appender for Slow {
    fn append(&self, records: Vec<Append>, _: OnFull, done: Done) {
        let events = records.iter().map(|append| Frame::open(&append.record).expect("a frame").count).sum();
        let _ = self.0.lock().expect("no thread panicked").send((events, done));
    }

    fn health(&self) -> Health {
        Health::Good
    }

    fn close(&self) {}
}

/// A batcher before a log that answers when the test does.
fn slow(rounds_max: usize, linger: RangeInclusive<Duration>) -> (Arc<Batcher>, Rounds) {
    slow_with(BatchPolicy { rounds_max, linger, busy: Busy::default() })
}

fn slow_with(policy: BatchPolicy) -> (Arc<Batcher>, Rounds) {
    let (round_tx, rounds) = channel();
    let target = AppendTarget::Log(Arc::new(Slow(Mutex::new(round_tx))));
    let metrics = Metrics::new(&Registry::new()).expect("once");
    (Batcher::start(target, 2, Stamps::Wall, policy, metrics), rounds)
}

/// Submits this number of events, without waiting for them.
fn submit(batcher: &Batcher, events: u32) {
    let mut batch = batcher.new_batch();
    (0..events).for_each(|_| batch.push(&visit("1"), Transport::Udp));
    batcher.submit_with(batch, Box::new(|_| {}));
}

/// The next round: its number of events, and the callback that ends it.
fn next(rounds: &Rounds) -> (u32, Done) {
    rounds.recv_timeout(PATIENCE).expect("a round")
}

#[test]
fn events_share_a_round_while_the_log_is_busy() {
    let (batcher, rounds) = slow(8, Duration::ZERO..=NEVER);
    submit(&batcher, 1);
    let (alone, done) = next(&rounds);
    (0..5).for_each(|_| submit(&batcher, 2));
    done(Ok(()));
    let (together, done) = next(&rounds);
    done(Ok(()));
    assert_eq!((alone, together), (1, 10));
    batcher.close();
}

#[test]
fn rounds_follow_each_other_at_a_distance() {
    let (batcher, rounds) = slow(8, NEVER..=NEVER);
    submit(&batcher, 1);
    let (first, done) = next(&rounds);
    done(Ok(()));
    (0..5).for_each(|_| submit(&batcher, 1));
    // The close of the batcher does not wait for the linger time.
    batcher.close();
    assert_eq!((first, next(&rounds).0), (1, 5));
}

/// Senders that all wait for the round send nothing more, however long a busy round may take.
#[test]
fn round_to_which_nothing_comes_does_not_wait() {
    let busy = Busy { rate: 1, linger: NEVER };
    let (batcher, rounds) = slow_with(BatchPolicy { rounds_max: 8, linger: Duration::ZERO..=NEVER, busy });
    for _ in 0..3 {
        (0..5).for_each(|_| submit(&batcher, 1));
        let mut events = 0;
        while events < 5 {
            let (more, done) = next(&rounds);
            events += more;
            done(Ok(()));
        }
    }
    batcher.close();
}

#[test]
fn a_large_frame_does_not_wait() {
    let (batcher, rounds) = slow(2, NEVER..=NEVER);
    submit(&batcher, 1);
    let first = next(&rounds);
    submit(&batcher, 10_000);
    let second = next(&rounds);
    assert_eq!((first.0, second.0), (1, 10_000));
    // But the number of rounds in flight is limited.
    submit(&batcher, 10_000);
    submit(&batcher, 10_000);
    (first.1)(Ok(()));
    assert_eq!(next(&rounds).0, 20_000);
    batcher.close();
}

#[test]
fn a_round_that_does_not_end_does_not_stop_the_next() {
    let (batcher, rounds) = slow(2, Duration::ZERO..=Duration::from_millis(1));
    submit(&batcher, 1);
    let _in_flight = next(&rounds);
    submit(&batcher, 2);
    assert_eq!(next(&rounds).0, 2);
    batcher.close();
}

#[test]
fn all_waiting_tasks_on_a_thread_get_the_result() {
    let (batcher, rounds) = slow(8, Duration::ZERO..=NEVER);
    // One runtime after the other on one thread: the second must not use what the first one left behind.
    for (answer, wanted) in
        [(Ok(()), Ok(Durable::Log)), (Err(AppendError::Full), Err(SubmitError::Refused(AppendError::Full)))]
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let wait = || {
                let batcher = Arc::clone(&batcher);
                tokio::spawn(async move {
                    let mut batch = batcher.new_batch();
                    batch.push(&visit("1"), Transport::Http);
                    batcher.submit(batch).await
                })
            };
            let first = wait();
            tokio::task::yield_now().await;
            let (_, done) = next(&rounds);
            let waiting: Vec<_> = (0..10).map(|_| wait()).collect();
            tokio::task::yield_now().await;
            // The task that waited first for the second round is aborted; the others get their result all the same.
            waiting[0].abort();
            std::thread::spawn(move || done(Ok(()))).join().expect("no panic");
            let (events, done) = next(&rounds);
            assert_eq!(events, 10);
            std::thread::spawn(move || done(answer)).join().expect("no panic");
            assert_eq!(first.await.expect("a task"), Ok(Durable::Log));
            for waiting in waiting.into_iter().skip(1) {
                assert_eq!(waiting.await.expect("a task"), wanted);
            }
        });
    }
    batcher.close();
}

/// Batches of one body go one after the other: between them there is room for others. The first that is refused ends it.
#[test]
fn batches_of_one_body_take_turns_with_others() {
    let (batcher, rounds) = slow(8, Duration::ZERO..=Duration::ZERO);
    let batch = |events| {
        let mut batch = batcher.new_batch();
        (0..events).for_each(|_| batch.push(&visit("1"), Transport::Http));
        batch
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for (answer, wanted) in
        [(Ok(()), Ok(Durable::Log)), (Err(AppendError::Full), Err(SubmitError::Refused(AppendError::Full)))]
    {
        let (own, batches) = (Arc::clone(&batcher), vec![batch(5), batch(6), batch(7)]);
        let body = runtime.spawn(async move { own.submit_in_turn(batches, None).await });
        let (first, done) = next(&rounds);
        submit(&batcher, 1);
        let (others, others_done) = next(&rounds);
        assert_eq!((first, others), (5, 1), "the rest of the body waits");
        others_done(Ok(()));
        done(Ok(()));
        let (second, done) = next(&rounds);
        assert_eq!(second, 6);
        done(answer);
        if answer.is_ok() {
            let (last, done) = next(&rounds);
            assert_eq!(last, 7);
            done(Ok(()));
        }
        assert_eq!(runtime.block_on(body).expect("a task"), wanted);
        assert!(rounds.try_recv().is_err(), "what was not sent is not sent later");
    }
    batcher.close();
}

/// Bodies of one key share a turn: a batch of one of them is in flight at a time.
#[test]
fn bodies_of_one_key_have_one_batch_in_flight() {
    let (batcher, rounds) = slow(8, Duration::ZERO..=Duration::ZERO);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let turn = Arc::new(Semaphore::new(1));
    let body = || {
        let mut batches = vec![batcher.new_batch(), batcher.new_batch()];
        batches.iter_mut().for_each(|batch| batch.push(&visit("1"), Transport::Http));
        let (own, turn) = (Arc::clone(&batcher), Arc::clone(&turn));
        runtime.spawn(async move { own.submit_in_turn(batches, Some(turn)).await })
    };
    let bodies = [body(), body()];
    for _ in 0..4 {
        let (events, done) = next(&rounds);
        // An event of another sender gets between them.
        submit(&batcher, 1);
        let (others, others_done) = next(&rounds);
        assert_eq!((events, others), (1, 1), "no other batch of the key");
        others_done(Ok(()));
        done(Ok(()));
    }
    for body in bodies {
        assert_eq!(runtime.block_on(body).expect("a task"), Ok(Durable::Log));
    }
    batcher.close();
}

/// A sender that goes away changes nothing: its body is made durable whole, or refused.
#[test]
fn batches_of_one_body_go_on_without_their_sender() {
    let (batcher, rounds) = slow(8, Duration::ZERO..=Duration::ZERO);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let batches: Vec<_> = (0..2)
        .map(|_| {
            let mut batch = batcher.new_batch();
            batch.push(&visit("1"), Transport::Http);
            batch
        })
        .collect();
    let own = Arc::clone(&batcher);
    let sender = runtime.spawn(async move { own.submit_in_turn(batches, None).await });
    let (_, done) = next(&rounds);
    sender.abort();
    assert!(runtime.block_on(sender).is_err());
    done(Ok(()));
    let (events, done) = next(&rounds);
    assert_eq!(events, 1);
    done(Ok(()));
    batcher.close();
}

fn visit(id: &str) -> Event<'_> {
    Event {
        key: 1,
        shopper_key: 2,
        merchant: "acme",
        id,
        shopper: "u1",
        action: Action::Visit,
        stamp: 3,
        time: None,
        code: None,
        store: None,
        guide: None,
        region: None,
        channel: None,
        device: None,
        ticket: None,
        order: None,
        keyless: false,
    }
}

#[test]
fn what_was_brought_before_the_end_is_durable() {
    let partitions = Partitions::all(1);
    let policy = BatchPolicy { rounds_max: 2, linger: Duration::ZERO..=NEVER, busy: Busy::default() };
    for end in 0..ENDS {
        let meta = Meta::new(1, Clock::Wall, partitions);
        let registry = Registry::new();
        let log = Log::open(
            Arc::new(Memory::default()),
            Path::new("log"),
            &meta,
            Sizes { segment_bytes: 100_000, journal_bytes: 100_000 },
            &registry,
        );
        let log = Arc::new(log.expect("a log"));
        let metrics = Metrics::new(&registry).expect("once");
        let target = AppendTarget::Log(Arc::<Log>::clone(&log));
        let batcher = Batcher::start(target.clone(), 1, Stamps::Wall, policy.clone(), metrics);
        let (result_tx, result_rx) = channel();
        for _ in 0..3 {
            let mut batch = batcher.new_batch();
            batch.push(&visit("1"), Transport::Udp);
            let result_tx = result_tx.clone();
            let on_result = move |result| {
                let _ = result_tx.send(result);
            };
            batcher.submit_with(batch, Box::new(on_result));
        }
        batcher.close();
        target.close();
        let results: Vec<_> = result_rx.try_iter().collect();
        assert_eq!(results, vec![Ok(Durable::Log); 3], "end {end}");
    }
}
