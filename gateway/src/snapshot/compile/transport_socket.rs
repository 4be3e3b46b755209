//! Transport sockets of filter chains and clusters: cleartext, or a TLS context.

use std::sync::Arc;
use std::time::Duration;

use weir_xds::pb;
use weir_xds::pb::core::transport_socket::ConfigType;
use weir_xds::pb::tls::common_tls_context::ValidationContextType;
use weir_xds::pb::tls::downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType};
use weir_xds::pb::tls::tls_parameters::TlsProtocol;
use weir_xds::pb::tls::{CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, UpstreamTlsContext};

use super::secret::{load_certificate, load_ticket_keys, load_validation};
use crate::snapshot::Problems;
use crate::tls::downstream::Resumption;
use crate::tls::protocol::{self, Protocol};
use crate::tls::secret::Loaded;
use crate::tls::ticket::DEFAULT_LIFETIME;
use crate::tls::{DownstreamParams, DownstreamTls, SecretSlot, Secrets, TicketStore, UpstreamParams, UpstreamTls};

/// What contexts are compiled with; both live as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct TlsCx<'a> {
    /// Secrets by name. Static ones are published before contexts that name them are compiled.
    pub secrets: &'a Secrets,
    /// Keys of session tickets.
    pub tickets: &'a Arc<TicketStore>,
}

/// Who must be what the server name says (`auto_san_validation` of a cluster's HTTP options).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoSan {
    /// The certificate must have the server name that was sent.
    Verify,
    /// Only what the context says.
    Off,
}

/// The TLS context of a filter chain's `transport_socket`; `Some(None)` for cleartext, `None` if it is unusable.
pub fn compile_downstream_socket(
    socket: Option<&pb::core::TransportSocket>,
    cx: TlsCx<'_>,
    problems: &mut Problems,
) -> Option<Option<Arc<DownstreamTls>>> {
    match unpack::<DownstreamTlsContext>(socket, problems)? {
        None => Some(None),
        Some(context) => problems.within("typed_config", |inner| compile_downstream_tls(&context, cx, inner)).map(Some),
    }
}

/// The TLS context of a cluster's `transport_socket`; `Some(None)` for cleartext, `None` if it is unusable.
pub fn compile_upstream_socket(
    socket: Option<&pb::core::TransportSocket>,
    auto_san: AutoSan,
    cx: TlsCx<'_>,
    problems: &mut Problems,
) -> Option<Option<Arc<UpstreamTls>>> {
    match unpack::<UpstreamTlsContext>(socket, problems)? {
        None => Some(None),
        Some(context) => {
            problems.within("typed_config", |inner| compile_upstream_tls(&context, auto_san, cx, inner)).map(Some)
        }
    }
}

