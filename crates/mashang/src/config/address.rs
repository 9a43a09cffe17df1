//! The address that a port listens at, in the forms that an option takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address and a port: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; `:8080` is this machine's, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(SocketAddr);

impl Address {
    /// A port that only this machine reaches.
    pub(crate) fn local(port: u16) -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    pub(crate) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_this_machine = |host: &str| host.is_empty() || host.eq_ignore_ascii_case("localhost");
        let local = || {
            let (_, port) = text.rsplit_once(':').filter(|(host, _)| is_this_machine(host))?;
            // A number alone: `parse` would take a sign, too.
            port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
        };
        let given = text.parse().ok().map(Self).or_else(|| local().map(Self::local));
        given.ok_or_else(|| {
            format!("{text} is no address with a port; give one such as 127.0.0.1:8080, localhost:8080 or 0.0.0.0:8080")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let check = |text: &str, wanted: Option<&str>| {
            let read = text.parse::<Address>().ok().map(|address| address.get().to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        };
        check("127.0.0.1:8080", Some("127.0.0.1:8080"));
        check("0.0.0.0:80", Some("0.0.0.0:80"));
        check("[::1]:8080", Some("[::1]:8080"));
        check("localhost:8080", Some("127.0.0.1:8080"));
        check("LocalHost:0", Some("127.0.0.1:0"));
        check(":8080", Some("127.0.0.1:8080"));
        for wrong in
            ["", ":", "8080", "localhost", "localhost:", ":65536", ":+80", "shop.example:80", "1.2.3.4", "::1:80:x"]
        {
            check(wrong, None);
        }
        let refused = "localhost".parse::<Address>().expect_err("no port");
        assert_eq!(
            refused,
            "localhost is no address with a port; give one such as 127.0.0.1:8080, localhost:8080 or 0.0.0.0:8080"
        );
    }
}
