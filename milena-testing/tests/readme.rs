//! The README's tables of settings are those of the programs.

use std::fs;
use std::path::Path;

use milena_server::settings::{Setting, markdown_rows};

#[test]
fn every_setting_stands_in_the_readme_as_the_programs_have_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(path).expect("the README can be read");
    let tables: [&[&Setting]; 2] = [
        &milena_cache::config::SETTINGS,
        &milena_router::config::SETTINGS,
    ];
    for table in tables {
        let rows = markdown_rows(table);
        assert!(
            readme.contains(&rows),
            "the README should have these rows:\n{rows}"
        );
    }
}
