//! Plots as SVG: a panel per row, a line per peer, with the median as a dot and the range as a bar.
//!
//! The axis is logarithmic. The background is white whatever the page's is. The width of text is
//! estimated generously, as the font is the reader's.

#![expect(
    clippy::format_push_string,
    reason = "a document is short, and is read best in one piece"
)]

use super::peers::Kind;
use super::statistics::Summary;

/// One row of the comparison.
pub(super) struct Panel {
    pub(super) title: String,
    /// In the order they are drawn.
    pub(super) lines: Vec<Line>,
}

pub(super) struct Line {
    pub(super) label: &'static str,
    pub(super) kind: Kind,
    pub(super) summary: Summary,
    /// What stands behind the median, such as the ratio.
    pub(super) remark: String,
}

/// How figures are written, and how the round ones below an axis, where there is less room.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) figure: fn(f64) -> String,
    pub(super) tick: fn(f64) -> String,
}

const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = 500.0;
/// Left of the axis there is room for a label, right of it for the median and the remark.
const AXIS_LEFT: f64 = 140.0;
const AXIS_RIGHT: f64 = 360.0;
const MEDIAN_RIGHT: f64 = 435.0;
const REMARK_RIGHT: f64 = 488.0;
const LINE_HEIGHT: f64 = 20.0;
/// Of a panel's title, and of its axis.
const TITLE_HEIGHT: f64 = 34.0;
const AXIS_HEIGHT: f64 = 36.0;
/// Of the plot's title, what it shows, and the legend.
const HEADER_HEIGHT: f64 = 84.0;
const TICKS_MAX: usize = 6;

const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const GRID: &str = "#d8dee4";

/// Draws the panels beside and below each other.
pub(super) fn draw(title: &str, cost: &str, panels: &[Panel], unit: Unit) -> String {
    #[expect(clippy::cast_precision_loss, reason = "panels are few")]
    let columns = panels.len().min(COLUMNS) as f64;
    let width = PANEL_WIDTH * columns;
    let mut top = HEADER_HEIGHT;
    let mut body = String::new();
    for panels in panels.chunks(COLUMNS) {
        let mut left = 0.0;
        for panel in panels {
            body += &format!("<g transform=\"translate({left} {top})\">\n");
            body += &panel.draw(unit);
            body += "</g>\n";
            left += PANEL_WIDTH;
        }
        top += panels.iter().map(Panel::height).fold(0.0, f64::max);
    }
    let height = top;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" \
         fill=\"{INK}\">\n<title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}{body}</svg>\n",
        header(title, cost),
        title = escaped(title)
    )
}

fn header(title: &str, cost: &str) -> String {
    let mut text = format!(
        "<text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"600\">{}</text>\n\
         <text x=\"16\" y=\"46\">{}: median, range of all runs, multiple of Chappe's</text>\n",
        escaped(title),
        escaped(cost)
    );
    let mut left = 22.0;
    for (kind, words, width) in [
        (Kind::Chappe, "Chappe", 80.0),
        (Kind::Rust, "other Rust libraries", 155.0),
        (Kind::Other, "others", 75.0),
        (Kind::Floor, "no library", 0.0),
    ] {
        text += &dot(kind, left, 66.0);
        text += &format!(
            "<text x=\"{}\" y=\"70\" fill=\"{FAINT}\">{words}</text>\n",
            left + 10.0
        );
        left += width;
    }
    text
}

impl Panel {
    #[expect(clippy::cast_precision_loss, reason = "lines are few")]
    fn height(&self) -> f64 {
        TITLE_HEIGHT + LINE_HEIGHT * self.lines.len() as f64 + AXIS_HEIGHT
    }

    fn draw(&self, unit: Unit) -> String {
        let axis = Axis::over(&self.lines);
        let bottom = self.height() - AXIS_HEIGHT;
        let mut text = format!(
            "<text x=\"16\" y=\"22\" font-weight=\"600\">{}</text>\n",
            escaped(&self.title)
        );
        for tick in &axis.ticks {
            let x = axis.place(*tick);
            text += &format!(
                "<line x1=\"{x:.1}\" y1=\"{TITLE_HEIGHT}\" x2=\"{x:.1}\" y2=\"{bottom}\" \
                 stroke=\"{GRID}\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\" \
                 fill=\"{FAINT}\">{}</text>\n",
                bottom + 14.0,
                escaped(&(unit.tick)(*tick))
            );
        }
        let mut y = TITLE_HEIGHT + LINE_HEIGHT / 2.0;
        for line in &self.lines {
            text += &line.draw(&axis, y, unit);
            y += LINE_HEIGHT;
        }
        text
    }
}

