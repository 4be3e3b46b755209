//! Publications: what is reused, kept, refused and taken away, and what is seen of it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use weir_xds::Kind::{Cluster, Endpoint, Extension, Listener, Route, Secret};

use super::listener::Awaited;
use super::testing::{
    assignment, cluster, eds, inline, listener, publisher, publisher_with, rds, reasons, routes, update,
};
use super::{Publisher, STATIC};
use crate::telemetry::metrics::{Registry, names};

fn ports(publisher: &Publisher, cluster: &str) -> Vec<u16> {
    let snapshot = publisher.store().load();
    let mut ports: Vec<_> =
        snapshot.clusters.find(cluster).unwrap().endpoints.hosts().iter().map(|h| h.endpoint.address.port()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn one_publication_brings_what_is_named_before_what_names_it() {
    let mut publisher = publisher();
    let report = publisher.publish(vec![
        update(STATIC, Listener, &[&listener("l", 0, &inline("c"))]),
        update(STATIC, Cluster, &[&cluster("c", 80)]),
    ]);
    assert_eq!(reasons(&report), [""; 0]);
    assert_eq!(report.accepted, 2);
    let snapshot = publisher.store().load();
    assert_eq!(snapshot.version, 1);
    assert!(snapshot.listener("l").is_some() && snapshot.listener("m").is_none());
    assert_eq!(snapshot.listeners().count(), 1);
    assert_eq!(ports(&publisher, "c"), [80]);
}

#[test]
fn what_did_not_change_is_the_same_value() {
    let mut publisher = publisher();
    let (l, m) = (listener("l", 0, &inline("c")), listener("m", 0, &inline("c")));
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)]), update("a", Listener, &[&l, &m])]);
    let before = publisher.store().load();
    let report = publisher.publish(vec![update("a", Listener, &[&l, &m]), update("a", Cluster, &[&cluster("c", 80)])]);
    assert_eq!((report.accepted, report.unchanged.len(), report.removed), (0, 3, 0));
    assert!(Arc::ptr_eq(&before, &publisher.store().load()), "no snapshot for nothing");

    let changed = l.replace("stat_prefix: p", "stat_prefix: q");
    let report = publisher.publish(vec![update("a", Listener, &[&changed, &m])]);
    assert_eq!((report.accepted, report.unchanged.len()), (1, 1));
    let after = publisher.store().load();
    assert_eq!(after.version, 2);
    assert!(!Arc::ptr_eq(before.listener("l").unwrap(), after.listener("l").unwrap()));
    assert!(Arc::ptr_eq(before.listener("m").unwrap(), after.listener("m").unwrap()));
    assert!(Arc::ptr_eq(before.clusters.find("c").unwrap(), after.clusters.find("c").unwrap()));
}

#[test]
fn a_bad_resource_is_refused_alone_and_its_last_good_version_stays() {
    let mut publisher = publisher();
    let (l, m) = (listener("l", 0, &inline("c")), listener("m", 0, &inline("c")));
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)]), update("a", Listener, &[&l, &m])]);
    let before = publisher.store().load();
    let bad = l.replace("prefix: /}", "safe_regex: {regex: '('}}");
    let changed = m.replace("stat_prefix: p", "stat_prefix: q");
    let report = publisher.publish(vec![update("a", Listener, &[&bad, &changed])]);
    assert_eq!((report.accepted, report.rejected.len()), (1, 1));
    assert!(report.rejected[0].kept);
    let path = "here.filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].match.safe_regex";
    assert!(report.rejected[0].problems[0].path.starts_with(path), "{:?}", report.rejected[0].problems);
    let after = publisher.store().load();
    assert!(Arc::ptr_eq(before.listener("l").unwrap(), after.listener("l").unwrap()));
    assert!(!Arc::ptr_eq(before.listener("m").unwrap(), after.listener("m").unwrap()));

    let dump = publisher.dump();
    let entry = dump.iter().find(|entry| &*entry.name == "l").unwrap();
    assert!(entry.bytes.is_some() && entry.last_updated.is_some() && !entry.is_static());
    assert_eq!(entry.rejection.as_ref().unwrap().problems.len(), 1);
    let report = publisher.publish(vec![update("a", Listener, &[&l, &changed])]);
    assert_eq!((report.accepted, report.unchanged.len()), (0, 2));
    assert!(publisher.dump().iter().all(|entry| entry.rejection.is_none()));
}

