//! The operators of format strings: what each is called, and where its value comes from.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use super::certificate::{CertificatePart, Side};
use super::grpc::GrpcForm;
use super::parse::Command;
use super::time::{TimeFormat, since_epoch};
use super::unsupported::unsupported;
use super::values::{Address, HeaderName, Number, Point, TextField, Unit, between, json_at, write_attempted};
use super::{FormatCx, FormatError};
use crate::telemetry::unique_id;

/// A parsed operator.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    Number(Number),
    Text(TextField),
    Address(Address),
    Attempted {
        with_port: bool,
    },
    Certificate(Side, CertificatePart),
    CertificateDate {
        side: Side,
        start: bool,
        format: TimeFormat,
    },
    RequestHeader {
        names: [Option<HeaderName>; 2],
        strip_query: bool,
        cut: Cut,
    },
    ResponseHeader {
        names: [Option<HeaderName>; 2],
        cut: Cut,
    },
    ResponseTrailer {
        names: [Option<HeaderName>; 2],
        cut: Cut,
    },
    StartTime(TimeFormat),
    EmitTime(TimeFormat),
    CommonDuration(Point, Point, Unit),
    ResponseFlags {
        long: bool,
    },
    Details {
        keep_spaces: bool,
    },
    LocalReplyBody(Cut),
    QueryParam {
        name: Box<str>,
        cut: Cut,
    },
    Path {
        query: bool,
        original: Option<bool>,
        cut: Cut,
    },
    FilterState {
        key: Box<str>,
        quoted: bool,
        cut: Cut,
    },
    Metadata {
        namespace: Box<str>,
        path: Box<[Box<str>]>,
        cut: Cut,
    },
    GrpcStatus(GrpcForm),
    Constant(Box<str>),
    UniqueId,
    AccessLogType,
    /// Without a value in Weir, and in Envoy with any configuration that Weir accepts.
    Missing,
}

/// Longest value in bytes, if it is cut.
pub(super) type Cut = Option<usize>;

impl Operator {
    pub(super) fn parse(command: &Command<'_>) -> Result<Self, FormatError> {
        if let Some(plain) = Self::plain(command.name) {
            command.bare()?;
            return Ok(plain);
        }
        let cut = command.max_length;
        Ok(match command.name {
            "REQ" | "REQUEST_HEADER" => Self::RequestHeader { names: header_names(command)?, strip_query: false, cut },
            "REQ_WITHOUT_QUERY" => Self::RequestHeader { names: header_names(command)?, strip_query: true, cut },
            "RESP" | "RESPONSE_HEADER" => Self::ResponseHeader { names: header_names(command)?, cut },
            "TRAILER" | "RESPONSE_TRAILER" => Self::ResponseTrailer { names: header_names(command)?, cut },
            "START_TIME" => Self::StartTime(time_format(command)?),
            "EMIT_TIME" => Self::EmitTime(time_format(command)?),
            "DOWNSTREAM_PEER_CERT_V_START" => Self::certificate_date(command, Side::DownstreamPeer, true)?,
            "DOWNSTREAM_PEER_CERT_V_END" => Self::certificate_date(command, Side::DownstreamPeer, false)?,
            "UPSTREAM_PEER_CERT_V_START" => Self::certificate_date(command, Side::UpstreamPeer, true)?,
            "UPSTREAM_PEER_CERT_V_END" => Self::certificate_date(command, Side::UpstreamPeer, false)?,
            "COMMON_DURATION" => common_duration(command)?,
            "RESPONSE_CODE_DETAILS" => {
                command.uncut()?;
                match command.parameter {
                    None | Some("") => Self::Details { keep_spaces: false },
                    Some("ALLOW_WHITESPACES") => Self::Details { keep_spaces: true },
                    Some(_) => return Err(command.wrong("the parameter can only be ALLOW_WHITESPACES")),
                }
            }
            "LOCAL_REPLY_BODY" => Self::LocalReplyBody(cut),
            "QUERY_PARAM" => Self::QueryParam { name: command.required("the parameter's name")?.into(), cut },
            "PATH" => path(command)?,
            "FILTER_STATE" => filter_state(command)?,
            "DYNAMIC_METADATA" => metadata(command, command.required("filter namespace and path")?)?,
            "METADATA" => match command.required("TYPE:NAMESPACE:KEY")?.split_once(':') {
                Some(("DYNAMIC", rest)) => metadata(command, rest)?,
                _ => {
                    return Err(FormatError::Unsupported(
                        "METADATA".to_owned(),
                        "only METADATA(DYNAMIC:…) has data in Weir",
                    ));
                }
            },
            "GRPC_STATUS" => Self::GrpcStatus(GrpcForm::parse(command)?),
            "ENVIRONMENT" => {
                let value = std::env::var(command.required("the variable's name")?).unwrap_or_default();
                let end = value.floor_char_boundary(cut.unwrap_or(value.len()));
                value.get(..end).filter(|v| !v.is_empty()).map_or(Self::Missing, |v| Self::Constant(v.into()))
            }
            "REQUESTED_SERVER_NAME" => {
                command.uncut()?;
                match command.parameter {
                    None | Some("" | "SNI_ONLY") => Self::Text(TextField::ServerName),
                    Some(_) => return Err(command.wrong("only SNI_ONLY is supported by Weir")),
                }
            }
            other => return Err(unsupported(other)),
        })
    }

