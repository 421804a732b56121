//! Line charts as SVG: small, without scripts or fonts of their own, readable on a light and on a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Left, right, top, bottom.
const MARGINS: [f64; 4] = [84.0, 150.0, 44.0, 52.0];
/// Told apart by people who see fewer colours too, on both backgrounds.
pub(crate) const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#7f7f7f"];

/// How values are laid out along an axis.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// One axis: what it shows, from where to where, and its ticks.
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    pub(crate) range: [f64; 2],
    pub(crate) ticks: Vec<(f64, String)>,
}

/// One line.
pub(crate) struct Line {
    /// Empty: not named, because it is one of several alike.
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    Solid,
    Thin,
    Dashed,
    Dots,
}

/// A picture.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// What is to be seen, for whoever does not see it.
    pub(crate) description: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

impl Axis {
    /// Where a value lies, from 0 to 1; values beyond are cut.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.scale == Scale::Logarithmic { value.max(1e-9).ln() } else { value };
        let [low, high] = self.range.map(scaled);
        ((scaled(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

impl Chart {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, right, top, bottom] = MARGINS;
        let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
        (left + width * self.x.place(x), top + height * (1.0 - self.y.place(y)))
    }

    /// The whole file.
    pub(crate) fn svg(&self) -> String {
        let [left, right, top, bottom] = MARGINS;
        let (end, floor) = (WIDTH - right, HEIGHT - bottom);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n\
             <style>text{{font:13px system-ui,sans-serif;fill:#24292f}}.t{{font-weight:600;font-size:15px}}.g{{stroke:#8888;stroke-width:.5}}\
             .a{{stroke:#57606a;fill:none}}polyline{{fill:none}}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.a{{stroke:#9198a1}}}}</style>\n",
            self.title, self.description
        );
        let _ = writeln!(svg, "<text class=\"t\" x=\"{left}\" y=\"24\">{}</text>", self.title);
        for (value, label) in &self.y.ticks {
            let (_, y) = self.at((self.x.range[0], *value));
            let _ = writeln!(svg, "<path class=\"g\" d=\"M{left} {y:.1}H{end}\"/>");
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 8.0, y + 4.0);
        }
        for (value, label) in &self.x.ticks {
            let (x, _) = self.at((*value, self.y.range[0]));
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", floor + 18.0);
        }
        let _ = writeln!(svg, "<path class=\"a\" d=\"M{left} {top}V{floor}H{end}\"/>");
        let middle = f64::midpoint(left, end);
        let _ =
            writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", floor + 40.0, self.x.label);
        let _ = writeln!(
            svg,
            "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(top, floor),
            self.y.label
        );
        let mut row = top + 6.0;
        for line in &self.lines {
            self.draw(&mut svg, line);
            if line.name.is_empty() {
                continue;
            }
            let dash = if line.style == Style::Dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            let (from, to) = (end + 12.0, end + 34.0);
            let _ =
                writeln!(svg, "<path stroke=\"{}\" stroke-width=\"2.5\"{dash} d=\"M{from} {row}H{to}\"/>", line.colour);
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", to + 6.0, row + 4.0, line.name);
            row += 20.0;
        }
        svg + "</svg>\n"
    }

    fn draw(&self, svg: &mut String, line: &Line) {
        if line.style == Style::Dots {
            for point in &line.points {
                let (x, y) = self.at(*point);
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{}\"/>", line.colour);
            }
            return;
        }
        let points: Vec<String> =
            line.points.iter().map(|point| self.at(*point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (width, more) = match line.style {
            Style::Solid | Style::Dots => (2.0, ""),
            Style::Thin => (1.1, " stroke-opacity=\".75\""),
            Style::Dashed => (1.6, " stroke-dasharray=\"5 4\""),
        };
        let (colour, points) = (line.colour, points.join(" "));
        let _ = writeln!(svg, "<polyline stroke=\"{colour}\" stroke-width=\"{width}\"{more} points=\"{points}\"/>");
    }
}