#[test]
fn problems_of_reading_refuse_and_a_missing_name_removes_nothing() {
    let mut publisher = publisher();
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80), &cluster("d", 80)])]);
    let report = publisher.publish(vec![update("a", Cluster, &["name: [1]", &cluster("d", 80)])]);
    assert_eq!((report.rejected.len(), report.removed), (1, 0));
    // Its name is not known: something of the source is in force.
    assert!(report.rejected[0].kept);
    let report = publisher.publish(vec![update("a", Cluster, &["name: c\nno_such_field: 1", &cluster("d", 80)])]);
    assert_eq!((report.rejected.len(), report.removed), (1, 0));
    assert!(report.rejected[0].kept);
    assert_eq!(ports(&publisher, "c"), [80]);
}

#[test]
fn listeners_and_clusters_go_when_their_source_drops_them() {
    let mut publisher = publisher();
    publisher.publish(vec![
        update("a", Cluster, &[&cluster("c", 80), &cluster("d", 80)]),
        update("b", Cluster, &[&cluster("e", 80)]),
        update("a", Listener, &[&listener("l", 0, &inline("c"))]),
    ]);
    let report = publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)]), update("a", Listener, &[])]);
    assert_eq!((report.removed, report.unchanged.len()), (2, 1));
    let snapshot = publisher.store().load();
    assert!(snapshot.listener("l").is_none() && snapshot.clusters.find("d").is_none());
    assert!(snapshot.clusters.find("c").is_some() && snapshot.clusters.find("e").is_some());
}

#[test]
fn of_two_sources_the_first_keeps_a_name() {
    let mut publisher = publisher();
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)])]);
    let report = publisher.publish(vec![update("b", Cluster, &[&cluster("c", 81)])]);
    assert_eq!(reasons(&report), ["c: here: the name \"c\" is taken by a"]);
    assert_eq!(ports(&publisher, "c"), [80]);
    publisher.publish(vec![update("a", Cluster, &[])]);
    publisher.publish(vec![update("b", Cluster, &[&cluster("c", 81)])]);
    assert_eq!(ports(&publisher, "c"), [81]);
}

#[test]
fn of_two_listeners_the_first_keeps_an_address() {
    let mut publisher = publisher();
    let cluster = update("a", Cluster, &[&cluster("c", 80)]);
    let (l, m) = (listener("l", 7001, &inline("c")), listener("m", 7001, &inline("c")));
    let report = publisher.publish(vec![cluster, update("a", Listener, &[&l, &m])]);
    assert_eq!(reasons(&report), ["m: here.address: 127.0.0.1:7001 is taken by listener \"l\""]);
    // They may change places in one publication.
    let (l2, m2) = (l.replace("7001", "7002"), m);
    assert_eq!(reasons(&publisher.publish(vec![update("a", Listener, &[&l2, &m2])])), [""; 0]);
    let (l3, m3) = (l2.replace("7002", "7001"), m2.replace("7001", "7002"));
    let report = publisher.publish(vec![update("a", Listener, &[&l3, &m3])]);
    assert_eq!((reasons(&report).len(), report.accepted), (0, 2));
    // Port 0 is another one for each.
    let (l4, m4) = (l3.replace("7001", "0"), m3.replace("7002", "0"));
    assert_eq!(publisher.publish(vec![update("a", Listener, &[&l4, &m4])]).accepted, 2);
}

