//! A relay between a writer and its database, which cuts or holds a connection at a chosen message.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The message that commits.
pub(crate) const COMMIT: &[u8] = b"COMMIT\0";
/// Timeout of the wait for a held message; after it, the test fails.
const HELD_TIMEOUT: Duration = Duration::from_secs(20);

/// What happens to the writer's next message that contains the word; later messages pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Pass,
    /// The message does not arrive, and the connection is cut.
    CutBefore(&'static [u8]),
    /// The message arrives; the connection is cut before the answer.
    CutBehind(&'static [u8]),
    /// The message waits until another plan is set, as if the writer were paused.
    Hold(&'static [u8]),
    /// A message waits now.
    Held,
}

#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

impl Relay {
    /// A relay to the database behind a URL, and the URL that goes through it.
    pub(crate) fn to(url: &str) -> (Self, String) {
        let at = url.rfind("127.0.0.1:").expect("on loopback") + "127.0.0.1:".len();
        let end = at + url[at..].find('/').expect("a database");
        let server: u16 = url[at..end].parse().expect("a port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let plan = Arc::new((Mutex::new(Plan::Pass), Condvar::new()));
        let relay = Self { port, plan: Arc::clone(&plan) };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).expect("the server");
                connect(client, server, &plan);
            }
        });
        let through = format!("{}{}{}?sslmode=disable", &url[..at], relay.port, &url[end..]);
        (relay, through)
    }

    pub(crate) fn plan(&self, plan: Plan) {
        *self.plan.0.lock().expect("a plan") = plan;
        self.plan.1.notify_all();
    }

    /// Waits until a message is held.
    pub(crate) fn wait_held(&self) {
        let until = Instant::now() + HELD_TIMEOUT;
        while *self.plan.0.lock().expect("a plan") != Plan::Held {
            assert!(Instant::now() < until, "no message was held");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn connect(client: TcpStream, server: TcpStream, plan: &Arc<(Mutex<Plan>, Condvar)>) {
    let is_deaf = Arc::new(AtomicBool::new(false));
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
    let (down_from, down_to, deaf) = (clone(&server), clone(&client), Arc::clone(&is_deaf));
    std::thread::spawn(move || {
        pass(down_from, &down_to, |_| !deaf.load(Ordering::Acquire));
    });
    let plan = Arc::clone(plan);
    std::thread::spawn(move || pass(client, &server, |bytes| is_passed(bytes, &plan, &is_deaf)));
}

/// Forwards bytes until one end closes or `may` returns false; then closes both.
fn pass(mut from: TcpStream, mut to: &TcpStream, mut may: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if !may(&buffer[..n]) || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    for stream in [&from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn is_passed(bytes: &[u8], (plan, changed): &(Mutex<Plan>, Condvar), is_deaf: &AtomicBool) -> bool {
    let says = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    let mut now = plan.lock().expect("a plan");
    match *now {
        Plan::CutBefore(word) if says(word) => {
            *now = Plan::Pass;
            false
        }
        Plan::CutBehind(word) if says(word) => {
            *now = Plan::Pass;
            is_deaf.store(true, Ordering::Release);
            true
        }
        Plan::Hold(word) if says(word) => {
            *now = Plan::Held;
            drop(changed.wait_while(now, |plan| *plan == Plan::Held));
            true
        }
        _ => true,
    }
}