    /// Operators that take nothing.
    fn plain(name: &str) -> Option<Self> {
        if let Some(number) = Number::parse(name) {
            return Some(Self::Number(number));
        }
        if let Some(text) = TextField::parse(name) {
            return Some(Self::Text(text));
        }
        if let Some(address) = Address::parse(name) {
            return Some(Self::Address(address));
        }
        if let Some((side, part)) = CertificatePart::parse(name) {
            return Some(Self::Certificate(side, part));
        }
        Some(match name {
            "RESPONSE_FLAGS" => Self::ResponseFlags { long: false },
            "RESPONSE_FLAGS_LONG" => Self::ResponseFlags { long: true },
            "GRPC_STATUS_NUMBER" => Self::GrpcStatus(GrpcForm::Number),
            "HOSTNAME" => hostname().map_or(Self::Missing, Self::Constant),
            "UNIQUE_ID" => Self::UniqueId,
            "ACCESS_LOG_TYPE" => Self::AccessLogType,
            "VIRTUAL_CLUSTER_NAME" | "TRACE_ID" | "SPAN_ID" => Self::Missing,
            // No filter of Weir sets any.
            "CUSTOM_FLAGS" => Self::Constant("".into()),
            "STREAM_ID" => Self::RequestHeader {
                names: [Some(HeaderName::of("x-request-id")), None],
                strip_query: false,
                cut: None,
            },
            "UPSTREAM_HOSTS_ATTEMPTED" => Self::Attempted { with_port: true },
            "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => Self::Attempted { with_port: false },
            _ => return None,
        })
    }

    fn certificate_date(command: &Command<'_>, side: Side, start: bool) -> Result<Self, FormatError> {
        Ok(Self::CertificateDate { side, start, format: time_format(command)? })
    }

    /// Whether a JSON format shows it without quotation marks when it stands alone.
    pub(super) fn is_json(&self) -> bool {
        matches!(
            self,
            Self::Number(_)
                | Self::CommonDuration(..)
                | Self::Metadata { .. }
                | Self::GrpcStatus(GrpcForm::Number)
                | Self::FilterState { quoted: true, .. }
        )
    }

