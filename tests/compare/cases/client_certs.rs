//! Certificates of clients: what is told of them, and what routes make of them.

use crate::case::{Case, get};
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
async fn what_the_upstream_is_told() {
    const MODES: [&str; 5] = ["SANITIZE", "SANITIZE_SET", "APPEND_FORWARD", "FORWARD_ONLY", "ALWAYS_FORWARD_ONLY"];
    let root = Authority::new("root");
    let details = json!({"subject": true, "cert": true, "chain": false, "dns": true, "uri": true});
    let setup = MODES.iter().fold(Setup::new(), |setup, mode| {
        let fields = json!({"forward_client_cert_details": mode, "set_current_client_cert_details": details});
        setup.listener(mode, Hcm::new().set(fields)).tls(context(&root, trusting(&root)))
    });
    let clients = [
        (
            "names of both kinds",
            client(&root, &["spiffe://cluster.local/ns/a", "a.example", "spiffe://b", "b.example"]),
        ),
        ("no URI", client(&root, &["a.example"])),
        ("no DNS name", client(&root, &["spiffe://a"])),
        ("quotes in the subject", client(&root, &[r#"a "quoted", \escaped; name="#])),
        ("delimiters in a URI", client(&root, &["spiffe://a,By=b;Hash=c", r#"spiffe://a"b"#])),
        ("line ends in a name", client(&root, &["a\r\nx-smuggled: 1", "spiffe://a"])),
        ("no certificate", anonymous(&root)),
    ];
    let told = "x-forwarded-client-cert: By=spiffe://x;Hash=1;Subject=\"CN=x\"\r\n";
    let cases: Vec<Case> = MODES
        .iter()
        .flat_map(|mode| clients.iter().map(move |(name, tls)| (mode, name, tls)))
        .flat_map(|(mode, name, tls)| {
            let case = |headers: &str| get(name, "/", headers).to(mode).over(tls);
            [case(""), case(told)]
        })
        .collect();
    compare(setup, cases).await;
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