#[test]
fn a_listener_without_a_name_goes_by_its_address() {
    let mut publisher = publisher();
    let l = listener("l", 7003, &inline("c")).replace("name: l\n", "");
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)]), update("a", Listener, &[&l])]);
    assert!(publisher.store().load().listener("127.0.0.1:7003").is_some());
    assert_eq!(publisher.publish(vec![update("a", Listener, &[&l])]).unchanged.len(), 1);
}

#[test]
fn routes_come_by_their_name_and_a_listener_waits_for_them() {
    let mut publisher = publisher();
    publisher.publish(vec![update("a", Listener, &[&listener("l", 0, &rds("r"))])]);
    assert_eq!(publisher.awaited("l"), [Awaited::Routes("r".into())]);
    let references = publisher.references();
    assert_eq!((references.len(), references[0].kind, &*references[0].name), (1, Route, "r"));
    assert_eq!(references[0].path, Path::new("/etc/weir/rds.yaml"));
    // Routes of RDS may name a cluster that is not there yet.
    let report = publisher.publish(vec![update("rds", Route, &[&routes("r", "later")])]);
    assert_eq!(reasons(&report), [""; 0]);
    assert!(publisher.awaited("l").is_empty());
    let before = publisher.store().load();
    assert!(before.route_config("r").is_some());
    publisher.publish(vec![update("rds", Route, &[&routes("r", "other")])]);
    let after = publisher.store().load();
    assert!(!Arc::ptr_eq(before.route_config("r").unwrap(), after.route_config("r").unwrap()));
    assert!(Arc::ptr_eq(before.listener("l").unwrap(), after.listener("l").unwrap()));
}

#[test]
fn routes_stay_while_a_listener_names_them() {
    let mut publisher = publisher();
    publisher.publish(vec![update("a", Listener, &[&listener("l", 0, &rds("r"))])]);
    publisher.publish(vec![update("rds", Route, &[&routes("r", "c"), &routes("unnamed", "c")])]);
    let report = publisher.publish(vec![update("rds", Route, &[])]);
    assert_eq!(report.removed, 1);
    let snapshot = publisher.store().load();
    assert!(snapshot.route_config("r").is_some() && snapshot.route_config("unnamed").is_none());
    publisher.publish(vec![update("a", Listener, &[])]);
    assert_eq!(publisher.store().load().routes.len(), 0);
}

#[test]
fn clusters_follow_the_assignment_of_their_service() {
    let registry = Registry::new(1);
    let mut publisher = publisher_with(Arc::clone(&registry));
    publisher.publish(vec![update("a", Cluster, &[&eds("c", "svc"), &eds("d", ""), &cluster("e", 1)])]);
    let names: Vec<_> = publisher.references().iter().map(|r| (r.kind, r.name.clone())).collect();
    assert_eq!(names, [(Endpoint, "d".to_owned()), (Endpoint, "svc".to_owned())]);
    assert_eq!(ports(&publisher, "c"), [0; 0]);
    let static_before = publisher.store().load().clusters.find("e").cloned().unwrap();
    publisher.publish(vec![update("e", Endpoint, &[&assignment("svc", &[1, 2]), &assignment("d", &[3])])]);
    assert_eq!((ports(&publisher, "c"), ports(&publisher, "d")), (vec![1, 2], vec![3]));
    let before = publisher.store().load();
    assert!(Arc::ptr_eq(before.clusters.find("e").unwrap(), &static_before));
    // An endpoint that stays keeps its state, whether the endpoints change or the cluster.
    publisher.publish(vec![update("e", Endpoint, &[&assignment("svc", &[2, 4]), &assignment("d", &[3])])]);
    assert_eq!(ports(&publisher, "c"), [2, 4]);
    let changed = eds("c", "svc") + "\nlb_policy: RANDOM";
    publisher.publish(vec![update("a", Cluster, &[&changed, &eds("d", ""), &cluster("e", 1)])]);
    let after = publisher.store().load();
    assert_eq!(ports(&publisher, "c"), [2, 4]);
    let endpoint = |snapshot: &super::Snapshot| {
        let hosts = snapshot.clusters.find("c").unwrap().endpoints.hosts();
        hosts.iter().find(|host| host.endpoint.address.port() == 2).unwrap().endpoint.id
    };
    assert_eq!(endpoint(&before), endpoint(&after));
    assert_eq!(registry.scope(names::Cluster, "c").counter(names::cluster::UPDATE_SUCCESS), 2);
    // As in Envoy, an assignment that is left out means no change.
    publisher.publish(vec![update("e", Endpoint, &[])]);
    assert_eq!(ports(&publisher, "c"), [2, 4]);
}

