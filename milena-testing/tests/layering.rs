//! Who may know what: reads the source of every crate and fails on an import that breaks a layer.
//!
//! The table is the one of ARCHITECTURE.md. Test code may know more, and is not read. Paths are read in full:
//! those in braces each with what stands before them, those that begin with `super` from the crate's root.

use std::fs;
use std::path::{Path, PathBuf};

/// What one place must never name.
struct Rule {
    /// The place: a file, or a folder with all that is below it, from the workspace's root.
    place: &'static str,
    /// Except these, below it.
    except: &'static [&'static str],
    /// What it never names.
    never: &'static [&'static str],
}

const TRANSPORT: [&str; 4] = ["tonic", "prost", "milena_protos", "axum"];
const AWS: [&str; 4] = [
    "aws_config",
    "aws_credential_types",
    "aws_sdk_s3",
    "aws_smithy_http_client",
];
const PATHS: [&str; 2] = ["std::path", "std::fs"];

const RULES: [Rule; 17] = [
    Rule {
        place: "milena-cache/src/service",
        except: &[],
        never: &["crate::store"],
    },
    Rule {
        place: "milena-cache/src/service",
        except: &[],
        never: &AWS,
    },
    Rule {
        place: "milena-cache/src/service",
        except: &[],
        never: &PATHS,
    },
    Rule {
        place: "milena-cache/src/operation",
        except: &[],
        never: &TRANSPORT,
    },
    Rule {
        place: "milena-cache/src/operation",
        except: &[],
        never: &AWS,
    },
    Rule {
        place: "milena-cache/src/operation",
        except: &[],
        never: &PATHS,
    },
    Rule {
        place: "milena-cache/src/operation",
        except: &[],
        never: &["store::memory", "store::disk", "store::s3"],
    },
    Rule {
        place: "milena-cache/src/store",
        except: &[],
        never: &TRANSPORT,
    },
    Rule {
        place: "milena-cache/src/store",
        except: &[],
        never: &[
            "crate::service",
            "crate::operation",
            "crate::metrics",
            "crate::config",
        ],
    },
    Rule {
        place: "milena-cache/src",
        except: &[
            "store/s3.rs",
            "store/s3/attempt.rs",
            "store/s3/client.rs",
            "store/s3/credentials.rs",
            "store/s3/dates.rs",
            "store/s3/doctor.rs",
            "store/s3/doctor/requests.rs",
            "store/s3/objects.rs",
        ],
        never: &AWS,
    },
    Rule {
        place: "milena-cache/src/s3_metrics.rs",
        except: &[],
        never: &["crate::config", "crate::operation", "crate::service"],
    },
    Rule {
        place: "milena-cache/src/error.rs",
        except: &[],
        never: &TRANSPORT,
    },
    Rule {
        place: "milena-cache/src/metrics.rs",
        except: &[],
        never: &["crate::store", "crate::config", "crate::operation"],
    },
    Rule {
        place: "milena-cluster/src",
        except: &[],
        never: &[
            "tokio",
            "futures",
            "std::net",
            "std::time",
            "milena_server",
            "async fn",
        ],
    },
    Rule {
        place: "milena-h2/src",
        except: &[],
        never: &[
            "tonic",
            "prost",
            "milena_server",
            "milena_client",
            "milena_protos",
        ],
    },
    Rule {
        place: "milena-router/src",
        except: &[],
        never: &["milena_cache", "milena_s3"],
    },
    Rule {
        place: "milena-server/src",
        except: &[],
        never: &[
            "milena_cluster",
            "milena_protos",
            "milena_cache",
            "milena_router",
        ],
    },
];

/// A store knows none of its siblings.
const SIBLINGS: [&str; 3] = ["memory", "disk", "s3"];

#[test]
fn no_place_names_what_it_must_not_know() {
    let mut breaches = Vec::new();
    for rule in &RULES {
        let files = sources_below(&workspace().join(rule.place));
        assert!(
            !files.is_empty(),
            "{} holds no source: the rule watches nothing",
            rule.place
        );
        for file in files {
            if !rule.except.iter().any(|except| file.ends_with(except)) {
                let source = fs::read_to_string(&file).expect("a source file can be read");
                breaches.extend(breaches_in(&file, &source, rule.never));
            }
        }
    }
    assert!(
        breaches.is_empty(),
        "layers are broken:\n{}",
        breaches.join("\n")
    );
}

#[test]
fn no_store_knows_a_sibling() {
    let store = workspace().join("milena-cache/src/store");
    let mut breaches = Vec::new();
    for name in SIBLINGS {
        let mut files = sources_below(&store.join(name));
        files.extend(sources_below(&store.join(format!("{name}.rs"))));
        assert!(!files.is_empty(), "the store {name} has no source");
        let others: Vec<_> = SIBLINGS.iter().filter(|other| **other != name).collect();
        let paths: Vec<_> = others
            .iter()
            .map(|other| format!("crate::store::{other}"))
            .collect();
        let never: Vec<_> = paths.iter().map(String::as_str).collect();
        for file in files {
            let source = fs::read_to_string(&file).expect("a source file can be read");
            breaches.extend(breaches_in(&file, &source, &never));
        }
    }
    assert!(
        breaches.is_empty(),
        "stores know each other:\n{}",
        breaches.join("\n")
    );
}

