//! Charts as SVG: horizontal bars, in groups, with a line for the bar that has to be met.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;

/// A chart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Chart {
    title: String,
    scale: Scale,
    line: Option<f64>,
    series: Vec<String>,
    groups: Vec<(String, Vec<Option<f64>>)>,
}

/// How lengths are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scale {
    /// Twice as long is twice as much.
    Linear,
    /// A tick is ten times as much.
    Logarithmic,
}

const WIDTH: u32 = 860;
const BAR: u32 = 16;
const HEAD: u32 = 44;
const FOOT: u32 = 34;
const NAMES: u32 = 240;
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 6] = [
    RGBColor(150, 160, 170),
    RGBColor(38, 110, 180),
    RGBColor(224, 130, 40),
    RGBColor(90, 160, 80),
    RGBColor(170, 80, 130),
    RGBColor(120, 100, 60),
];
const WARN: RGBColor = RGBColor(190, 40, 40);

impl Chart {
    /// A chart without any bars.
    pub fn new(title: &str, scale: Scale, series: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            scale,
            line: None,
            series: series.iter().map(|&name| name.to_owned()).collect(),
            groups: Vec::new(),
        }
    }

    /// A line at `value`; what goes past it is in another colour.
    #[must_use]
    pub fn line(mut self, value: f64) -> Self {
        self.line = Some(value);
        self
    }

    /// Bars that belong together, one per series; `None` where there is none.
    pub fn group(&mut self, name: &str, values: Vec<Option<f64>>) {
        self.groups.push((name.to_owned(), values));
    }

    /// What it shows.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The picture.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| format!("chart {:?}: {error}", self.title))?;
        Ok(text)
    }

    fn rows(&self) -> u32 {
        let bars: usize = self.groups.iter().map(|(_, values)| values.len()).sum();
        u32::try_from(bars + self.groups.len()).unwrap_or(u32::MAX)
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(1e-3).log10(),
        }
    }

    /// From where to where the axis goes.
    fn range(&self) -> (f64, f64) {
        let values = self
            .groups
            .iter()
            .flat_map(|(_, values)| values.iter().flatten().copied());
        let places: Vec<f64> = values.chain(self.line).map(|value| self.place(value)).collect();
        let most = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = places.iter().copied().fold(f64::INFINITY, f64::min);
        match self.scale {
            Scale::Linear => (0.0, most.max(1e-9) * 1.12),
            Scale::Logarithmic => (least.floor() - 0.2, most.ceil() + 0.4),
        }
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let height = HEAD + FOOT + self.rows() * BAR;
        let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.clone(), (12, 8), (FONT, 17)))?;
        self.legend(&root)?;
        let (from, to) = self.range();
        let rows = f64::from(self.rows());
        let mut chart = ChartBuilder::on(&root)
            .margin_top(HEAD)
            .margin_left(NAMES)
            .margin_right(70)
            .x_label_area_size(FOOT - 4)
            .build_cartesian_2d(from..to, rows..0.0)?;
        let scale = self.scale;
        let label = move |at: &f64| match scale {
            Scale::Linear => short(*at),
            Scale::Logarithmic => short(10_f64.powf(*at)),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(8)
            .x_label_formatter(&label)
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        let mut at = 0.5;
        for (name, values) in &self.groups {
            let (top, bottom) = (at, at + crate::sample::count(values.len()));
            let names = (FONT, 13)
                .into_font()
                .into_text_style(&root)
                .pos(Pos::new(HPos::Right, VPos::Center));
            let (_, y) = chart.backend_coord(&(from, f64::midpoint(top, bottom)));
            root.draw(&Text::new(name.clone(), (NAMES.cast_signed() - 8, y), names))?;
            for (series, value) in values.iter().enumerate() {
                if let Some(value) = *value {
                    let place = self.place(value);
                    let good = self.line.is_none_or(|line| value <= line);
                    let colour = if good {
                        COLOURS[series % COLOURS.len()]
                    } else {
                        WARN
                    };
                    let bar = [(from, at + 0.1), (place, at + 0.9)];
                    chart.draw_series([Rectangle::new(bar, colour.filled())])?;
                    let (x, y) = chart.backend_coord(&(place, at + 0.5));
                    let style = (FONT, 11)
                        .into_font()
                        .into_text_style(&root)
                        .pos(Pos::new(HPos::Left, VPos::Center));
                    root.draw(&Text::new(short(value), (x + 4, y), style))?;
                }
                at += 1.0;
            }
            at += 1.0;
        }
        if let Some(line) = self.line {
            let x = self.place(line);
            chart.draw_series(LineSeries::new([(x, 0.0), (x, rows)], WARN.stroke_width(1)))?;
        }
        root.present()?;
        Ok(())
    }

    fn legend(
        &self,
        root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut x = 12;
        for (name, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            root.draw(&Rectangle::new([(x, 30), (x + 10, 40)], colour.filled()))?;
            root.draw(&Text::new(name.clone(), (x + 14, 29), (FONT, 12)))?;
            x += 30 + 7 * i32::try_from(name.len()).unwrap_or(0);
        }
        Ok(())
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{:.0} k", value / 1000.0),
        size if size >= 100.0 || (size - size.round()).abs() < 1e-9 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_its_numbers() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let mut chart = Chart::new("a title", scale, &["floor", "latchwork"]).line(50.0);
            assert!(chart.is_empty());
            chart.group("one task", vec![Some(12.5), Some(75.25)]);
            chart.group("two tasks", vec![None, Some(1.0)]);
            let svg = chart.svg().unwrap();
            for part in [
                "<svg",
                "a title",
                "one task",
                "latchwork",
                "12.5",
                "75.2",
                "</svg>",
            ] {
                assert!(svg.contains(part), "{part} in {svg}");
            }
            assert!(
                svg.contains("#BE2828"),
                "what is past the line has another colour"
            );
        }
    }
}
