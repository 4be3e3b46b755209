#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    plugin::{EngineSettings, Node, Plugins},
    snapshot::{PublisherSettings, SnapshotStore},
    telemetry::{
        access_log::Sinks,
        log::LogControl,
        metrics::{
            Registry,
            names::{Cds, cds},
        },
    },
};

fn publisher() -> Publisher {
    publisher_with(Registry::new(1))
}

fn refused(registry: &Registry) -> u64 {
    let scope = registry.scope(Cds, "");
    scope.counter(cds::UPDATE_REJECTED) + scope.counter(cds::UPDATE_FAILURE)
}

fn publisher_with(registry: Arc<Registry>) -> Publisher {
    let plugins = Plugins::new(Arc::clone(&registry), Node::default(), EngineSettings::default());
    let access_logs = Arc::new(Sinks::dry(&registry));
    Publisher::new(PublisherSettings { registry, plugins, access_logs }, Arc::new(SnapshotStore::default()))
}

fn bootstrap(folder: &Path) -> String {
    format!(
        r#"
dynamic_resources:
  cds_config: {{path_config_source: {{path: {folder}/cds.yaml}}}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          rds: {{route_config_name: r, config_source: {{path_config_source: {{path: {folder}/rds.yaml}}}}}}
"#,
        folder = folder.display()
    )
}

fn routes(name: &str, domain: &str) -> String {
    format!(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n  name: {name}\n  \
         virtual_hosts:\n  - name: all\n    domains: [{domain:?}]\n    routes:\n    - match: {{prefix: /}}\n      \
         direct_response: {{status: 200}}\n"
    )
}

fn clusters(name: &str) -> String {
    format!(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: {name}\n  type: STATIC\n"
    )
}

fn of_bootstrap(text: String) -> Sources {
    let bootstrap = weir_xds::read_bootstrap(&text);
    Sources::new(Texts { name: "bootstrap.yaml".to_owned(), text, over: None }, bootstrap)
}

fn sources(folder: &Path) -> Sources {
    let text = bootstrap(folder);
    of_bootstrap(text)
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn files_are_read_as_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cds.yaml"), clusters("a")).unwrap();
    fs::write(folder.path().join("rds.yaml"), routes("r", "*")).unwrap();
    let (mut sources, mut publisher) = (sources(folder.path()), publisher());
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    assert_eq!(shown(sources.unready()), Vec::<String>::new());
    assert_eq!(sources.summary().to_string(), "1 listener, 1 route configuration, 1 cluster");
    let snapshot = publisher.store().load();
    assert!(snapshot.clusters.find("a").is_some());
    assert!(snapshot.route_config("r").is_some());
}

#[test]
fn a_file_that_is_not_there_is_fatal_and_a_wrong_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cds.yaml"), clusters("a").replace("STATIC", "STATIK")).unwrap();
    let (mut sources, mut publisher) = (sources(folder.path()), publisher());
    let fatal = shown(&sources.load(&mut publisher));
    assert_eq!(fatal.len(), 1);
    assert!(fatal[0].contains("rds.yaml: cannot be read"), "{fatal:?}");
    let unready = shown(sources.unready());
    assert_eq!(unready.len(), 1);
    assert!(unready[0].contains("cds.yaml:4: resources[0].type: \"STATIK\" is no value"), "{unready:?}");
}

#[test]
fn what_is_looked_for_in_a_file_must_be_in_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cds.yaml"), clusters("a")).unwrap();
    fs::write(folder.path().join("rds.yaml"), routes("other", "*")).unwrap();
    let (mut sources, mut publisher) = (sources(folder.path()), publisher());
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    assert_eq!(shown(sources.unready()), Vec::<String>::new());
    assert!(shown(sources.lacking())[0].contains("has no route configuration named \"r\", which is looked for in it"));
}