    /// Appends the value as JSON, for operators that [`Self::is_json`]; says whether there is one.
    pub(super) fn write_json(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Metadata { namespace, path, cut: None } => {
                json_at(cx.info, namespace, path).is_some_and(|value| serde_json::to_writer(out, value).is_ok())
            }
            Self::Metadata { cut: Some(_), .. } => super::json::write_quoted(self, cx, out),
            _ => self.write(cx, out),
        }
    }

    /// Appends the value; says whether there is one.
    pub(super) fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Number(number) => number.of(cx).map(|n| append_number(n, out)).is_some(),
            Self::Text(field) => append(field.of(cx.info).as_deref().map(str::as_bytes), None, out),
            Self::Address(address) => address.write(cx.info, out),
            Self::Attempted { with_port } => write_attempted(&cx.info.upstream_attempted, *with_port, out),
            Self::Certificate(side, part) => part.write(*side, cx.info, out),
            Self::CertificateDate { side, start, format } => match side.certificate(cx.info) {
                Some(certificate) => {
                    let at = if *start { certificate.not_before } else { certificate.not_after };
                    format.write(std::time::Duration::from_secs(at.max(0).unsigned_abs()), out);
                    true
                }
                None => false,
            },
            Self::RequestHeader { names, strip_query, cut } => {
                let value = cx.request.and_then(|head| first(names, |name| name.in_request(head)));
                let value = value.map(|v| if *strip_query { crate::http::head::split_query(v).0 } else { v });
                append(value, *cut, out)
            }
            Self::ResponseHeader { names, cut } => {
                let Some(head) = cx.response else { return false };
                if first(names, |name| (*name == HeaderName::Status).then_some(&[][..])).is_some() {
                    append_number(u64::from(head.status), out);
                    return true;
                }
                append(first(names, |name| name.in_fields(&head.headers)), *cut, out)
            }
            Self::ResponseTrailer { names, cut } => {
                let value = cx.response_trailers.and_then(|fields| first(names, |name| name.in_fields(fields)));
                append(value, *cut, out)
            }
            Self::StartTime(format) => {
                format.write(since_epoch(cx.info.start_wall), out);
                true
            }
            Self::EmitTime(format) => {
                format.write(since_epoch(SystemTime::now()), out);
                true
            }
            Self::CommonDuration(from, to, unit) => match between(cx.info, *from, *to) {
                Some(duration) => {
                    append_number(unit.count(duration), out);
                    true
                }
                None => false,
            },
            Self::ResponseFlags { long } => {
                write_flags(cx, *long, out);
                true
            }
            Self::Details { keep_spaces } => write_details(cx.info.details.as_deref(), *keep_spaces, out),
            Self::LocalReplyBody(cut) => append(Some(cx.local_reply_body), *cut, out),
            Self::QueryParam { name, cut } => {
                cx.request.is_some_and(|request| super::query::write_param(request, name, *cut, out))
            }
            Self::Path { query, original, cut } => append(path_of(cx, *query, *original), *cut, out),
            Self::FilterState { key, quoted, cut } => {
                let value = cx.info.filter_state.iter().find(|(k, _)| **k == **key).map(|(_, v)| v.as_slice());
                write_state(value, *quoted, *cut, out)
            }
            Self::Metadata { namespace, path, cut } => write_metadata(cx, namespace, path, *cut, out),
            Self::GrpcStatus(form) => form.write(cx, out),
            Self::Constant(text) => append(Some(text.as_bytes()), None, out),
            Self::UniqueId => {
                write_unique_id(out);
                true
            }
            Self::AccessLogType => append(Some(cx.access_log_type.as_str().as_bytes()), None, out),
            Self::Missing => false,
        }
    }
}

fn append(value: Option<&[u8]>, cut: Cut, out: &mut Vec<u8>) -> bool {
    let Some(value) = value else { return false };
    out.extend_from_slice(value.get(..cut.unwrap_or(value.len())).unwrap_or(value));
    true
}

fn append_number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn first<'a>(names: &[Option<HeaderName>; 2], find: impl Fn(&HeaderName) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    names.iter().flatten().find_map(find)
}

