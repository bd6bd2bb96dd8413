//! Figures as text.

use crate::group::{Case, Unit, names};
use crate::interleave::{Measured, median};
use crate::targets::{self, Bound};

/// One group as one line, for whoever watches.
pub fn line(measured: &Measured) -> String {
    let figures = measured
        .series
        .iter()
        .map(|series| format!("{} {}", series.name, figure(median(&series.rounds), measured.unit)));
    format!("{}: {}", measured.case, figures.collect::<Vec<_>>().join(" · "))
}

/// Of all targets.
pub fn verdicts(all: &[Measured]) -> String {
    let mut table = "| path | where | beside | target | ratio | |\n|---|---|---|---|---|---|\n".to_owned();
    for verdict in targets::verdicts(all) {
        let target = match verdict.target.bound {
            Bound::AtLeast(least) => format!(">= {least}"),
            Bound::AtMost(most) => format!("<= {most}"),
        };
        let met = match (verdict.ratios.is_empty(), verdict.is_met()) {
            (true, _) => "**not measured**",
            (false, true) => "met",
            (false, false) => "**missed**",
        };
        let (path, beside, ratio) = (verdict.target.path, verdict.target.versus(), spread(&verdict.ratios));
        table += &format!("| {path} | {} | {beside} | {target} | {ratio} | {met} |\n", verdict.place);
    }
    table
}

/// A table for each bench, in the order in which they ran.
pub(super) fn by_bench(all: &[Measured]) -> Vec<(String, String)> {
    let mut tables: Vec<(String, String)> = Vec::new();
    for measured in all {
        let bench = &measured.case.bench;
        let growth = growth(measured);
        if tables.iter().all(|(name, _)| name != bench) {
            let head = if growth.is_some() { GROWTH_HEAD } else { HEAD };
            tables.push((bench.clone(), head.to_owned()));
        }
        if let Some((_, table)) = tables.iter_mut().find(|(name, _)| name == bench) {
            *table += &growth.unwrap_or_else(|| rows(measured));
        }
    }
    tables
}

const HEAD: &str = "| where | vault | beside | its figure | vault / it |\n|---|---|---|---|---|\n";
const GROWTH_HEAD: &str =
    "| where | | with the fewest rows | with so many | grows by |\n|---|---|---|---|---|\n";

/// Of what was measured with few rows and with many: the vault, its floor, and one over the other.
fn growth(measured: &Measured) -> Option<String> {
    let both = |few, many| Some((targets::series(measured, few)?, targets::series(measured, many)?));
    let vault = both(names::VAULT, names::VAULT_LARGE)?;
    let bare = both(names::BARE, names::BARE_LARGE)?;
    let mut rows = String::new();
    let mut place = place(&measured.case);
    for (name, (few, many)) in [("vault", vault), ("bare", bare)] {
        let [few_figure, many_figure] = [few, many].map(|series| with_spread(&series.rounds, measured.unit));
        let grows = spread(&targets::ratios(many, few)?);
        rows += &format!("| {place} | {name} | {few_figure} | {many_figure} | {grows} |\n");
        place.clear();
    }
    let (few, many) = (targets::ratios(vault.0, bare.0)?, targets::ratios(vault.1, bare.1)?);
    let more: Vec<f64> = many.iter().zip(&few).map(|(many, few)| many / few).collect();
    rows += &format!("| | vault / bare | {} | {} | {} |\n", spread(&few), spread(&many), spread(&more));
    Some(rows)
}

fn rows(measured: &Measured) -> String {
    let Some((vault, others)) = measured.series.split_first() else { return String::new() };
    let mine = with_spread(&vault.rounds, measured.unit);
    let mut place = place(&measured.case);
    if others.is_empty() {
        return format!("| {place} | {mine} | | | |\n");
    }
    let rows = others.iter().map(|other| {
        let ratios = targets::ratios(vault, other).unwrap_or_default();
        let row = format!(
            "| {place} | {mine} | {} | {} | {} |\n",
            other.name,
            with_spread(&other.rounds, measured.unit),
            spread(&ratios)
        );
        place.clear();
        row
    });
    rows.collect()
}

fn place(case: &Case) -> String {
    let mut place = case.place.clone();
    if case.token_bytes > 0 {
        place += &format!(", {} B", case.token_bytes);
    }
    if case.rows > 1 {
        place += &format!(", {} rows", grouped(case.rows as f64));
    }
    if case.tasks > 1 {
        place += &format!(", {} tasks", case.tasks);
    }
    place
}

fn with_spread(rounds: &[f64], unit: Unit) -> String {
    let (low, high) = extremes(rounds);
    format!("{} ({} - {})", figure(median(rounds), unit), figure(low, unit), figure(high, unit))
}

fn spread(ratios: &[f64]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let (low, high) = extremes(ratios);
    format!("**{:.2}** ({low:.2} - {high:.2})", median(ratios))
}

fn extremes(figures: &[f64]) -> (f64, f64) {
    let (low, high) = (figures.iter().copied().reduce(f64::min), figures.iter().copied().reduce(f64::max));
    (low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN))
}

pub(super) fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Latency if value < 1e3 => format!("{value:.0} ns"),
        Unit::Latency if value < 1e4 => format!("{:.2} µs", value / 1e3),
        Unit::Latency if value < 1e6 => format!("{:.1} µs", value / 1e3),
        Unit::Latency => format!("{:.1} ms", value / 1e6),
        Unit::Throughput => format!("{}/s", grouped(value)),
    }
}

/// 1,234,567
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
