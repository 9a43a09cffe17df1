//! Limits of what one client address can do without a key: connections, requests and keyless scans. They are apart from all
//! quotas of keys, so that a stranger takes nothing from a till.
//!
//! A client is an IPv4 address, or 64 bits of an IPv6 address: a subscriber gets at least that many.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::rate_table::RateTable;

/// A client has as many connections as this part of those that are free, so that several clients together leave some to others;
/// or [`SHARE_MIN`].
const SHARE_OF_FREE: usize = 4;
/// The connections of a client that it has at any time, as long as there are any.
const SHARE_MIN: u32 = 16;

/// What one client address may do.
#[derive(Clone, Copy, Debug)]
pub struct ClientRates {
    /// Maximum number of open connections of a client; further ones are closed at once. 0 is no limit.
    pub connections: u32,
    /// Maximum number of requests without a valid key, per second; 0 is no limit.
    pub requests_per_s: u32,
    /// Maximum number of keyless scans, per second; 0 is no limit.
    pub scans_per_s: u32,
}

/// Counts what clients do.
#[derive(Debug)]
pub struct ClientLimits {
    connections_max: u32,
    /// Open connections by client: never more entries than connections.
    connections: DashMap<u64, u32>,
    requests: RateTable,
    scans: RateTable,
    /// A secret of this process, so that no client can choose which slots of the tables it shares.
    secret: [RandomState; 2],
}

/// The bits of an address that make one client.
fn client(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(0),
    }
}

/// An open connection of a client.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    limits: Arc<ClientLimits>,
    client: u64,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.limits.connections.entry(self.client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

impl ClientLimits {
    /// Limits of these rates.
    #[must_use]
    pub fn new(rates: ClientRates) -> Arc<Self> {
        Arc::new(Self {
            connections_max: rates.connections,
            connections: DashMap::new(),
            requests: RateTable::new(rates.requests_per_s),
            scans: RateTable::new(rates.scans_per_s),
            secret: [RandomState::new(), RandomState::new()],
        })
    }

    /// Counts a connection as long as the result is kept; `None` if its client has too many: more than its limit, or more than its
    /// share of the `free` ones.
    pub(crate) fn connect(self: &Arc<Self>, address: IpAddr, free: usize) -> Option<ClientConnection> {
        let client = client(address);
        let mut open = self.connections.entry(client).or_insert(0);
        let share = u32::try_from(free / SHARE_OF_FREE).unwrap_or(u32::MAX).max(SHARE_MIN);
        if self.connections_max > 0 && *open >= self.connections_max.min(share) {
            return None;
        }
        *open += 1;
        Some(ClientConnection { limits: Arc::clone(self), client })
    }

    /// Counts a request without a valid key, and returns whether its client has sent too many.
    #[must_use]
    pub fn has_too_many_requests(&self, address: IpAddr, now: Instant) -> bool {
        self.requests.is_over(self.key(address), self.requests.tick(now))
    }

    /// Counts a keyless scan, and returns whether its client has made too many.
    #[must_use]
    pub fn has_too_many_scans(&self, address: IpAddr, now: Instant) -> bool {
        self.scans.is_over(self.key(address), self.scans.tick(now))
    }

    fn key(&self, address: IpAddr) -> u128 {
        let client = client(address);
        let [high, low] = [&self.secret[0], &self.secret[1]].map(|secret| u128::from(secret.hash_one(client)));
        high << 64 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn connections_of_a_client_are_limited() {
        let limits = ClientLimits::new(ClientRates { connections: 2, requests_per_s: 0, scans_per_s: 0 });
        let one = limits.connect(address("192.0.2.1"), 1_000).expect("room");
        let _two = limits.connect(address("::ffff:192.0.2.1"), 1_000).expect("room");
        assert!(limits.connect(address("192.0.2.1"), 1_000).is_none());
        let _other = limits.connect(address("192.0.2.2"), 1_000).expect("another client");
        drop(one);
        let _again = limits.connect(address("192.0.2.1"), 1_000).expect("room again");
        let _net =
            [limits.connect(address("2001:db8::1"), 1_000), limits.connect(address("2001:db8::ffff:1:2"), 1_000)];
        assert!(limits.connect(address("2001:db8::2"), 1_000).is_none(), "one subscriber");
        assert!(limits.connect(address("2001:db8:0:1::2"), 1_000).is_some());
        drop((_two, _other, _again, _net));
        assert!(limits.connections.is_empty());
    }

    /// Each of twenty strangers takes what it can get; a till still gets connections.
    #[test]
    fn strangers_leave_connections_to_others() {
        const ALL: usize = 20_000;
        let limits = ClientLimits::new(ClientRates { connections: 5_000, requests_per_s: 0, scans_per_s: 0 });
        let mut open = Vec::new();
        for n in 1..=20 {
            while let Some(one) = limits.connect(address(&format!("192.0.2.{n}")), ALL - open.len()) {
                open.push(one);
            }
            assert!(n > 1 || open.len() == 4_000, "a fifth for one alone, not {}", open.len());
        }
        assert!(ALL - open.len() > 200, "{} are open", open.len());
        assert!(limits.connect(address("192.0.2.99"), ALL - open.len()).is_some());
    }

    #[test]
    fn rates_are_those_of_each_client() {
        let limits = ClientLimits::new(ClientRates { connections: 0, requests_per_s: 10, scans_per_s: 5 });
        let now = Instant::now();
        let taken = |address: IpAddr| (0..500).filter(|_| !limits.has_too_many_requests(address, now)).count();
        assert_eq!([taken(address("192.0.2.1")), taken(address("192.0.2.1"))], [100, 0]);
        let scans = (0..500).filter(|_| !limits.has_too_many_scans(address("192.0.2.1"), now)).count();
        assert_eq!(scans, 50);
    }
}
