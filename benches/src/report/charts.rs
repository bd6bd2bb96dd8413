//! Charts, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Run;
use crate::group::{Unit, names};
use crate::groups::{growth, token_lookup};
use crate::interleave::{Measured, median};
use crate::plan::Plan;
use crate::targets::series;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (900, 480);
const FONT: (&str, u32) = ("sans-serif", 15);
const TITLE: (&str, u32) = ("sans-serif", 20);
const COLORS: [RGBColor; 7] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(214, 39, 40),
    RGBColor(140, 86, 75),
    RGBColor(90, 90, 90),
];

/// Points by a name.
type Lines = Vec<(String, Vec<(f64, f64)>)>;

/// Titles and names of files.
pub(super) fn draw(run: &Run, folder: &Path) -> Outcome<Vec<(&'static str, &'static str)>> {
    let charts = [
        ("A cold token read, one task, by backend", "latency.svg"),
        ("Cold token reads by the number of tasks", "throughput.svg"),
        ("A cold token read by the number of connections", "rows.svg"),
    ];
    let [latency, throughput, rows] = charts.map(|(title, file)| (title, folder.join(file)));
    bars(latency.0, &latency.1, &latencies(run))?;
    lines(throughput.0, &throughput.1, ("tasks", "reads per second"), &by_tasks(run))?;
    lines(rows.0, &rows.1, ("connections", "µs"), &by_rows(run))?;
    Ok(charts.to_vec())
}

fn cold(run: &Run) -> impl Iterator<Item = &Measured> {
    let is_cold = |measured: &&Measured| {
        measured.case.bench == token_lookup::COLD && measured.case.token_bytes == Plan::USUAL_BYTES
    };
    run.measured.iter().filter(is_cold)
}

/// Of each place: who, and how many microseconds.
fn latencies(run: &Run) -> Vec<(String, Vec<(String, f64)>)> {
    let single = cold(run).filter(|measured| measured.unit == Unit::Latency);
    let place = |measured: &Measured| {
        let bars = measured.series.iter();
        let bars = bars.map(|series| (series.name.clone(), median(&series.rounds) / 1e3)).collect();
        (measured.case.place.clone(), bars)
    };
    single.map(place).collect()
}

fn by_tasks(run: &Run) -> Lines {
    let mut lines = Lines::new();
    for measured in cold(run) {
        let figure = series(measured, names::VAULT).map_or(f64::NAN, |series| median(&series.rounds));
        let rate = if measured.unit == Unit::Latency { 1e9 / figure } else { figure };
        add(&mut lines, &measured.case.place, (measured.case.tasks as f64, rate));
    }
    lines
}

fn by_rows(run: &Run) -> Lines {
    let mut lines = Lines::new();
    let fewest = cold(run).map(|measured| measured.case.rows).min().unwrap_or(1) as f64;
    for measured in run.measured.iter().filter(|measured| measured.case.bench == growth::READ) {
        for (who, few, many) in
            [("vault", names::VAULT, names::VAULT_LARGE), ("bare", names::BARE, names::BARE_LARGE)]
        {
            let name = format!("{}, {who}", measured.case.place);
            let micros =
                |name| series(measured, name).map_or(f64::NAN, |series| median(&series.rounds) / 1e3);
            if lines.iter().all(|(other, _)| *other != name) {
                add(&mut lines, &name, (fewest, micros(few)));
            }
            add(&mut lines, &name, (measured.case.rows as f64, micros(many)));
        }
    }
    lines
}

fn add(lines: &mut Lines, name: &str, point: (f64, f64)) {
    match lines.iter_mut().find(|(other, _)| other == name) {
        Some((_, points)) => points.push(point),
        None => lines.push((name.to_owned(), vec![point])),
    }
}

/// A block of horizontal bars for each place, from the top down.
fn bars(title: &str, file: &Path, places: &[(String, Vec<(String, f64)>)]) -> Outcome<()> {
    let (bar, gap, left) = (16, 26, 250);
    let count: usize = places.iter().map(|(_, bars)| bars.len()).sum();
    let height = 50 + bar * count as i32 + gap * places.len() as i32;
    let root = SVGBackend::new(file, (SIZE.0, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    text(&root, title, (10, 8), TITLE)?;
    let most = places.iter().flat_map(|(_, bars)| bars).map(|(_, micros)| *micros).fold(1.0, f64::max);
    let scale = f64::from(SIZE.0 as i32 - left - 100) / most;
    let mut y = 44;
    for (place, bars) in places {
        text(&root, place, (10, y), FONT)?;
        for (index, (name, micros)) in bars.iter().enumerate() {
            let color = if index == 0 { COLORS[0] } else { RGBColor(170, 170, 170) };
            let end = left + (micros * scale) as i32;
            root.draw(&Rectangle::new([(left, y), (end, y + bar - 3)], color.filled()))?;
            text(&root, &format!("{micros:.1} µs  {name}"), (end + 6, y), ("sans-serif", 12))?;
            y += bar;
        }
        y += gap;
    }
    Ok(root.present()?)
}

fn text(root: &Area<'_>, text: &str, at: (i32, i32), font: (&'static str, u32)) -> Outcome<()> {
    Ok(root.draw(&Text::new(text.to_owned(), at, font.into_font()))?)
}

/// Both axes are logarithmic.
fn lines(title: &str, file: &Path, (x, y): (&str, &str), lines: &Lines) -> Outcome<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|(_, points)| points).filter(|(_, y)| y.is_finite());
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min).min(1e6);
    let xs = least(|point| point.0)..most(|point| point.0) * 1.1;
    let ys = least(|point| point.1) * 0.7..most(|point| point.1) * 1.5;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, TITLE)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(80)
        .right_y_label_area_size(0)
        .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
    let plain = |value: &f64| super::tables::grouped(*value);
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&plain)
        .y_label_formatter(&plain)
        .label_style(FONT)
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2));
        chart.draw_series(line)?.label(name.clone()).legend(legend);
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(FONT)
        .draw()?;
    Ok(root.present()?)
}