/// A TLS context of a filter chain.
pub fn compile_downstream_tls(
    proto: &DownstreamTlsContext,
    cx: TlsCx<'_>,
    problems: &mut Problems,
) -> Option<Arc<DownstreamTls>> {
    let before = problems.len();
    let empty = CommonTlsContext::default();
    let context = proto.common_tls_context.as_ref().unwrap_or(&empty);
    let common =
        problems.within("common_tls_context", |inner| Some(common(context, TlsProtocol::TlSv13, cx, inner)))?;
    if common.certificates == 0 {
        problems
            .push("common_tls_context", "no certificate: give tls_certificates or tls_certificate_sds_secret_configs");
    }
    if !context.tls_certificates.is_empty() && !context.tls_certificate_sds_secret_configs.is_empty() {
        problems.push(
            "common_tls_context.tls_certificate_sds_secret_configs",
            "cannot stand beside tls_certificates; give one or the other",
        );
    }
    if OcspStaplePolicy::try_from(proto.ocsp_staple_policy) != Ok(OcspStaplePolicy::LenientStapling) {
        problems.push("ocsp_staple_policy", "only LENIENT_STAPLING is supported: a staple is sent where there is one");
    }
    let resumption = match &proto.session_ticket_keys_type {
        None | Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) => Some(Resumption::Own),
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => Some(Resumption::Off),
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => problems
            .within("session_ticket_keys", |inner| load_ticket_keys(keys, inner))
            .map(|loaded| Resumption::Given(inline(loaded))),
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(sds)) => {
            named(sds, "session_ticket_keys_sds_secret_config", cx, problems).map(Resumption::Given)
        }
    };
    let session_timeout = match &proto.session_timeout {
        None => DEFAULT_LIFETIME,
        Some(timeout) => match u64::try_from(timeout.seconds) {
            Ok(seconds) if seconds < u64::from(u32::MAX) => Duration::from_secs(seconds),
            _ => {
                problems.push("session_timeout", "must be from 0 s to 4294967295 s");
                DEFAULT_LIFETIME
            }
        },
    };
    if problems.len() > before {
        return None;
    }
    let is_true = |value: &Option<pb::BoolValue>| value.as_ref().is_some_and(|value| value.value);
    let params = DownstreamParams {
        protocol: common.protocol?,
        certificates: common.certificate_slots,
        validation: common.validation,
        require_client_certificate: is_true(&proto.require_client_certificate),
        require_sni: is_true(&proto.require_sni),
        full_scan: is_true(&proto.full_scan_certs_on_sni_mismatch),
        prefer_client_ciphers: proto.prefer_client_ciphers,
        alpn: common.alpn,
        resumption: resumption?,
        session_timeout,
    };
    DownstreamTls::new(params, Arc::clone(cx.tickets))
        .map_err(|error| problems.push("", error.to_string()))
        .ok()
        .map(Arc::new)
}

/// A TLS context of a cluster.
pub fn compile_upstream_tls(
    proto: &UpstreamTlsContext,
    auto_san: AutoSan,
    cx: TlsCx<'_>,
    problems: &mut Problems,
) -> Option<Arc<UpstreamTls>> {
    let before = problems.len();
    let empty = CommonTlsContext::default();
    let context = proto.common_tls_context.as_ref().unwrap_or(&empty);
    // Envoy's clients stop at TLS 1.2 unless they are told otherwise.
    let common =
        problems.within("common_tls_context", |inner| Some(common(context, TlsProtocol::TlSv12, cx, inner)))?;
    if common.certificates > 1 {
        problems.push("common_tls_context", "a client has one certificate: give one, from tls_certificates or by SDS");
    }
    if proto.allow_renegotiation {
        problems.push("allow_renegotiation", "renegotiation is not supported");
    }
    if proto.auto_host_sni {
        problems.push("auto_host_sni", "not supported; set sni, or auto_sni of the cluster's HTTP options");
    }
    if proto.sni.len() > 255 || (!proto.sni.is_empty() && rustls_pki_types::ServerName::try_from(&*proto.sni).is_err())
    {
        problems.push("sni", format!("{:?} is neither a host name nor an address", proto.sni));
    }
    if problems.len() > before {
        return None;
    }
    if common.validation.is_empty() {
        problems.warn("", "without a validation_context any endpoint is accepted, whoever it is");
    }
    let params = UpstreamParams {
        protocol: common.protocol?,
        certificates: common.certificate_slots,
        validation: common.validation,
        sni: (!proto.sni.is_empty()).then(|| proto.sni.as_str().into()),
        verify_server_name: proto.auto_sni_san_validation || auto_san == AutoSan::Verify,
        alpn: common.alpn,
        max_session_keys: proto.max_session_keys.as_ref().map_or(1, |keys| keys.value as usize),
    };
    UpstreamTls::new(params).map_err(|error| problems.push("", error.to_string())).ok().map(Arc::new)
}

/// The secrets that a transport socket names, with where each comes from: what a source subscribes to.
pub fn sds_references(socket: &pb::core::TransportSocket) -> Vec<SdsSecretConfig> {
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else { return Vec::new() };
    let mut found = Vec::new();
    let common = if let Ok(context) = pb::unpack::<DownstreamTlsContext>(any) {
        if let Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(sds)) = context.session_ticket_keys_type {
            found.push(sds);
        }
        context.common_tls_context
    } else {
        pb::unpack::<UpstreamTlsContext>(any).ok().and_then(|context| context.common_tls_context)
    };
    let Some(common) = common else { return found };
    found.extend(common.tls_certificate_sds_secret_configs);
    match common.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => found.push(sds),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            found.extend(combined.validation_context_sds_secret_config);
        }
        _ => {}
    }
    found
}

