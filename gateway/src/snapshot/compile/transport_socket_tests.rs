#![allow(clippy::unwrap_used)]

use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::tls::{CertificateValidationContext, TlsCertificate, TlsParameters};

use super::*;

fn inline(text: &str) -> Option<pb::core::DataSource> {
    Some(pb::core::DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..Default::default() })
}

fn certificate() -> TlsCertificate {
    let key = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    TlsCertificate {
        certificate_chain: inline(&key.cert.pem()),
        private_key: inline(&key.signing_key.serialize_pem()),
        ..Default::default()
    }
}

fn downstream(common: CommonTlsContext) -> DownstreamTlsContext {
    DownstreamTlsContext { common_tls_context: Some(common), ..Default::default() }
}

fn compile(proto: &DownstreamTlsContext, secrets: &Secrets) -> Result<Arc<DownstreamTls>, Vec<String>> {
    let mut problems = Problems::new();
    let cx = TlsCx { secrets, tickets: &Arc::default() };
    let compiled = compile_downstream_tls(proto, cx, &mut problems);
    compiled.ok_or_else(|| problems.into_vec().iter().map(ToString::to_string).collect())
}

fn socket<T: prost::Message + prost::Name>(context: &T) -> pb::core::TransportSocket {
    pb::core::TransportSocket { name: "tls".to_owned(), config_type: Some(ConfigType::TypedConfig(pb::pack(context))) }
}

#[test]
fn a_context_with_an_inline_certificate() {
    let proto = downstream(CommonTlsContext {
        tls_certificates: vec![certificate()],
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv13 as i32,
            ecdh_curves: vec!["P-521".to_owned(), "X25519".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    });
    let tls = compile(&proto, &Secrets::default()).unwrap();
    assert_eq!(tls.secrets().count(), 1);
}

#[test]
fn a_named_secret_is_waited_for_only_if_it_has_a_source() {
    let secrets = Secrets::default();
    let context = |sds_config| {
        downstream(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![SdsSecretConfig { name: "cert".to_owned(), sds_config }],
            ..Default::default()
        })
    };
    let dangling = context(None);
    let found = compile(&dangling, &secrets).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("common_tls_context.tls_certificate_sds_secret_configs[0].name: "), "{found:?}");

    let waiting = context(Some(pb::core::ConfigSource::default()));
    assert!(compile(&waiting, &secrets).is_ok());
    assert_eq!(sds_references(&socket(&waiting)).len(), 1);

    let loaded = load_certificate(&certificate(), &mut Problems::new()).unwrap();
    secrets.publish("cert", Arc::new(loaded));
    assert!(compile(&dangling, &secrets).is_ok());
}

#[test]
fn all_problems_are_told_with_their_paths() {
    let proto = DownstreamTlsContext {
        ocsp_staple_policy: OcspStaplePolicy::MustStaple as i32,
        ..downstream(CommonTlsContext {
            tls_certificates: vec![TlsCertificate { private_key: None, ..certificate() }],
            tls_params: Some(TlsParameters {
                cipher_suites: vec!["ECDHE-RSA-AES128-SHA".to_owned()],
                ecdh_curves: vec!["brainpool".to_owned()],
                signature_algorithms: vec!["rsa".to_owned()],
                ..Default::default()
            }),
            alpn_protocols: vec![String::new()],
            key_log: Some(Default::default()),
            ..Default::default()
        })
    };
    let mut found: Vec<_> = compile(&proto, &Secrets::default())
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.split(": ").next().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "common_tls_context.alpn_protocols[0]",
            "common_tls_context.key_log",
            "common_tls_context.tls_certificates[0].private_key",
            "common_tls_context.tls_params.cipher_suites",
            "common_tls_context.tls_params.ecdh_curves",
            "common_tls_context.tls_params.signature_algorithms",
            "ocsp_staple_policy",
        ]
    );
}

#[test]
fn a_context_needs_a_certificate_and_something_to_verify_against() {
    let found = compile(&DownstreamTlsContext::default(), &Secrets::default()).unwrap_err();
    assert!(found[0].contains("no certificate"), "{found:?}");
    let proto = DownstreamTlsContext {
        require_client_certificate: Some(pb::BoolValue { value: true }),
        ..downstream(CommonTlsContext { tls_certificates: vec![certificate()], ..Default::default() })
    };
    assert!(compile(&proto, &Secrets::default()).unwrap_err()[0].contains("require_client_certificate"));
}

#[test]
fn sockets_are_cleartext_or_tls_of_their_side() {
    let (secrets, tickets) = (Secrets::default(), Arc::default());
    let cx = TlsCx { secrets: &secrets, tickets: &tickets };
    let upstream = UpstreamTlsContext {
        sni: "a.test".to_owned(),
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContext(CertificateValidationContext {
                trusted_ca: certificate().certificate_chain,
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let compile = |socket: Option<&pb::core::TransportSocket>| {
        let mut problems = Problems::new();
        (compile_upstream_socket(socket, AutoSan::Off, cx, &mut problems), problems)
    };
    assert!(matches!(compile(None), (Some(None), _)));
    assert!(matches!(compile(Some(&socket(&pb::raw_buffer::RawBuffer {}))), (Some(None), _)));
    assert!(matches!(compile(Some(&socket(&upstream))), (Some(Some(_)), _)));
    let (compiled, problems) = compile(Some(&socket(&DownstreamTlsContext::default())));
    assert!(compiled.is_none());
    assert_eq!(problems.into_vec()[0].path, "typed_config");

    let bad = UpstreamTlsContext { sni: "not a name".to_owned(), allow_renegotiation: true, ..upstream };
    let (compiled, problems) = compile(Some(&socket(&bad)));
    assert!(compiled.is_none());
    assert_eq!(problems.len(), 2);
}
