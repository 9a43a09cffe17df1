//! A real S3 server in a directory of its own (`versitygw`, a gateway to a file system), behind a relay that can refuse and slow down
//! what comes through.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;

const PROGRAM: &str = "versitygw";
const KEY: &str = "tester";
const SECRET: &str = "only-for-tests";
/// The name of the bucket.
pub const BUCKET: &str = "mashang";
/// Maximum time of a start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Delay of each piece that a slow relay passes on.
const SLOW: Duration = Duration::from_millis(300);

/// What the relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// It passes everything on.
    Pass,
    /// It answers 503 to everything.
    Refuse,
    /// It passes everything on, piece by piece, with a delay before each.
    Slow,
}

/// A running server with one bucket.
#[derive(Debug)]
pub struct Bucket {
    program: PathBuf,
    dir: TempDir,
    port: Port,
    server: Mutex<Option<Process>>,
    relay: Port,
    mode: Arc<AtomicU8>,
    open: Open,
}

/// The open connections, by number, so that they can be cut.
type Open = Arc<Mutex<HashMap<u64, TcpStream>>>;

/// A connection among the open ones, until this is dropped.
struct Listed {
    number: u64,
    open: Open,
}

impl Listed {
    fn new(stream: &TcpStream, open: &Open) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if let Ok(stream) = stream.try_clone() {
            open.lock().insert(number, stream);
        }
        Self { number, open: Arc::clone(open) }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}

impl Bucket {
    /// Starts a server. If none is installed, it prints so and returns `None`.
    ///
    /// # Panics
    /// If the server does not start, or none is installed and `MASHANG_NO_SKIP` is set.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "{PROGRAM} is not installed: .ci/setup");
            println!("skipped: {PROGRAM} is not installed; .ci/setup installs it");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("data").join(BUCKET)).expect("a bucket");
        let bucket = Self {
            program,
            dir,
            port: Port::take(),
            server: Mutex::default(),
            relay: Port::take(),
            mode: Arc::default(),
            open: Arc::default(),
        };
        bucket.restart();
        bucket.listen();
        Some(bucket)
    }

    /// What a client needs in its environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.relay.address())),
        ]
    }

    /// Where the objects are as files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("data").join(BUCKET)
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let server = self.server.lock().take();
        if let Some(mut server) = server {
            server.kill();
        }
        self.cut();
    }

    /// Starts the server again, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn restart(&self) {
        let address = self.port.address();
        let mut command = Command::new(&self.program);
        command.args(["--access", KEY, "--secret", SECRET, "--port", &address, "--quiet", "posix"]);
        command.arg(self.dir.path().join("data"));
        let server = Process::start(&command, &self.dir.path().join("server.log")).expect("the server starts");
        *self.server.lock() = Some(server);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(&address).is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default();
            assert!(Instant::now() < until, "{PROGRAM} does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on the relay does this. Open connections end.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
        self.cut();
    }

    fn cut(&self) {
        for connection in self.open.lock().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn listen(&self) {
        let listener = TcpListener::bind(self.relay.address()).expect("a port that was taken");
        let (mode, open, server) = (Arc::clone(&self.mode), Arc::clone(&self.open), self.port.address());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (mode, open, server) = (Arc::clone(&mode), Arc::clone(&open), server.clone());
                std::thread::spawn(move || serve(client, &server, &mode, &open));
            }
        });
    }
}

fn serve(mut client: TcpStream, server: &str, mode: &Arc<AtomicU8>, open: &Open) {
    let _listed = Listed::new(&client, open);
    if mode.load(Ordering::Acquire) == Mode::Refuse as u8 {
        let mut head = [0; 4096];
        let _ = client.read(&mut head);
        let _ = client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = client.shutdown(Shutdown::Write);
        // What is still coming is read: otherwise the client would see a reset connection in place of the answer.
        while client.read(&mut head).is_ok_and(|read| read > 0) {}
        return;
    }
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let _upstream = Listed::new(&upstream, open);
    let (Ok(from_client), Ok(to_client)) = (client.try_clone(), client.try_clone()) else { return };
    let Ok(to_server) = upstream.try_clone() else { return };
    let up = Arc::clone(mode);
    std::thread::spawn(move || copy(from_client, to_server, &up));
    copy(upstream, to_client, mode);
}

fn copy(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if mode.load(Ordering::Acquire) == Mode::Slow as u8 {
            std::thread::sleep(SLOW);
        }
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// The server's program: on the path, or where `.ci/setup` puts it.
fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin").join(PROGRAM);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)).chain([own]);
    places.find(|place| File::open(place).is_ok())
}
