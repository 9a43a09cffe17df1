//! Blocks: sorted pairs as bytes, each small enough for one page of the database.

use crate::error::LedgerError;

/// First byte of a block: the version of its format.
const VERSION: u8 = 1;
/// Maximum size of a block with more than one pair, bytes: a row of SQLite in one page of 4 KiB, two in a page of Postgres.
const BLOCK_BYTES_MAX: usize = 3800;
/// Bytes before a pair: the lengths of its key and of its value.
const LENGTHS: usize = 4;

/// A key and its value. Of several values of a key the bytewise greatest counts.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// A block as a row: its first key, and its bytes.
pub(super) type Block = (Vec<u8>, Vec<u8>);

/// Cuts sorted pairs into blocks.
#[derive(Debug, Default)]
pub(super) struct BlockWriter {
    pub(super) blocks: Vec<Block>,
    pub(super) pairs: u64,
}

impl BlockWriter {
    /// Adds a pair, whose key is above that of the pair before it.
    pub(super) fn push(&mut self, (key, value): Pair<'_>) {
        let bytes = LENGTHS + key.len() + value.len();
        let block = match self.blocks.last_mut() {
            Some((_, block)) if block.len() + bytes <= BLOCK_BYTES_MAX => block,
            _ => {
                let mut block = Vec::with_capacity(BLOCK_BYTES_MAX.max(bytes + 1));
                block.push(VERSION);
                self.blocks.push((key.to_vec(), block));
                &mut self.blocks.last_mut().expect("just pushed").1
            }
        };
        for part in [key, value] {
            let length = u16::try_from(part.len()).expect("texts of facts are far below 64 KiB");
            block.extend_from_slice(&length.to_le_bytes());
        }
        block.extend_from_slice(key);
        block.extend_from_slice(value);
        self.pairs += 1;
    }
}

/// Reads the pairs of a block from a position on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor(usize);

impl Cursor {
    /// The next pair of the block, in which the cursor moves.
    pub(super) fn next<'a>(&mut self, block: &'a [u8]) -> Result<Option<Pair<'a>>, LedgerError> {
        let damaged = || LedgerError::Damaged("segment_blocks.body: a block that is no whole block".to_owned());
        if self.0 == 0 {
            match block.first() {
                Some(&VERSION) => self.0 = 1,
                Some(other) => {
                    return Err(LedgerError::Damaged(format!("segment_blocks.body: a block of format {other}")));
                }
                None => return Err(damaged()),
            }
        }
        let left = &block[self.0.min(block.len())..];
        if left.is_empty() {
            return Ok(None);
        }
        let (lengths, rest) = left.split_first_chunk::<LENGTHS>().ok_or_else(damaged)?;
        let [key, value] =
            [[lengths[0], lengths[1]], [lengths[2], lengths[3]]].map(u16::from_le_bytes).map(usize::from);
        let pair = rest.split_at_checked(key).ok_or_else(damaged)?;
        let value = pair.1.get(..value).ok_or_else(damaged)?;
        self.0 += LENGTHS + key + value.len();
        Ok(Some((pair.0, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8]) -> Result<Vec<Block>, LedgerError> {
        let (mut cursor, mut found) = (Cursor::default(), Vec::new());
        while let Some((key, value)) = cursor.next(block)? {
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn blocks_give_back_their_pairs_and_fit_a_page() {
        let pairs: Vec<Block> = (0..2_000_u32).map(|n| (n.to_be_bytes().to_vec(), vec![7; n as usize % 90])).collect();
        let mut writer = BlockWriter::default();
        pairs.iter().for_each(|(key, value)| writer.push((key, value)));
        assert_eq!(writer.pairs, 2_000);
        assert!(writer.blocks.len() > 1 && writer.blocks.iter().all(|(_, block)| block.len() <= BLOCK_BYTES_MAX));
        let found: Vec<_> = writer.blocks.iter().flat_map(|(_, block)| read(block).expect("whole")).collect();
        assert_eq!(found, pairs);
        assert!(writer.blocks.iter().all(|(first, block)| read(block).expect("whole")[0].0 == *first));
    }

    #[test]
    fn larger_pair_has_a_block_of_its_own() {
        let mut writer = BlockWriter::default();
        for (key, bytes) in [(b"a", 10), (b"b", 5_000), (b"c", 10)] {
            writer.push((key, &vec![1; bytes]));
        }
        let sizes: Vec<usize> = writer.blocks.iter().map(|(_, block)| read(block).expect("whole").len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }

    #[test]
    fn cut_or_foreign_block_is_named() {
        let mut writer = BlockWriter::default();
        writer.push((b"key", b"value"));
        let block = &writer.blocks[0].1;
        for cut in 2..block.len() {
            let error = read(&block[..cut]).expect_err("cut").to_string();
            assert!(error.contains("segment_blocks.body: a block that is no whole block"), "{cut}: {error}");
        }
        assert!(read(&[]).is_err());
        assert!(read(&[9]).expect_err("foreign").to_string().contains("a block of format 9"));
    }
}
