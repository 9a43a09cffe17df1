//! splitmix64.
/// Random numbers of a seed, the same on every machine.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
    }
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// In `[from, to)`.
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        assert!(from < to);
        from + (self.draw() % (to - from) as u64) as i64
    }
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.range(0, n as i64) as usize
    }
    /// Whether an event of `p` percent occurs.
    pub fn percent(&mut self, p: u64) -> bool {
        self.draw() % 100 < p
    }
    /// One of the elements.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
