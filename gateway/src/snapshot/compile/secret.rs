//! `envoy.extensions.transport_sockets.tls.v3.Secret` into what handshakes use.

use std::path::PathBuf;
use std::sync::Arc;

use weir_xds::pb;
use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::matcher::string_matcher::MatchPattern;
use weir_xds::pb::tls::certificate_validation_context::TrustChainVerification;
use weir_xds::pb::tls::secret::Type;
use weir_xds::pb::tls::subject_alt_name_matcher::SanType;

use crate::route::Pattern;
use crate::snapshot::Problems;
use crate::tls::secret::{CertificateSource, DataSource, Loaded, SecretError, SecretSource, ValidationSource};
use crate::tls::validation::{Case, NameKind, NameMatcher, TextMatcher, Validation};

/// Compiles a secret of SDS or of `static_resources.secrets`; [`crate::tls::Secrets::publish`] makes it current.
pub fn compile_secret(proto: &pb::tls::Secret, problems: &mut Problems) -> Option<Arc<Loaded>> {
    let mut inner = Problems::new();
    let (field, loaded) = match &proto.r#type {
        Some(Type::TlsCertificate(certificate)) => ("tls_certificate", load_certificate(certificate, &mut inner)),
        Some(Type::ValidationContext(context)) => ("validation_context", load_validation(context, &mut inner)),
        Some(Type::SessionTicketKeys(keys)) => ("session_ticket_keys", load_ticket_keys(keys, &mut inner)),
        Some(Type::GenericSecret(_)) => {
            inner.push("", "generic secrets are not supported: nothing in this version uses them");
            ("generic_secret", None)
        }
        None => {
            inner.push("", "the secret is empty; give tls_certificate, validation_context or session_ticket_keys");
            ("", None)
        }
    };
    problems.nest(field, inner);
    loaded.map(Arc::new)
}

/// Loads a certificate with its key.
pub(super) fn load_certificate(proto: &pb::tls::TlsCertificate, problems: &mut Problems) -> Option<Loaded> {
    let before = problems.len();
    let unsupported = [
        ("pkcs12", proto.pkcs12.is_some(), "give certificate_chain and private_key in PEM form"),
        ("private_key_provider", proto.private_key_provider.is_some(), "give private_key"),
        ("password", proto.password.is_some(), "give the private key without a password"),
        ("signed_certificate_timestamp", !proto.signed_certificate_timestamp.is_empty(), "leave it out"),
        ("tls_params", proto.tls_params.is_some(), "set tls_params in common_tls_context"),
    ];
    for (field, _, instead) in unsupported.iter().filter(|(_, set, _)| *set) {
        problems.push(*field, format!("not supported; {instead}"));
    }
    let chain = required(&proto.certificate_chain, "certificate_chain", problems);
    let key = required(&proto.private_key, "private_key", problems);
    let ocsp_staple = proto.ocsp_staple.as_ref().map(|source| data_source(source, "ocsp_staple", problems));
    if problems.len() > before {
        return None;
    }
    let source = CertificateSource {
        chain: chain?,
        key: key?,
        ocsp_staple: ocsp_staple.flatten(),
        watched_directory: watched(&proto.watched_directory, &[&proto.certificate_chain, &proto.private_key]),
    };
    // Each of its parts is told of, and only if they are right by themselves what does not fit together.
    let parts = source.problems();
    for (field, error) in &parts {
        problems.push(*field, error.to_string());
    }
    if !parts.is_empty() {
        return None;
    }
    load(SecretSource::Certificate(source), problems, |error| match error {
        SecretError::NoCertificate(_) | SecretError::BadCertificate(..) => "certificate_chain",
        _ => "private_key",
    })
}

