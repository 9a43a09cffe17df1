//! The shopper who holds the phone: a random id in a cookie of our own (RFC 6265), and nothing else.

use axum::http::{HeaderMap, HeaderValue, header};

use web::scan_id;

const NAME: &str = "mashang";
/// The prefix of such shoppers' ids: no forged cookie makes its sender a shopper known by another id.
const PREFIX: &str = "web:";
/// Lifetime of the cookie, in seconds: 400 days, the maximum that browsers allow.
const MAX_AGE_S: u32 = 400 * 24 * 60 * 60;

/// A shopper identified by a cookie.
#[derive(Debug)]
pub(super) struct Shopper(String);

impl Shopper {
    /// The shopper of the request's cookie, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = sent.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let known = pairs.find(|(name, value)| *name == NAME && scan_id::is_one(value));
        Self(format!("{PREFIX}{}", known.map_or_else(scan_id::new, |(_, value)| value.to_owned())))
    }

    /// The shopper's id in events.
    pub(super) fn id(&self) -> &str {
        &self.0
    }

    /// The cookie, whose lifetime begins anew; one that is set over TLS is never sent without TLS.
    pub(super) fn set_cookie(&self, is_secure: bool) -> HeaderValue {
        let value = self.0.strip_prefix(PREFIX).unwrap_or_default();
        let secure = if is_secure { "; Secure" } else { "" };
        let cookie = format!("{NAME}={value}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&cookie).expect("hex digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_form_is_taken() {
        let id = "0123456789abcdef0123456789abcdef";
        let of = |cookies: &[&str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_str(cookie).expect("a cookie"));
            }
            Shopper::of(&headers).id().to_owned()
        };
        let known = format!("web:{id}");
        assert_eq!(of(&[&format!("mashang={id}")]), known);
        assert_eq!(of(&[&format!("a=b; mashang={id} ;c=d")]), known);
        assert_eq!(of(&["a=b", &format!("mashang=u1; mashang={id}")]), known);
        for other in ["mashang=u1", "mashang=", "xmashang=0123456789abcdef0123456789abcdef", "mashang"] {
            let new = of(&[other]);
            assert!(new.len() == known.len() && new.starts_with("web:") && new != known, "{other}: {new}");
        }
    }
}