impl Line {
    fn draw(&self, axis: &Axis, y: f64, unit: Unit) -> String {
        let weight = if self.kind == Kind::Chappe {
            "600"
        } else {
            "400"
        };
        let color = color(self.kind);
        let base = y + 4.0;
        let label_right = AXIS_LEFT - 10.0;
        let [min, median, max] =
            [self.summary.min, self.summary.median, self.summary.max].map(|n| axis.place(n));
        let mut text = format!(
            "<g font-weight=\"{weight}\">\n\
             <text x=\"{label_right}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{MEDIAN_RIGHT}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{REMARK_RIGHT}\" y=\"{base}\" text-anchor=\"end\" fill=\"{FAINT}\">{}</text>\n\
             </g>\n",
            escaped(self.label),
            escaped(&(unit.figure)(self.summary.median)),
            escaped(&self.remark)
        );
        text += &format!(
            "<line x1=\"{min:.1}\" y1=\"{y}\" x2=\"{max:.1}\" y2=\"{y}\" stroke=\"{color}\" \
             stroke-width=\"3\" stroke-opacity=\"0.45\" stroke-linecap=\"round\"/>\n"
        );
        text + &dot(self.kind, median, y)
    }
}

fn dot(kind: Kind, x: f64, y: f64) -> String {
    let color = color(kind);
    let fill = if kind == Kind::Floor {
        "#ffffff"
    } else {
        color
    };
    format!(
        "<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4\" fill=\"{fill}\" stroke=\"{color}\" \
         stroke-width=\"1.5\"/>\n"
    )
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Chappe | Kind::Loop => "#cf222e",
        Kind::Rust => "#0969da",
        Kind::Other => "#57606a",
        Kind::Floor => "#8c959f",
    }
}

/// A logarithmic axis, from a tick to a tick.
struct Axis {
    ticks: Vec<f64>,
    low: f64,
    high: f64,
}

impl Axis {
    fn over(lines: &[Line]) -> Self {
        let smallest = lines.iter().map(|line| line.summary.min);
        let largest = lines.iter().map(|line| line.summary.max);
        // What is nothing or less has no place on such an axis; it stands at its left end.
        let low = smallest.filter(|n| *n > 0.0).fold(f64::INFINITY, f64::min);
        let high = largest.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low < high { (low, high) } else { (1.0, 10.0) };
        let fine = ticks(low, high, &[1.0, 2.0, 5.0]);
        let ticks = if fine.len() <= TICKS_MAX {
            fine
        } else {
            ticks(low, high, &[1.0])
        };
        let ends = (ticks[0], ticks[ticks.len() - 1]);
        Self {
            ticks,
            low: ends.0,
            high: ends.1,
        }
    }

    fn place(&self, number: f64) -> f64 {
        let number = number.clamp(self.low, self.high);
        let part = (number / self.low).ln() / (self.high / self.low).ln();
        AXIS_LEFT + part * (AXIS_RIGHT - AXIS_LEFT)
    }
}

/// The steps of each power of ten, from the last that is not above `low` to the first that is not
/// below `high`.
fn ticks(low: f64, high: f64, steps: &[f64]) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let decades = (first..=last).map(|power| 10_f64.powi(power));
    let all: Vec<f64> = decades
        .flat_map(|decade| steps.iter().map(move |step| step * decade))
        .collect();
    let start = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let end = all.iter().position(|tick| *tick >= high);
    all[start..=end.unwrap_or(all.len() - 1)].to_vec()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose_what_is_drawn() {
        for (low, high, expected) in [
            (
                328.0,
                4_631.0,
                &[200.0, 500.0, 1_000.0, 2_000.0, 5_000.0][..],
            ),
            (100.0, 100.5, &[100.0, 200.0]),
            (1.0, 10.0, &[1.0, 2.0, 5.0, 10.0]),
        ] {
            assert_eq!(ticks(low, high, &[1.0, 2.0, 5.0]), expected);
        }
        assert_eq!(ticks(79.0, 133_217.0, &[1.0]).len(), 6);
    }

    #[test]
    fn a_place_on_the_axis_is_within_it() {
        let summary = |figures: &[f64]| Summary::of(figures).expect("there are figures");
        let line = |figures: &[f64]| Line {
            label: "Chappe",
            kind: Kind::Chappe,
            summary: summary(figures),
            remark: String::new(),
        };
        let axis = Axis::over(&[line(&[100.0, 150.0]), line(&[-3.0, 10_000.0])]);
        for (number, place) in [
            (-3.0, AXIS_LEFT),
            (100.0, AXIS_LEFT),
            (1_000.0, AXIS_LEFT.midpoint(AXIS_RIGHT)),
            (10_000.0, AXIS_RIGHT),
        ] {
            assert!((axis.place(number) - place).abs() < 1e-6, "{number}");
        }
        // One figure alone has an axis too.
        assert!(Axis::over(&[line(&[7.0])]).ticks.len() > 1);
    }
}
