//! Holds the code to ARCHITECTURE.md: who may use whom, how long a file may be, what only few files may do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use weir_tests::repository;

mod fields;

/// The folders and files of `gateway/src`, in order: each may use those of earlier lines, and itself.
const ORDER: [&[&str]; 13] = [
    &["http"],
    &["telemetry"],
    &["route", "tls"],
    &["cluster"],
    &["upstream"],
    &["filter"],
    &["plugin"],
    &["snapshot"],
    &["proxy"],
    &["control"],
    &["source", "admin"],
    &["bootstrap"],
    &["app"],
];

/// Uses everything and is used by nobody but the binary.
const TOP: [&str; 1] = ["cli"];

/// No file is longer.
const LONGEST_FILE: usize = 800;

#[test]
fn a_folder_uses_only_what_stands_before_it() {
    let mut wrong = Vec::new();
    for file in rust_files("gateway/src") {
        let Some(own) = folder_of(&file.path) else { continue };
        let allowed = allowed(&own);
        let code = file.code().map(|(_, line)| format!("{line}\n")).collect::<String>();
        for (at, used) in uses(&code, depth_of(&file.path)) {
            if is_folder(&used) && used != own && !allowed.contains(used.as_str()) {
                let number = code[..at].lines().count().max(1);
                wrong.push(format!("{}:{number}: {own} uses {used}", file.path.display()));
            }
        }
        for at in renamings(&code) {
            let number = code[..at].lines().count().max(1);
            wrong.push(format!(
                "{}:{number}: names the crate itself, behind which any folder can be used",
                file.path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "against the order of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_has_its_place_in_the_order() {
    let entries = std::fs::read_dir(repository().join("gateway/src")).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned());
    let unknown: Vec<_> = names.filter(|name| !["lib", "main"].contains(&name.as_str()) && !is_folder(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} stand in no order: give them their place here and in ARCHITECTURE.md");
}

#[test]
fn no_file_is_too_long() {
    let files = ["gateway", "tests", "plugins"].into_iter().flat_map(rust_files);
    let long = files.map(|file| (file.text.lines().count(), file.path)).filter(|(lines, _)| *lines > LONGEST_FILE);
    let long: Vec<_> = long.map(|(lines, path)| format!("{} has {lines} lines", path.display())).collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines:\n{}", long.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for file in ["gateway/src", "gateway/wasm/src", "gateway/xds/src"].into_iter().flat_map(rust_files) {
        if file.path.starts_with("gateway/src/cli") || file.path == Path::new("gateway/src/main.rs") {
            continue;
        }
        let prints = |line: &str| ["println!(", "print!("].iter().any(|word| line.contains(word));
        wrong.extend(file.code().filter(|(_, line)| prints(line)).map(|(n, _)| format!("{}:{n}", file.path.display())));
    }
    assert!(wrong.is_empty(), "use the log instead of printing:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_has_its_proof() {
    let mut wrong = Vec::new();
    for file in ["gateway", "tests"].into_iter().flat_map(rust_files) {
        let lines: Vec<_> = file.text.lines().collect();
        for (number, _) in file.code().filter(|(_, line)| is_unsafe(line)) {
            let before = &lines[number.saturating_sub(8)..number];
            if !before.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{}:{number}", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe without a comment `// SAFETY:` above it:\n{}", wrong.join("\n"));
}

/// Spelled in two parts, so that this line is none.
fn is_unsafe(line: &str) -> bool {
    [concat!("unsafe", " {"), concat!("unsafe", " impl")].iter().any(|word| line.contains(word))
}

/// What a failure looks like is said in one place; elsewhere a status comes from a configuration, a guest or an endpoint.
#[test]
fn one_file_gives_failures_their_status() {
    let written = |line: &str| {
        let after = line.split("LocalReply::new(").nth(1).or_else(|| line.trim_start().strip_prefix("status: "));
        after.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let mut wrong = Vec::new();
    for file in ["http", "filter", "plugin", "proxy"]
        .map(|folder| format!("gateway/src/{folder}"))
        .iter()
        .flat_map(|f| rust_files(f))
    {
        if file.path != Path::new("gateway/src/proxy/error.rs") && !file.path.ends_with("tests.rs") {
            wrong.extend(
                file.code().filter(|(_, line)| written(line)).map(|(n, _)| format!("{}:{n}", file.path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "make these a cause in gateway/src/proxy/error.rs:\n{}", wrong.join("\n"));
}

#[test]
fn names_say_something() {
    let vague = ["utils", "util", "helpers", "helper", "common", "misc", "manager"];
    let files = ["gateway", "tests", "plugins"].into_iter().flat_map(rust_files).map(|file| file.path);
    let is_vague = |path: &PathBuf| vague.contains(&path.file_stem().unwrap().to_string_lossy().as_ref());
    let wrong: Vec<_> = files.filter(is_vague).collect();
    assert!(wrong.is_empty(), "name these files after what they hold: {wrong:?}");
}

struct File {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

impl File {
    /// Lines with their numbers from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }
}

fn rust_files(folder: &str) -> Vec<File> {
    let root = repository();
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(&root).unwrap().to_owned();
                files.push(File { path, text: std::fs::read_to_string(&entry).unwrap() });
            }
        }
    }
    files
}

/// `gateway/src/route/table.rs` is of `route`, `gateway/src/app.rs` of `app`; the roots of the crates are of none.
fn folder_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("gateway/src").ok()?.components().next()?;
    let name = Path::new(first.as_os_str()).file_stem()?.to_string_lossy().into_owned();
    is_folder(&name).then_some(name)
}

fn is_folder(name: &str) -> bool {
    TOP.contains(&name) || ORDER.iter().any(|level| level.contains(&name))
}

fn allowed(own: &str) -> BTreeSet<&'static str> {
    let before = ORDER.iter().take_while(|level| !level.contains(&own));
    before.flat_map(|level| level.iter().copied()).collect()
}

/// How many `super::` lead from the file's module to the root of the crate.
fn depth_of(path: &Path) -> usize {
    let parts = path.strip_prefix("gateway/src").unwrap().components().count();
    if path.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// The folders of the crate that a file names, and where: after `crate::`, or after as many `super::` as lead to the root; also in
/// a list in braces, over several lines.
fn uses(code: &str, depth: usize) -> Vec<(usize, String)> {
    let roots = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut found = Vec::new();
    for root in &roots {
        for (at, _) in code.match_indices(root.as_str()) {
            let rest = &code[at + root.len()..];
            let list = rest.strip_prefix('{').map_or_else(|| vec![rest], items);
            let words = list.into_iter().map(first_word).filter(|word| !word.is_empty());
            found.extend(words.map(|word| (at, word)));
        }
    }
    found
}

/// Where the crate itself gets another name, or all that it holds a shorter one: what is used by that name is not seen.
fn renamings(code: &str) -> Vec<usize> {
    let lists = code.match_indices("crate::").filter(|(at, root)| {
        let rest = &code[at + root.len()..];
        let list = rest.strip_prefix('{').map_or_else(Vec::new, items);
        rest.starts_with('*') || list.into_iter().any(|item| first_word(item) == "self" || item.trim() == "*")
    });
    let renamed = ["crate as ", "super as "].into_iter().flat_map(|word| code.match_indices(word));
    lists.chain(renamed).map(|(at, _)| at).collect()
}

/// The items of a list whose brace is open; those in braces within belong to their item.
fn items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn first_word(item: &str) -> String {
    item.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn what_a_file_uses_is_seen_however_it_is_written() {
    let names = |code: &str| uses(code, 2).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("use crate::http::Head;"), ["http"]);
    assert_eq!(names("use crate::{\n    http::{Head, Body},\n    tls,\n};\nuse a::b;"), ["http", "tls"]);
    assert_eq!(names("use super::super::proxy::h1;"), ["proxy"]);
    assert_eq!(names("use super::proxy;"), Vec::<String>::new());
}

#[test]
fn the_crate_itself_has_no_other_name() {
    for code in [
        "use crate::{self as weir};",
        "use crate::{\n    http::Head,\n    self,\n};",
        "use crate as weir;",
        "use super::super as weir;",
        "use crate::*;",
        "use crate::{http::Head, *};",
    ] {
        assert_eq!(renamings(code).len(), 1, "{code}");
    }
    for code in ["use crate::{http::{self, Head}, tls};", "use crate::http::*;", "use super::*;", "pub(crate) as_is"] {
        assert!(renamings(code).is_empty(), "{code}");
    }
}
