//! Pictures of codes as SVG: one code, or a page of them.

use std::fmt::Write;
use std::ops::Range;

use anyhow::Result;

use super::minter::Minter;
use super::symbol::Symbol;
use crate::cli::code_args::SheetSize;

/// Width and height of a page: A4, µm.
const PAGE_UM: (u64, u64) = (210_000, 297_000);
/// Width of the margin that printers leave white, µm.
const MARGIN_UM: u64 = 10_000;
/// Height of the largest letters of a token on a page, µm.
const LETTER_UM_MAX: u64 = 4_000;
/// Number of letters that fit across a cell: 24 of a grouped token, 0.6 as wide as high, with some air around.
const LETTERS_IN_CELL: u64 = 16;
/// Width of a module of a picture of one code, in tenths of a mm.
const MODULE_TENTHS: u64 = 5;
/// Width of the smallest module that phones read well from a print, µm; below it a warning is given.
const MODULE_UM_GOOD: u64 = 250;

/// How codes are put into files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pictures<'m> {
    pub(super) minter: &'m Minter,
    /// `None`: a file for each code.
    pub(super) sheet: Option<SheetSize>,
}

impl Pictures<'_> {
    /// Number of codes in a file.
    pub(super) fn per_file(&self) -> u64 {
        self.sheet.map_or(1, |size| size.columns * size.rows)
    }

    /// The serials of the file that begins with the first of these.
    pub(super) fn file_of(&self, serials: Range<u64>) -> Range<u64> {
        serials.start..serials.end.min(serials.start + self.per_file())
    }

    /// The file's text.
    pub(super) fn draw(&self, serials: Range<u64>) -> Result<String> {
        match self.sheet {
            None => self.single(serials.start),
            Some(size) => self.page(serials, size),
        }
    }

    /// What is odd about the sizes on a page, if anything.
    pub(super) fn warning(&self, first: u64) -> Result<Option<String>> {
        let Some(size) = self.sheet else { return Ok(None) };
        let modules = Symbol::of(&self.minter.content(first))?.modules;
        let module = Cell::of(size).module(modules);
        Ok((module < MODULE_UM_GOOD).then(|| {
            let SheetSize { columns, rows } = size;
            format!("--sheet {columns}x{rows}: a module is {module} µm wide; phones want {MODULE_UM_GOOD}: give fewer")
        }))
    }

    fn single(&self, serial: u64) -> Result<String> {
        let Symbol { modules, path } = Symbol::of(&self.minter.content(serial))?;
        let token = self.minter.grouped(serial);
        let (mm, tenths) = (modules * MODULE_TENTHS / 10, modules * MODULE_TENTHS % 10);
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{mm}.{tenths}mm\" height=\"{mm}.{tenths}mm\" \
             viewBox=\"0 0 {modules} {modules}\" shape-rendering=\"crispEdges\" role=\"img\">\
             <title>QR code {token}</title>\
             <rect width=\"{modules}\" height=\"{modules}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>\n"
        ))
    }

    fn page(&self, serials: Range<u64>, size: SheetSize) -> Result<String> {
        let (width, height) = PAGE_UM;
        let (number, first, last) = (self.minter.number, serials.start, serials.end - 1);
        let mut page = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {width} {height}\">\n\
             <title>QR codes of batch {number}, serials {first} to {last}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
            width / 1_000,
            height / 1_000,
        );
        let cell = Cell::of(size);
        for (at, serial) in (0..).zip(serials) {
            let Symbol { modules, path } = Symbol::of(&self.minter.content(serial))?;
            let token = self.minter.grouped(serial);
            let (left, top) = (MARGIN_UM + at % size.columns * cell.width, MARGIN_UM + at / size.columns * cell.height);
            // A whole number of µm a module.
            let module = cell.module(modules).max(1);
            let (middle, x) = (left + cell.width / 2, left + cell.width.saturating_sub(modules * module) / 2);
            let letter = cell.letter();
            let baseline = top + modules * module + letter;
            writeln!(
                page,
                "<g role=\"img\"><title>QR code {token}</title>\
                 <path transform=\"translate({x} {top}) scale({module})\" shape-rendering=\"crispEdges\" d=\"{path}\"/>\
                 <text x=\"{middle}\" y=\"{baseline}\" font-family=\"monospace\" font-size=\"{letter}\" \
                 text-anchor=\"middle\">{token}</text></g>"
            )?;
        }
        page.push_str("</svg>\n");
        Ok(page)
    }
}

