//! Asks a broker in Kafka's protocol whether it serves clients.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Timeout of each read and write; after it, the broker counts as not ready.
const TIMEOUT: Duration = Duration::from_secs(2);

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;

/// The ids of the serving brokers that this one knows, from its answers to `ApiVersions` 0 and `Metadata` 1 without topics.
///
/// # Errors
/// If it does not answer in time, or gives another answer.
pub(super) fn brokers(address: &str) -> io::Result<Vec<i32>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let versions = ask(&mut stream, API_VERSIONS, 0, &[])?;
    if versions.get(..2) != Some(&[0, 0]) {
        return Err(io::Error::other("ApiVersions is refused"));
    }
    let answer = ask(&mut stream, METADATA, 1, &0_i32.to_be_bytes())?;
    let mut rest = &answer[..];
    let count = i32::from_be_bytes(take(&mut rest)?);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(i32::from_be_bytes(take(&mut rest)?));
        skip_text(&mut rest)?; // host
        take::<4>(&mut rest)?; // port
        skip_text(&mut rest)?; // rack, may be null
    }
    Ok(ids)
}

/// Sends one request without a client id; returns the answer's body.
fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend([0, 0, 0, 1]); // correlation id
    request.extend((-1_i16).to_be_bytes());
    request.extend(body);
    let length = i32::try_from(request.len()).expect("a short request");
    stream.write_all(&[&length.to_be_bytes()[..], &request].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|n| (4..1 << 20).contains(n));
    let mut answer = vec![0; length.ok_or_else(|| io::Error::other("not Kafka"))?];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (head, tail) = rest.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = tail;
    Ok(*head)
}

fn skip_text(rest: &mut &[u8]) -> io::Result<()> {
    let length = usize::try_from(i16::from_be_bytes(take(rest)?)).unwrap_or(0);
    *rest = rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(())
}