/// Loads what peers are verified against.
pub(super) fn load_validation(
    proto: &pb::tls::CertificateValidationContext,
    problems: &mut Problems,
) -> Option<Loaded> {
    let before = problems.len();
    let set = |field: &Option<pb::BoolValue>| field.as_ref().is_some_and(|value| value.value);
    let unsupported = [
        ("ca_certificate_provider_instance", proto.ca_certificate_provider_instance.is_some(), "give trusted_ca"),
        ("require_signed_certificate_timestamp", set(&proto.require_signed_certificate_timestamp), "leave it out"),
        ("custom_validator_config", proto.custom_validator_config.is_some(), "give trusted_ca and names to match"),
    ];
    for (field, _, instead) in unsupported.iter().filter(|(_, set, _)| *set) {
        problems.push(*field, format!("not supported; {instead}"));
    }
    // Chains are followed through six intermediates at most.
    if proto.max_verify_depth.as_ref().is_some_and(|depth| depth.value < 6) {
        problems.push("max_verify_depth", "a limit below 6, which is built in, is not supported");
    }
    let rules = rules(proto, problems);
    let trusted_ca = proto.trusted_ca.as_ref().and_then(|source| data_source(source, "trusted_ca", problems));
    let crl = proto.crl.as_ref().and_then(|source| data_source(source, "crl", problems));
    if problems.len() > before {
        return None;
    }
    let source = ValidationSource {
        trusted_ca,
        system_roots: proto.system_root_certs.is_some(),
        crl,
        watched_directory: watched(&proto.watched_directory, &[&proto.trusted_ca, &proto.crl]),
        rules,
    };
    let crl = source.crl.clone();
    load(SecretSource::Validation(Box::new(source)), problems, |error| match error {
        SecretError::BadCrl(..) | SecretError::Context(_) => "crl",
        SecretError::Unreadable { path, .. } if crl == Some(DataSource::File(path.clone())) => "crl",
        SecretError::NoVariable(name) if crl == Some(DataSource::Environment(name.clone())) => "crl",
        SecretError::NoSystemRoots(_) => "system_root_certs",
        _ => "trusted_ca",
    })
}

/// Loads session ticket keys.
pub(super) fn load_ticket_keys(proto: &pb::tls::TlsSessionTicketKeys, problems: &mut Problems) -> Option<Loaded> {
    if proto.keys.is_empty() {
        problems.push("keys", "one key at least is needed");
    }
    let mut sources = Vec::with_capacity(proto.keys.len());
    for (i, key) in proto.keys.iter().enumerate() {
        sources.push(data_source(key, &format!("keys[{i}]"), problems)?);
    }
    if sources.is_empty() { None } else { load(SecretSource::TicketKeys(sources), problems, |_| "keys") }
}

fn load(source: SecretSource, problems: &mut Problems, field: impl Fn(&SecretError) -> &'static str) -> Option<Loaded> {
    source.load().map_err(|error| problems.push(field(&error), error.to_string())).ok()
}

