#![allow(clippy::unwrap_used)]

use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::tls::{CertificateValidationContext, GenericSecret, SubjectAltNameMatcher, TlsCertificate};

use super::*;
use crate::tls::Secret;

fn inline(text: &str) -> Option<pb::core::DataSource> {
    Some(pb::core::DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() })
}

fn file(path: &str) -> Option<pb::core::DataSource> {
    Some(pb::core::DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..Default::default() })
}

fn secret(r#type: Type) -> pb::tls::Secret {
    pb::tls::Secret { name: "secret".to_owned(), r#type: Some(r#type) }
}

fn problems(proto: &pb::tls::Secret) -> Vec<String> {
    let mut problems = Problems::new();
    assert!(compile_secret(proto, &mut problems).is_none());
    problems.into_vec().iter().map(ToString::to_string).collect()
}

#[test]
fn a_certificate_is_loaded() {
    let key = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let proto = secret(Type::TlsCertificate(TlsCertificate {
        certificate_chain: inline(&key.cert.pem()),
        private_key: inline(&key.signing_key.serialize_pem()),
        ..Default::default()
    }));
    let loaded = compile_secret(&proto, &mut Problems::new()).unwrap();
    let Secret::Certificate(certificate) = &loaded.secret else { panic!("{loaded:?}") };
    assert_eq!(certificate.names, ["a.test"]);
    assert_eq!(certificate.info().dns_sans, ["a.test"]);
}

#[test]
fn problems_stand_at_their_fields() {
    let key = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["b.test".to_owned()]).unwrap();
    let certificate = |chain, private_key| {
        secret(Type::TlsCertificate(TlsCertificate { certificate_chain: chain, private_key, ..Default::default() }))
    };
    let chain = || inline(&key.cert.pem());
    for (proto, at, what) in [
        (
            certificate(file("/nonexistent/c"), inline(&key.signing_key.serialize_pem())),
            "tls_certificate.certificate_chain: ",
            "/nonexistent/c",
        ),
        (certificate(chain(), file("/nonexistent/k")), "tls_certificate.private_key: ", "/nonexistent/k"),
        (certificate(chain(), inline(&other.signing_key.serialize_pem())), "tls_certificate.private_key: ", "match"),
        (certificate(chain(), None), "tls_certificate.private_key: ", "needed"),
        (secret(Type::GenericSecret(GenericSecret::default())), "generic_secret: ", "not supported"),
        (secret(Type::SessionTicketKeys(Default::default())), "session_ticket_keys.keys: ", "needed"),
    ] {
        let found = problems(&proto);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(at) && found[0].contains(what), "{found:?}");
    }
    let found = problems(&certificate(inline("x"), file("/nonexistent/k")));
    assert!(found[0].starts_with("tls_certificate.certificate_chain: ") && found[0].contains("no PEM certificate"));
    assert!(found[1].starts_with("tls_certificate.private_key: ") && found.len() == 2, "{found:?}");
}

#[test]
fn all_problems_of_a_validation_context_are_told() {
    let found = problems(&secret(Type::ValidationContext(CertificateValidationContext {
        verify_certificate_spki: vec!["short".to_owned()],
        verify_certificate_hash: vec!["zz".to_owned()],
        match_typed_subject_alt_names: vec![SubjectAltNameMatcher::default()],
        custom_validator_config: Some(Default::default()),
        ..Default::default()
    })));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn names_are_matched_by_re2() {
    let matched = |regex: &str, name: &str| {
        let regex = pb::matcher::RegexMatcher { regex: regex.to_owned(), ..Default::default() };
        let matcher =
            pb::matcher::StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex)), ..Default::default() };
        text_matcher(Some(&matcher)).map(|matcher| matcher.matches(name))
    };
    for (pattern, name, want) in [
        ("spiffe://a/.*", "spiffe://a/b", true),
        ("a", "ab", false),
        ("a|b", "ab", false),
        // What the regex crate reads in another way, or not at all.
        ("[a[b]", "[", true),
        ("[a&&b]", "&", true),
        (r"\Qa.b\E", "a.b", true),
        (r"\Qa.b\E", "axb", false),
        ("x{", "x{", true),
        (r"\<", "<", true),
    ] {
        assert_eq!(matched(pattern, name), Ok(want), "{pattern} {name}");
    }
    for pattern in ["a(", "a**", r"(?x)a b", "a{1001}"] {
        let error = matched(pattern, "a").unwrap_err();
        assert!(error.starts_with(&format!("invalid regex '{pattern}': ")), "{error}");
    }
    // A pattern that ends its own group is no way out of the anchors.
    assert!(matched("a)|(?:b", "xb").is_err());
}
