//! The shopper who holds the phone: a random id in a cookie of our own (RFC 6265), and nothing else.

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use web::scan_id;

const NAME: &str = "mashang";
/// The prefix of such shoppers' ids, which keeps them apart from ids that senders choose.
const PREFIX: &str = "web:";
/// Lifetime of the cookie, the maximum that browsers allow.
const MAX_AGE: Duration = Duration::days(400);

/// A shopper identified by a cookie.
#[derive(Debug)]
pub(super) struct Shopper(String);

impl Shopper {
    /// The shopper of the request's cookie, or a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut cookies = lines.flat_map(Cookie::split_parse).filter_map(Result::ok);
        let known = cookies.find(|cookie| cookie.name() == NAME && scan_id::is_one(cookie.value()));
        Self(format!("{PREFIX}{}", known.map_or_else(scan_id::new, |cookie| cookie.value().to_owned())))
    }

    /// The shopper's id in events.
    pub(super) fn id(&self) -> &str {
        &self.0
    }

    /// The cookie, whose lifetime begins anew; one that is set over TLS is never sent without TLS.
    pub(super) fn set_cookie(&self, is_secure: bool) -> HeaderValue {
        let value = self.0.strip_prefix(PREFIX).unwrap_or_default();
        let cookie = Cookie::build((NAME, value))
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
        let shopper = Shopper("web:7".to_owned());
        assert_eq!(shopper.set_cookie(false), "mashang=7; HttpOnly; SameSite=Lax; Path=/; Max-Age=34560000");
        assert_eq!(shopper.set_cookie(true), "mashang=7; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=34560000");
    }
}
