//! Reading and parsing: one thread cuts the file into chunks of lines, several parse them.
//!
//! Chunk n goes to parser n mod the number of parsers, and its events are taken from the parsers in the same turn. So they have the
//! order of the file, whatever the threads do.

use std::io::{BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use anyhow::{Result, anyhow};
use bumpalo::Bump;
use wire::event::Merchants;

use super::chunk::{Chunk, ParsedChunk};
use super::lines::Lines;

/// Maximum number of threads that parse; otherwise there are as many as processors.
const PARSERS_MAX: usize = 4;
/// Maximum number of chunks that wait before a parser; beyond it the reader waits.
const CHUNKS_WAITING_MAX: usize = 2;
/// Maximum number of parsed chunks that wait behind a parser; beyond it the parser waits.
const PARSED_WAITING_MAX: usize = 2;
const READ_BYTES: usize = 1024 * 1024;

/// Where events are read from.
pub(crate) struct Source {
    /// The option and the file, for messages.
    pub(crate) name: String,
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) merchants: Merchants,
    /// Which lines are taken, of those that are not too long; `None` means all.
    pub(crate) is_wanted: Option<IsWanted>,
}

/// Whether a line is taken at all.
pub(crate) type IsWanted = Box<dyn Fn(&[u8]) -> bool + Send>;

/// A file that is being read. If it is dropped before its end its threads end with the next line: an input that waits for ever
/// does not keep the process.
pub(super) struct Reading {
    /// By parser.
    parsed: Vec<Receiver<ParsedChunk>>,
    parsers: Vec<JoinHandle<()>>,
    reader: JoinHandle<Result<()>>,
}

impl Reading {
    /// Starts the threads.
    pub(super) fn start(source: Source) -> Self {
        let Source { name, input, merchants, is_wanted } = source;
        let merchants = merchants.with_dump_lines();
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(PARSERS_MAX);
        let (mut chunks, mut parsed, mut parsers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let (chunk, to_parser) = sync_channel(CHUNKS_WAITING_MAX);
            let (events, from_parser) = sync_channel(PARSED_WAITING_MAX);
            let merchants = merchants.clone();
            parsers.push(spawn("parser", move || parse(&merchants, &to_parser, &events)));
            chunks.push(chunk);
            parsed.push(from_parser);
        }
        let reader = spawn("reader", move || read(&name, input, is_wanted.as_ref(), &chunks));
        Self { parsed, parsers, reader }
    }

