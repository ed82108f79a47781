//! The chart of `--svg`: a group of horizontal bars per operation, a bar per runtime.

use crate::report::{Line, Scale};

/// Widths and heights in the units of the picture, which are pixels at its natural size.
const WIDTH: f64 = 960.0;
/// Where the axis begins: right of the names of the operations.
const LEFT: f64 = 200.0;
/// Room right of the axis for the figure of the longest bar.
const RIGHT: f64 = 150.0;
const BAR: f64 = 16.0;
const BAR_GAP: f64 = 4.0;
const GROUP_GAP: f64 = 20.0;
const LINE: f64 = 18.0;
/// One colour per runtime, told apart by people who don't see red and green; repeated if there are more.
const COLOURS: [&str; 6] = ["#0b6fb8", "#e8912d", "#8c8c8c", "#2a9d8f", "#b5548f", "#6b5b95"];

/// What is drawn. Every line has its p50 as the bar, and a whisker to its bad and its worst.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) lines: &'a [Line],
    /// Names of the runtimes by index.
    pub(crate) names: Vec<String>,
    /// Lines below the chart: versions, kernel, bundle.
    pub(crate) notes: Vec<String>,
    /// The runtime that `ratio` refers to.
    pub(crate) baseline: usize,
}

/// The axis: from 0 to `end`, a line every `step`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    /// A single round that was interrupted by something must not make all the bars small: beyond half as
    /// much again as the largest p90 the whisker is cut and ends in an arrow.
    fn fit(lines: &[Line]) -> Self {
        let largest = |of: fn(&Line) -> f64| lines.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let bars = largest(|line| line.p50);
        let most = bars.max(largest(|line| line.worst).min(1.5 * bars.max(largest(|line| line.bad))));
        let rough = most / 8.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|nice| nice * decade).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        Self { end: (most / step).ceil() * step, step }
    }

    fn x(self, value: f64) -> f64 {
        LEFT + value.min(self.end) / self.end * (WIDTH - LEFT - RIGHT)
    }
}

impl Chart<'_> {
    /// The picture as an SVG document.
    pub(crate) fn draw(&self) -> String {
        let axis = Axis::fit(self.lines);
        let top = 92.0;
        let (bars, bottom) = self.bars(axis, top);
        let notes = bottom + 58.0;
        let height = notes + LINE * self.notes.iter().map(|_| 1.0).sum::<f64>() + 4.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"13\" \
             fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        svg += &text(20.0, 32.0, "font-size=\"19\" font-weight=\"600\"", &self.title);
        svg += &text(20.0, 53.0, "fill=\"#555\"", &self.subtitle);
        svg += &self.legend(72.0);
        svg += &self.grid(axis, top, bottom);
        svg += &bars;
        let mut y = notes;
        for note in &self.notes {
            svg += &text(20.0, y, "font-size=\"12\" fill=\"#555\"", note);
            y += LINE;
        }
        svg + "</svg>\n"
    }

    fn legend(&self, y: f64) -> String {
        let mut x = LEFT;
        let mut svg = String::new();
        for (runtime, name) in self.names.iter().enumerate() {
            svg += &format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n",
                y - 10.0,
                colour(runtime)
            );
            svg += &text(x + 18.0, y + 1.0, "", name);
            x += 44.0 + 8.0 * name.chars().map(|_| 1.0).sum::<f64>();
        }
        svg
    }

    /// Vertical lines with their values below, and the name of the axis.
    fn grid(&self, axis: Axis, top: f64, bottom: f64) -> String {
        let mut svg = String::new();
        let mut value = 0.0;
        while value <= axis.end * 1.001 {
            let x = axis.x(value);
            let stroke = if value == 0.0 { "#888" } else { "#e4e4e4" };
            svg += &format!("<path d=\"M{x:.1} {top}V{bottom:.1}\" stroke=\"{stroke}\"/>\n");
            svg += &text(x, bottom + 16.0, "text-anchor=\"middle\" fill=\"#555\"", &tick(value, axis.step));
            value += axis.step;
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        let unit = self.lines.first().map_or("", |line| line.scale.unit());
        svg + &text(middle, bottom + 34.0, "text-anchor=\"middle\" fill=\"#555\"", unit)
    }

    /// All groups, and where they end.
    fn bars(&self, axis: Axis, top: f64) -> (String, f64) {
        let mut svg = String::new();
        let mut y = top + GROUP_GAP / 2.0;
        for group in self.lines.chunk_by(|one, next| one.group == next.group) {
            let begin = y;
            for line in group {
                svg += &self.bar(axis, y, line);
                y += BAR + BAR_GAP;
            }
            let middle = f64::midpoint(begin, y - BAR_GAP) + 5.0;
            svg += &text(LEFT - 12.0, middle, "text-anchor=\"end\"", &group[0].group);
            y += GROUP_GAP;
        }
        (svg, y - GROUP_GAP / 2.0)
    }

    /// A bar with its whisker and its figure.
    fn bar(&self, axis: Axis, y: f64, line: &Line) -> String {
        let end = axis.x(line.p50);
        let middle = y + BAR / 2.0;
        let mut svg = format!(
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\n",
            end - LEFT,
            colour(line.runtime)
        );
        let (bad, worst) = (axis.x(line.bad), axis.x(line.worst));
        let last = if line.worst > axis.end {
            format!("M{:.1} {:.1}l5 4l-5 4", worst - 5.0, middle - 4.0)
        } else {
            format!("M{worst:.1} {:.1}v8", middle - 4.0)
        };
        svg += &format!(
            "<path d=\"M{end:.1} {middle:.1}H{worst:.1}M{bad:.1} {:.1}v8{last}\" stroke=\"#222\" \
             fill=\"none\"/>\n",
            middle - 4.0
        );
        let mut figure = match line.scale {
            Scale::Milliseconds => format!("{} ms", short(line.p50)),
            Scale::PerSecond => format!("{}/s", short(line.p50)),
        };
        if line.runtime != self.baseline {
            figure += &format!(" ({:.2}×)", line.ratio);
        }
        svg + &text(end.max(bad).max(worst) + 8.0, middle + 4.5, "", &figure)
    }
}

fn colour(runtime: usize) -> &'static str {
    COLOURS[runtime % COLOURS.len()]
}

/// A value on the axis, with the decimals that its step has.
fn tick(value: f64, step: f64) -> String {
    match step {
        step if step >= 1.0 => format!("{value:.0}"),
        step if step >= 0.1 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A figure with three digits or so.
fn short(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn text(x: f64, y: f64, attributes: &str, what: &str) -> String {
    let what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{what}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::{Axis, text};
    use crate::report::{Line, Scale};

    fn line(p50: f64, bad: f64, worst: f64) -> Line {
        let scale = Scale::Milliseconds;
        Line { scale, group: String::new(), runtime: 0, p50, bad, worst, best: p50, ratio: 1.0, peak: None }
    }

    #[test]
    fn axis_holds_everything_but_outliers() {
        assert!(Axis::fit(&[line(3.0, 4.0, 5.0)]).end >= 5.0);
        assert!(Axis::fit(&[line(3.0, 4.0, 500.0)]).end <= 10.0);
        assert!(Axis::fit(&[line(270.0, 200.0, 190.0)]).end >= 270.0);
        assert!(Axis::fit(&[]).end > 0.0);
    }

    #[test]
    fn text_is_escaped() {
        assert!(text(0.0, 0.0, "", "a<b&c").contains("a&lt;b&amp;c"));
    }
}
