//! What a desk says of its state, for metrics.

/// What a desk keeps for later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Number of refunds that wait for their order.
    pub waiting_refunds: usize,
    /// How often each bound on what strangers can make it keep was reached, by the bound's name.
    pub bounds_reached: Vec<(&'static str, u64)>,
    /// How many kept touches, orders, refunds and attempts it has looked at since it was loaded: work that grows with what is kept.
    pub looked_at: u64,
    /// Number of scans of minted codes that do not live, and of those in another region than the one meant, since it was loaded.
    pub inactive_scans: u64,
    /// See `inactive_scans`.
    pub diverted_scans: u64,
    /// Number of minted codes in alarm: many distinct shoppers have scanned them, so they may be copied.
    pub codes_in_alarm: u64,
}
