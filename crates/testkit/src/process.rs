//! Child processes that end with this process in any case: brokers, databases, and the roles under test.
//!
//! Linux sends a child a signal when *the thread that started it* ends (`PR_SET_PDEATHSIG`), and each test has a thread of its
//! own. So one thread, which runs as long as the process, starts all children.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Interval between two checks of a child or its output.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum size of the output in an error, bytes; earlier output is left out.
const SHOWN_BYTES: usize = 8 << 10;

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop.
    Term,
    /// SIGINT: stop, as Ctrl-C asks.
    Int,
    /// SIGKILL: die now.
    Kill,
    /// SIGSTOP: freeze.
    Stop,
    /// SIGCONT: go on after a freeze.
    Continue,
    /// SIGHUP.
    Hangup,
}

impl Signal {
    fn option(self) -> &'static str {
        match self {
            Self::Term => "-TERM",
            Self::Int => "-INT",
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
            Self::Hangup => "-HUP",
        }
    }
}

/// A child process whose output goes to a file. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
    /// The byte of the file where the output of this run begins.
    from: u64,
}

impl Process {
    /// Starts a program with its arguments, variables and directory, and an empty standard input. Both outputs are appended to a
    /// file. A command that clears its environment is not supported.
    ///
    /// # Errors
    /// If the file or the program cannot be opened, or `setpriv` (util-linux) is missing.
    pub fn start(command: &Command, output: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(output)?;
        let from = file.metadata()?.len();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            bound.current_dir(dir);
        }
        bound.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { child: spawn(bound)?, output: output.to_owned(), from })
    }

    /// The process id, which stays the child's until its end was waited for.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// # Panics
    /// If the child has ended, or `kill` is missing.
    pub fn signal(&mut self, signal: Signal) {
        assert_eq!(self.ended(), None, "{signal:?} could go to another process with this id");
        let mut kill = Command::new("kill");
        let status = kill.args([signal.option(), &self.child.id().to_string()]).status();
        assert!(status.as_ref().is_ok_and(ExitStatus::success), "{signal:?} to {}: {status:?}", self.child.id());
    }

    /// Sends SIGKILL; returns the exit status.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().expect("a child")
    }

    /// Sends SIGTERM; returns the exit status if the child ends within the timeout.
    pub fn stop(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if self.ended().is_none() {
            self.signal(Signal::Term);
        }
        self.wait(timeout)
    }

    /// The exit status, if the child has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for the end; returns the exit status if the child ends within the timeout.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= until {
                return ended;
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
    }

    /// The output since the start.
    #[must_use]
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.output).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.from))?;
            file.read_to_end(&mut bytes)
        });
        read.map_or_else(|e| e.to_string(), |_| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits for a whole line of the output for which `wanted` returns a value.
    ///
    /// # Errors
    /// The output, if the child ends before or the timeout is over.
    pub fn line<T>(&mut self, timeout: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        self.until(timeout, |output| {
            let whole = &output()[..];
            let whole = &whole[..whole.rfind('\n').map_or(0, |end| end + 1)];
            whole.lines().find_map(&wanted)
        })
    }

    /// Waits until `http://ADDRESS` answers `path` with 200; returns the body.
    ///
    /// # Errors
    /// The output, if the child ends before or the timeout is over.
    pub fn path(&mut self, address: &str, path: &str, timeout: Duration) -> Result<String, String> {
        self.until(timeout, |_| get(address, path).ok().filter(|(status, _)| *status == 200).map(|(_, body)| body))
    }

    fn until<T>(&mut self, timeout: Duration, look: impl Fn(&dyn Fn() -> String) -> Option<T>) -> Result<T, String> {
        let until = Instant::now() + timeout;
        loop {
            // The end is checked before the output, so that the last line counts too.
            let ended = self.ended();
            if let Some(found) = look(&|| self.output()) {
                return Ok(found);
            }
            if ended.is_some() || Instant::now() >= until {
                let output = self.output();
                let tail = output.char_indices().rev().map(|(at, _)| at).nth(SHOWN_BYTES).unwrap_or(0);
                let what = ended.map_or_else(|| format!("nothing after {timeout:?}"), |status| status.to_string());
                return Err(format!("{what}; its output:\n{}", &output[tail..]));
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Requests a path of `http://ADDRESS` in HTTP/1.0, without following redirects; returns status and body.
///
/// # Errors
/// If no answer arrives within 5 seconds, or it is not HTTP.
pub fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let parts = status.zip(answer.split_once("\r\n\r\n"));
    parts.map(|(status, (_, body))| (status, body.to_owned())).ok_or_else(|| io::Error::other("no HTTP"))
}

type SpawnRequest = (Command, SyncSender<io::Result<Child>>);

/// Starts a child from the thread that runs as long as the process.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<Mutex<SyncSender<SpawnRequest>>> = LazyLock::new(|| {
        // A caller waits until the spawner has taken its request; the spawner waits for no caller, as each answer has room.
        let (requests, incoming) = sync_channel::<SpawnRequest>(0);
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let (answer, child) = sync_channel(1);
    let requests = SPAWNER.lock();
    requests.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Process, Signal};

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::start(&command, &dir.path().join("out")).expect("sh runs");
        (dir, process)
    }

    #[test]
    fn line_is_awaited_and_an_end_is_an_error() {
        let (_dir, mut process) = shell("echo one; echo two 7; exec sleep 60");
        let seven = process.line(TIMEOUT, |line| line.strip_prefix("two ")?.parse::<u32>().ok());
        assert_eq!(seven, Ok(7));
        assert!(process.stop(TIMEOUT).is_some());
        let (_dir, mut process) = shell("echo sorry; exit 3");
        let output = process.line(TIMEOUT, |line| line.contains("ready").then_some(())).expect_err("it ends");
        assert_eq!(output, "exit status: 3; its output:\nsorry\n");
    }

    #[test]
    fn child_outlives_its_starting_thread_not_the_process() {
        let started = std::thread::spawn(|| shell("echo up; exec sleep 60"));
        let (_dir, mut process) = started.join().expect("no panic");
        process.line(TIMEOUT, |line| (line == "up").then_some(())).expect("a line");
        assert_eq!(process.wait(Duration::from_millis(100)), None);
        // The dump of the process names the signal that the kernel will send.
        let (dir, mut process) = shell("exec setpriv --dump");
        assert!(process.wait(TIMEOUT).is_some_and(|status| status.success()));
        assert!(process.output().contains("Parent death signal: KILL"), "{}", process.output());
        drop(dir);
    }

    #[test]
    fn stopped_child_continues() {
        let (_dir, mut process) = shell("while :; do echo tick; sleep 0.05; done");
        let ticks = |process: &Process| process.output().lines().count();
        process.line(TIMEOUT, |line| (line == "tick").then_some(())).expect("it ticks");
        process.signal(Signal::Stop);
        let stat = format!("/proc/{}/stat", process.id());
        let stopped = || std::fs::read_to_string(&stat).expect("Linux").contains(") T ").then_some(());
        assert_eq!(process.until(TIMEOUT, |_| stopped()), Ok(()));
        process.signal(Signal::Continue);
        let before = ticks(&process);
        let more = process.until(TIMEOUT, |output| (output().lines().count() > before).then_some(()));
        assert_eq!(more, Ok(()));
    }
}
