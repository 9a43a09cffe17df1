//! Plots as SVG: lines over a grid, and bars. The page's style sets the colours, for light and dark.

#![expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "coordinates of a plot; no reported figure depends on them"
)]

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Number of colours for lines in the style.
const COLOURS: usize = 4;
const BAR_HEIGHT: f64 = 26.0;
const BAR_LEFT: f64 = 72.0;
const BAR_RIGHT: f64 = 170.0;

/// The range of an axis, from its first value to its last.
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) is_log: bool,
    /// (value, its label)
    pub(super) ticks: Vec<(f64, String)>,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A marked range of the x axis.
pub(super) struct Band {
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
}

pub(super) struct Plot {
    /// The text for screen readers.
    pub(super) label: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) bands: Vec<Band>,
    pub(super) lines: Vec<Line>,
}

impl Axis {
    /// An axis from 0 to a round number of at least `most`, with a limited number of steps.
    pub(super) fn linear(title: &str, most: f64, steps_max: f64, label: impl Fn(f64) -> String) -> Self {
        let step = round_up(most.max(1.0) / steps_max);
        let steps = (most.max(1.0) / step).ceil() as u32;
        let ticks = (0..=steps).map(|n| f64::from(n) * step).map(|value| (value, label(value))).collect();
        Self { title: title.to_owned(), from: 0.0, to: f64::from(steps) * step, is_log: false, ticks }
    }

    /// An axis of whole decades around values above 0.
    pub(super) fn decades(title: &str, least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let (low, high) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        let high = high.max(low + 1);
        let ticks = (low..=high).map(|power| 10_f64.powi(power)).map(|value| (value, label(value))).collect();
        Self { title: title.to_owned(), from: 10_f64.powi(low), to: 10_f64.powi(high), is_log: true, ticks }
    }

    /// The position of a value, as a fraction of the axis.
    fn part(&self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        part.clamp(0.0, 1.0)
    }
}

/// The smallest of 1, 2, 2.5, 5, 10, … that is not below a value.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * decade >= value * 0.999_999);
    step.unwrap_or(10.0) * decade
}

impl Plot {
    pub(super) fn svg(&self) -> String {
        let mut svg = String::new();
        let (label, right, base) = (escaped(&self.label), WIDTH - RIGHT, HEIGHT - BOTTOM);
        // Writing to a string does not fail.
        let _ = write!(svg, r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">"#);
        let x = |value: f64| LEFT + self.x.part(value) * (right - LEFT);
        let y = |value: f64| base - self.y.part(value) * (base - TOP);
        for Band { name, from, to } in &self.bands {
            let (from, to) = (x(*from), x(*to));
            let _ = write!(
                svg,
                r#"<rect class="band" x="{from:.1}" y="{TOP}" width="{:.1}" height="{:.1}"/><text class="band-name" x="{:.1}" y="{:.1}">{name}</text>"#,
                to - from,
                base - TOP,
                from + 5.0,
                TOP + 14.0
            );
        }
        for (value, label) in &self.y.ticks {
            let (at, label) = (y(*value), escaped(label));
            let _ = write!(
                svg,
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LEFT - 8.0,
                at + 4.0
            );
        }
        for (value, label) in &self.x.ticks {
            let (at, label) = (x(*value), escaped(label));
            let _ = write!(
                svg,
                r#"<path class="mark" d="M{at:.1} {base}v5"/><text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                base + 19.0
            );
        }
        let _ = write!(
            svg,
            r#"<path class="base" d="M{LEFT} {base}H{right}"/><text class="title" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            (LEFT + right) / 2.0,
            HEIGHT - 6.0,
            escaped(&self.x.title)
        );
        let _ = write!(svg, r#"<text class="title" x="0" y="12">{}</text>"#, escaped(&self.y.title));
        // The names are at the top right, the last one outermost.
        let mut end = right;
        for (number, line) in self.lines.iter().enumerate().rev() {
            let colour = number % COLOURS;
            let mut path = String::new();
            for (n, (at, value)) in line.points.iter().enumerate() {
                let _ = write!(path, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, x(*at), y(*value));
            }
            let _ = write!(svg, r#"<path class="line c{colour}" d="{path}"/>"#);
            let _ = write!(
                svg,
                r#"<text class="name" x="{end:.1}" y="12" text-anchor="end"><tspan class="dot c{colour}">●</tspan> {}</text>"#,
                escaped(&line.name)
            );
            end -= 7.0 * line.name.chars().count() as f64 + 34.0;
        }
        svg.push_str("</svg>");
        svg
    }
}

/// Bars for (name, count, whether it is a good outcome), each with its share.
pub(super) fn bars(label: &str, rows: &[(String, u64, bool)]) -> String {
    let whole = rows.iter().map(|row| row.1).sum::<u64>().max(1);
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0).max(1);
    let height = BAR_HEIGHT * rows.len() as f64 + 8.0;
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escaped(label));
    for (n, (name, count, is_good)) in rows.iter().enumerate() {
        let top = BAR_HEIGHT * n as f64 + 4.0;
        let width = ((WIDTH - BAR_LEFT - BAR_RIGHT) * *count as f64 / most as f64).max(2.0);
        let (colour, middle) = (if *is_good { "good" } else { "bad" }, top + BAR_HEIGHT / 2.0 + 2.0);
        let share = 100.0 * *count as f64 / whole as f64;
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{middle:.1}" text-anchor="end">{}</text><rect class="bar {colour}" x="{BAR_LEFT}" y="{top:.1}" width="{width:.1}" height="{:.1}" rx="2"/><text class="name" x="{:.1}" y="{middle:.1}">{} ({share:.3} %)</text>"#,
            BAR_LEFT - 10.0,
            escaped(name),
            BAR_HEIGHT - 8.0,
            BAR_LEFT + width + 8.0,
            grouped(*count),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Escapes text for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Of a value that is a whole number.
pub(super) fn whole(value: f64) -> String {
    grouped(value.round() as u64)
}

/// 1234567 → 1,234,567.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_round() {
        let ticks =
            |most| Axis::linear("", most, 5.0, |value| value.to_string()).ticks.into_iter().map(|(_, label)| label);
        assert_eq!(ticks(23.0).collect::<Vec<_>>(), ["0", "5", "10", "15", "20", "25"]);
        assert_eq!(ticks(5_200.0).collect::<Vec<_>>(), ["0", "2000", "4000", "6000"]);
        let decades = Axis::decades("", 0.3, 25.0, |value| value.to_string());
        assert_eq!((decades.from, decades.to, decades.ticks.len()), (0.1, 100.0, 4));
        assert!((decades.part(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((decades.part(0.0), decades.part(1e9)), (0.0, 1.0));
    }

    #[test]
    fn numbers_are_grouped() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
