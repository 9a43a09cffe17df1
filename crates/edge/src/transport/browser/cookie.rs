//! The shopper who holds the phone: a random value in a cookie of our own (RFC 6265), and an id that is worked out from it.

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use web::scan_id;

const NAME: &str = "mashang";
/// The prefix of such shoppers' ids, which keeps them apart from ids that senders choose.
const PREFIX: &str = "web:";
/// Number of bytes of the HMAC that are in an id.
const ID_BYTES: usize = 16;
/// Lifetime of the cookie, the maximum that browsers allow.
const MAX_AGE: Duration = Duration::days(400);

/// The deployment's own key. Shoppers' ids are HMACs of their cookies under it: who reads an export, the log or the database
/// cannot make a cookie of an id, and so cannot be that shopper.
#[derive(Clone)]
pub struct VisitorKey([u8; 32]);

impl std::fmt::Debug for VisitorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VisitorKey")
    }
}

impl VisitorKey {
    /// A key of these bytes, which are secret.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The id of the shopper who has a cookie of this value.
    #[must_use]
    pub fn id(&self, cookie: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("keys of any length");
        mac.update(cookie.as_bytes());
        format!("{PREFIX}{}", HEXLOWER.encode(&mac.finalize().into_bytes()[..ID_BYTES]))
    }
}

/// A shopper identified by a cookie.
#[derive(Debug)]
pub(super) struct Shopper {
    id: String,
    /// The value of the cookie.
    cookie: String,
}

impl Shopper {
    /// The shopper of the request's cookie, or a new one.
    pub(super) fn of(headers: &HeaderMap, key: &VisitorKey) -> Self {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut cookies = lines.flat_map(Cookie::split_parse).filter_map(Result::ok);
        let known = cookies.find(|cookie| cookie.name() == NAME && scan_id::is_one(cookie.value()));
        let cookie = known.map_or_else(scan_id::new, |cookie| cookie.value().to_owned());
        Self { id: key.id(&cookie), cookie }
    }

    /// The shopper's id in events.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The cookie, whose lifetime begins anew; one that is set over TLS is never sent without TLS.
    pub(super) fn set_cookie(&self, is_secure: bool) -> HeaderValue {
        let cookie = Cookie::build((NAME, self.cookie.as_str()))
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(is_secure)
            .path("/")
            .max_age(MAX_AGE);
        HeaderValue::from_str(&cookie.to_string()).expect("hex digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: VisitorKey = VisitorKey([7; 32]);

    #[test]
    fn id_is_an_hmac_that_another_key_does_not_give() {
        // Python: hmac.new(bytes([7] * 32), b"0123456789abcdef0123456789abcdef", "sha256").hexdigest()[:32]
        let cookie = "0123456789abcdef0123456789abcdef";
        assert_eq!(KEY.id(cookie), "web:d2f7b4e7089a4717a9bc7f4b169944c8");
        assert_ne!(VisitorKey([8; 32]).id(cookie), KEY.id(cookie));
        assert!(!format!("{KEY:?}").contains('7'));
    }

    #[test]
    fn only_our_own_form_is_taken() {
        let id = "0123456789abcdef0123456789abcdef";
        let of = |cookies: &[&str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_str(cookie).expect("a cookie"));
            }
            Shopper::of(&headers, &KEY).id().to_owned()
        };
        let known = KEY.id(id);
        assert_eq!(of(&[&format!("mashang={id}")]), known);
        assert_eq!(of(&[&format!("a=b; mashang={id} ;c=d")]), known);
        assert_eq!(of(&["a=b", &format!("mashang=u1; mashang={id}")]), known);
        assert_eq!(of(&[&format!("no pair;=;mashang = {id}")]), known, "blanks around the parts of a pair");
        for other in [
            "mashang=u1",
            "mashang=",
            "xmashang=0123456789abcdef0123456789abcdef",
            "Mashang=0123456789abcdef0123456789abcdef",
            "mashang=\"0123456789abcdef0123456789abcdef\"",
            "mashang=%30123456789abcdef0123456789abcdef",
            "mashang",
        ] {
            let new = of(&[other]);
            assert!(new.len() == known.len() && new.starts_with("web:") && new != known, "{other}: {new}");
        }
    }

    #[test]
    fn cookie_is_http_only_lax_and_secure_over_tls() {
        let shopper = Shopper { id: KEY.id("7"), cookie: "7".to_owned() };
        assert_eq!(shopper.set_cookie(false), "mashang=7; HttpOnly; SameSite=Lax; Path=/; Max-Age=34560000");
        assert_eq!(shopper.set_cookie(true), "mashang=7; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=34560000");
    }
}
