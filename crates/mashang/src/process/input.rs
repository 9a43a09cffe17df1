//! Input files: gzip and zstd are unpacked. A file that is not text is refused before a command starts its work.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// Number of bytes at the start of a file by which its kind is known.
const HEAD_BYTES: usize = 4096;
/// Length of the longest mark by which packed files are known, bytes; a shorter read is followed by another.
const MARK_BYTES_MAX: usize = 6;
/// Maximum memory that a zstd file may ask for, as a power of two: 128 MiB, the default maximum of `zstd` itself. A file that
/// asks for more is refused.
const WINDOW_LOG_MAX: u32 = 27;
/// Maximum size of a rules file or a register once it is unpacked, bytes; a larger one is refused.
const WHOLE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Size of the buffer before a decoder, bytes.
const READ_BYTES: usize = 1024 * 1024;

/// Files that are neither text nor unpacked here, by their marks.
const OTHERS: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "a ZIP file (or a spreadsheet, which is one)"),
    (b"\xFD7zXZ\0", "packed with xz"),
    (b"BZh", "packed with bzip2"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z file"),
    (b"\x04\x22\x4D\x18", "packed with lz4"),
    (b"%PDF-", "a PDF"),
];

const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";

/// A text that is read on, with what was looked at of it.
pub(crate) struct Text<R> {
    pub(crate) reader: R,
    /// Whether it comes out of a packed file.
    pub(crate) is_packed: bool,
}

type Headed<R> = Chain<Cursor<Vec<u8>>, R>;

/// The text of a file, unpacked if need be.
///
/// # Errors
/// It is no text, or cannot be read: a phrase that follows the file's name.
pub(crate) fn text<'r>(file: impl Read + Send + 'r) -> Result<Text<Box<dyn Read + Send + 'r>>, String> {
    let (mark, file) = headed(file).map_err(|e| format!("cannot be read: {e}"))?;
    let file = BufReader::with_capacity(READ_BYTES, file);
    let unpacked: Box<dyn Read + Send + 'r> = if mark.starts_with(GZIP) {
        Box::new(Unpacked { name: "gzip", decoder: MultiGzDecoder::new(file) })
    } else if mark.starts_with(ZSTD) {
        let decoder = zstd::Decoder::with_buffer(file).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|e| format!("cannot be unpacked: {e}"))?;
        Box::new(Unpacked { name: "zstd", decoder })
    } else {
        if let Some(what) = no_text(&mark) {
            return Err(what);
        }
        return Ok(Text { reader: Box::new(file), is_packed: false });
    };
    let (head, unpacked) = headed(unpacked).map_err(|e| format!("cannot be read: {e}"))?;
    if head.starts_with(GZIP) || head.starts_with(ZSTD) {
        return Err("is packed twice; unpack it once".to_owned());
    }
    no_text(&head).map_or(Ok(()), |what| Err(format!("once unpacked, {what}")))?;
    Ok(Text { reader: Box::new(unpacked), is_packed: true })
}

/// A whole text file, unpacked if need be.
///
/// # Errors
/// As [`text`], or that it is too large.
pub(crate) fn whole(file: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut reader = text(file)?.reader.take(WHOLE_BYTES_MAX + 1);
    reader.read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > WHOLE_BYTES_MAX {
        return Err(format!("has more than {WHOLE_BYTES_MAX} bytes; split it"));
    }
    Ok(bytes)
}

/// The first bytes of a file, and the whole of it.
fn headed<R: Read>(mut file: R) -> io::Result<(Vec<u8>, Headed<R>)> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    while length < MARK_BYTES_MAX {
        match file.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    head.truncate(length);
    Ok((head.clone(), Cursor::new(head).chain(file)))
}

/// Why a file that begins so is no text.
fn no_text(head: &[u8]) -> Option<String> {
    if let Some((_, what)) = OTHERS.iter().find(|(mark, _)| head.starts_with(mark)) {
        return Some(format!("is {what}, and no text; unpack it, or save it as text"));
    }
    let is_utf16 = head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") || looks_like_utf16(head);
    if is_utf16 {
        return Some("is UTF-16; save it as UTF-8".to_owned());
    }
    if let Some(at) = memchr::memchr(0, head) {
        return Some(format!("is no text: its byte {} is NUL; name a text file in UTF-8", at + 1));
    }
    // An event that is no UTF-8 is refused by itself; what does not even begin as text does is no file of events.
    let begins_as_text = head.trim_ascii_start().first().is_none_or(u8::is_ascii);
    let wrong = std::str::from_utf8(head).err().filter(|wrong| wrong.error_len().is_some());
    let wrong = wrong.filter(|wrong| !begins_as_text && wrong.valid_up_to() < MARK_BYTES_MAX)?;
    Some(format!("is no text: its byte {} is not UTF-8; name a text file in UTF-8", wrong.valid_up_to() + 1))
}

