//! Trusted networks: those whose datagrams need no key, and those of proxies that name the client they speak for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// The networks that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust(Vec<Network>);

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {what}")]
pub struct NoNetwork {
    text: String,
    what: &'static str,
}

impl Network {
    const fn new(address: IpAddr, bits: u32) -> Self {
        Self { address, bits }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = own.to_bits() ^ other.to_bits();
                differs.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NONE: &str = "is no network; give an address, or one with its bits such as 10.1.0.0/16";
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NONE)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| NONE)?;
        if bits > all {
            return Err("has more bits than an address; give at most 32, or 128 for IPv6");
        }
        let network = Self::new(address, bits);
        let first = match address {
            IpAddr::V4(own) => {
                IpAddr::V4(Ipv4Addr::from_bits(own.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)))
            }
            IpAddr::V6(own) => {
                IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)))
            }
        };
        if first == address { Ok(network) } else { Err("is an address inside a network; give the network's first one") }
    }
}

impl Trust {
    /// This machine.
    #[must_use]
    pub fn loopback() -> Self {
        let v4 = Network::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
        Self(vec![v4, Network::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)])
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
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Networks separated by commas, or `none`.
impl FromStr for Trust {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        if text == "none" {
            return Ok(Self::none());
        }
        let network = |text: &str| text.parse().map_err(|what| NoNetwork { text: text.to_owned(), what });
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
        check("10.0.0.0/33", "10.0.0.0/33: has more bits than an address; give at most 32, or 128 for IPv6");
        check("10.0.0.1/8", "10.0.0.1/8: is an address inside a network; give the network's first one");
        check("2001:db8::1/64", "2001:db8::1/64: is an address inside a network; give the network's first one");
    }
}
