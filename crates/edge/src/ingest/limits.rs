//! Limits of an ingest service, and the share of requests that it refuses while the workers' memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use web::quota::client_limits::ClientLimits;

use crate::transport::browser::link_hosts::LinkHost;

/// A whole, in parts per million.
const WHOLE_PPM: u32 = 1_000_000;

/// Limits of an ingest service.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of bytes of memory of all requests in flight; further requests are refused.
    pub inflight_bytes_max: usize,
    /// Maximum number of events per second of a shopper and key; beyond it they are refused, so that they keep no other
    /// shopper out. 0 is no limit.
    pub shopper_events_per_s: u32,
    /// What clients without a key may do; `None` where all clients are of this machine.
    pub client_limits: Option<Arc<ClientLimits>>,
    /// The merchants of links whose codes several have.
    pub link_hosts: Vec<LinkHost>,
    /// The share of requests that is refused.
    pub shedding: Arc<Shedding>,
}

/// The share of requests that is refused because the workers' memory is short.
#[derive(Debug, Default)]
pub struct Shedding {
    share_ppm: AtomicU32,
    /// The sum of the shares of all requests so far: whenever it passes a whole, a request is refused.
    sum: AtomicU64,
}

impl Shedding {
    /// Sets the share, in parts per million.
    pub fn set(&self, share_ppm: u32) {
        self.share_ppm.store(share_ppm.min(WHOLE_PPM), Ordering::Relaxed);
    }

    /// Whether the next request is refused.
    pub(crate) fn refuses(&self) -> bool {
        let share = u64::from(self.share_ppm.load(Ordering::Relaxed));
        let whole = u64::from(WHOLE_PPM);
        share > 0 && self.sum.fetch_add(share, Ordering::Relaxed) % whole + share >= whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_requests_is_refused_evenly() {
        let shedding = Shedding::default();
        for (share_ppm, refused) in
            [(0, 0), (1, 0), (250_000, 250), (900_000, 900), (1_000_000, 1000), (2_000_000, 1000)]
        {
            shedding.set(share_ppm);
            let found = (0..1000).filter(|_| shedding.refuses()).count();
            assert!(found.abs_diff(refused) <= 1, "{share_ppm}: {found}");
        }
    }
}
