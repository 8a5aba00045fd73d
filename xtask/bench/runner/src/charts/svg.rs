//! A chart as SVG, which follows the reader's light or dark theme.

use std::error::Error;
use std::fmt::Write;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Chart;

const SIZE: (u32, u32) = (960, 480);
/// Where the labels at the lines' ends start, and the space between two of them.
const LABELS_LEFT: i32 = 716;
const LABEL_HEIGHT: i32 = 17;

const FONT: &str = "system-ui, sans-serif";
const BACKGROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
const TEXT: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
const OURS: RGBColor = RGBColor(0x09, 0x69, 0xda);
const DRIVER: RGBColor = RGBColor(0x6e, 0x77, 0x81);
const GO: RGBColor = RGBColor(0xbc, 0x4c, 0x00);
const TOWER: RGBColor = RGBColor(0x82, 0x50, 0xdf);

/// What the colours become on a dark background.
const DARK: [(RGBColor, &str); 8] = [
    (BACKGROUND, "#0d1117"),
    (TEXT, "#f0f6fc"),
    (MUTED, "#9198a1"),
    (GRID, "#3d444d"),
    (OURS, "#58a6ff"),
    (DRIVER, "#9ea7b3"),
    (GO, "#f0883e"),
    (TOWER, "#bc8cff"),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The errors of plotters aren't `Send`.
pub(super) type DrawResult<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Draws a chart.
pub(super) fn draw(chart: &Chart) -> DrawResult<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&area, chart)?;
        area.present()?;
    }
    // A style sheet takes precedence over the attributes with which the library sets colours.
    let mut style = "<style>@media (prefers-color-scheme: dark) {\n".to_owned();
    for (RGBColor(red, green, blue), dark) in DARK {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        writeln!(
            style,
            "[fill='{light}'] {{ fill: {dark} }} [stroke='{light}'] {{ stroke: {dark} }}"
        )?;
    }
    style += "}</style>\n";
    let start = svg.find('\n').ok_or("the SVG has no elements")? + 1;
    svg.insert_str(start, &style);
    Ok(svg)
}

/// How a line is drawn. Width and marker tell it from others without colour.
struct Look {
    color: RGBColor,
    width: u32,
    marker: Marker,
}

enum Marker {
    Circle,
    Cross,
    Triangle,
    Square,
}

impl Look {
    fn of(contender: &str) -> Self {
        let kind = contender.split('-').next().unwrap_or_default();
        let (color, width, marker) = match kind {
            "store" => (OURS, 4, Marker::Circle),
            "raw" => (DRIVER, 2, Marker::Cross),
            "go" => (GO, 2, Marker::Triangle),
            _ => (TOWER, 2, Marker::Square),
        };
        Self { color, width, marker }
    }

    fn is_ours(&self) -> bool {
        matches!(self.marker, Marker::Circle)
    }

    fn mark(&self, area: &Area<'_>, (x, y): (i32, i32)) -> DrawResult {
        let filled = self.color.filled();
        match self.marker {
            Marker::Circle => area.draw(&Circle::new((x, y), 6, filled))?,
            Marker::Cross => area.draw(&Cross::new((x, y), 4, self.color.stroke_width(2)))?,
            Marker::Triangle => area.draw(&TriangleMarker::new((x, y), 6, filled))?,
            Marker::Square => {
                area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled))?;
            }
        }
        Ok(())
    }
}

/// Both axes are logarithmic: twice as fast is the same distance everywhere.
fn paint(area: &Area<'_>, chart: &Chart) -> DrawResult {
    let text = |text: &str, at, size: i32, style, color: RGBColor, v_pos| {
        let style = (FONT, size, style).into_text_style(area).color(&color);
        area.draw_text(text, &style.pos(Pos::new(HPos::Left, v_pos)), at)
    };
    area.fill(&BACKGROUND)?;
    text(&chart.title, (24, 20), 27, FontStyle::Bold, TEXT, VPos::Top)?;
    text(chart.question, (24, 52), 19, FontStyle::Normal, MUTED, VPos::Top)?;

    // Ticks at what was measured, and at round figures.
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let mut columns: Vec<f64> = points().map(|point| point.0).collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup();
    let (left, right) = (columns[0], columns[columns.len() - 1]);
    let rates = round_figures(points().map(|point| point.1));
    let (bottom, top) = (rates[0], rates[rates.len() - 1]);
    let mut axes = ChartBuilder::on(area)
        .margin_top(92)
        .margin_bottom(8)
        .margin_left(16)
        .margin_right(SIZE.0 - LABELS_LEFT.cast_unsigned() + 40)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (left / 1.08..right).log_scale().with_key_points(columns),
            (bottom..top).log_scale().with_key_points(rates),
        )?;
    axes.configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style((FONT, 16).into_text_style(area).color(&MUTED))
        .x_desc(chart.axis)
        .x_label_formatter(&|value| thousands(*value))
        .y_label_formatter(&|value| thousands(*value))
        .draw()?;

    // The lines, from here on in pixels, as the axes say.
    let mut labels = Vec::new();
    for line in &chart.lines {
        let look = Look::of(&line.contender);
        let points: Vec<_> = line.points.iter().map(|point| axes.backend_coord(point)).collect();
        area.draw(&PathElement::new(points.clone(), look.color.stroke_width(look.width)))?;
        for &point in &points {
            look.mark(area, point)?;
        }
        labels.extend(points.last().map(|&end| (end, &line.contender, look)));
    }
    // A label stands next to its line's end, or below the label above it.
    labels.sort_by_key(|&((_, y), _, _)| y);
    let mut next = 0;
    for ((x, y), contender, look) in labels {
        let label = (LABELS_LEFT, y.max(next));
        next = label.1 + LABEL_HEIGHT;
        let leader = [(x + 8, y), (label.0 - 8, label.1)];
        area.draw(&PathElement::new(leader, look.color.stroke_width(1)))?;
        look.mark(area, label)?;
        let style = if look.is_ours() { FontStyle::Bold } else { FontStyle::Normal };
        text(contender, (label.0 + 12, label.1), 16, style, look.color, VPos::Center)?;
    }
    Ok(())
}

/// 1, 2 and 5 times the powers of ten, from the last that is below all values to the first above.
fn round_figures(values: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(0.0, f64::max);
    let figures: Vec<_> =
        (0..10).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power))).collect();
    let first = figures.partition_point(|&figure| figure < low).saturating_sub(1);
    let last = figures.partition_point(|&figure| figure < high);
    figures[first..=last.min(figures.len() - 1)].to_vec()
}

/// 1234567 as 1,234,567.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
