//! Visitors that open a link without meaning to scan.
//!
//! - `robots`: robots by their `User-Agent`

use axum::http::{HeaderMap, HeaderName, Method, header};

mod robots;

use self::robots::is_robot;

/// Why the opening of a link is no scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAScan {
    /// The request asks only for the head.
    Head,
    /// The browser fetches in advance what its user may open.
    Prefetch,
    /// A robot that makes a preview, or an index.
    Robot,
    /// A page shows the link as a picture, a frame or the like: its reader has opened nothing.
    Embedded,
}

impl NotAScan {
    pub(crate) const ALL: [Self; 4] = [Self::Head, Self::Prefetch, Self::Robot, Self::Embedded];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Prefetch => "prefetch",
            Self::Robot => "robot",
            Self::Embedded => "embedded",
        }
    }
}

/// What a browser fetches something for (Fetch Metadata); older browsers do not say it.
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The Fetch standard's header, and those that browsers sent before it.
static PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// Why a request for a code's link is no scan; `None` if it is one.
pub(crate) fn uncounted(method: &Method, headers: &HeaderMap) -> Option<NotAScan> {
    if method == Method::HEAD {
        return Some(NotAScan::Head);
    }
    let fetches_ahead = |value: &str| {
        let value = value.to_ascii_lowercase();
        ["prefetch", "prerender", "preview"].iter().any(|word| value.contains(word))
    };
    let mut purposes = PURPOSES.iter().filter_map(|name| headers.get(name)?.to_str().ok());
    if purposes.any(fetches_ahead) {
        return Some(NotAScan::Prefetch);
    }
    if headers.get(SEC_FETCH_DEST).is_some_and(|dest| dest != "document") {
        return Some(NotAScan::Embedded);
    }
    let agent = headers.get(header::USER_AGENT)?;
    is_robot(agent.as_bytes()).then_some(NotAScan::Robot)
}

/// Compiles the patterns that requests are compared with, so that the first request does not wait for that.
pub(crate) fn prepare() {
    robots::prepare();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_ahead() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            uncounted(&Method::GET, &headers)
        };
        assert_eq!(with("sec-purpose", "prefetch;prerender"), Some(NotAScan::Prefetch));
        assert_eq!(with("purpose", "prefetch"), Some(NotAScan::Prefetch));
        assert_eq!(with("x-moz", "prefetch"), Some(NotAScan::Prefetch));
        assert_eq!(with("x-purpose", "preview"), Some(NotAScan::Prefetch));
        assert_eq!(with("sec-fetch-mode", "navigate"), None);
        assert_eq!(with("sec-fetch-dest", "document"), None);
        for dest in ["image", "iframe", "script", "empty", "embed", "object", "style"] {
            assert_eq!(with("sec-fetch-dest", dest), Some(NotAScan::Embedded));
        }
        assert_eq!(uncounted(&Method::HEAD, &HeaderMap::new()), Some(NotAScan::Head));
    }
}