/// The part of a page that one code has, µm.
struct Cell {
    width: u64,
    height: u64,
}

impl Cell {
    fn of(size: SheetSize) -> Self {
        Self { width: (PAGE_UM.0 - 2 * MARGIN_UM) / size.columns, height: (PAGE_UM.1 - 2 * MARGIN_UM) / size.rows }
    }

    fn letter(&self) -> u64 {
        LETTER_UM_MAX.min(self.width / LETTERS_IN_CELL).min(self.height / LETTERS_IN_CELL)
    }

    /// Width of a module of a symbol, with the token and some air below it.
    fn module(&self, modules: u64) -> u64 {
        self.width.min(self.height - 2 * self.letter()) / modules
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::minter::tests::minter;
    use super::super::symbol::tests::read;
    use super::*;

    /// The value of an attribute, for each element that has it.
    fn attributes<'s>(svg: &'s str, name: &str) -> Vec<&'s str> {
        let begins = format!(" {name}=\"");
        svg.split(&begins).skip(1).map(|rest| rest.split('"').next().expect("a value")).collect()
    }

    #[test]
    fn picture_has_title_quiet_zone_and_code() {
        let minter = minter(Some(6_901_234_567_892), Some("https://m.example/c/"));
        let svg = Pictures { minter: &minter, sheet: None }.draw(5..6).expect("a picture");
        let view: Vec<&str> = attributes(&svg, "viewBox")[0].split(' ').collect();
        let modules = view[3].parse().expect("a number");
        assert_eq!(read(attributes(&svg, "d")[0], modules), minter.content(5));
        assert!(svg.contains(&format!("<title>QR code {}</title>", minter.grouped(5))));
        assert!(svg.len() < 8_000 && svg.matches("<path").count() == 1 && !svg.contains("href"), "{svg}");
    }

    #[test]
    fn cells_of_a_page_never_overlap() {
        let minter = minter(Some(6_901_234_567_892), Some("https://m.example/c/"));
        for (columns, rows) in [(1, 1), (4, 6), (6, 4), (1, 40), (40, 1), (40, 40), (3, 8)] {
            let pictures = Pictures { minter: &minter, sheet: Some(SheetSize { columns, rows }) };
            let serials = 100..100 + (columns * rows).min(columns + 1);
            let page = pictures.draw(serials.clone()).expect("a page");
            let cell = Cell::of(SheetSize { columns, rows });
            let (paths, places) = (attributes(&page, "d"), attributes(&page, "transform"));
            let (ys, sizes) = (attributes(&page, "y"), attributes(&page, "font-size"));
            assert_eq!(paths.len() as u64, serials.end - serials.start);
            for (at, serial) in (0..).zip(serials) {
                let numbers: Vec<u64> =
                    places[at].split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
                let [x, y, module] = numbers[..] else { panic!("{}", places[at]) };
                let modules = Symbol::of(&minter.content(serial)).expect("a symbol").modules;
                assert_eq!(read(paths[at], modules), minter.content(serial));
                let at = u64::try_from(at).expect("small");
                let (left, top) = (MARGIN_UM + at % columns * cell.width, MARGIN_UM + at / columns * cell.height);
                let side = module * modules;
                assert!(left <= x && x + side <= left + cell.width && top == y, "{columns}x{rows}");
                let at = usize::try_from(at).expect("small");
                let (baseline, letter): (u64, u64) = (ys[at].parse().expect("y"), sizes[at].parse().expect("a size"));
                // A token is 24 letters, each 0.6 as wide as high; nothing of it goes below the baseline by half a letter.
                assert!(baseline >= y + side && baseline + letter / 2 <= top + cell.height, "{columns}x{rows}");
                assert!(letter * 24 * 6 / 10 <= cell.width, "{columns}x{rows}");
                assert!(page.contains(&format!(">{}</text>", minter.grouped(serial))));
            }
        }
    }

    #[test]
    fn sheet_that_is_too_fine_warns() {
        let minter = minter(Some(6_901_234_567_892), None);
        let warning = |columns, rows| {
            Pictures { minter: &minter, sheet: Some(SheetSize { columns, rows }) }.warning(0).expect("a symbol")
        };
        assert_eq!(warning(4, 6), None);
        let told = warning(30, 30).expect("a warning");
        assert!(told.starts_with("--sheet 30x30: a module is ") && told.ends_with("give fewer"), "{told}");
    }
}
