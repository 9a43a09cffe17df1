//! Trusted networks: those whose datagrams need no key, and those of proxies that name the client they speak for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The networks that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust(Vec<IpNet>);

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {what}")]
pub struct NoNetwork {
    text: String,
    what: &'static str,
}

/// Reads an address, or a network by its first address and its bits; `ipnet` alone does not say which of them is wrong.
fn network(text: &str) -> Result<IpNet, &'static str> {
    const NONE: &str = "is no network; give an address, or one with its bits such as 10.1.0.0/16";
    const MORE_BITS: &str = "has more bits than an address; give at most 32, or 128 for IPv6";
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| NONE)?;
    let Some(bits) = bits else { return Ok(address.into()) };
    let bits: u32 = bits.parse().map_err(|_| NONE)?;
    let network = u8::try_from(bits).ok().and_then(|bits| IpNet::new(address, bits).ok()).ok_or(MORE_BITS)?;
    let is_first = network.network() == address;
    is_first.then_some(network).ok_or("is an address inside a network; give the network's first one")
}

impl Trust {
    /// This machine.
    #[must_use]
    pub fn loopback() -> Self {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        Self(vec![v4.into(), IpAddr::from(Ipv6Addr::LOCALHOST).into()])
    }

    /// No network at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether an address is in one of the networks; an IPv4 address counts as such even if it comes as IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Networks separated by commas, or `none`.
impl FromStr for Trust {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        if text == "none" {
            return Ok(Self::none());
        }
        let network = |text: &str| network(text).map_err(|what| NoNetwork { text: text.to_owned(), what });
        text.split(',').map(|text| network(text.trim())).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Trust;

    #[test]
    fn networks_hold_their_addresses() {
        let check = |networks: &str, address: &str, wanted: bool| {
            let trust: Trust = networks.parse().expect("networks");
            assert_eq!(trust.contains(address.parse().expect("an address")), wanted, "{address} in {networks}");
        };
        check("127.0.0.0/8,::1", "127.9.9.9", true);
        check("127.0.0.0/8,::1", "::1", true);
        check("127.0.0.0/8,::1", "::ffff:127.0.0.1", true);
        check("127.0.0.0/8,::1", "128.0.0.1", false);
        check("127.0.0.0/8,::1", "::2", false);
        check("10.1.2.0/23", "10.1.3.255", true);
        check("10.1.2.0/23", "10.1.4.0", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
        check("none", "127.0.0.1", false);
        for address in ["127.0.0.1", "127.255.0.1", "::1"] {
            assert!(Trust::loopback().contains(address.parse().expect("an address")));
        }
    }

    #[test]
    fn what_is_no_network_is_reported() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(text.parse::<Trust>().expect_err("no network").to_string(), wanted);
        };
        check("home", "home: is no network; give an address, or one with its bits such as 10.1.0.0/16");
        check("10.0.0.0/8,", ": is no network; give an address, or one with its bits such as 10.1.0.0/16");
        check("10.0.0.0/", "10.0.0.0/: is no network; give an address, or one with its bits such as 10.1.0.0/16");
        check("10.0.0.0/-1", "10.0.0.0/-1: is no network; give an address, or one with its bits such as 10.1.0.0/16");
        check("10.0.0.0/300", "10.0.0.0/300: has more bits than an address; give at most 32, or 128 for IPv6");
        check("::/129", "::/129: has more bits than an address; give at most 32, or 128 for IPv6");
        check("10.0.0.0/33", "10.0.0.0/33: has more bits than an address; give at most 32, or 128 for IPv6");
        check("10.0.0.1/8", "10.0.0.1/8: is an address inside a network; give the network's first one");
        check("2001:db8::1/64", "2001:db8::1/64: is an address inside a network; give the network's first one");
    }
}
