//! What `milena dev` says when everything runs: what is where, and what to try.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::DEV_ROUTER_ADDR;
use super::cluster::{Place, Places};
use super::folder::Folder;

/// The text, which ends in a new line.
pub(super) fn text(places: &Places, folder: &Folder) -> String {
    let mut text = "Milena runs.\n\n".to_owned();
    let mut add = |line: &str| writeln!(text, "{line}").expect("writing to a string cannot fail");
    add(&server_line("router", &places.router));
    for (number, node) in (1..).zip(&places.nodes) {
        add(&server_line(&format!("node-{number}"), node));
    }
    let (endpoint, bucket) = (&places.s3_endpoint, places.s3_bucket);
    add(&format!(
        "  {:<8} {endpoint:<24} bucket {bucket}, kept in {}",
        "S3",
        folder.s3().display()
    ));
    add("\nTry next, in another terminal:\n");
    for command in commands(&program(), places.router.addr) {
        add(&format!("  {command}"));
    }
    add("\nCtrl+C stops it. Your data stays, and the next start has it again.");
    text
}

fn server_line(name: &str, place: &Place) -> String {
    let Place { addr, metrics_addr } = place;
    let url = format!("http://{addr}");
    format!("  {name:<8} {url:<24} metrics http://{metrics_addr}/metrics")
}

/// The commands to try, ready to be copied into a shell.
fn commands(program: &str, router: SocketAddr) -> [String; 3] {
    let addr = if router == DEV_ROUTER_ADDR {
        String::new()
    } else {
        format!(" --addr {router}")
    };
    [
        "put photos greeting.txt 'hello, world'",
        "get photos greeting.txt",
        "delete photos greeting.txt",
    ]
    .map(|verb| format!("{program} {verb}{addr}"))
}

/// This program as it was called, so that the same works again.
fn program() -> String {
    let called = std::env::args().next();
    quoted(&called.unwrap_or_else(|| "milena".to_owned()))
}

/// `word` as a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_given_only_where_it_is_not_the_default() {
        let [_, get, _] = commands("milena", DEV_ROUTER_ADDR);
        assert_eq!(get, "milena get photos greeting.txt");
        let [_, get, _] = commands("milena", "127.0.0.1:7".parse().unwrap());
        assert_eq!(get, "milena get photos greeting.txt --addr 127.0.0.1:7");
    }

    #[test]
    fn a_path_with_a_blank_is_quoted() {
        assert_eq!(quoted("target/debug/milena"), "target/debug/milena");
        assert_eq!(quoted("it's here/milena"), r"'it'\''s here/milena'");
    }
}