/// What contexts of both directions have in common.
struct Common {
    protocol: Option<Protocol>,
    /// How many are configured, those with problems included.
    certificates: usize,
    certificate_slots: Vec<Arc<SecretSlot>>,
    validation: Vec<Arc<SecretSlot>>,
    alpn: Vec<Arc<str>>,
}

fn common(proto: &CommonTlsContext, default_max: TlsProtocol, cx: TlsCx<'_>, problems: &mut Problems) -> Common {
    #[allow(deprecated)]
    let unsupported = [
        ("tls_certificate_provider_instance", proto.tls_certificate_provider_instance.is_some()),
        ("tls_certificate_certificate_provider", proto.tls_certificate_certificate_provider.is_some()),
        (
            "tls_certificate_certificate_provider_instance",
            proto.tls_certificate_certificate_provider_instance.is_some(),
        ),
        ("custom_tls_certificate_selector", proto.custom_tls_certificate_selector.is_some()),
        ("custom_handshaker", proto.custom_handshaker.is_some()),
        ("key_log", proto.key_log.is_some()),
    ];
    for (field, _) in unsupported.iter().filter(|(_, set)| *set) {
        problems.push(*field, "not supported");
    }
    let params = proto.tls_params.clone().unwrap_or_default();
    let protocol = problems.within("tls_params", |inner| protocol_of(&params, default_max, inner));

    let mut certificate_slots = Vec::new();
    for (i, certificate) in proto.tls_certificates.iter().enumerate() {
        let path = format!("tls_certificates[{i}]");
        certificate_slots.extend(problems.within(&path, |inner| load_certificate(certificate, inner)).map(inline));
    }
    for (i, sds) in proto.tls_certificate_sds_secret_configs.iter().enumerate() {
        certificate_slots.extend(named(sds, &format!("tls_certificate_sds_secret_configs[{i}]"), cx, problems));
    }
    let mut alpn = Vec::new();
    for (i, name) in proto.alpn_protocols.iter().enumerate() {
        match name.len() {
            1..=255 => alpn.push(Arc::from(name.as_str())),
            _ => problems.push(format!("alpn_protocols[{i}]"), "must have 1 to 255 bytes"),
        }
    }
    Common {
        protocol,
        certificates: proto.tls_certificates.len() + proto.tls_certificate_sds_secret_configs.len(),
        certificate_slots,
        validation: validation_slots(proto.validation_context_type.as_ref(), cx, problems),
        alpn,
    }
}

