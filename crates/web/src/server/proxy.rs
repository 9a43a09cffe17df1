//! The header that a proxy sends before anything else: the PROXY protocol, versions 1 (text) and 2 (binary), as HAProxy's
//! `doc/proxy-protocol.txt` describes them.

use std::io;
use std::net::IpAddr;

use ppp::v2::{self, Command};
use ppp::{HeaderResult, v1};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::client_address::Client;

/// Number of bytes that identify the version; no header is shorter.
const FIRST_BYTES: usize = v2::PROTOCOL_PREFIX.len();
/// Number of bytes of the fixed part of version 2, whose last two bytes are the length of the rest.
const FIXED_BYTES: usize = FIRST_BYTES + 4;
/// Maximum number of bytes of a header of version 1, by the document; a longer one is refused.
const TEXT_BYTES_MAX: usize = 107;
/// Maximum number of bytes of a header of version 2, which may hold certificates' names and the like; a longer one is refused.
const BINARY_BYTES_MAX: usize = 4 * 1024;
/// The record about TLS between client and proxy, and the bit in its first byte that says that TLS is used.
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// Reads a header and not one byte more. Returns the client of the connection, or `None` if it is the proxy's own connection.
///
/// # Errors
/// The bytes are no such header, or end inside it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Client>> {
    let mut bytes = vec![0; FIRST_BYTES];
    stream.read_exact(&mut bytes).await?;
    if bytes == v2::PROTOCOL_PREFIX {
        bytes.resize(FIXED_BYTES, 0);
        stream.read_exact(&mut bytes[FIRST_BYTES..]).await?;
        let length = usize::from(u16::from_be_bytes([bytes[FIXED_BYTES - 2], bytes[FIXED_BYTES - 1]]));
        bytes.resize((FIXED_BYTES + length).min(BINARY_BYTES_MAX), 0);
        stream.read_exact(&mut bytes[FIXED_BYTES..]).await?;
    } else if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        while !bytes.ends_with(b"\n") && bytes.len() < TEXT_BYTES_MAX {
            bytes.push(stream.read_u8().await?);
        }
    }
    parse(&bytes)
}

fn parse(header: &[u8]) -> io::Result<Option<Client>> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let from = |address: IpAddr, is_secure| Some(Client { is_secure, ..Client::peer(address) });
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(addresses) => from(addresses.source_address.into(), false),
            v1::Addresses::Tcp6(addresses) => from(addresses.source_address.into(), false),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => {
            let is_ssl = |tlv: &v2::TypeLengthValue<'_>| {
                tlv.kind == TLV_SSL && tlv.value.first().is_some_and(|bits| bits & CLIENT_SSL != 0)
            };
            let is_secure = header.tlvs().map_while(Result::ok).any(|tlv| is_ssl(&tlv));
            Ok(match header.addresses {
                _ if header.command == Command::Local => None,
                v2::Addresses::IPv4(addresses) => from(addresses.source_address.into(), is_secure),
                v2::Addresses::IPv6(addresses) => from(addresses.source_address.into(), is_secure),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            })
        }
        HeaderResult::V1(Err(error)) => Err(wrong(error.to_string())),
        HeaderResult::V2(Err(error)) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_BYTES, read};

    /// The result of reading a header, and the number of bytes left behind it.
    fn read_all(mut bytes: &[u8]) -> (String, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let said = match runtime.block_on(read(&mut bytes)) {
            Ok(Some(client)) => format!("{}{}", client.address, if client.is_secure { " secure" } else { "" }),
            Ok(None) => "itself".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        };
        (said, bytes.len())
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x80, 0, 0x1F, 0x90];

    #[test]
    fn headers_name_the_client_and_nothing_behind_them_is_taken() {
        let check = |header: &[u8], wanted: &str| {
            assert_eq!(read_all(&[header, b"GET /"].concat()), (wanted.to_owned(), 5), "{header:?}");
        };
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 8080\r\n", "203.0.113.9");
        check(b"PROXY TCP6 2001:db9::7 ::1 56324 8080\r\n", "2001:db9::7");
        check(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 56324 8080\r\n", "203.0.113.9");
        check(b"PROXY UNKNOWN\r\n", "itself");
        check(&binary(1, 0x11, &V4), "203.0.113.9");
        check(&binary(0, 0x11, &V4), "itself");
        check(&binary(0, 0x00, &[]), "itself");
        check(&binary(1, 0x00, &[1, 2, 3]), "itself");
        let mut v6 = [0; 36];
        v6[0] = 0x20;
        v6[15] = 7;
        check(&binary(1, 0x21, &v6), "2000::7");
        // TLS between the client and the proxy, behind another record; a certificate alone does not mean TLS.
        let ssl = |bits: u8| [&V4[..], &[0x04, 0, 1, 0, 0x20, 0, 5, bits, 0, 0, 0, 0]].concat();
        check(&binary(1, 0x11, &ssl(0x01)), "203.0.113.9 secure");
        check(&binary(1, 0x11, &ssl(0x04)), "203.0.113.9");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let check = |bytes: &[u8], wanted: &str| assert_eq!(read_all(bytes).0, wanted, "{bytes:?}");
        check(b"", "UnexpectedEof");
        check(b"POST /v1/events HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidData");
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 56324\r\n", "InvalidData");
        check(b"PROXY TCP4 203.0.113.999 10.0.0.1 56324 8080\r\n", "InvalidData");
        check(b"PROXY TCP4 203.0.113.9", "UnexpectedEof");
        check(format!("PROXY TCP4 {}\r\n", " ".repeat(200)).as_bytes(), "InvalidData");
        check(&binary(1, 0x11, &V4[..11]), "InvalidData");
        check(&binary(1, 0x11, &V4)[..20], "UnexpectedEof");
        check(&binary(7, 0x11, &V4), "InvalidData");
        check(&binary(1, 0x11, &[0; 60_000]), "InvalidData");
        check(&binary(1, 0x11, &V4)[..FIRST_BYTES], "UnexpectedEof");
    }
}
