//! Codes as CSV: one row a code, written through a buffer of fixed size.

use std::io::{self, BufRead, Read, Write};
use std::ops::Range;

use domain::model::token::TOKEN_CHARS;

use super::minter::Minter;
use super::watch::{Cut, Watch};

const HEADER: &[u8] = b"serial,token,url\n";
/// Size of the buffer before the output, bytes; the row that fills it is written with it.
const BUFFER_BYTES: usize = 64 * 1024;
/// Maximum length of a row, bytes; more than the longest URL of rules (2,048, each byte of which may be a doubled quote).
const ROW_BYTES_MAX: u64 = 8 * 1024;
/// Number of digits of the largest serial that fits 64 bits.
const SERIAL_DIGITS_MAX: usize = 20;

/// The rows of a batch.
#[derive(Debug)]
pub(super) struct Rows<'m> {
    minter: &'m Minter,
    /// What stands around the token in the column `url`; empty where codes have none.
    before_token: Vec<u8>,
    after_token: &'static [u8],
    has_url: bool,
}

impl<'m> Rows<'m> {
    pub(super) fn new(minter: &'m Minter) -> Self {
        let url = minter.before_token();
        let before = url.unwrap_or_default();
        // Quoted as RFC 4180 has it; a token needs no quotes.
        let (before, after): (_, &[u8]) = if before.contains([',', '"', '\r', '\n']) {
            (format!("\"{}", before.replace('"', "\"\"")), b"\"\n")
        } else {
            (before.to_owned(), b"\n")
        };
        Self { minter, before_token: before.into_bytes(), after_token: after, has_url: url.is_some() }
    }

    fn push(&self, serial: u64, row: &mut Vec<u8>) {
        let token = self.minter.token(serial);
        push_number(serial, row);
        row.push(b',');
        row.extend_from_slice(&token);
        row.push(b',');
        if self.has_url {
            row.extend_from_slice(&self.before_token);
            row.extend_from_slice(&token);
        }
        row.extend_from_slice(self.after_token);
    }

    /// Writes the header.
    pub(super) fn write_header(out: &mut impl Write) -> io::Result<()> {
        out.write_all(HEADER)
    }

    /// Writes the rows of these serials. What is cut ends with a whole buffer, or within one if the output fails.
    pub(super) fn write(&self, serials: Range<u64>, out: &mut impl Write, watch: &mut Watch) -> Result<(), Cut> {
        let row_bytes = SERIAL_DIGITS_MAX + 2 * TOKEN_CHARS + self.before_token.len() + 8;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + row_bytes);
        let mut next = serials.start;
        while next < serials.end {
            let mut end = next;
            buffer.clear();
            while end < serials.end && buffer.len() < BUFFER_BYTES {
                self.push(end, &mut buffer);
                end += 1;
            }
            out.write_all(&buffer).map_err(|error| Cut { next, cause: error.into() })?;
            let rows = end - next;
            next = end;
            if let Err(cause) = watch.done(rows)
                && next < serials.end
            {
                return Err(Cut { next, cause });
            }
        }
        out.flush().map_err(|error| Cut { next: serials.start, cause: error.into() })
    }

    /// What is whole of a table that these rows began, if its text is what is minted now.
    pub(super) fn read_back(&self, table: &mut impl BufRead) -> io::Result<ReadBack> {
        let mut line = Vec::new();
        let mut wanted = HEADER.to_vec();
        let mut whole = Whole { serials: 0..0, bytes: 0 };
        loop {
            line.clear();
            table.by_ref().take(ROW_BYTES_MAX).read_until(b'\n', &mut line)?;
            if whole.bytes == HEADER.len() as u64 {
                let Some(first) = first_number(&line).filter(|&first| first < self.minter.count) else {
                    return Ok(if is_torn_number(&line) { ReadBack::Rows(whole) } else { ReadBack::Foreign });
                };
                whole.serials = first..first;
            }
            if whole.bytes > 0 {
                wanted.clear();
                if whole.serials.end < self.minter.count {
                    self.push(whole.serials.end, &mut wanted);
                }
            }
            if line.is_empty() {
                return Ok(ReadBack::Rows(whole));
            }
            if line != wanted {
                let is_torn = wanted.starts_with(&line) && table.fill_buf()?.is_empty();
                return Ok(if is_torn { ReadBack::Rows(whole) } else { ReadBack::Foreign });
            }
            whole.serials.end += u64::from(whole.bytes > 0);
            whole.bytes += line.len() as u64;
        }
    }
}

