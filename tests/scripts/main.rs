//! What the scripts say on a machine that lacks something: run on a copy of them, with programs that stand in for those of the machine.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use weir_tests::repository;

/// The programs of a machine that the scripts use in any case.
const BASICS: [&str; 16] = [
    "awk", "bash", "cat", "dirname", "env", "find", "grep", "head", "mkdir", "mktemp", "rm", "sed", "sort", "tee",
    "tail", "tr",
];

/// A machine with the scripts and the basic programs alone.
struct Machine(TempDir, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

/// One test at a time: a program that one writes while another starts a process is open for writing in that process for a moment, and
/// cannot be run then.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a script ended, and all that it printed.
struct Ended {
    code: i32,
    output: String,
}

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap(), alone());
        for folder in ["bin", "repository/scripts", "repository/.ci"] {
            std::fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let scripts = std::fs::read_dir(repository().join("scripts")).unwrap().map(|entry| entry.unwrap().path());
        let files = scripts.chain([".ci/run", "Cargo.toml"].map(|file| repository().join(file)));
        for file in files {
            let name = file.strip_prefix(repository()).unwrap();
            std::fs::copy(&file, machine.path("repository").join(name)).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap();
        for name in BASICS {
            let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
            symlink(found.unwrap(), machine.path("bin").join(name)).unwrap();
        }
        machine
    }

    /// The same with a Rust that is new enough and a C compiler that works.
    fn complete() -> Self {
        Self::new()
            .with("cargo", "exit 0")
            .with("cargo-fmt", "exit 0")
            .with("cargo-clippy", "exit 0")
            .with("rustc", "echo 'rustc 9.9.9 (0000000 2036-01-01)'")
            .with("cc", "exit 0")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Adds a program, or replaces it.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    fn run(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = Command::new(self.path("repository").join(script));
        command.args(arguments).env_clear().env("PATH", self.path("bin")).env("HOME", self.0.path());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap(), output: text(&output.stdout) + &text(&output.stderr) }
    }
}

impl Ended {
    fn says(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.output);
        for text in texts {
            assert!(self.output.contains(text), "{text} is not in:\n{}", self.output);
        }
    }
}

/// A cargo with two tests that compare, one of which is filtered out by `--skip`, as libtest does it.
const CARGO: &str = r#"echo "cargo $*"
case "$*" in
*--list*) printf 'cases::paths::dots: test\ncases::stats::all: test\nproxy::works: test\n' ;;
*) echo "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.1s" ;;
esac"#;

#[test]
fn without_envoy_the_tests_that_compare_are_filtered_out_and_told() {
    let machine = Machine::complete().with("cargo", CARGO);
    let ended = machine.run("scripts/test.sh", &[], &[]);
    ended.says(0, &["python3 is missing", "--skip cases::", "==> Left out: 2 tests that compare", "make envoy"]);
    let last: Vec<_> = ended.output.lines().rev().take(3).collect();
    assert!(last.iter().any(|line| line.starts_with("==> Left out: ")), "not among the last lines: {last:?}");

    let failing = machine.with("cargo", &format!("{CARGO}\n[[ $* == *--list* ]]"));
    failing.run("scripts/test.sh", &[], &[]).says(1, &["==> Left out: 2 tests"]);
    let none = failing.with("cargo", "echo 'proxy::works: test'");
    none.run("scripts/test.sh", &[], &[]).says(1, &["mend scripts/test.sh"]);
}

#[test]
fn with_envoy_nothing_is_left_out() {
    let machine = Machine::complete().with("cargo", CARGO).with("envoy", "exit 0");
    let envoy = machine.path("bin/envoy");
    let ended = machine.run("scripts/test.sh", &[], &[("ENVOY_BIN", envoy.to_str().unwrap())]);
    ended.says(0, &["==> Running the tests\n"]);
    assert!(!ended.output.contains("--skip") && !ended.output.contains("Left out"), "{}", ended.output);
}

#[test]
fn the_continuous_integration_needs_envoy_unless_it_is_told_otherwise() {
    let machine = Machine::complete().with("cargo", CARGO).with("make", "[ $1 != test ] || scripts/test.sh");
    let ended = machine.run(".ci/run", &[], &[]);
    ended.says(1, &["python3 is missing", "FAILED: no Envoy to compare with", "WEIR_CI_WITHOUT_ENVOY=1"]);
    assert!(!ended.output.contains("=== tests"), "it has gone on:\n{}", ended.output);

    let ended = machine.run(".ci/run", &[], &[("WEIR_CI_WITHOUT_ENVOY", "1")]);
    ended.says(0, &["=== tests: ok", "\nok; cargo test: 1 passed, 0 failed, 0 ignored; "]);
    let last = ended.output.trim_end().lines().rev().find(|line| line.starts_with("ok; ")).unwrap();
    assert!(last.contains("; LEFT OUT: 2 tests that compare Weir with Envoy"), "{last}");

    let machine = machine.with("envoy", "exit 0");
    let envoy = machine.path("bin/envoy");
    let ended = machine.run(".ci/run", &[], &[("ENVOY_BIN", envoy.to_str().unwrap())]);
    ended.says(0, &["ok; cargo test: 1 passed, 0 failed, 0 ignored; "]);
    assert!(!ended.output.contains("LEFT OUT"), "{}", ended.output);
}
