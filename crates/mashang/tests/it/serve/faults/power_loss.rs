//! Files that hold back what is not synced: if the process is killed, every unsynced byte is lost, as in a power failure.
//!
//! The tests' own binary serves as the service then: it runs itself with one test, which is the service.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use eventlog::files::disk::Disk;
use eventlog::files::{File, Files};
use parking_lot::Mutex;

const ARGS: &str = "MASHANG_TEST_SERVE";

/// Name of a file; while it is in the directory, every sync fails.
pub(super) const BROKEN: &str = "broken";

/// The command that serves over such files.
pub(super) fn binary() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.env(ARGS, "1").args([
        "serve::faults::power_loss::serve_over_files_that_hold_back",
        "--exact",
        "--nocapture",
        "--",
    ]);
    command
}

/// Not a test unless it is asked to be the service; then its arguments are those behind `--`.
#[test]
fn serve_over_files_that_hold_back() {
    if std::env::var_os(ARGS).is_none() {
        return;
    }
    let args = std::env::args_os().skip_while(|arg| arg != "--").skip(1);
    let done = mashang::main_with(std::iter::once("mashang".into()).chain(args), Arc::new(Held));
    std::process::exit(i32::from(done != ExitCode::SUCCESS));
}

/// Names are the disk's own; what files hold is held back. A name that was not synced stays after a kill: that is tested
/// in memory, where a crash takes names too.
#[derive(Debug)]
struct Held;

impl Files for Held {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Disk.list(dir)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(HeldFile { file: Disk.open(path, create)?, held: Mutex::default() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Disk.sync_dir(dir)
    }
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    held: Mutex<Vec<Change>>,
}

impl HeldFile {
    fn change(&self, change: Change) {
        self.held.lock().push(change);
    }
}

impl File for HeldFile {
    fn len(&self) -> io::Result<u64> {
        let held = self.held.lock();
        Ok(held.iter().fold(self.file.len()?, |len, change| match change {
            Change::Write(at, bytes) => len.max(at + bytes.len() as u64),
            Change::Truncate(len) => *len,
        }))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let len = self.len()?;
        let end = usize::try_from(len.saturating_sub(at)).expect("small").min(buffer.len());
        buffer.fill(0);
        self.file.read_at(buffer, at)?;
        for change in &*self.held.lock() {
            match change {
                Change::Write(from, bytes) => {
                    for (i, byte) in (*from..).zip(bytes) {
                        if let Some(slot) = i.checked_sub(at).and_then(|i| buffer.get_mut(usize::try_from(i).ok()?)) {
                            *slot = *byte;
                        }
                    }
                }
                Change::Truncate(len) => {
                    let from = usize::try_from(len.saturating_sub(at)).expect("small").min(buffer.len());
                    buffer[from..].fill(0);
                }
            }
        }
        Ok(end)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change(Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Truncate(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if Path::new(BROKEN).exists() {
            return Err(io::Error::other("the disk is broken"));
        }
        let mut held = self.held.lock();
        for change in held.drain(..) {
            match change {
                Change::Write(at, bytes) => self.file.write_at(&bytes, at)?,
                Change::Truncate(len) => self.file.truncate(len)?,
            }
        }
        self.file.sync()
    }
}