fn validation_slots(
    proto: Option<&ValidationContextType>,
    cx: TlsCx<'_>,
    problems: &mut Problems,
) -> Vec<Arc<SecretSlot>> {
    let mut slots = Vec::new();
    match proto {
        None => {}
        Some(ValidationContextType::ValidationContext(context)) => {
            slots.extend(problems.within("validation_context", |inner| load_validation(context, inner)).map(inline))
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => {
            slots.extend(named(sds, "validation_context_sds_secret_config", cx, problems));
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            if let Some(default) = &combined.default_validation_context {
                let path = "combined_validation_context.default_validation_context";
                slots.extend(problems.within(path, |inner| load_validation(default, inner)).map(inline));
            }
            let path = "combined_validation_context.validation_context_sds_secret_config";
            match &combined.validation_context_sds_secret_config {
                Some(sds) => slots.extend(named(sds, path, cx, problems)),
                None => problems.push(path, "is needed"),
            }
        }
        #[allow(deprecated)]
        Some(ValidationContextType::ValidationContextCertificateProvider(_)) => {
            problems.push("validation_context_certificate_provider", "not supported");
        }
        #[allow(deprecated)]
        Some(ValidationContextType::ValidationContextCertificateProviderInstance(_)) => {
            problems.push("validation_context_certificate_provider_instance", "not supported");
        }
    }
    slots
}

fn protocol_of(proto: &pb::tls::TlsParameters, default_max: TlsProtocol, problems: &mut Problems) -> Option<Protocol> {
    let before = problems.len();
    for (field, set) in [
        ("signature_algorithms", !proto.signature_algorithms.is_empty()),
        ("compliance_policies", !proto.compliance_policies.is_empty()),
    ] {
        if set {
            problems.push(field, "not supported");
        }
    }
    let minor = |value: i32, default: TlsProtocol| match TlsProtocol::try_from(value) {
        Ok(TlsProtocol::TlsAuto) => Some(default),
        Ok(version) => Some(version),
        Err(_) => None,
    };
    let min = minor(proto.tls_minimum_protocol_version, TlsProtocol::TlSv12);
    let max = minor(proto.tls_maximum_protocol_version, default_max);
    let (Some(min), Some(max)) = (min, max) else {
        problems.push("tls_minimum_protocol_version", "unknown version");
        return None;
    };
    if min < TlsProtocol::TlSv12 {
        let reason = format!("{} is not supported; TLS 1.2 is the lowest that is negotiated", min.as_str_name());
        problems.warn("tls_minimum_protocol_version", reason);
    }
    let suites = listed("cipher_suites", &proto.cipher_suites, protocol::cipher_suites, problems);
    let curves = listed("ecdh_curves", &proto.ecdh_curves, protocol::curves, problems);
    if problems.len() > before {
        return None;
    }
    // TlsProtocol counts from TLS_AUTO = 0 and TLSv1_0 = 1.
    let minor = |version: TlsProtocol| version as u8 - 1;
    let built = Protocol::new(minor(min), minor(max), suites, curves);
    if built.is_none() {
        problems.push(
            "tls_maximum_protocol_version",
            format!(
                "no version is left between {} and {} (TLS 1.2 and 1.3 are supported)",
                min.as_str_name(),
                max.as_str_name()
            ),
        );
    }
    built
}

/// A list of names, some of which may be of no use here; `None` for the default.
fn listed<T>(
    field: &str,
    names: &[String],
    read: impl Fn(&[String]) -> Result<protocol::Named<T>, String>,
    problems: &mut Problems,
) -> Option<Vec<T>> {
    if names.is_empty() {
        return None;
    }
    match read(names) {
        Ok(named) if named.usable.is_empty() => {
            problems.push(field, format!("none of these is supported: {}", named.passed_over.join(", ")));
            None
        }
        Ok(named) => {
            if !named.passed_over.is_empty() {
                problems.warn(field, format!("not supported and passed over: {}", named.passed_over.join(", ")));
            }
            Some(named.usable)
        }
        Err(reason) => {
            problems.push(field, reason);
            None
        }
    }
}

/// The slot of a named secret. Without a source it is one of `static_resources.secrets`, which must be there.
fn named(sds: &SdsSecretConfig, path: &str, cx: TlsCx<'_>, problems: &mut Problems) -> Option<Arc<SecretSlot>> {
    if sds.name.is_empty() {
        problems.push(format!("{path}.name"), "is needed");
        return None;
    }
    let slot = cx.secrets.slot(&sds.name);
    if sds.sds_config.is_none() && slot.load().is_none() {
        problems.push(
            format!("{path}.name"),
            format!("no secret {:?} in static_resources.secrets, and no sds_config to get it from", sds.name),
        );
        return None;
    }
    Some(slot)
}

fn inline(loaded: Loaded) -> Arc<SecretSlot> {
    Arc::new(SecretSlot::inline(loaded))
}

fn unpack<T: prost::Message + prost::Name + Default>(
    socket: Option<&pb::core::TransportSocket>,
    problems: &mut Problems,
) -> Option<Option<T>> {
    let Some(socket) = socket else { return Some(None) };
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else {
        problems.push("typed_config", "is needed");
        return None;
    };
    if pb::is::<pb::raw_buffer::RawBuffer>(any) {
        return Some(None);
    }
    match pb::unpack::<T>(any) {
        Ok(context) => Some(Some(context)),
        Err(error) => {
            problems.push("typed_config", format!("{error} (raw_buffer is supported too)"));
            None
        }
    }
}

#[cfg(test)]
#[path = "transport_socket_tests.rs"]
mod tests;
