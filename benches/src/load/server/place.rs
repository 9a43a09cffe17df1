//! The address of a server, and an API key.

use std::str::FromStr;

use hyper::Uri;

/// `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Host and port of the connection.
    pub(super) authority: String,
    /// Host and port as in the URL, for the header Host.
    pub(super) host: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?}: {what}; write http://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("has another scheme than http"));
        }
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
            return Err(wrong("has a path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a name or password"));
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()), host: authority.to_string() })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// An API key; its secret is never shown.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text.split_once('.').filter(|(id, secret)| {
            !id.is_empty() && !secret.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let (id, secret) = whole.ok_or("a key is ID.SECRET, in printable characters")?;
        Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        let read = |text: &str| text.parse::<Place>().map(|place| place.authority);
        assert_eq!(read("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(read("http://[::1]:8080/"), Ok("[::1]:8080".to_owned()));
        assert_eq!(read("http://edge"), Ok("edge:80".to_owned()));
        for wrong in ["https://edge", "edge:80", "http://edge/v1", "http://a:b@edge", ""] {
            assert!(read(wrong).is_err_and(|error| error.contains("http://HOST:PORT")), "{wrong}");
        }
    }

    #[test]
    fn key_is_not_shown() {
        let key: Key = "k1.hush".parse().expect("a key");
        assert!(!format!("{key:?}").contains("hush"));
        for wrong in ["k1", "k1.a\r\nb", ".x", "k."] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong:?}");
        }
    }
}