/// Whether every second one of the first bytes is NUL: ASCII in UTF-16 without a mark.
fn looks_like_utf16(head: &[u8]) -> bool {
    let pairs = head.get(..MARK_BYTES_MAX).unwrap_or(head).chunks_exact(2);
    let is = |high: usize| pairs.clone().all(|pair| pair[high] == 0 && pair[1 - high] != 0);
    pairs.len() > 0 && (is(0) || is(1))
}

/// A decoder whose errors name the kind of the file.
struct Unpacked<D> {
    name: &'static str,
    decoder: D,
}

impl<D: Read> Read for Unpacked<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let name = self.name;
        self.decoder.read(buffer).map_err(|e| {
            let what = format!("the {name} file is broken or cut off ({e}); pack it again");
            io::Error::new(e.kind(), what)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A byte at a time, as a slow pipe brings them.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = buffer.len().min(1);
            self.0.read(&mut buffer[..n])
        }
    }

    fn read(bytes: &[u8]) -> Result<String, String> {
        let mut text = text(Slow(bytes))?.reader;
        let mut read = String::new();
        text.read_to_string(&mut read).map_err(|e| e.to_string())?;
        Ok(read)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("memory")
    }

    #[test]
    fn plain_text_is_unchanged_and_packed_text_unpacked() {
        for text in ["", "{}", "{\"id\":\"码\"}\n", "\u{FEFF}{}", &"{}\n".repeat(100_000)] {
            assert_eq!(read(text.as_bytes()).as_deref(), Ok(text));
            assert_eq!(read(&gzip(text.as_bytes())).as_deref(), Ok(text));
            assert_eq!(read(&zstd(text.as_bytes())).as_deref(), Ok(text));
        }
        let members = [gzip(b"{}\n"), gzip(b"{}\n")].concat();
        assert_eq!(read(&members).as_deref(), Ok("{}\n{}\n"), "files that were joined");
        assert_eq!(read(&[zstd(b"{}\n"), zstd(b"{}\n")].concat()).as_deref(), Ok("{}\n{}\n"));
    }

    #[test]
    fn binary_file_is_refused_with_its_kind() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for (bytes, wanted) in [
            (utf16("\u{FEFF}{}"), "is UTF-16; save it as UTF-8"),
            (utf16("{\"id\""), "is UTF-16; save it as UTF-8"),
            (utf16("{\"id\"").into_iter().skip(1).collect(), "is UTF-16; save it as UTF-8"),
            (gzip(&utf16("\u{FEFF}{}")), "once unpacked, is UTF-16; save it as UTF-8"),
            (b"{} \0".to_vec(), "is no text: its byte 4 is NUL; name a text file in UTF-8"),
            (b"\xC3{}".to_vec(), "is no text: its byte 1 is not UTF-8; name a text file in UTF-8"),
            (gzip(&zstd(b"{}")), "is packed twice; unpack it once"),
            (
                b"PK\x03\x04\x14\0".to_vec(),
                "is a ZIP file (or a spreadsheet, which is one), and no text; unpack it, or save it as text",
            ),
        ] {
            assert_eq!(read(&bytes), Err(wanted.to_owned()), "{bytes:?}");
        }
        // An event that is no UTF-8 is for the reader of events.
        assert!(text(&b"{\"id\":\"\xFF\"}"[..]).is_ok());
    }

    #[test]
    fn truncated_packed_file_is_an_error() {
        let text = "{}\n".repeat(10_000);
        for (name, packed) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd(text.as_bytes()))] {
            for keep in [packed.len() / 2, packed.len() - 1] {
                let error = read(&packed[..keep]).expect_err("it is cut off");
                assert!(error.contains(&format!("the {name} file is broken or cut off")), "{error}");
            }
        }
    }
}
