//! What stands where a file should: FIFOs, devices, files without an end. Nothing waits for them, nothing reads them
//! for ever.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use weir_tests::{Bootstrap, Gateway, Hcm, Kind, Launch, eventually, get, plugin, typed, weir_binary};

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn routes(text: &str) -> String {
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}});
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
    let kind = "envoy.config.route.v3.RouteConfiguration";
    json!({"resources": [typed(kind, json!({"name": "routes", "virtual_hosts": hosts}))]}).to_string()
}

fn with_rds(path: &Path) -> Bootstrap {
    let source = json!({"path_config_source": {"path": path}});
    let rds = json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": source}});
    Bootstrap::new().listener("main", Hcm::new().set(rds))
}

async fn says(gateway: &Gateway, text: &str) {
    let what = format!("it says {text:?}");
    eventually(&what, async || get(gateway.address(), "/").await.is_ok_and(|answer| answer.text() == text)).await;
}

#[tokio::test]
async fn in_place_of_a_watched_file_they_keep_the_last_good_state() {
    let folder = tempfile::tempdir().unwrap();
    let (file, new) = (folder.path().join("rds.json"), folder.path().join("new"));
    std::fs::write(&file, routes("good 0")).unwrap();
    let gateway = Gateway::weir(with_rds(&file)).await;
    says(&gateway, "good 0").await;

    for (reason, n) in ["it is a FIFO", "it is a device", "more than 67108864 bytes"].into_iter().zip(1..) {
        match n {
            1 => fifo(&new),
            2 => symlink("/dev/zero", &new).unwrap(),
            // It has no blocks.
            _ => File::create(&new).unwrap().set_len(1 << 40).unwrap(),
        }
        std::fs::rename(&new, &file).unwrap();
        gateway.stat_becomes("http.test.rds.routes.update_failure", n).await;
        gateway.prints(reason).await;
        says(&gateway, &format!("good {}", n - 1)).await;

        let good = format!("good {n}");
        std::fs::write(&new, routes(&good)).unwrap();
        std::fs::rename(&new, &file).unwrap();
        says(&gateway, &good).await;
    }
    assert!(gateway.memory_kb("VmHWM") < 400_000, "{} KB", gateway.memory_kb("VmHWM"));
}

/// A gateway whose only route answers with a body, and whose filter chain has these fields.
fn answering(body: Value, hcm: Value, chain: Value) -> Value {
    let answer = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": body}}]);
    let mut chain = chain;
    chain["filters"] = json!([Hcm::new().routes(answer).set(hcm).filter_value()]);
    Bootstrap::new().listener_value(json!({"name": "main", "filter_chains": [chain]})).0
}

#[tokio::test]
async fn they_are_refused_wherever_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bootstrap) = (folder.path().join("fifo"), folder.path().join("bootstrap.json"));
    fifo(&path);
    let named = json!({"filename": path});
    let text = || json!({"inline_string": "text"});
    let pair =
        json!({"common_tls_context": {"tls_certificates": [{"certificate_chain": named, "private_key": named}]}});
    let tls = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", pair);
    let stdout = typed(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"text_format_source": named}}),
    );
    let mut wasm = Hcm::new().wasm("header_tag", "").0["http_filters"].clone();
    let module = &mut wasm[0]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"];
    assert_eq!(*module, json!(plugin("header_tag")));
    *module = json!(path);
    for (config, field) in [
        (answering(named.clone(), json!({}), json!({})), "direct_response.body.filename"),
        (
            answering(text(), json!({"access_log": [{"name": "log", "typed_config": stdout}]}), json!({})),
            "text_format_source.filename",
        ),
        (answering(text(), json!({"http_filters": wasm}), json!({})), "code.local.filename"),
        (
            answering(text(), json!({}), json!({"transport_socket": {"name": "tls", "typed_config": tls}})),
            "tls_certificates[0].certificate_chain",
        ),
        (with_rds(&path).0, "config_source.path_config_source.path"),
    ] {
        std::fs::write(&bootstrap, config.to_string()).unwrap();
        let told = told(&["check", bootstrap.to_str().unwrap()]);
        let line = told.lines().find(|line| line.contains(field)).unwrap_or_else(|| panic!("{field}: {told}"));
        assert!(line.contains("it is a FIFO") && line.contains("bootstrap.json:1: "), "{line}");
    }
    for arguments in [["check", path.to_str().unwrap()].as_slice(), &["run", "-c", path.to_str().unwrap()]] {
        let told = told(arguments);
        assert!(told.contains("cannot be read: it is a FIFO"), "{told}");
    }
    assert!(told(&["check", "/dev/zero"]).contains("it is a device"));
}

