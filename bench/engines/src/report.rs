//! What was measured, as it is stored and as it is summed up.

use serde::{Deserialize, Serialize};

use crate::engine::Name;
use crate::job::Figures;

/// Everything that one command measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// What it was measured on.
    pub machine: String,
    pub command: String,
    /// Whether RocksDB was compiled for a processor with checksum instructions.
    pub has_fast_crc: bool,
    pub cells: Vec<Cell>,
    /// What did not come to an end.
    pub failures: Vec<String>,
}

/// One engine in one case of one experiment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    pub experiment: String,
    pub case: String,
    pub engine: Name,
    pub rounds: Vec<Figures>,
}

/// The rounds of one figure, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Report {
    /// Adds one round.
    pub fn add(&mut self, experiment: &str, case: &str, engine: Name, figures: Figures) {
        let same =
            |it: &&mut Cell| it.experiment == experiment && it.case == case && it.engine == engine;
        if let Some(cell) = self.cells.iter_mut().find(same) {
            cell.rounds.push(figures);
            return;
        }
        self.cells.push(Cell {
            experiment: experiment.to_owned(),
            case: case.to_owned(),
            engine,
            rounds: vec![figures],
        });
    }

    /// The cases of an experiment, in the order in which they were measured.
    pub fn cases(&self, experiment: &str) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for cell in self.cells.iter().filter(|it| it.experiment == experiment) {
            if !cases.contains(&cell.case.as_str()) {
                cases.push(&cell.case);
            }
        }
        cases
    }

    /// The engines that an experiment measured.
    pub fn engines(&self, experiment: &str) -> Vec<Name> {
        let of_it = self.cells.iter().filter(|it| it.experiment == experiment);
        let mut engines: Vec<Name> = of_it.map(|it| it.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        engines
    }

    /// One figure; `None` if it was not measured.
    pub fn summary(
        &self,
        experiment: &str,
        case: &str,
        engine: Name,
        figure: &str,
    ) -> Option<Summary> {
        let cell = self
            .cells
            .iter()
            .find(|it| it.experiment == experiment && it.case == case && it.engine == engine)?;
        Summary::of(cell.rounds.iter().filter_map(|it| it.get(figure)).copied())
    }

    /// How many rounds the case with the fewest of an experiment has.
    pub fn rounds(&self, experiment: &str) -> usize {
        let of_it = self.cells.iter().filter(|it| it.experiment == experiment);
        of_it.map(|it| it.rounds.len()).min().unwrap_or_default()
    }
}

impl Summary {
    fn of(rounds: impl Iterator<Item = f64>) -> Option<Self> {
        let mut rounds: Vec<f64> = rounds.collect();
        rounds.sort_unstable_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        let median = if rounds.len().is_multiple_of(2) {
            let below = rounds.get(middle.checked_sub(1)?)?;
            f64::midpoint(*below, rounds[middle])
        } else {
            rounds[middle]
        };
        Some(Self {
            median,
            least: rounds[0],
            most: rounds[rounds.len() - 1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |rounds: &[f64]| Summary::of(rounds.iter().copied()).map(|it| it.median);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(3.0));
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn rounds_of_a_case_come_together() {
        let mut report = Report::default();
        for (case, ops) in [("a", 1.0), ("b", 5.0), ("a", 3.0)] {
            let figures = Figures::from([("ops".to_owned(), ops)]);
            report.add("put", case, Name::Milena, figures);
        }
        assert_eq!(report.cases("put"), ["a", "b"]);
        assert_eq!(report.rounds("put"), 1);
        let summary = report.summary("put", "a", Name::Milena, "ops");
        assert_eq!(summary.map(|it| (it.least, it.most)), Some((1.0, 3.0)));
        assert_eq!(report.summary("put", "a", Name::Fjall, "ops"), None);
    }
}