fn rules(proto: &pb::tls::CertificateValidationContext, problems: &mut Problems) -> Validation {
    let mut rules = Validation {
        only_leaf_crl: proto.only_verify_leaf_cert_crl,
        allow_expired: proto.allow_expired_certificate,
        accept_untrusted: proto.trust_chain_verification == TrustChainVerification::AcceptUntrusted as i32,
        hide_ca_names: proto.suppress_client_ca_list,
        ..Validation::default()
    };
    for (i, pin) in proto.verify_certificate_spki.iter().enumerate() {
        let alphabet = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        match pin.strip_suffix('=') {
            Some(body) if body.len() == 43 && body.chars().all(alphabet) => rules.spki.push(pin.clone()),
            _ => problems.push(format!("verify_certificate_spki[{i}]"), "not the base64 form of a SHA-256 hash"),
        }
    }
    for (i, hash) in proto.verify_certificate_hash.iter().enumerate() {
        let hex = hash.replace(':', "").to_ascii_lowercase();
        if hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()) {
            rules.hashes.push(hex);
        } else {
            problems.push(format!("verify_certificate_hash[{i}]"), "not the hexadecimal form of a SHA-256 hash");
        }
    }
    for (i, name) in proto.match_typed_subject_alt_names.iter().enumerate() {
        let path = format!("match_typed_subject_alt_names[{i}]");
        let kind = match SanType::try_from(name.san_type) {
            Ok(SanType::Dns) => NameKind::Dns,
            Ok(SanType::Uri) => NameKind::Uri,
            Ok(SanType::Email) => NameKind::Email,
            Ok(SanType::IpAddress) => NameKind::Ip,
            Ok(SanType::OtherName) => {
                problems.push(format!("{path}.san_type"), "OTHER_NAME is not supported");
                continue;
            }
            Ok(SanType::Unspecified) | Err(_) => {
                problems.push(format!("{path}.san_type"), "must be EMAIL, DNS, URI or IP_ADDRESS");
                continue;
            }
        };
        match text_matcher(name.matcher.as_ref()) {
            Ok(matcher) => rules.names.push(NameMatcher { kind, matcher }),
            Err(reason) => problems.push(format!("{path}.matcher"), reason),
        }
    }
    #[allow(deprecated)]
    for (i, matcher) in proto.match_subject_alt_names.iter().enumerate() {
        match text_matcher(Some(matcher)) {
            // The untyped form looks at names of every type.
            Ok(matcher) => rules.names.extend(
                [NameKind::Dns, NameKind::Uri, NameKind::Email, NameKind::Ip]
                    .map(|kind| NameMatcher { kind, matcher: matcher.clone() }),
            ),
            Err(reason) => problems.push(format!("match_subject_alt_names[{i}]"), reason),
        }
    }
    rules
}

fn text_matcher(proto: Option<&pb::matcher::StringMatcher>) -> Result<TextMatcher, String> {
    let proto = proto.ok_or("is needed")?;
    let case = if proto.ignore_case { Case::Ignored } else { Case::Sensitive };
    match proto.match_pattern.as_ref() {
        Some(MatchPattern::Exact(text)) => Ok(TextMatcher::Exact(text.clone(), case)),
        Some(MatchPattern::Prefix(text)) if !text.is_empty() => Ok(TextMatcher::Prefix(text.clone(), case)),
        Some(MatchPattern::Suffix(text)) if !text.is_empty() => Ok(TextMatcher::Suffix(text.clone(), case)),
        Some(MatchPattern::Contains(text)) if !text.is_empty() => Ok(TextMatcher::Contains(text.clone(), case)),
        Some(MatchPattern::SafeRegex(regex)) => {
            let pattern = Pattern::parse(&regex.regex).map_err(|error| error.to_string())?;
            Ok(TextMatcher::Regex(pattern.into_regex()))
        }
        Some(MatchPattern::Custom(_)) => Err("custom matchers are not supported".to_owned()),
        _ => Err("must be exact, or a prefix, suffix, contains or safe_regex that is not empty".to_owned()),
    }
}

fn required(proto: &Option<pb::core::DataSource>, field: &str, problems: &mut Problems) -> Option<DataSource> {
    match proto {
        Some(source) => data_source(source, field, problems),
        None => {
            problems.push(field, "is needed");
            None
        }
    }
}

fn data_source(proto: &pb::core::DataSource, field: &str, problems: &mut Problems) -> Option<DataSource> {
    let source = match &proto.specifier {
        Some(Specifier::Filename(path)) => Some(DataSource::File(PathBuf::from(path))),
        Some(Specifier::InlineBytes(bytes)) => Some(DataSource::Inline(bytes.clone())),
        Some(Specifier::InlineString(text)) => Some(DataSource::Inline(text.clone().into_bytes())),
        Some(Specifier::EnvironmentVariable(name)) => Some(DataSource::Environment(name.clone())),
        None => None,
    };
    if source.is_none() {
        problems.push(field, "give filename, inline_bytes, inline_string or environment_variable");
    }
    source
}

fn watched(
    directory: &Option<pb::core::WatchedDirectory>,
    sources: &[&Option<pb::core::DataSource>],
) -> Option<PathBuf> {
    let of_sources = sources.iter().filter_map(|source| source.as_ref()?.watched_directory.as_ref());
    directory.iter().chain(of_sources).map(|directory| PathBuf::from(&directory.path)).next()
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
