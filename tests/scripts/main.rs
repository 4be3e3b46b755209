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

#[test]
fn a_complete_toolchain_is_nothing_to_talk_about() {
    let ended = Machine::complete().run("scripts/toolchain.sh", &["lint"], &[]);
    assert_eq!((ended.code, &*ended.output), (0, ""));
}

#[test]
fn an_old_rust_is_told_with_the_command_that_renews_it() {
    let wanted = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let wanted = wanted.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    for (version, old) in
        [("1.9.0", true), ("1.84.1", true), ("9.0.0-nightly", false), (&*format!("{wanted}.0"), false)]
    {
        let machine = Machine::complete().with("rustc", &format!("echo 'rustc {version} (0000000 2025-01-01)'"));
        let needed = format!("Rust {wanted} or newer is needed, and this is {version}. Get it: ");
        let ended = machine.run("scripts/toolchain.sh", &[], &[]);
        if !old {
            assert_eq!((ended.code, &*ended.output), (0, ""), "{version}");
            continue;
        }
        ended.says(1, &[&needed, "https://sh.rustup.rs"]);
        let ended = machine.with("rustup", "exit 0").run("scripts/toolchain.sh", &[], &[]);
        ended.says(1, &[&needed, "rustup update stable"]);
    }
    let broken = Machine::complete().with("rustc", "echo 'no default toolchain' >&2; exit 1").with("rustup", "exit 0");
    broken
        .run("scripts/toolchain.sh", &[], &[])
        .says(1, &["no default toolchain", "rustc does not run", "rustup default"]);
}

#[test]
fn a_compiler_that_cannot_link_is_noticed() {
    let linker = "cat >/dev/null; echo '/usr/bin/ld: cannot find Scrt1.o' >&2; exit 1";
    let ended = Machine::complete().with("cc", linker).run("scripts/toolchain.sh", &[], &[]);
    ended
        .says(1, &["cannot find Scrt1.o", "cannot compile and link an empty program", "apt-get install gcc libc6-dev"]);

    let nothing = Machine::new().run("scripts/toolchain.sh", &[], &[]);
    nothing.says(1, &["cargo is missing", "https://sh.rustup.rs", "a C compiler is missing", "dnf install gcc"]);
}

#[test]
fn a_machine_without_the_wasm_target_learns_it_before_anything_is_built() {
    let sysroot = |machine: Machine| {
        let script = format!("echo {}", machine.path("sysroot").display());
        machine.with("rustc", &script).with("cargo", "echo built")
    };
    // Debian's packages may be on the machine that runs this test.
    let only = [("WEIR_WASM_WAY", "rustup")];
    let without = sysroot(Machine::new());
    let ended = without.run("scripts/wasm-target.sh", &["--probe"], &only);
    ended.says(
        1,
        &["no way to build for wasm32-wasip1", "rustup target add wasm32-wasip1", "apt-get install rustc-web"],
    );

    let target = without.path("sysroot/lib/rustlib/wasm32-wasip1/lib");
    let added = without.with("rustup", &format!("mkdir -p {}", target.display()));
    added.run("scripts/wasm-target.sh", &["--probe"], &only).says(0, &["asking rustup"]);
    let ended = added.run("scripts/wasm-target.sh", &["--probe"], &[]);
    assert_eq!((ended.code, &*ended.output), (0, ""), "a probe of a machine that has it builds nothing");
}

#[test]
fn make_asks_for_the_wasm_target_before_it_builds() {
    let _alone = alone();
    for command in ["demo", "test", "compare", "bench"] {
        let make = Command::new("make").args(["-n", command]).current_dir(repository()).output().unwrap();
        let steps = String::from_utf8(make.stdout).unwrap();
        let probe = steps.find("wasm-target.sh --probe").unwrap();
        assert!(probe < steps.find("cargo build").unwrap(), "{steps}");
    }
}

#[test]
fn a_demo_without_free_ports_does_not_show_the_log_of_the_last_run() {
    let machine = Machine::complete().with("weir", "exit 0");
    let (script, log) = (machine.path("repository/scripts/demo.sh"), machine.path("repository/target/demo/weir.log"));
    let text = std::fs::read_to_string(&script).unwrap();
    let taken = text.replace("is_free() { ", "is_free() { return 1; ");
    assert_ne!(text, taken);
    std::fs::write(&script, taken).unwrap();
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "a line of the last run\n").unwrap();

    let weir = machine.path("bin/weir");
    let ended = machine.run("scripts/demo.sh", &[], &[("WEIR_BIN", weir.to_str().unwrap())]);
    ended.says(1, &["demo: no three free ports from 10000 on"]);
    assert!(!ended.output.contains("last run"), "{}", ended.output);
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
