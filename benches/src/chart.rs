//! A chart as SVG: horizontal bars in groups, each with its value, and a line at the limit.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::row::short;
use crate::sample::count;

/// What the chart shows.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) logarithmic: bool,
    /// The limit: bars beyond it have another colour.
    pub(crate) line: Option<f64>,
    /// The names of the bars of a group, for the legend.
    pub(crate) series: Vec<String>,
    /// Names and values, one for each series.
    pub(crate) groups: Vec<(String, Vec<Option<f64>>)>,
}

type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

const WIDTH: i32 = 860;
const BAR: i32 = 16;
const HEAD: i32 = 44;
const NAMES: i32 = 240;
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
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            ..Self::default()
        }
    }

    pub(crate) fn svg(&self) -> Result<String> {
        let mut text = String::new();
        let drawn = self.draw(&mut text);
        drawn.map_err(|error| format!("chart {:?}: {error}", self.title))?;
        Ok(text)
    }

    /// The length of a bar, in units of the axis.
    fn length(&self, value: f64) -> f64 {
        if self.logarithmic {
            value.max(1e-3).log10()
        } else {
            value
        }
    }

    /// Both ends of the axis.
    fn ends(&self) -> (f64, f64) {
        let values = self.groups.iter().flat_map(|(_, values)| values.iter().flatten());
        let lengths: Vec<f64> = values
            .chain(&self.line)
            .map(|value| self.length(*value))
            .collect();
        let least = lengths.iter().copied().fold(f64::INFINITY, f64::min);
        let most = lengths.iter().copied().fold(1e-9, f64::max);
        let from = if self.logarithmic {
            least.floor() - 0.2
        } else {
            0.0
        };
        (from, most)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let bars: usize = self.groups.iter().map(|(_, values)| values.len() + 1).sum();
        let height = HEAD + i32::try_from(bars)? * BAR;
        let size = (WIDTH.cast_unsigned(), height.cast_unsigned());
        let root = SVGBackend::with_string(text, size).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title, (12, 8), (FONT, 17)))?;
        self.legend(&root)?;
        let (from, to) = self.ends();
        let pixels = (NAMES..WIDTH - 70, HEAD..height);
        let area = root.apply_coord_spec(Plane::new(from..to, 0.0..count(bars), pixels));
        let text = |size, at: HPos| {
            let style = (FONT, size).into_font().into_text_style(&root);
            style.pos(Pos::new(at, VPos::Center))
        };
        let mut top = 0.5;
        for (name, values) in &self.groups {
            let middle = EmptyElement::at((from, top + count(values.len()) / 2.0));
            area.draw(&(middle + Text::new(name.clone(), (-8, 0), text(13, HPos::Right))))?;
            for (value, colour) in values.iter().zip(COLOURS.iter().cycle()) {
                if let Some(value) = *value {
                    let beyond = self.line.is_some_and(|line| value > line);
                    let style = if beyond { WARN } else { *colour }.filled();
                    let end = self.length(value);
                    area.draw(&Rectangle::new([(from, top + 0.1), (end, top + 0.9)], style))?;
                    let label = Text::new(short(value), (4, 0), text(11, HPos::Left));
                    area.draw(&(EmptyElement::at((end, top + 0.5)) + label))?;
                }
                top += 1.0;
            }
            top += 1.0;
        }
        if let Some(line) = self.line.map(|line| self.length(line)) {
            area.draw(&PathElement::new([(line, 0.0), (line, count(bars))], WARN))?;
        }
        root.present()?;
        Ok(())
    }

    fn legend(&self, root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>> {
        let mut x = 12;
        for (name, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            root.draw(&Rectangle::new([(x, 30), (x + 10, 40)], colour.filled()))?;
            root.draw(&Text::new(name.clone(), (x + 14, 29), (FONT, 12)))?;
            x += 30 + 7 * i32::try_from(name.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_its_numbers() {
        for logarithmic in [false, true] {
            let chart = Chart {
                title: "a title",
                logarithmic,
                line: Some(50.0),
                series: vec!["floor".to_owned(), "latchwork".to_owned()],
                groups: vec![
                    ("one task".to_owned(), vec![Some(12.5), Some(75.25)]),
                    ("two tasks".to_owned(), vec![None, Some(1.0)]),
                ],
            };
            let svg = chart.svg().unwrap();
            for part in [
                "<svg",
                "a title",
                "one task",
                "latchwork",
                "12.50",
                "75.25",
                "</svg>",
            ] {
                assert!(svg.contains(part), "{part} in {svg}");
            }
            assert!(
                svg.contains("#BE2828"),
                "a bar beyond the line has another colour"
            );
        }
    }
}