#[test]
fn what_was_refused_for_a_missing_cluster_is_taken_when_that_comes() {
    let mut publisher = publisher();
    let report = publisher.publish(vec![update("lds", Listener, &[&listener("l", 0, &inline("c"))])]);
    assert_eq!(report.rejected.len(), 1);
    assert!(publisher.store().load().listener("l").is_none());
    assert!(publisher.dump().iter().any(|entry| &*entry.name == "l" && entry.bytes.is_none()));
    let report = publisher.publish(vec![update("cds", Cluster, &[&cluster("c", 80)])]);
    assert_eq!((report.accepted, report.rejected.len()), (2, 0));
    assert!(publisher.store().load().listener("l").is_some());
}

#[test]
fn old_snapshots_are_freed_when_nobody_holds_them() {
    let mut publisher = publisher();
    let held = publisher.store().load();
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 80)])]);
    publisher.publish(vec![update("a", Cluster, &[&cluster("c", 81)])]);
    assert_eq!(publisher.free_retired(), 1);
    let weak = Arc::downgrade(&held);
    drop(held);
    assert!(weak.upgrade().is_some(), "the publisher frees, nobody else");
    assert_eq!(publisher.free_retired(), 0);
    assert!(weak.upgrade().is_none());
}

#[test]
fn an_unusable_document_changes_nothing() {
    let registry = Registry::new(1);
    let mut publisher = publisher_with(Arc::clone(&registry));
    publisher.publish(vec![update("lds", Listener, &[])]);
    let problem = weir_xds::Problem { path: String::new(), line: Some(3), reason: "not YAML".to_owned() };
    let report = publisher.refuse(&"lds".into(), Listener, vec![problem]);
    assert_eq!(reasons(&report), [": : not YAML"]);
    let lds = registry.scope(names::Lds, "");
    assert_eq!(lds.counter(names::lds::UPDATE_SUCCESS), 1);
    assert_eq!(lds.counter(names::lds::UPDATE_FAILURE), 1);
    let weir = registry.scope(names::Weir, "");
    assert_eq!(weir.counter(names::weir::RESOURCE_REJECTED), 1);
}

#[test]
fn extensions_are_refused() {
    let report = publisher().publish(vec![update("a", Extension, &["name: x"])]);
    assert_eq!(report.rejected.len(), 1);
}

