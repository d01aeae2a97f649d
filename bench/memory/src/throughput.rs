//! Gets per second on one and two threads.

use std::thread;
use std::time::Instant;

use crate::cache::{Cache, Name};
use crate::load::{self, CACHE_ENTRIES, KEYS, VALUE_BYTES, Zipf};
use crate::table::{self, median};

const GETS_PER_THREAD: usize = 1_500_000;
const THREADS: [usize; 2] = [1, 2];

/// Keys that are asked for, and how many of them fit.
struct Scene {
    title: &'static str,
    keys: u32,
    entries_max: usize,
}

const SCENES: [Scene; 2] = [
    Scene {
        title: "get, and insert on a miss: 1,000,000 keys, a cache of 100,000",
        keys: KEYS,
        entries_max: CACHE_ENTRIES,
    },
    Scene {
        title: "only hits: 100,000 keys, a cache of 200,000",
        keys: CACHE_ENTRIES as u32,
        entries_max: 2 * CACHE_ENTRIES,
    },
];

pub fn run(names: &[Name], rounds: usize) {
    for scene in &SCENES {
        let zipf = Zipf::new(scene.keys);
        let orders = [1, 2].map(|seed| zipf.draw(seed, GETS_PER_THREAD));
        let caches: Vec<_> = names
            .iter()
            .map(|name| name.of(scene.entries_max))
            .collect();
        for cache in &caches {
            // Least wanted first, so that what a full cache holds is what is wanted.
            for number in (0..u64::from(scene.keys)).rev() {
                cache.insert(&load::key(number), load::entry(VALUE_BYTES));
            }
            race(&**cache, &orders);
        }
        let mut rates = vec![THREADS.map(|_| Vec::new()); names.len()];
        for _ in 0..rounds {
            for (cache, rates) in caches.iter().zip(&mut rates) {
                for (threads, rates) in THREADS.iter().zip(rates) {
                    rates.push(race(&**cache, &orders[..*threads]));
                }
            }
        }
        table::head(
            scene.title,
            &[
                "1 thread, M get/s",
                "2 threads, M get/s",
                "lowest and highest on 2",
            ],
        );
        for (name, [one, two]) in names.iter().zip(&mut rates) {
            let [one, two_median] = [median(one), median(two)].map(|rate| format!("{rate:.2}"));
            let range = format!("{:.2} to {:.2}", two[0], two[two.len() - 1]);
            table::row(name, &[one, two_median, range]);
        }
    }
}

/// Million gets per second of all threads together.
fn race(cache: &dyn Cache, orders: &[Vec<u32>]) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for order in orders {
            scope.spawn(move || {
                for number in order {
                    let key = load::key(u64::from(*number));
                    if cache.get(&key).is_none() {
                        cache.insert(&key, load::entry(VALUE_BYTES));
                    }
                }
            });
        }
    });
    let gets = orders.iter().map(Vec::len).sum::<usize>();
    gets as f64 / begun.elapsed().as_secs_f64() / 1e6
}