#[test]
fn a_planted_breach_is_found_and_test_code_is_not_read() {
    let file = Path::new("milena-cache/src/service/planted.rs");
    let found = |source| breaches_in(file, source, &["tonic", "crate::store", "store::memory"]);
    for breach in [
        "use tonic::Status;",
        "fn f() -> tonic::Status {",
        "use crate::store::Store;",
        "pub(crate) use crate::store;",
        "use crate::{error::Error, store::Store};",
        "use crate::{\n    error::{\n        Error,\n    },\n    store::{\n        Store,\n    },\n};",
        "use {crate::error::Error, tonic::Status};",
        "use super::super::store::Store;",
        "use super::super::{error, store};",
        "fn f(store: &dyn super::super::store::Store) {",
        "#[cfg(test)]\nmod tests;\nuse tonic::Status;",
    ] {
        assert_eq!(found(breach).len(), 1, "{breach}: {:?}", found(breach));
    }
    let of_two = "use crate::store::{Entry, memory::MemoryStore};";
    assert_eq!(found(of_two).len(), 3, "{:?}", found(of_two));
    for sound in [
        "use isotonic::Scale;\n// tonic is not known here\nuse crate::stored;",
        "fn f() {}\n#[cfg(test)]\nmod tests {\nuse tonic::Status;\n}",
        "use crate::{error::{store, Error}, operation};\nuse super::store;",
    ] {
        assert_eq!(found(sound).len(), 0, "{sound}: {:?}", found(sound));
    }
}

/// The lines of `source` that name something of `never`, comments and test modules left out.
fn breaches_in(file: &Path, source: &str, never: &[&str]) -> Vec<String> {
    // Test modules stand at the end of a file.
    let code = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let without_comments = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let module = module_of(file);
    let mut breaches = Vec::new();
    let mut lines = without_comments.zip(1..);
    while let Some((line, number)) = lines.next() {
        let mut statement = line.trim().to_owned();
        let is_use = statement.starts_with("use ") || statement.contains(" use ");
        while is_use && !statement.contains(';') {
            let Some((line, _)) = lines.next() else { break };
            statement.push_str(line.trim());
        }
        for path in in_full(&statement, is_use) {
            let path = from_the_root(&path, &module);
            let named = never.iter().filter(|name| names(&path, name));
            breaches.extend(
                named.map(|name| format!("{}:{number}: {name} in `{path}`", file.display())),
            );
        }
    }
    breaches
}

/// `statement`, or if it is a `use` with braces, one for each path in them.
fn in_full(statement: &str, is_use: bool) -> Vec<String> {
    let Some(open) = statement.find('{').filter(|_| is_use) else {
        return vec![statement.to_owned()];
    };
    let (before, braced) = statement.split_at(open);
    let inside = braced[1..].trim_end_matches(';').trim_end();
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let mut depth = 0;
    let parts = inside.split(|c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    });
    let named = parts.map(str::trim).filter(|part| !part.is_empty());
    named
        .flat_map(|part| in_full(&format!("{before}{part}"), true))
        .collect()
}

/// `path` with what its first `super` stands for, seen from `module`.
fn from_the_root(path: &str, module: &[String]) -> String {
    let Some(start) = path.find("super::") else {
        return path.to_owned();
    };
    let mut rest = &path[start..];
    let mut depth = module.len();
    while let Some(above) = rest.strip_prefix("super::") {
        rest = above;
        depth = depth.saturating_sub(1);
    }
    let ancestors: String = module[..depth]
        .iter()
        .map(|name| format!("{name}::"))
        .collect();
    format!("{}crate::{ancestors}{rest}", &path[..start])
}

/// The module that `file` is, from the crate's root.
fn module_of(file: &Path) -> Vec<String> {
    let below_src = file.iter().skip_while(|part| *part != "src").skip(1);
    let names = below_src.map(|part| {
        let name = part.to_str().expect("source files have plain names");
        name.trim_end_matches(".rs").to_owned()
    });
    names
        .filter(|name| !matches!(name.as_str(), "mod" | "lib" | "main"))
        .collect()
}

/// Whether `line` has `name` as words of its own, not as part of longer ones.
fn names(line: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The Rust files at or below `path` that are not tests.
fn sources_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        return if is_rust && !is_test {
            vec![path.to_owned()]
        } else {
            Vec::new()
        };
    }
    if path.file_name().is_some_and(|name| name == "tests") {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a source folder can be read").path());
    paths.flat_map(|path| sources_below(&path)).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
