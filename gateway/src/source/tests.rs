#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use super::*;
use crate::{
    plugin::{EngineSettings, Node, Plugins},
    snapshot::{PublisherSettings, SnapshotStore},
    telemetry::{access_log::Sinks, log::LogControl, metrics::Registry},
};

fn publisher() -> Publisher {
    let registry = Registry::new(1);
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

fn sources(folder: &Path) -> Sources {
    let text = bootstrap(folder);
    Sources::new("bootstrap.yaml", &text, weir_xds::read_bootstrap(&text))
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
    assert!(shown(sources.unready())[0].ends_with("has no route configuration named \"r\", which is looked for in it"));
}

#[tokio::test]
async fn changes_take_effect_and_bad_files_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (cds, rds) = (folder.path().join("cds.yaml"), folder.path().join("rds.yaml"));
    fs::write(&cds, clusters("a")).unwrap();
    fs::write(&rds, "resources: [").unwrap();
    let mut sources = sources(folder.path());
    let mut publisher = publisher();
    assert_eq!(shown(&sources.load(&mut publisher)), Vec::<String>::new());
    let store = Arc::clone(publisher.store());
    let publisher = Rc::new(RefCell::new(publisher));
    let (control, _asked) = Control::new(1, LogControl::detached());
    control.unblock("start");
    let changed = Rc::new(Notify::new());
    let watching = watch(sources, Rc::clone(&publisher), control.clone(), Rc::clone(&changed));
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
        fs::write(&cds, "").unwrap();
        changed.notified().await;
        fs::write(&cds, "resources: 5").unwrap();
        changed.notified().await;
        assert_eq!(store.generation(), generation);
        assert!(store.load().clusters.find("b").is_some() && control.not_ready().is_empty());
        fs::write(&cds, clusters("c")).unwrap();
        until("the next good file", &|| store.load().clusters.find("c").is_some()).await;
    };
    tokio::select! {
        () = watching => panic!("the watch ended"),
        () = script => (),
    }
}
