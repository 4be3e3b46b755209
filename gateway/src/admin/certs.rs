//! `/certs`: certificates in use, and how long they last.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Parts;
use super::query::Query;
use super::reply::Reply;
use crate::telemetry::CertificateInfo;
use crate::tls::certificate;
use crate::tls::secret::{DataSource, Secret, SecretSlot, SecretSource};

pub(super) fn answer(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    let contexts: Vec<_> = contexts(admin).iter().map(|secrets| context_json(secrets)).collect();
    Ok(Reply::json(&json!({ "certificates": contexts })))
}

/// The secrets of each TLS context: of filter chains, then of clusters.
fn contexts(admin: &Parts) -> Vec<Vec<Arc<SecretSlot>>> {
    let snapshot = admin.store.load();
    let chains = snapshot.listeners().flat_map(|listener| listener.chains.iter().chain(&listener.default_chain));
    let downstream = chains.filter_map(|chain| chain.tls.as_ref()).map(|tls| tls.secrets().cloned().collect());
    let upstream = snapshot.clusters.iter().filter_map(|cluster| cluster.config.tls.as_ref());
    let upstream = upstream.map(|tls| tls.secrets().cloned().collect());
    downstream.chain(upstream).filter(|secrets: &Vec<_>| !secrets.is_empty()).collect()
}

fn context_json(secrets: &[Arc<SecretSlot>]) -> Value {
    let (mut authorities, mut chains) = (Vec::new(), Vec::new());
    for slot in secrets {
        let Some((source, infos)) = certificates(slot) else { continue };
        let shown = infos.iter().map(|info| certificate_json(info, source.as_deref()));
        match slot.load().map(|loaded| matches!(loaded.secret, Secret::Certificate(_))) {
            Some(true) => chains.extend(shown),
            _ => authorities.extend(shown),
        }
    }
    json!({"ca_cert": authorities, "cert_chain": chains})
}

/// File of a secret, and what is in it: the leaf of a chain, or the authorities.
fn certificates(slot: &SecretSlot) -> Option<(Option<String>, Vec<CertificateInfo>)> {
    let loaded = slot.load()?;
    let source = match &loaded.source {
        SecretSource::Certificate(source) => Some(&source.chain),
        SecretSource::Validation(source) => source.trusted_ca.as_ref(),
        SecretSource::TicketKeys(_) => None,
    };
    let path = source.map(|source| match source {
        DataSource::File(path) => path.display().to_string(),
        DataSource::Inline(_) => "<inline>".to_owned(),
        DataSource::Environment(name) => format!("<environment variable {name}>"),
    });
    Some((path, infos(&loaded.secret)?))
}

/// When the first certificate of a secret expires, in seconds since 1970; `None` if there is none in it.
pub(super) fn expires(secret: &Secret) -> Option<i64> {
    infos(secret)?.iter().map(|info| info.not_after).min()
}

fn infos(secret: &Secret) -> Option<Vec<CertificateInfo>> {
    match secret {
        Secret::Certificate(certificate) => Some(vec![CertificateInfo::clone(&certificate.info())]),
        Secret::Validation(validation) => {
            let authorities = validation.trusted_ca.iter().flat_map(|authorities| authorities.certificates());
            // They were parsed when they were loaded.
            Some(authorities.filter_map(|der| certificate::describe(der).ok()).collect())
        }
        Secret::TicketKeys(_) => None,
    }
}

fn certificate_json(info: &CertificateInfo, path: Option<&str>) -> Value {
    let dns = info.dns_sans.iter().map(|name| json!({"dns": name}));
    let addresses = info.ip_sans.iter().map(|address| json!({"ip_address": address}));
    let uris = info.uri_sans.iter().map(|name| json!({"uri": name}));
    json!({
        "path": path.unwrap_or_default(),
        "serial_number": info.serial,
        "subject_alt_names": dns.chain(uris).chain(addresses).collect::<Vec<_>>(),
        "days_until_expiration": days_left(info.not_after).to_string(),
        "valid_from": date(info.not_before),
        "expiration_time": date(info.not_after),
    })
}

/// Days until a time in seconds since 1970.
pub(super) fn days_left(until: i64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    u64::try_from(until).unwrap_or(0).saturating_sub(now) / 86_400
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
