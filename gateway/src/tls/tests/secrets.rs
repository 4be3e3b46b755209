//! Contexts and secrets that cannot be used.

use super::*;

#[test]
fn contexts_that_prove_nothing_are_refused() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let name = NameMatcher { kind: NameKind::Dns, matcher: TextMatcher::Exact("a".to_owned(), Case::Sensitive) };
    let rules = Validation { names: vec![name], ..Validation::default() };
    let names_only = slot(SecretSource::Validation(Box::new(ValidationSource { rules, ..Default::default() })));
    for params in [
        DownstreamParams { require_client_certificate: true, ..params(&[&leaf]) },
        DownstreamParams { validation: vec![names_only], ..params(&[&leaf]) },
    ] {
        assert!(matches!(DownstreamTls::new(params, Arc::default()), Err(SecretError::Context(_))));
    }
}

#[test]
fn secrets_that_cannot_be_used_say_why() {
    let ca = Authority::new("ca");
    let (leaf, other) = (ca.leaf(&["a.test"]), ca.leaf(&["b.test"]));
    let error = |chain: &str, key: &str| {
        let leaf = Leaf { chain: chain.to_owned(), key: key.to_owned() };
        leaf.source().load().unwrap_err().to_string()
    };
    assert!(error(&leaf.chain, &other.key).contains("does not match"));
    assert!(error("nothing", &leaf.key).contains("no PEM certificate"));
    assert!(error(&leaf.chain, "nothing").contains("no PEM private key"));
    assert!(error(&leaf.chain, &leaf.chain).contains("no PEM private key"));
    assert!(
        error(&leaf.chain, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .contains("encrypted")
    );
    assert!(error(&leaf.chain, "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").contains("unusable"));
    assert!(error("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", &leaf.key).contains("unusable"));

    assert!(error(VERSION_1.0, VERSION_1.1).contains("X.509 version 1"));

    let missing = DataSource::File("/nonexistent/tls.crt".into());
    assert!(matches!(missing.read(), Err(SecretError::Unreadable { .. })));
    assert!(!format!("{:?}", leaf.source()).contains("PRIVATE KEY"), "keys are never shown");
}

#[test]
fn a_reload_reads_files_again_and_keeps_the_last_good() {
    let ca = Authority::new("ca");
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let write = |leaf: &Leaf| {
        std::fs::write(&chain, &leaf.chain).unwrap();
        std::fs::write(&key, &leaf.key).unwrap();
    };
    let one = ca.leaf(&["one.test"]);
    write(&one);
    let source = SecretSource::Certificate(secret::CertificateSource {
        chain: DataSource::File(chain.clone()),
        key: DataSource::File(key.clone()),
        ocsp_staple: None,
        watched_directory: None,
    });
    assert_eq!(source.files(), [chain.clone(), key.clone()]);
    let slot = slot(source);
    let name = || match &slot.load().unwrap().secret {
        Secret::Certificate(certificate) => certificate.names.clone(),
        other => panic!("{other:?}"),
    };
    write(&ca.leaf(&["two.test"]));
    slot.reload().unwrap();
    assert_eq!(name(), ["two.test"]);
    std::fs::write(&key, &one.key).unwrap();
    assert!(matches!(slot.reload(), Err(SecretError::Mismatch { .. })));
    assert_eq!(name(), ["two.test"]);
}

/// What `openssl x509 -req` makes without extensions, and its key.
const VERSION_1: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----
MIIBFTCBuwIUCofq8pTM9LnE19fl9J3Fr7XohYAwCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwHhcNMjYxMTI4MDc1MzQwWhcNMzYxMTI1MDc1MzQwWjANMQswCQYD
VQQDDAJ2MTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBZM/N5JcBmymimoHo1u
hL968bkVnNbC/5zmKvWbNgsxKhQYuURLWEFVPRHFqaTD92XjBSr2tzWcOiZYJwDK
DJEwCgYIKoZIzj0EAwIDSQAwRgIhAPUy3Inm8w6aiYPN98Hso8Qk0mmRpn2v78Uv
S7oAAbNsAiEAuLETTL3FzWwbJXj6klEt137Nb6iNKbtR3ReqVaTGoMU=
-----END CERTIFICATE-----
",
    "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1Mnwv03KUtbYqsML
TDV1GxzyyvUfIZpU5zzsXVoh2tahRANCAAQWTPzeSXAZspopqB6NboS/evG5FZzW
wv+c5ir1mzYLMSoUGLlES1hBVT0Rxamkw/dl4wUq9rc1nDomWCcAygyR
-----END PRIVATE KEY-----
",
);
