//! One connection of a client through a relay, with three threads: requests to the broker, answers into a queue, the queue to the
//! client. Kafka answers in order, so the relay's own refusals are queued among the broker's answers.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::plan::{Act, Plan};
use super::produce::{answered, frame, header};

/// Maximum number of requests of a client that are not answered; the relay reads no further request until there are fewer.
const UNANSWERED_MAX: usize = 1024;
/// Wait between the last forwarded request and the close of the connection, in which the broker receives the request.
const BEFORE_CLOSING: Duration = Duration::from_millis(200);

/// Both ends of a connection, and the state that its threads share.
#[derive(Debug)]
pub(super) struct Connection {
    client: TcpStream,
    broker: TcpStream,
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    /// The client id of the first request.
    name: Option<String>,
    /// Expected answers and answers to write, in the order of the requests; [`UNANSWERED_MAX`] at most.
    queue: VecDeque<Awaited>,
    closed: bool,
}

#[derive(Debug)]
struct Awaited {
    correlation: i32,
    /// What the relay does with the broker's answer.
    act: Act,
    /// The relay's own answer, for acts that have one; otherwise the broker's, once it has arrived.
    answer: Vec<u8>,
    ready: bool,
    not_before: Instant,
}

impl Connection {
    /// Serves both ends on threads of its own until either closes.
    pub(super) fn start(client: TcpStream, broker: TcpStream, plan: &Plan) -> io::Result<Arc<Self>> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let connection =
            Arc::new(Self { client, broker, shared: Mutex::new(Shared::default()), changed: Condvar::new() });
        connection.thread(plan, |connection, plan| connection.up(plan));
        connection.thread(plan, |connection, _| connection.down());
        connection.thread(plan, |connection, _| connection.write());
        Ok(connection)
    }

    fn thread(self: &Arc<Self>, plan: &Plan, serve: impl Fn(&Self, &Plan) -> io::Result<()> + Send + 'static) {
        let (connection, plan) = (Arc::clone(self), plan.clone());
        std::thread::spawn(move || {
            let _ = serve(&connection, &plan);
            connection.close();
        });
    }

    /// Closes both ends, which ends the threads.
    pub(super) fn close(&self) {
        self.shared().closed = true;
        self.changed.notify_all();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    pub(super) fn closed(&self) -> bool {
        self.shared().closed
    }

    pub(super) fn name(&self) -> Option<String> {
        self.shared().name.clone()
    }

    /// Forwards requests from the client to the broker.
    fn up(&self, plan: &Plan) -> io::Result<()> {
        let mut produced = 0;
        let mut close_after = None;
        loop {
            let frame = frame(&mut &self.client)?;
            let request = header(&frame).inspect_err(|e| plan.trouble(e.to_string()))?;
            self.shared().name.get_or_insert_with(|| request.client.clone());
            let Some(produce) = &request.produce else {
                self.forward(&frame, request.correlation, Act::Pass, Vec::new())?;
                continue;
            };
            produced += 1;
            let act = plan.decide(&request.client, produced, produce);
            let refused = |code| produce.refused(request.correlation, code);
            match act {
                Act::Swallow => continue,
                Act::SwallowThenClose(more) => {
                    close_after = Some(more);
                    continue;
                }
                Act::CloseBefore => return Ok(()),
                Act::Refuse(code) => {
                    self.answer(request.correlation, refused(code), Duration::ZERO);
                    continue;
                }
                Act::RefuseLate(code, hold) => {
                    self.answer(request.correlation, refused(code), hold);
                    continue;
                }
                Act::DelayRequest(hold) => {
                    std::thread::sleep(hold);
                    self.forward(&frame, request.correlation, act, Vec::new())?;
                }
                Act::RefuseAfter(code) => self.forward(&frame, request.correlation, act, refused(code))?,
                Act::Pass | Act::CloseAfter | Act::DelayAnswer(_) => {
                    self.forward(&frame, request.correlation, act, Vec::new())?;
                }
            }
            if let Some(more) = close_after {
                if more <= 1 {
                    std::thread::sleep(BEFORE_CLOSING);
                    return Ok(());
                }
                close_after = Some(more - 1);
            }
        }
    }

    fn forward(&self, frame: &[u8], correlation: i32, act: Act, answer: Vec<u8>) -> io::Result<()> {
        let awaited = Awaited { correlation, act, answer, ready: false, not_before: Instant::now() };
        self.expect(awaited);
        (&self.broker).write_all(frame)
    }

    fn answer(&self, correlation: i32, answer: Vec<u8>, hold: Duration) {
        let not_before = Instant::now() + hold;
        self.expect(Awaited { correlation, act: Act::Pass, answer, ready: true, not_before });
        self.changed.notify_all();
    }

    /// Adds to the queue. It waits while the queue is full: the thread that writes to the client takes from it, and waits for the
    /// broker and the client alone.
    fn expect(&self, awaited: Awaited) {
        let mut shared = self.shared();
        while shared.queue.len() >= UNANSWERED_MAX && !shared.closed {
            self.changed.wait(&mut shared);
        }
        shared.queue.push_back(awaited);
    }

    /// Reads answers from the broker into the queue.
    fn down(&self) -> io::Result<()> {
        loop {
            let frame = frame(&mut &self.broker)?;
            let correlation = answered(&frame)?;
            let mut shared = self.shared();
            let mut awaited = shared.queue.iter_mut().filter(|awaited| !awaited.ready);
            let awaited = awaited.next().filter(|awaited| awaited.correlation == correlation);
            let awaited = awaited.ok_or_else(|| io::Error::other("an answer to no request"))?;
            match awaited.act {
                Act::CloseAfter => return Ok(()),
                Act::RefuseAfter(_) => {}
                Act::DelayAnswer(hold) => {
                    awaited.answer = frame;
                    awaited.not_before = Instant::now() + hold;
                }
                _ => awaited.answer = frame,
            }
            awaited.ready = true;
            drop(shared);
            self.changed.notify_all();
        }
    }

    /// Writes answers from the queue to the client.
    fn write(&self) -> io::Result<()> {
        let mut shared = self.shared();
        while !shared.closed {
            let now = Instant::now();
            match shared.queue.front() {
                Some(first) if first.ready && first.not_before <= now => {
                    let answer = shared.queue.pop_front().expect("the first").answer;
                    self.changed.notify_all();
                    MutexGuard::unlocked(&mut shared, || (&self.client).write_all(&answer))?;
                }
                Some(first) if first.ready => {
                    let until = first.not_before;
                    self.changed.wait_until(&mut shared, until);
                }
                _ => self.changed.wait(&mut shared),
            }
        }
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock()
    }
}
