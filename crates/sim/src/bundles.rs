//! Frames in flight share records at random: what a writer bundled must not matter.

use std::collections::BTreeMap;

use domain::frame::{bundle, may_share_record};
use domain::model::address::TopicPartition;

use crate::generate::rng::Rng;

/// Decides which frames share a record, with random numbers of its own.
#[derive(Debug)]
pub(crate) struct Bundler {
    rng: Rng,
    /// Share of frames that join the one before them, percent.
    joined: u64,
}

impl Bundler {
    /// A bundler of a seed; one that bundles nothing where frames are rewritten one by one.
    #[must_use]
    pub(crate) fn new(seed: u64, is_off: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0xb0_4d1e);
        let joined = if is_off { 0 } else { [0, 30, 60, 95][rng.below(4)] };
        Self { rng, joined }
    }

    /// Puts frames into records, in the order of the first frame of each. Returns the records, and for each frame the index of its
    /// record.
    pub(crate) fn pack(&mut self, frames: &[(TopicPartition, &[u8])]) -> (Vec<(TopicPartition, Vec<u8>)>, Vec<usize>) {
        let mut packed: Vec<(TopicPartition, Vec<&[u8]>)> = Vec::new();
        let mut open: BTreeMap<TopicPartition, usize> = BTreeMap::new();
        let mut of_frames = Vec::new();
        for &(to, frame) in frames {
            let may_share = self.joined > 0 && may_share_record(frame);
            let at = match open.get(&to) {
                Some(&at) if may_share && self.rng.percent(self.joined) => at,
                _ => {
                    packed.push((to, Vec::new()));
                    packed.len() - 1
                }
            };
            packed[at].1.push(frame);
            of_frames.push(at);
            if may_share {
                open.insert(to, at);
            } else {
                open.remove(&to);
            }
        }
        let sealed = packed.into_iter().map(|(to, frames)| match frames[..] {
            [only] => (to, only.to_vec()),
            _ => (to, bundle(frames.into_iter())),
        });
        (sealed.collect(), of_frames)
    }
}