/// A certificate and its key in files of a folder.
fn write_certificate(folder: &Path, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn certificate_fields(folder: &Path) -> String {
    let folder = folder.display();
    format!("certificate_chain: {{filename: {folder}/cert.pem}}, private_key: {{filename: {folder}/key.pem}}")
}

fn with_tls(listener: String, context: &str) -> String {
    format!(
        "{listener}  transport_socket: {{name: tls, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         common_tls_context: {{{context}}}}}}}\n"
    )
}

fn names_of(publisher: &Publisher, listener: &str) -> Vec<String> {
    let snapshot = publisher.store().load();
    let tls = snapshot.listener(listener).unwrap().chains[0].tls.clone().unwrap();
    let loaded = tls.secrets().next().unwrap().load().unwrap();
    match &loaded.secret {
        crate::tls::Secret::Certificate(certificate) => certificate.names.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn certificates_are_read_again_when_their_files_change() {
    let (named, inline_files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_certificate(named.path(), "one.example");
    write_certificate(inline_files.path(), "two.example");
    let mut publisher = publisher();
    let sds =
        "tls_certificate_sds_secret_configs: [{name: s, sds_config: {path_config_source: {path: /etc/sds.yaml}}}]";
    let own = format!("tls_certificates: [{{{}}}]", certificate_fields(inline_files.path()));
    let report = publisher.publish(vec![
        update("a", Cluster, &[&cluster("c", 80)]),
        update(
            "a",
            Listener,
            &[&with_tls(listener("named", 0, &inline("c")), sds), &with_tls(listener("own", 0, &inline("c")), &own)],
        ),
    ]);
    assert_eq!(reasons(&report), [""; 0]);
    assert_eq!(publisher.awaited("named"), [Awaited::Secret("s".into())]);
    assert!(publisher.references().iter().any(|r| r.kind == Secret && r.path == Path::new("/etc/sds.yaml")));
    let secret = format!("name: s\ntls_certificate: {{{}}}", certificate_fields(named.path()));
    assert_eq!(reasons(&publisher.publish(vec![update("sds", Secret, &[&secret])])), [""; 0]);
    assert!(publisher.awaited("named").is_empty());
    let files: Vec<_> = publisher.files().into_iter().map(|file| file.path).collect();
    for folder in [&named, &inline_files] {
        assert!(files.contains(&folder.path().join("cert.pem")) && files.contains(&folder.path().join("key.pem")));
    }
    assert_eq!(names_of(&publisher, "named"), ["one.example"]);
    assert_eq!(names_of(&publisher, "own"), ["two.example"]);

    let before = publisher.store().load();
    write_certificate(named.path(), "three.example");
    write_certificate(inline_files.path(), "four.example");
    assert_eq!(publisher.refresh(&named.path().join("cert.pem")).accepted, 1);
    assert_eq!(publisher.refresh(&inline_files.path().join("key.pem")).accepted, 1);
    assert_eq!(names_of(&publisher, "named"), ["three.example"]);
    assert_eq!(names_of(&publisher, "own"), ["four.example"]);
    assert!(Arc::ptr_eq(&before, &publisher.store().load()), "a certificate is no reason for a new snapshot");

    std::fs::write(named.path().join("cert.pem"), "garbage").unwrap();
    std::fs::write(inline_files.path().join("cert.pem"), "garbage").unwrap();
    for folder in [&named, &inline_files] {
        let report = publisher.refresh(&folder.path().join("cert.pem"));
        assert_eq!((report.accepted, report.rejected.len()), (0, 1));
        assert!(report.rejected[0].kept);
    }
    assert_eq!(names_of(&publisher, "named"), ["three.example"]);
    assert_eq!(names_of(&publisher, "own"), ["four.example"]);
}

#[test]
fn a_static_secret_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path(), "one.example");
    let mut publisher = publisher();
    let sds = "tls_certificate_sds_secret_configs: [{name: s}]";
    let l = with_tls(listener("l", 0, &inline("c")), sds);
    let clusters = update(STATIC, Cluster, &[&cluster("c", 80)]);
    let report = publisher.publish(vec![clusters, update(STATIC, Listener, &[&l])]);
    assert_eq!(reasons(&report).len(), 1, "{:?}", reasons(&report));
    assert!(reasons(&report)[0].contains("no secret \"s\" in static_resources"), "{:?}", reasons(&report));
    let secret = format!("name: s\ntls_certificate: {{{}}}", certificate_fields(folder.path()));
    let report = publisher.publish(vec![update(STATIC, Secret, &[&secret])]);
    assert_eq!((report.accepted, report.rejected.len()), (2, 0));
    assert!(publisher.awaited("l").is_empty());
}