/// What it prints when it refuses; killed if it waits for something.
fn told(arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("20").arg(weir_binary()).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    told
}

#[tokio::test]
async fn a_bootstrap_may_come_from_a_descriptor() {
    let check = format!("'{}' check <(echo '{{}}')", weir_binary().display());
    let output = Command::new("bash").args(["-c", &check]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn logging_to(path: &Path) -> Bootstrap {
    let log = typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", json!({"path": path}));
    let hcm = Hcm::new().routes(json!([])).set(json!({"access_log": [{"name": "log", "typed_config": log}]}));
    Bootstrap::new().listener("main", hcm)
}

#[tokio::test]
async fn an_access_log_may_be_a_fifo_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fifo(&path);
    let exit = Launch::new(Kind::Weir, logging_to(&path)).run_to_exit().await;
    assert_eq!(exit.status.code(), Some(1));
    let place = ".typed_config.access_log[0].typed_config.path: cannot open the access log";
    let told = exit.output.lines().find(|line| line.starts_with('/') && line.contains(place));
    let told = told.unwrap_or_else(|| panic!("{}", exit.output));
    assert!(told.contains("bootstrap.json:") && told.contains("a FIFO that nobody reads"), "{told}");
    assert!(exit.output.contains("not started: 1 problem in the configuration"), "{}", exit.output);

    let (lines, line) = std::sync::mpsc::channel();
    let read = path.clone();
    std::thread::spawn(move || {
        BufReader::new(File::open(read).unwrap()).lines().try_for_each(|line| lines.send(line.unwrap()))
    });
    let gateway = Launch::new(Kind::Weir, logging_to(&path)).start().await;
    for path in ["/first", "/second"] {
        get(gateway.address(), path).await.unwrap();
        let line = line.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        assert!(line.contains(path), "{line}");
    }
}

#[tokio::test]
async fn check_says_of_an_access_log_what_a_start_would() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap.json");
    let file = folder.path().join("a file");
    std::fs::write(&file, "line\n").unwrap();
    for (path, reason) in [
        (folder.path().to_owned(), "Is a directory"),
        (file.join("log"), "Not a directory"),
        (folder.path().join("none/log"), "No such file or directory"),
    ] {
        let text = serde_json::to_string_pretty(&logging_to(&path).0).unwrap();
        std::fs::write(&bootstrap, &text).unwrap();
        let line = text.lines().position(|line| line.contains("\"path\":")).unwrap() + 1;
        for verb in [["check", bootstrap.to_str().unwrap()].as_slice(), &["run", "-c", bootstrap.to_str().unwrap()]] {
            let told = told(verb);
            let place = format!("bootstrap.json:{line}: static_resources.listeners[0].");
            let found =
                told.lines().find(|line| line.contains(&place) && line.contains("access_log[0].typed_config.path"));
            assert!(found.is_some_and(|line| line.contains(reason)), "{place} {reason}\n{told}");
        }
    }
    // What could be made is not made, and what is there is not written.
    for (path, length) in [(folder.path().join("new"), None), (file, Some(5))] {
        std::fs::write(&bootstrap, logging_to(&path).0.to_string()).unwrap();
        let status = Command::new(weir_binary()).arg("check").arg(&bootstrap).status().unwrap();
        assert!(status.success());
        assert_eq!(std::fs::metadata(&path).ok().map(|found| found.len()), length);
    }
}