#[tokio::test]
async fn changes_take_effect_and_bad_files_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (cds, rds) = (folder.path().join("cds.yaml"), folder.path().join("rds.yaml"));
    fs::write(&cds, clusters("a")).unwrap();
    fs::write(&rds, "resources: [").unwrap();
    let mut sources = sources(folder.path());
    let registry = Registry::new(1);
    let mut publisher = publisher_with(Arc::clone(&registry));
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    let store = Arc::clone(publisher.store());
    let publisher = Arc::new(Mutex::new(publisher));
    let (control, _asked) = Control::new(1, LogControl::detached());
    control.unblock("start");
    let changed = Rc::new(Notify::new());
    let watching = watch(sources, Arc::clone(&publisher), control.clone(), Rc::clone(&changed));
    assert!(control.not_ready()[0].1.contains("not YAML or JSON"), "{:?}", control.not_ready());

    let script = async {
        let until = async |what: &str, holds: &dyn Fn() -> bool| {
            let wait = async {
                while !holds() {
                    changed.notified().await;
                }
            };
            time::timeout(Duration::from_secs(8), wait).await.expect(what);
        };
        fs::write(&rds, routes("r", "a.com")).unwrap();
        until("the file is mended", &|| store.load().route_config("r").is_some() && control.not_ready().is_empty())
            .await;
        fs::write(folder.path().join("new"), clusters("b")).unwrap();
        fs::rename(folder.path().join("new"), &cds).unwrap();
        until("a cluster changes", &|| store.load().clusters.find("b").is_some()).await;
        assert!(store.load().clusters.find("a").is_none());
        let generation = store.generation();
        for bad in ["", "resources: 5"] {
            let before = refused(&registry);
            fs::write(&cds, bad).unwrap();
            // Nothing is notified of what changes nothing.
            while refused(&registry) == before {
                time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(store.generation(), generation);
        assert!(store.load().clusters.find("b").is_some() && control.not_ready().is_empty());
        assert!(time::timeout(Duration::ZERO, changed.notified()).await.is_err());
        fs::write(&cds, clusters("c")).unwrap();
        until("the next good file", &|| store.load().clusters.find("c").is_some()).await;
    };
    tokio::select! {
        () = watching => panic!("the watch ended"),
        () = script => (),
    }
}

#[test]
fn a_file_that_was_written_just_before_the_start_is_one_update() {
    let folder = tempfile::tempdir().unwrap();
    let cds = folder.path().join("cds.yaml");
    fs::write(&cds, clusters("a")).unwrap();
    fs::write(folder.path().join("rds.yaml"), routes("r", "*")).unwrap();
    let (mut sources, registry) = (sources(folder.path()), Registry::new(1));
    let mut publisher = publisher_with(Arc::clone(&registry));
    sources.load(&mut publisher);
    let attempts = || registry.scope(Cds, "").counter(cds::UPDATE_ATTEMPT);

    // It is as if it had changed, because it may have while it was read.
    sources.refresh(std::slice::from_ref(&cds), &mut publisher);
    assert_eq!(attempts(), 1);
    // What is saved again without a change is an update, as in Envoy.
    sources.refresh(std::slice::from_ref(&cds), &mut publisher);
    assert_eq!(attempts(), 2);
}

#[test]
fn a_file_that_changed_while_it_was_first_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let cds = folder.path().join("cds.yaml");
    fs::write(&cds, clusters("a")).unwrap();
    fs::write(folder.path().join("rds.yaml"), routes("r", "*")).unwrap();
    let (mut sources, mut publisher) = (sources(folder.path()), publisher());
    sources.load(&mut publisher);

    fs::write(&cds, clusters("b")).unwrap();
    sources.refresh(&[cds], &mut publisher);

    assert!(publisher.store().load().clusters.find("b").is_some());
}

/// A listener of LDS on port 0 with routes `r` of a file.
fn front(name: &str, rds: &Path) -> String {
    format!(
        r#"
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: {name}
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: front
        http_filters:
        - name: envoy.filters.http.router
          typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
        rds: {{route_config_name: r, config_source: {{path_config_source: {{path: {}}}}}}}
"#,
        rds.display()
    )
}

fn with_lds(folder: &Path, listeners: &[String]) -> Sources {
    let lds = folder.join("lds.yaml");
    fs::write(&lds, format!("resources:\n{}", listeners.concat())).unwrap();
    let text = format!("dynamic_resources: {{lds_config: {{path_config_source: {{path: {}}}}}}}", lds.display());
    of_bootstrap(text)
}

/// Which file the routes in force are of.
fn routes_from(publisher: &Publisher) -> Option<PathBuf> {
    publisher.store().load().route_config("r")?;
    publisher.dump().iter().find(|entry| &*entry.name == "r").map(|entry| PathBuf::from(&*entry.source))
}

#[test]
fn a_name_may_move_to_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&a, routes("r", "*")).unwrap();
    fs::write(&b, routes("r", "*")).unwrap();
    let mut publisher = publisher();
    let mut sources = with_lds(folder.path(), &[front("l", &a)]);
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    assert_eq!(routes_from(&publisher).as_ref(), Some(&a));
    drop(with_lds(folder.path(), &[front("l", &b)]));
    assert_eq!(shown(&sources.refresh(&[folder.path().join("lds.yaml")], &mut publisher)), Vec::<String>::new());
    assert_eq!(routes_from(&publisher).as_ref(), Some(&b));
}

#[test]
fn one_name_from_two_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&a, routes("r", "*")).unwrap();
    fs::write(&b, routes("r", "*")).unwrap();
    let mut publisher = publisher();
    let mut sources = with_lds(folder.path(), &[front("l", &a), front("m", &b)]);
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    let unready = shown(sources.unready()).join("\n");
    let told = format!(
        "resources[1]: reads the route configuration \"r\" from {}, but listener \"l\" reads one of that name from {}",
        b.display(),
        a.display()
    );
    assert!(unready.contains(&told), "{unready}");
    let snapshot = publisher.store().load();
    assert!(snapshot.listener("l").is_some() && snapshot.listener("m").is_none());
}

#[test]
fn files_of_a_refused_listener_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let rds = folder.path().join("rds.yaml");
    fs::write(&rds, routes("r", "*").replace("prefix: /", "safe_regex: {regex: '('}")).unwrap();
    let mut publisher = publisher();
    let bad = front("l", &rds).replace("127.0.0.1", "nowhere.example");
    let mut sources = with_lds(folder.path(), &[bad]);
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    let unready = shown(sources.unready()).join("\n");
    assert!(unready.contains("nowhere.example") && unready.contains("safe_regex"), "{unready}");
    // Both are mended.
    fs::write(&rds, routes("r", "*")).unwrap();
    drop(with_lds(folder.path(), &[front("l", &rds)]));
    sources.refresh(&[rds, folder.path().join("lds.yaml")], &mut publisher);
    assert_eq!(shown(sources.unready()), Vec::<String>::new());
    assert!(routes_from(&publisher).is_some());
}
