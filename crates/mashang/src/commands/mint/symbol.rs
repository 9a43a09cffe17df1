//! QR symbols as paths of SVG (ISO/IEC 18004, error correction level M).

use std::fmt::Write;

use anyhow::{Result, anyhow};
use qrcode::{Color, EcLevel, QrCode};

/// Width of the margin on every side, which scanners need white, modules.
pub(super) const QUIET_ZONE: usize = 4;

/// A symbol, drawn in units of a module.
#[derive(Debug)]
pub(super) struct Symbol {
    /// Width and height with the quiet zone.
    pub(super) modules: u64,
    /// The dark modules, as the commands of a path.
    pub(super) path: String,
}

impl Symbol {
    /// The smallest symbol that says this.
    pub(super) fn of(content: &str) -> Result<Self> {
        let code = QrCode::with_error_correction_level(content, EcLevel::M)
            .map_err(|e| anyhow!("{content} does not fit into a QR code ({e}): write a shorter url for the batch"))?;
        let width = code.width();
        let path = path(&code.into_colors(), width);
        Ok(Self { modules: u64::try_from(width + 2 * QUIET_ZONE).expect("177 modules at most"), path })
    }
}

/// A rectangle for each run of dark modules.
fn path(modules: &[Color], width: usize) -> String {
    let mut path = String::new();
    for (row, y) in modules.chunks(width).zip(QUIET_ZONE..) {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|&&module| module == Color::Dark).count();
            if run > 0 {
                write!(path, "M{} {y}h{run}v1h-{run}z", x + QUIET_ZONE).expect("a text takes all");
            }
            x += run.max(1);
        }
    }
    path
}

#[cfg(test)]
pub(super) mod tests {
    use rqrr::{Grid, SimpleGrid};

    use super::*;

    /// The modules that a path paints, by row.
    fn painted(path: &str, modules: usize) -> Vec<Vec<bool>> {
        let mut rows = vec![vec![false; modules]; modules];
        for rectangle in path.split_terminator('z') {
            let numbers: Vec<usize> = rectangle
                .split(|c: char| !c.is_ascii_digit())
                .filter(|number| !number.is_empty())
                .map(|number| number.parse().expect("a number"))
                .collect();
            let [x, y, run, 1, back] = numbers[..] else { panic!("{rectangle}") };
            assert_eq!(run, back);
            rows[y][x..x + run].fill(true);
        }
        rows
    }

    /// What a scanner reads from a path; it must have the quiet zone.
    pub(crate) fn read(path: &str, modules: u64) -> String {
        let modules = usize::try_from(modules).expect("small");
        let rows = painted(path, modules);
        let inside = QUIET_ZONE..modules - QUIET_ZONE;
        for (y, row) in rows.iter().enumerate() {
            for (x, &dark) in row.iter().enumerate() {
                assert!(!dark || inside.contains(&x) && inside.contains(&y), "the quiet zone is white");
            }
        }
        let grid = SimpleGrid::from_func(inside.len(), |x, y| rows[y + QUIET_ZONE][x + QUIET_ZONE]);
        let (meta, content) = Grid::new(grid).decode().expect("a QR code");
        // The two bits of level M.
        assert_eq!(meta.ecc_level, 0);
        content
    }

    #[test]
    fn scanner_reads_the_content_back() {
        let longest = format!("https://m.example/{}", "a/B".repeat(680));
        for content in
            ["00079F3K7QXW0M2BAC5T", "https://m.example/01/06901234567892/21/00079F3K7QXW0M2BAC5T", "码", &longest]
        {
            let symbol = Symbol::of(content).expect("a symbol");
            assert_eq!(read(&symbol.path, symbol.modules), content);
        }
        assert!(Symbol::of(&"a".repeat(3_000)).is_err());
    }
}
