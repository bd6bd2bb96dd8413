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

/// Where the legend begins.
const LEGEND: u32 = 680;

#[derive(PartialEq, Eq)]
enum Who {
    Bare,
    Vault,
}

/// Of one place; floors are thin and pale.
struct Line {
    place: String,
    who: Who,
    points: Vec<(f64, f64)>,
}

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

fn by_tasks(run: &Run) -> Vec<Line> {
    let mut lines = Vec::new();
    for measured in cold(run) {
        let figure = figure(measured, names::VAULT);
        let rate = if measured.unit == Unit::Latency { 1e9 / figure } else { figure };
        add(&mut lines, &measured.case.place, Who::Vault, (measured.case.tasks as f64, rate));
    }
    lines
}

fn by_rows(run: &Run) -> Vec<Line> {
    let mut lines = Vec::new();
    let fewest = cold(run).map(|measured| measured.case.rows).min().unwrap_or(1) as f64;
    for measured in run.measured.iter().filter(|measured| measured.case.bench == growth::READ) {
        let (place, rows) = (&measured.case.place, measured.case.rows as f64);
        let is_first = lines.iter().all(|line: &Line| line.place != *place);
        for (x, vault, bare) in
            [(fewest, names::VAULT, names::BARE), (rows, names::VAULT_LARGE, names::BARE_LARGE)]
        {
            if is_first || x > fewest {
                add(&mut lines, place, Who::Vault, (x, figure(measured, vault) / 1e3));
                add(&mut lines, place, Who::Bare, (x, figure(measured, bare) / 1e3));
            }
        }
    }
    lines
}

fn figure(measured: &Measured, name: &str) -> f64 {
    series(measured, name).map_or(f64::NAN, |series| median(&series.rounds))
}

fn add(lines: &mut Vec<Line>, place: &str, who: Who, point: (f64, f64)) {
    match lines.iter_mut().find(|line| line.place == place && line.who == who) {
        Some(line) => line.points.push(point),
        None => lines.push(Line { place: place.to_owned(), who, points: vec![point] }),
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
    let scale = f64::from(SIZE.0 as i32 - left - 200) / most;
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
fn lines(title: &str, file: &Path, (x, y): (&str, &str), lines: &[Line]) -> Outcome<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(LEGEND);
    let points = || lines.iter().flat_map(|line| &line.points).filter(|(_, y)| y.is_finite());
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1.0, f64::max);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min).min(1e6);
    let xs = least(|point| point.0)..most(|point| point.0) * 1.1;
    let ys = least(|point| point.1) * 0.7..most(|point| point.1) * 1.5;
    let mut chart = ChartBuilder::on(&left)
        .caption(title, TITLE)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(90)
        .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
    let plain = |value: &f64| super::tables::grouped(*value);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x).y_desc(y).x_label_formatter(&plain).y_label_formatter(&plain);
    mesh.y_labels(6).label_style(FONT).light_line_style(WHITE).draw()?;

    let mut places: Vec<&str> = lines.iter().map(|line| line.place.as_str()).collect();
    places.dedup();
    for Line { place, who, points } in lines {
        let color = COLORS[places.iter().position(|other| other == place).unwrap_or(0) % COLORS.len()];
        let style = match who {
            Who::Bare => color.mix(0.5).stroke_width(1),
            Who::Vault => color.stroke_width(3),
        };
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, style.filled())))?;
    }
    let mut y = 60;
    for (place, color) in places.iter().zip(COLORS) {
        right.draw(&Rectangle::new([(0, y + 5), (24, y + 9)], color.filled()))?;
        text(&right, place, (32, y), FONT)?;
        y += 24;
    }
    if lines.iter().any(|line| line.who == Who::Bare) {
        text(&right, "thin: bare, without a vault", (0, y + 10), FONT)?;
    }
    Ok(root.present()?)
}
