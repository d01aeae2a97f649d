//! Tables as docs/benchmarks.md has them.

use crate::cache::Name;

pub fn head(title: &str, columns: &[&str]) {
    println!(
        "\n{title}\n\n| | {} |\n|---|{}",
        columns.join(" | "),
        "---:|".repeat(columns.len())
    );
}

pub fn row(name: &Name, cells: &[String]) {
    println!("| {name} | {} |", cells.join(" | "));
}

/// The median; leaves `values` in order.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}
