//! `kill -9` at a random moment, again and again: which acknowledged puts and deletes the store forgot.

use std::collections::BTreeMap;

use crate::data::Random;
use crate::engine::{Failure, Name};
use crate::job::{Figures, Job, Task};
use crate::worker::kill_lines::{ACKNOWLEDGED, BEGINS, HOLDS, NOTHING, WRONG};

use super::{KILLS, Lab, job, settings};

const TASKS: u64 = 16;
const KEYS_PER_TASK: u64 = 64;

/// A kill comes after at most so many acknowledgements.
const ACKNOWLEDGEMENTS_MAX: u64 = 3_000;

/// What is known of a key: what it holds, in the words of the lines.
#[derive(Default)]
struct Known {
    /// The last write that was acknowledged, or what was found since.
    acknowledged: Option<String>,
    /// A write that had begun when the kill came: it has happened or not.
    begun: Option<String>,
}

/// What was counted over all kills of one engine.
#[derive(Default)]
struct Counted {
    kills: u64,
    acknowledged: u64,
    lost: u64,
    resurrected: u64,
    stale: u64,
    wrong: u64,
    known: BTreeMap<u64, Known>,
}

pub fn kills(lab: &mut Lab<'_>) -> Result<(), Failure> {
    let sizes = lab.sizes;
    let mut random = Random::new(sizes.kills);
    let mut counted: Vec<Counted> = sizes.engines_once().map(|_| Counted::default()).collect();
    for engine in sizes.engines_once() {
        lab.empty_dir("kills", engine)?;
    }
    for kill in 0..sizes.kills {
        let until = 1 + random.below(ACKNOWLEDGEMENTS_MAX);
        for (engine, counted) in sizes.engines_once().zip(&mut counted) {
            let keys_per_task = KEYS_PER_TASK;
            let write = kill_job(lab, engine, kill, Task::WriteUntilKilled { keys_per_task });
            let check = kill_job(lab, engine, kill, Task::Check { keys_per_task });
            let one = counted.write(&write, until);
            if let Err(error) = one.and_then(|()| counted.check(&check)) {
                lab.failed(KILLS, "kill", engine, &error);
            }
        }
    }
    let case = format!("{TASKS} tasks");
    for (engine, counted) in sizes.engines_once().zip(&counted) {
        lab.add(KILLS, &case, engine, counted.figures());
        std::fs::remove_dir_all(lab.dir("kills", engine))?;
    }
    Ok(())
}

fn kill_job(lab: &Lab<'_>, engine: Name, seed: u64, task: Task) -> Job {
    let mut settings = settings(engine, lab.dir("kills", engine));
    settings.small_files = true;
    settings.cap_bytes = 4 << 30;
    job(settings, 0, TASKS, seed, task)
}

impl Counted {
    /// Lets it write until so many writes were acknowledged, and kills it.
    fn write(&mut self, job: &Job, until: u64) -> Result<(), Failure> {
        let mut running = job.start()?;
        let mut seen = 0;
        // After the kill, what the pipe still holds is read to its end.
        for line in running.lines.by_ref() {
            let line = line?;
            let words: Vec<_> = line.split(' ').collect();
            let [what @ (BEGINS | ACKNOWLEDGED), key, holds] = words[..] else {
                // The last line may be cut off.
                continue;
            };
            let known = self.known.entry(key.parse()?).or_default();
            if what == BEGINS {
                known.begun = Some(holds.to_owned());
                continue;
            }
            known.acknowledged = Some(holds.to_owned());
            known.begun = None;
            seen += 1;
            if seen == until {
                running.child.kill()?;
            }
        }
        running.child.wait()?;
        if seen < until {
            return Err("it ended by itself".into());
        }
        self.kills += 1;
        self.acknowledged += seen;
        Ok(())
    }

    /// Asks what every key holds, and compares.
    fn check(&mut self, job: &Job) -> Result<(), Failure> {
        let mut running = job.start()?;
        for line in running.lines.by_ref() {
            let line = line?;
            let words: Vec<_> = line.split(' ').collect();
            let [HOLDS, key, holds] = words[..] else {
                return Err(format!("not understood: {line}").into());
            };
            let known = self.known.entry(key.parse()?).or_default();
            let begun = known.begun.take();
            let acknowledged = known.acknowledged.get_or_insert(NOTHING.to_owned());
            if begun.as_deref() != Some(holds) && acknowledged != holds {
                match (acknowledged.as_str(), holds) {
                    (_, WRONG) => self.wrong += 1,
                    (NOTHING, _) => self.resurrected += 1,
                    (_, NOTHING) => self.lost += 1,
                    _ => self.stale += 1,
                }
            }
            // From now on this is what it holds: each breach counts once.
            holds.clone_into(acknowledged);
        }
        running.end()
    }

    fn figures(&self) -> Figures {
        let all = [
            ("kills", self.kills),
            ("acknowledged", self.acknowledged),
            ("lost", self.lost),
            ("resurrected", self.resurrected),
            ("stale", self.stale),
            ("wrong", self.wrong),
        ];
        let all = all.map(|(name, count)| (name.to_owned(), count as f64));
        Figures::from(all)
    }
}
