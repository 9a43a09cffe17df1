//! The part of Kafka's protocol that faults in Produce requests need: the header of every request, and the body of Produce in the
//! versions 9 to 12 (`ProduceRequest.json`, `ProduceResponse.json` of Kafka 4.1). Version 13 names topics by id; librdkafka 2.12
//! uses version 10.

use std::io::{self, Read};

const PRODUCE: i16 = 0;

/// Maximum size of a request or answer, bytes; a longer one ends the connection.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// Reads one request or answer, with its length before it as on the wire.
pub(super) fn frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).ok().filter(|n| *n <= FRAME_BYTES_MAX);
    let bytes = bytes.ok_or_else(|| io::Error::other("not Kafka: a frame's length"))?;
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// The correlation id of an answer.
pub(super) fn answered(frame: &[u8]) -> io::Result<i32> {
    Cursor(frame.get(4..).unwrap_or(&[])).i32()
}

/// The header of a request.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) correlation: i32,
    pub(super) client: String,
    /// The body, if it is a Produce request.
    pub(super) produce: Option<Produce>,
}

/// The body of a Produce request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Produce {
    /// Producer id and epoch of the first batch.
    pub(super) producer: (i64, i16),
    /// Topics with their partitions.
    topics: Vec<(Vec<u8>, Vec<[u8; 4]>)>,
}

/// Reads a request.
///
/// # Errors
/// If it is no request, or a Produce request of an unknown version.
pub(super) fn header(frame: &[u8]) -> io::Result<Header> {
    let mut at = Cursor(frame.get(4..).unwrap_or(&[]));
    let (key, version, correlation) = (at.i16()?, at.i16()?, at.i32()?);
    let length = usize::try_from(at.i16()?).unwrap_or(0);
    let client = String::from_utf8_lossy(at.bytes(length)?).into_owned();
    let produce = (key == PRODUCE).then(|| produce(at, version)).transpose()?;
    Ok(Header { correlation, client, produce })
}

fn produce(mut at: Cursor<'_>, version: i16) -> io::Result<Produce> {
    if !(9..=12).contains(&version) {
        return Err(io::Error::other(format!("Produce in version {version}: 9 to 12 are known")));
    }
    at.tags()?;
    at.text()?; // transactional id
    if at.i16()? == 0 {
        return Err(io::Error::other("acks=0 is not supported: it has no answer"));
    }
    at.i32()?; // timeout
    let mut producer = None;
    let mut topics = Vec::new();
    for _ in 0..at.count()? {
        let name = at.text()?.to_vec();
        let mut partitions = Vec::new();
        for _ in 0..at.count()? {
            partitions.push(at.take()?);
            let records = at.text()?;
            at.tags()?;
            producer = producer.or_else(|| of_batch(records));
        }
        at.tags()?;
        topics.push((name, partitions));
    }
    Ok(Produce { producer: producer.unwrap_or((-1, -1)), topics })
}

/// Producer id and epoch in the header of a record batch (magic 2), which has 61 bytes.
fn of_batch(records: &[u8]) -> Option<(i64, i16)> {
    let mut at = Cursor(records.get(43..61)?);
    Some((at.i64().ok()?, at.i16().ok()?))
}

impl Produce {
    /// The answer that refuses all partitions of the request.
    pub(super) fn refused(&self, correlation: i32, code: i16) -> Vec<u8> {
        let mut answer = vec![0; 4];
        answer.extend(correlation.to_be_bytes());
        answer.push(0); // tags of the header
        put_count(&mut answer, self.topics.len());
        for (name, partitions) in &self.topics {
            put_count(&mut answer, name.len());
            answer.extend(name);
            put_count(&mut answer, partitions.len());
            for index in partitions {
                answer.extend(index);
                answer.extend(code.to_be_bytes());
                answer.extend([0xFF; 3 * 8]); // base offset, append time, log start: -1
                put_count(&mut answer, 0); // record errors
                answer.push(0); // no message
                answer.push(0); // tags
            }
            answer.push(0); // tags
        }
        answer.extend([0; 4]); // throttle time
        answer.push(0); // tags
        let length = i32::try_from(answer.len() - 4).expect("a short answer");
        answer[..4].copy_from_slice(&length.to_be_bytes());
        answer
    }
}

/// Appends the length of a compact array or text: the length plus one, as an unsigned varint.
fn put_count(to: &mut Vec<u8>, count: usize) {
    let mut rest = count + 1;
    while rest >= 0x80 {
        to.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = tail;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into().expect("the slice has N bytes"))
    }

    fn i16(&mut self) -> io::Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> io::Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> io::Result<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> io::Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(io::Error::other("a varint of more than five bytes"))
    }

    /// The length of a compact array; null is 0.
    fn count(&mut self) -> io::Result<usize> {
        Ok(self.varint()?.saturating_sub(1))
    }

    /// A compact text or bytes; null is empty.
    fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.count()?;
        self.bytes(length)
    }

    fn tags(&mut self) -> io::Result<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.bytes(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, header, put_count};

    /// A request with two topics, three partitions, and batches with a producer id.
    fn request(version: i16) -> Vec<u8> {
        let mut frame = vec![0; 4];
        frame.extend([0, 0]);
        frame.extend(version.to_be_bytes());
        frame.extend(7_i32.to_be_bytes());
        frame.extend([0, 4]);
        frame.extend(b"lane");
        frame.extend([0, 0, 0xFF, 0xFF, 0, 0, 0, 9]); // tags, no transaction, acks, timeout
        let mut batch = vec![0; 61];
        batch[43..51].copy_from_slice(&4711_i64.to_be_bytes());
        batch[51..53].copy_from_slice(&3_i16.to_be_bytes());
        put_count(&mut frame, 2);
        for (topic, partitions) in [(&b"draws"[..], vec![0, 300]), (b"facts", vec![1])] {
            put_count(&mut frame, topic.len());
            frame.extend(topic);
            put_count(&mut frame, partitions.len());
            for partition in partitions {
                frame.extend(i32::to_be_bytes(partition));
                put_count(&mut frame, batch.len());
                frame.extend(&batch);
                frame.push(0);
            }
            frame.push(0);
        }
        frame.push(0);
        frame
    }

    #[test]
    fn request_is_read_and_all_partitions_refused() {
        let header = header(&request(10)).expect("a request");
        assert_eq!((header.correlation, header.client.as_str()), (7, "lane"));
        let produce = header.produce.expect("Produce");
        assert_eq!(produce.producer, (4711, 3));
        assert_eq!(produce.topics.iter().map(|(_, partitions)| partitions.len()).sum::<usize>(), 3);
        let answer = produce.refused(7, 6);
        let code = [0, 6];
        assert_eq!(answer.windows(6).filter(|bytes| bytes[4..] == code && bytes[..2] == [0, 0]).count(), 3);
        assert_eq!(answer[..4], u32::try_from(answer.len() - 4).expect("short").to_be_bytes());
    }

    #[test]
    fn unknown_version_is_an_error() {
        assert!(header(&request(13)).expect_err("unknown").to_string().contains("version 13"));
    }

    #[test]
    fn counts_are_varints() {
        for count in [0, 1, 126, 127, 128, 16_383, 1 << 20] {
            let mut bytes = Vec::new();
            put_count(&mut bytes, count);
            assert_eq!(Cursor(&bytes).count().expect("a count"), count);
        }
    }
}
