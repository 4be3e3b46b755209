//! Certificates of clients: what is told of them, and what routes make of them.

use crate::case::get;
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::{Authority, Hcm, Identity, TlsClient};

/// A client with a certificate of this authority.
fn client(root: &Authority, names: &[&str]) -> TlsClient {
    TlsClient::with_identity(root, &root.issue(names)).trusting_all()
}

fn anonymous(root: &Authority) -> TlsClient {
    TlsClient::trusting(root).trusting_all()
}

/// Of a listener that asks for certificates, with these rules for them.
fn context(root: &Authority, validation: Value) -> Value {
    let Identity { certificate, key } = root.issue(&["spiffe://cluster.local/ns/gateway", "test.example"]);
    let pair = json!({"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}});
    json!({"common_tls_context": {"tls_certificates": [pair], "validation_context": validation}})
}

fn trusting(root: &Authority) -> Value {
    json!({"trusted_ca": {"inline_string": root.pem}})
}

#[tokio::test]
async fn routes_that_ask_for_a_certificate() {
    let (root, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let route = |context: Value, text: &str| {
        json!({"match": {"prefix": "/", "tls_context": context},
               "direct_response": {"status": 200, "body": {"inline_string": text}}})
    };
    let hcm = Hcm::new().routes(json!([
        route(json!({"presented": true, "validated": true}), "validated"),
        route(json!({"presented": true, "validated": false}), "presented"),
        route(json!({"presented": false, "validated": true}), "impossible"),
        route(json!({"validated": false}), "neither"),
    ]));
    let untrusted = |mut validation: Value| {
        validation["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
        validation
    };
    let mut named = trusting(&root);
    named["match_typed_subject_alt_names"] = json!([{"san_type": "DNS", "matcher": {"exact": "a.example"}}]);
    let setups = [
        ("trusted", trusting(&root)),
        ("untrusted", untrusted(trusting(&root))),
        ("named", untrusted(named)),
        ("nothing", untrusted(json!({}))),
    ];
    let setup = setups.into_iter().fold(Setup::new(), |setup, (listener, validation)| {
        setup.listener(listener, hcm.clone()).tls(context(&root, validation))
    });
    let (good, bad) = (client(&root, &["a.example"]), client(&foreign, &["a.example"]));
    let other = client(&root, &["b.example"]);
    let mut cases = vec![
        get("a good certificate", "/", "").to("trusted").over(&good),
        get("no certificate", "/", "").to("trusted").over(&anonymous(&root)),
    ];
    for listener in ["untrusted", "named", "nothing"] {
        for (name, tls) in [
            ("a good certificate", &good),
            ("a foreign one", &bad),
            ("another name", &other),
            ("none", &anonymous(&root)),
        ] {
            cases.push(get(name, "/", "").to(listener).over(tls));
        }
    }
    compare(setup, cases).await;
}