    /// Hands every chunk to `each`, in the order of the file.
    ///
    /// # Errors
    /// The file cannot be read, a thread panicked, or `each` fails.
    pub(super) fn for_each(self, mut each: impl FnMut(ParsedChunk) -> Result<()>) -> Result<()> {
        let Self { parsed, parsers, reader } = self;
        for parser in parsed.iter().cycle() {
            // The first parser that has nothing more in its turn: all earlier chunks were taken.
            let Ok(chunk) = parser.recv() else { break };
            each(chunk)?;
        }
        drop(parsed);
        let stopped = || anyhow!("reading stopped because of an internal error: report it with the lines above");
        for parser in parsers {
            parser.join().map_err(|_| stopped())?;
        }
        reader.join().map_err(|_| stopped())?
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(work).expect("the system has room for a thread")
}

/// Cuts the file into chunks. A chunk ends early where the next line may have to wait: what a pipe has sent is not held back.
fn read(name: &str, input: impl Read, is_wanted: Option<&IsWanted>, parsers: &[SyncSender<Chunk>]) -> Result<()> {
    let mut lines = Lines::new(name, BufReader::with_capacity(READ_BYTES, input));
    let mut turns = parsers.iter().cycle();
    let mut chunk = Chunk::new();
    loop {
        let line = lines.next()?;
        let is_end = line.is_none();
        let wanted = |text: &[u8]| is_wanted.is_none_or(|is_wanted| is_wanted(text));
        if let Some(line) = line.filter(|line| !line.text.is_empty() && (line.is_too_long || wanted(line.text))) {
            chunk.push(line);
        }
        if !chunk.is_empty() && (chunk.is_full() || lines.is_drained() || is_end) {
            chunk.bytes = lines.bytes();
            let full = std::mem::replace(&mut chunk, Chunk::new());
            if turns.next().is_none_or(|parser| parser.send(full).is_err()) {
                // The run has ended early: its error says why.
                return Ok(());
            }
        }
        if is_end {
            return Ok(());
        }
    }
}

fn parse(merchants: &Merchants, chunks: &Receiver<Chunk>, events: &SyncSender<ParsedChunk>) {
    let mut arena = Bump::new();
    for chunk in chunks {
        if events.send(chunk.parse(merchants, &mut arena)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::chunk::Checked;
    use super::*;

    fn source(input: impl Read + Send + 'static) -> Source {
        let merchants = Merchants::new([("acme", "CNY")]);
        Source { name: "--events e".to_owned(), input: Box::new(input), merchants, is_wanted: None }
    }

    /// The numbers of all lines, in the order in which they are handed over.
    fn numbers(source: Source) -> (Vec<u64>, Result<()>) {
        let mut numbers = Vec::new();
        let read = Reading::start(source).for_each(|chunk| {
            numbers.extend((0..chunk.checked.len()).map(|index| chunk.place(index, "").0));
            Ok(())
        });
        (numbers, read)
    }

    /// Lines that take long to parse beside lines that take no time.
    fn lines(count: u64) -> Vec<u8> {
        let mut text = Vec::new();
        for n in 0..count {
            if n / 5_000 % 2 == 0 {
                writeln!(text, r#"{{"id":"e{n}","action":"visit","shopper":"u{n}","time":1700000000000}}"#)
                    .expect("memory");
            } else {
                text.extend_from_slice(b"x\n");
            }
        }
        text
    }

    #[test]
    fn lines_keep_their_order_over_many_parsers() {
        let (numbers, read) = numbers(source(Cursor::new(lines(100_000))));
        read.expect("no error");
        assert_eq!(numbers, (1..=100_000).collect::<Vec<_>>());
    }

    /// Bytes, then an error.
    struct Torn(Cursor<Vec<u8>>);

    impl Read for Torn {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the disk is gone")),
                read => Ok(read),
            }
        }
    }

    #[test]
    fn lines_before_a_read_error_are_handed_over() {
        let text = [lines(50_000).as_slice(), b"\n"].concat();
        let (numbers, read) = numbers(source(Torn(Cursor::new(text))));
        assert_eq!(numbers.len(), 50_000);
        assert_eq!(read.expect_err("an error").to_string(), "--events e: cannot be read: the disk is gone");
    }

    #[test]
    fn panic_while_reading_ends_the_run() {
        let is_wanted: IsWanted = Box::new(|line| line != b"x" || panic!("a test panics here"));
        let (_, read) = numbers(Source { is_wanted: Some(is_wanted), ..source(Cursor::new(lines(20_000))) });
        let error = read.expect_err("an error").to_string();
        assert_eq!(error, "reading stopped because of an internal error: report it with the lines above");
    }

    /// Visits without an end; counts the bytes that were asked for.
    struct Endless(Arc<AtomicUsize>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line = b"{\"id\":\"e\",\"action\":\"visit\",\"shopper\":\"u\"}\n";
            let whole = buffer.len() / line.len() * line.len();
            buffer[..whole].chunks_mut(line.len()).for_each(|place| place.copy_from_slice(line));
            self.0.fetch_add(whole, Ordering::SeqCst);
            Ok(whole)
        }
    }

    #[test]
    fn reader_waits_for_slow_stages_and_ends_with_them() {
        let read_bytes = Arc::new(AtomicUsize::new(0));
        let mut taken = 0;
        let read = Reading::start(source(Endless(Arc::clone(&read_bytes)))).for_each(|chunk| {
            taken += 1;
            // The slower this is, the further a reader without bounds would be ahead.
            let events = chunk.checked.iter().filter(|checked| matches!(checked, Checked::Event { .. })).count();
            assert_eq!(events, chunk.checked.len());
            std::thread::yield_now();
            // Each parser: what waits before and behind it, and what it has in hand; the reader has one more.
            let chunks_ahead = PARSERS_MAX * (CHUNKS_WAITING_MAX + PARSED_WAITING_MAX + 1) + 1;
            let bytes_max = (taken + chunks_ahead) * 2 * 256 * 1024 + 2 * READ_BYTES;
            let ahead = read_bytes.load(Ordering::SeqCst);
            assert!(ahead <= bytes_max, "{ahead} bytes were read when {taken} chunks were taken");
            if taken < 50 { Ok(()) } else { Err(anyhow!("the desks stopped")) }
        });
        assert_eq!(read.expect_err("an error").to_string(), "the desks stopped");
    }
}