/// What a table was found to be that an earlier run began.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadBack {
    Rows(Whole),
    /// It has something else than what is minted now.
    Foreign,
}

/// The part of a table that is whole; what follows it is torn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) serials: Range<u64>,
    pub(super) bytes: u64,
}

fn first_number(row: &[u8]) -> Option<u64> {
    let digits = row.split(|&byte| byte == b',').next().filter(|digits| digits.len() < row.len())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a row was cut within its serial.
fn is_torn_number(row: &[u8]) -> bool {
    row.len() <= SERIAL_DIGITS_MAX && row.iter().all(u8::is_ascii_digit)
}

fn push_number(mut number: u64, row: &mut Vec<u8>) {
    let mut digits = [0; SERIAL_DIGITS_MAX];
    let mut at = SERIAL_DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    row.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use domain::model::token::Token;

    use super::super::minter::tests::{COUNT, minter};
    use super::super::watch::Cause;
    use super::*;

    fn quiet(is_interrupted: bool) -> Watch {
        Watch::quiet(COUNT, Arc::new(AtomicBool::new(is_interrupted)))
    }

    fn table(minter: &Minter, serials: Range<u64>) -> Vec<u8> {
        let mut table = Vec::new();
        Rows::write_header(&mut table).expect("memory");
        Rows::new(minter).write(serials, &mut table, &mut quiet(false)).expect("memory");
        table
    }

    #[test]
    fn every_row_is_a_code_of_the_batch() {
        for (url, before) in
            [(None, ""), (Some("https://m.example/c/"), "https://m.example/c/"), (Some("x://a,\"b\"/"), "x://a,\"b\"/")]
        {
            let minter = minter(None, url);
            // More than a buffer.
            let table = table(&minter, 998_000..COUNT);
            let mut rows = csv::Reader::from_reader(&*table);
            assert_eq!(rows.headers().expect("a header"), &["serial", "token", "url"][..]);
            let mut serial = 998_000;
            for row in rows.records() {
                let row = row.expect("a row");
                assert_eq!(row[0], serial.to_string());
                assert!(Token::parse(&row[1]).is_some_and(|token| token.text() == minter.token(serial)));
                assert_eq!(row[2], url.map_or_else(String::new, |_| format!("{before}{}", &row[1])));
                serial += 1;
            }
            assert_eq!(serial, COUNT);
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 4_294_967_295, u64::MAX] {
            let mut row = Vec::new();
            push_number(number, &mut row);
            assert_eq!(row, number.to_string().into_bytes());
        }
    }

    #[test]
    fn interrupted_table_names_the_next_serial() {
        let minter = minter(None, None);
        let mut written = Vec::new();
        let cut = Rows::new(&minter).write(10..COUNT, &mut written, &mut quiet(true)).expect_err("interrupted");
        let rows = u64::try_from(written.iter().filter(|&&byte| byte == b'\n').count()).expect("few");
        assert!(cut.next == 10 + rows && cut.next < 10_000 && matches!(cut.cause, Cause::Interrupted));
        assert_eq!(cut.mend(&(10..COUNT)), format!("continue with --from {} --count {}", cut.next, COUNT - cut.next));
    }

    #[test]
    fn table_cut_anywhere_is_read_back() {
        let minter = minter(Some(6_901_234_567_892), None);
        let rows = Rows::new(&minter);
        let read_back = |mut bytes: &[u8]| rows.read_back(&mut bytes).expect("memory");
        for serials in [0..12, 95..COUNT.min(112), COUNT - 3..COUNT] {
            let table = table(&minter, serials.clone());
            let mut next = serials.start;
            let mut bytes = 0;
            for cut in 0..=table.len() {
                if cut > 0 && table[cut - 1] == b'\n' {
                    next += u64::from(bytes > 0);
                    bytes = cut;
                }
                let ReadBack::Rows(whole) = read_back(&table[..cut]) else { panic!("cut at {cut}") };
                assert_eq!(whole.bytes, bytes as u64, "cut at {cut}");
                let has_rows = next > serials.start;
                assert!(!has_rows || whole.serials == (serials.start..next), "cut at {cut}");
            }
        }
        let table = table(&minter, 0..12);
        for at in 0..table.len() {
            let mut changed = table.clone();
            changed[at] ^= 1;
            assert_eq!(read_back(&changed), ReadBack::Foreign, "byte {at}");
        }
        assert_eq!(read_back(&[&*table, b"x"].concat()), ReadBack::Foreign);
        assert_eq!(read_back(&vec![b'0'; 100_000]), ReadBack::Foreign);
    }
}
