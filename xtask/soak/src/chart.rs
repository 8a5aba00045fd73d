//! The samples of the runs as a chart, in SVG that follows the reader's light or dark theme.

use std::error::Error;
use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::samples::{QUANTITIES, Sample};

const SIZE: (u32, u32) = (960, 860);
/// Above the first panel, and its width beside the names of the lines.
const TITLE_HEIGHT: u32 = 84;
const LABELS_LEFT: i32 = 850;
const LABEL_HEIGHT: i32 = 17;

const FONT: &str = "system-ui, sans-serif";
const BACKGROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
const TEXT: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
const COLORS: [RGBColor; 3] =
    [RGBColor(0x09, 0x69, 0xda), RGBColor(0xbc, 0x4c, 0x00), RGBColor(0x82, 0x50, 0xdf)];

/// What the colours become on a dark background.
const DARK: [(RGBColor, &str); 7] = [
    (BACKGROUND, "#0d1117"),
    (TEXT, "#f0f6fc"),
    (MUTED, "#9198a1"),
    (GRID, "#3d444d"),
    (COLORS[0], "#58a6ff"),
    (COLORS[1], "#f0883e"),
    (COLORS[2], "#bc8cff"),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The errors of plotters aren't `Send`.
type DrawResult<T = ()> = Result<T, Box<dyn Error>>;

/// Draws a panel for each quantity, with a line for each store.
pub(crate) fn draw(runs: &[(String, Vec<Sample>)]) -> DrawResult<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&BACKGROUND)?;
        text(&area, "The demo under load, through kills", (24, 18), (26, FontStyle::Bold, TEXT))?;
        let subtitle = "What the first process of the application uses. A line that jumps to the \
                        left's level is a new process after a kill.";
        text(&area, subtitle, (24, 52), (16, FontStyle::Normal, MUTED))?;
        let (_, panels) = area.split_vertically(TITLE_HEIGHT);
        for (quantity, panel) in panels.split_evenly((QUANTITIES.len(), 1)).iter().enumerate() {
            paint(panel, quantity, runs)?;
        }
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

fn paint(panel: &Area<'_>, quantity: usize, runs: &[(String, Vec<Sample>)]) -> DrawResult {
    let points = |samples: &[Sample]| -> Vec<(f64, f64)> {
        samples.iter().map(|sample| (sample.seconds / 60.0, sample.values[quantity])).collect()
    };
    let all: Vec<_> = runs.iter().flat_map(|(_, samples)| points(samples)).collect();
    let minutes = all.iter().map(|point| point.0).fold(0.0, f64::max);
    let top = all.iter().map(|point| point.1).fold(0.0, f64::max) * 1.15;
    let name = QUANTITIES[quantity].name;
    let unit = QUANTITIES[quantity].unit;
    let title = if unit.is_empty() { name.to_owned() } else { format!("{name}, {unit}") };
    text(panel, &title, (24, 0), (17, FontStyle::Bold, TEXT))?;
    let is_last = quantity + 1 == QUANTITIES.len();
    let mut axes = ChartBuilder::on(panel)
        .margin_top(26)
        .margin_bottom(if is_last { 4 } else { 22 })
        .margin_left(16)
        .margin_right(SIZE.0 - LABELS_LEFT.cast_unsigned())
        .x_label_area_size(if is_last { 44 } else { 0 })
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..minutes, 0.0..top)?;
    let mut mesh = axes.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style((FONT, 14).into_text_style(panel).color(&MUTED))
        .y_labels(4)
        .y_label_formatter(&|value| format!("{value:.0}"))
        .x_label_formatter(&|value| format!("{value:.0}"));
    if is_last {
        mesh.x_desc("minutes");
    }
    mesh.draw()?;
    let mut labels = Vec::new();
    for ((store, samples), color) in runs.iter().zip(COLORS) {
        let points = points(samples);
        axes.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        labels.extend(points.last().map(|end| (axes.backend_coord(end).1, store, color)));
    }
    // A name stands next to its line's end, or below the name above it.
    labels.sort_by_key(|&(y, ..)| y);
    let (top, mut next) = (panel.get_pixel_range().1.start, 0);
    for (y, store, color) in labels {
        let y = (y - top).max(next);
        next = y + LABEL_HEIGHT;
        let style = (FONT, 15).into_text_style(panel).color(&color);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        panel.draw_text(store, &style, (LABELS_LEFT + 10, y))?;
    }
    Ok(())
}

fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    (size, style, color): (i32, FontStyle, RGBColor),
) -> DrawResult {
    let style = (FONT, size, style).into_text_style(area).color(&color);
    Ok(area.draw_text(text, &style, at)?)
}