fn header_names(command: &Command<'_>) -> Result<[Option<HeaderName>; 2], FormatError> {
    let text = command.required("a header's name, or NAME?ALTERNATIVE")?;
    let (main, other) = text.split_once('?').map_or((text, None), |(main, other)| (main, Some(other)));
    if main.is_empty() || other.is_some_and(|o| o.is_empty() || o.contains('?')) {
        return Err(command.wrong("takes one header's name and at most one alternative: NAME?ALTERNATIVE"));
    }
    for name in [Some(main), other].into_iter().flatten() {
        let plain = name.strip_prefix(':').unwrap_or(name);
        if plain.is_empty() || !plain.bytes().all(is_token) {
            return Err(command.wrong(format!("{name:?} cannot be a header's name")));
        }
    }
    Ok([Some(HeaderName::of(main)), other.map(HeaderName::of)])
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn time_format(command: &Command<'_>) -> Result<TimeFormat, FormatError> {
    command.uncut()?;
    TimeFormat::parse(command.parameter.unwrap_or_default()).map_err(|reason| command.wrong(reason))
}

fn common_duration(command: &Command<'_>) -> Result<Operator, FormatError> {
    command.uncut()?;
    let text = command.required("START:END:UNIT")?;
    let parts: Vec<_> = text.split(':').collect();
    let [start, end, unit] = parts.as_slice() else {
        return Err(command.wrong("the parameter is START:END:UNIT, such as DS_RX_BEG:DS_TX_END:ms"));
    };
    let point = |name: &str| Point::parse(name).ok_or_else(|| command.wrong(format!("unknown point of time {name}")));
    let unit = Unit::parse(unit).ok_or_else(|| command.wrong("the unit is ms, us or ns"))?;
    Ok(Operator::CommonDuration(point(start)?, point(end)?, unit))
}

fn path(command: &Command<'_>) -> Result<Operator, FormatError> {
    let text = command.parameter.unwrap_or_default();
    let (query, original) = text.split_once(':').unwrap_or((text, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        _ => return Err(command.wrong("the first parameter is WQ (with query) or NQ (without)")),
    };
    let original = match original {
        "" | "ORIG_OR_PATH" => None,
        "ORIG" => Some(true),
        "PATH" => Some(false),
        _ => return Err(command.wrong("the second parameter is ORIG, PATH or ORIG_OR_PATH")),
    };
    Ok(Operator::Path { query, original, cut: command.max_length })
}

fn filter_state(command: &Command<'_>) -> Result<Operator, FormatError> {
    let text = command.required("the object's key")?;
    let (key, form) = text.split_once(':').unwrap_or((text, "TYPED"));
    let quoted = match form {
        "TYPED" => true,
        "PLAIN" => false,
        _ => return Err(command.wrong("the form is PLAIN or TYPED; FIELD is not supported by Weir")),
    };
    Ok(Operator::FilterState { key: key.into(), quoted, cut: command.max_length })
}

fn metadata(command: &Command<'_>, text: &str) -> Result<Operator, FormatError> {
    let mut parts = text.split(':');
    let namespace = parts.next().unwrap_or_default();
    if namespace.is_empty() {
        return Err(command.wrong("needs a filter namespace"));
    }
    Ok(Operator::Metadata {
        namespace: namespace.into(),
        path: parts.map(Into::into).collect(),
        cut: command.max_length,
    })
}

fn write_flags(cx: &FormatCx<'_>, long: bool, out: &mut Vec<u8>) {
    if cx.info.flags.is_empty() {
        out.push(b'-');
    }
    for (index, (_, short, full)) in cx.info.flags.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(if long { full } else { short }.as_bytes());
    }
}

/// A guest may give empty details, which are written as such.
fn write_details(details: Option<&str>, keep_spaces: bool, out: &mut Vec<u8>) -> bool {
    let Some(details) = details else { return false };
    let space = |b: u8| !keep_spaces && matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    out.extend(details.bytes().map(|b| if space(b) { b'_' } else { b }));
    true
}

fn path_of<'a>(cx: &FormatCx<'a>, query: bool, original: Option<bool>) -> Option<&'a [u8]> {
    let request = cx.request?;
    let first = || request.headers.get("x-envoy-original-path");
    let path = match original {
        Some(true) => first()?,
        Some(false) => &request.path,
        None => first().unwrap_or(&request.path),
    };
    Some(if query { path } else { crate::http::head::split_query(path).0 })
}

fn write_metadata(cx: &FormatCx<'_>, namespace: &str, path: &[Box<str>], cut: Cut, out: &mut Vec<u8>) -> bool {
    let Some(value) = json_at(cx.info, namespace, path) else { return false };
    let start = out.len();
    match value {
        serde_json::Value::String(text) => out.extend_from_slice(text.as_bytes()),
        // Writing to a Vec cannot fail.
        other => drop(serde_json::to_writer(&mut *out, other)),
    }
    out.truncate(start + cut.unwrap_or(usize::MAX - start));
    true
}

fn write_state(value: Option<&[u8]>, quoted: bool, cut: Cut, out: &mut Vec<u8>) -> bool {
    if value.is_none() || !quoted {
        return append(value, cut, out);
    }
    out.push(b'"');
    let start = out.len();
    append(value, cut, out);
    super::json::escape_from(out, start);
    out.push(b'"');
    true
}

fn hostname() -> Option<Box<str>> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim()).filter(|name| !name.is_empty()).map(Into::into)
}

/// A random UUID (version 4).
fn write_unique_id(out: &mut Vec<u8>) {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
        static KEYS: RandomState = RandomState::new();
    }
    let counter = NEXT.get();
    NEXT.set(counter.wrapping_add(1));
    // SipHash with keys of this thread over a counter: unpredictable and without repetition.
    let half = |which: u8| KEYS.with(|keys| keys.hash_one((counter, which)));
    out.extend_from_slice(&unique_id((u128::from(half(0)) << 64) | u128::from(half(1))));
}

/// For text fields that are built on the fly.
pub(super) type Text<'a> = Cow<'a, str>;
