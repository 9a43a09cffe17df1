//! The client of a request: the address of its connection, or the one that a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::networks::Trust;

/// Headers of proxies, as most of them write them.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a request; among the extensions of every request that a route gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// An IPv4 address as such, even if the connection is one of IPv6.
    pub address: IpAddr,
    /// Whether the connection between the client and our first proxy is encrypted, as far as is known.
    pub is_secure: bool,
    /// Whether a trusted proxy sent the request: only then its headers say anything of the client.
    pub is_proxied: bool,
}

impl Client {
    /// The other end of a connection that is not encrypted.
    #[must_use]
    pub fn peer(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), is_secure: false, is_proxied: false }
    }

    /// The client behind this one: the rightmost address in `X-Forwarded-For` that is not trusted. Anybody may have written what
    /// is to the left of it. If an entry is no address, its writer is the client.
    #[must_use]
    pub fn behind(self, headers: &HeaderMap, trust: &Trust) -> Self {
        if !trust.contains(self.address) {
            return self;
        }
        let is_https = |value: &str| value.trim().eq_ignore_ascii_case("https");
        let proto = headers.get_all(FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
        // The nearest proxy's value is the last.
        let is_secure = self.is_secure || proto.and_then(|value| value.rsplit(',').next()).is_some_and(is_https);
        let mut address = self.address;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let texts = lines.map(|line| line.to_str().unwrap_or("?")).flat_map(|line| line.rsplit(','));
        for text in texts {
            let Some(before) = read(text.trim()) else { break };
            address = before;
            if !trust.contains(address) {
                break;
            }
        }
        Self { address, is_secure, is_proxied: true }
    }
}

/// An address, as some proxies write it with its port.
fn read(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::{Client, FORWARDED_FOR, FORWARDED_PROTO};

    fn client(peer: &str, lines: &[&str], protos: &[&str]) -> (String, bool) {
        let trust = "10.0.0.0/8,127.0.0.1,2001:db8::/32".parse().expect("networks");
        let mut headers = HeaderMap::new();
        for (name, values) in [(FORWARDED_FOR, lines), (FORWARDED_PROTO, protos)] {
            values.iter().for_each(|value| {
                headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            });
        }
        let client = Client::peer(peer.parse().expect("an address")).behind(&headers, &trust);
        (client.address.to_string(), client.is_secure)
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        let check = |peer: &str, lines: &[&str], wanted: &str| {
            assert_eq!(client(peer, lines, &[]).0, wanted, "{peer} {lines:?}");
        };
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        // A sender that is not trusted may write what it likes.
        check("198.51.100.1", &["203.0.113.9"], "198.51.100.1");
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1,203.0.113.9 , 10.9.9.9,127.0.0.1"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9", "10.9.9.9"], "203.0.113.9");
        // All of them are trusted: the first one is the client.
        check("10.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1");
        // The address to the right of an entry that is no address wrote that entry.
        check("10.0.0.1", &["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2");
        check("10.0.0.1", &["203.0.113.9, "], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9, \u{e9}"], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("10.0.0.1", &["[2001:db9::7]:443"], "2001:db9::7");
        check("10.0.0.1", &["[2001:db9::7]"], "2001:db9::7");
        check("2001:db8::1", &["::ffff:203.0.113.9"], "203.0.113.9");
    }

    #[test]
    fn request_of_a_trusted_proxy_is_known_as_such() {
        let trust = "10.0.0.0/8".parse().expect("networks");
        let is_proxied =
            |peer: &str| Client::peer(peer.parse().expect("an address")).behind(&HeaderMap::new(), &trust).is_proxied;
        assert!(is_proxied("10.0.0.1"));
        assert!(!is_proxied("203.0.113.9"));
    }

    #[test]
    fn a_trusted_proxy_says_whether_it_was_https() {
        assert!(client("10.0.0.1", &[], &["https"]).1);
        assert!(client("10.0.0.1", &["203.0.113.9"], &["http, HTTPS"]).1);
        assert!(!client("10.0.0.1", &[], &["https, http"]).1);
        assert!(!client("10.0.0.1", &[], &["https", "http"]).1);
        assert!(!client("198.51.100.1", &[], &["https"]).1);
    }
}
