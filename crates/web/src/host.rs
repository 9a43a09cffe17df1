//! Which host a request is for, and which page sends it (RFC 9112 3.2, RFC 6454).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version, header};

use crate::problem::Problem;

/// Decides by the head whether a request is answered at all; `local_only` is for ports without keys.
///
/// # Errors
/// 400 unless it names one host, 403 if the host is another machine's.
pub(crate) fn check<B>(request: &Request<B>, local_only: bool) -> Result<(), Problem> {
    check_host(request.version(), request.headers())?;
    if local_only { check_local(request.uri(), request.headers()) } else { Ok(()) }
}

/// Refuses a request that does not name its host once: a proxy in between may have used another one.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let what = match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => "the request has no Host; send one",
        (Some(_), Some(_)) => "the request has several Host lines; send one",
        (Some(host), None) if is_authority(host) => return Ok(()),
        (Some(_), None) => "the request's Host is none; send a name or an address, and a port if need be",
    };
    Err(Problem::new(StatusCode::BAD_REQUEST, what))
}

/// Refuses a request that is for another machine, or comes from a page of another one: without keys, every page in a browser of
/// this machine could write here, and an attacker could point a name of its own to this machine.
fn check_local(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let is_local_host = |host: &HeaderValue| host.to_str().is_ok_and(is_local);
    let is_local_page = |origin: &HeaderValue| {
        let address = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        address.is_some_and(|(scheme, host)| matches!(scheme, "http" | "https") && is_local(host))
    };
    let what = if !headers.get_all(header::HOST).iter().all(is_local_host)
        || !uri.authority().is_none_or(|target| is_local(target.as_str()))
    {
        "Host names another machine, and there are no keys; call 127.0.0.1 or localhost, or start it with --keys FILE"
    } else if !headers.get_all(header::ORIGIN).iter().all(is_local_page) {
        "Origin is a page of another machine, and there are no keys; start it with --keys FILE to let pages send"
    } else {
        return Ok(());
    };
    Err(Problem::new(StatusCode::FORBIDDEN, what))
}

fn authority(text: &str) -> Option<Authority> {
    text.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'))
}

/// Whether a host is valid (RFC 9110 7.2); it is empty for a target without a host.
fn is_authority(host: &HeaderValue) -> bool {
    host.is_empty() || host.to_str().is_ok_and(|host| authority(host).is_some())
}

/// Whether a host, with or without a port, is this machine: its loopback addresses and their names (RFC 6761 6.3).
fn is_local(text: &str) -> bool {
    let Some(authority) = authority(text) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, uri: &str, lines: &[(&str, &str)], local_only: bool) -> u16 {
        let request = Request::builder().version(version).uri(uri);
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("a request");
        check(&request, local_only).map_or_else(|problem| problem.response().status().as_u16(), |()| 200)
    }

    #[test]
    fn a_request_names_its_host_once() {
        let check = |version, hosts: &[&str], wanted: u16| {
            let lines: Vec<_> = hosts.iter().map(|host| ("Host", *host)).collect();
            assert_eq!(status(version, "/", &lines, false), wanted, "{hosts:?}");
        };
        for host in ["a.example", "a.example:8080", "edge_1:8080", "127.0.0.1", "[::1]:80", ""] {
            check(Version::HTTP_11, &[host], 200);
        }
        check(Version::HTTP_11, &[], 400);
        check(Version::HTTP_11, &["a.example", "b.example"], 400);
        check(Version::HTTP_11, &["a.example", "a.example"], 400);
        check(Version::HTTP_11, &["a b"], 400);
        check(Version::HTTP_11, &["a.example/b"], 400);
        check(Version::HTTP_11, &["me@a.example"], 400);
        check(Version::HTTP_10, &[], 200);
        check(Version::HTTP_10, &["a.example", "b.example"], 400);
    }

    #[test]
    fn without_keys_only_this_machine_is_served() {
        let check = |uri: &str, lines: &[(&str, &str)], wanted: u16| {
            assert_eq!(status(Version::HTTP_11, uri, lines, true), wanted, "{uri} {lines:?}");
        };
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "tea.localhost:8080",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
        ] {
            check("/", &[("Host", host)], 200);
            check("/", &[("Host", "localhost"), ("Origin", &format!("http://{host}"))], 200);
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "",
        ] {
            check("/", &[("Host", host)], 403);
            check("/", &[("Host", "localhost"), ("Origin", &format!("https://{host}"))], 403);
        }
        check("http://evil.example/", &[("Host", "localhost")], 403);
        check("http://localhost/", &[("Host", "localhost")], 200);
        check("/", &[("Host", "localhost"), ("Origin", "null")], 403);
        check("/", &[("Host", "localhost"), ("Origin", "file://localhost")], 403);
        check("/", &[("Host", "localhost"), ("Origin", "http://localhost"), ("Origin", "http://a.example")], 403);
    }
}
