//! `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig` into [`LocalReplies`].

use bytes::Bytes;
use weir_xds::pb::core::SubstitutionFormatString;
use weir_xds::pb::core::substitution_format_string::Format;
use weir_xds::pb::hcm::{LocalReplyConfig, ResponseMapper};

use super::access_log::{log_filter, read_text, substitution_format};
use super::route::header_ops;
use crate::snapshot::Problems;
use crate::snapshot::local_reply::{BodyFormat, LocalReplies, Mapper};

/// Compiles how the gateway's own answers are changed.
pub(super) fn compile_local_replies(proto: &LocalReplyConfig, problems: &mut Problems) -> Option<LocalReplies> {
    let mappers = proto.mappers.iter().enumerate();
    let mappers: Vec<_> =
        mappers.map(|(at, proto)| problems.within(&format!("mappers[{at}]"), |inner| mapper(proto, inner))).collect();
    let format = body_format(proto.body_format.as_ref(), "body_format", problems)?;
    let mappers: Option<Vec<_>> = mappers.into_iter().collect();
    Some(LocalReplies { mappers: mappers?.into(), format })
}

fn mapper(proto: &ResponseMapper, problems: &mut Problems) -> Option<Mapper> {
    let filter = match &proto.filter {
        Some(filter) => problems.within("filter", |inner| log_filter(filter, inner)),
        None => {
            problems.push("filter", "is required: which answers are changed");
            None
        }
    };
    // The table of fields has checked that it is 200 to 599.
    let status = proto.status_code.as_ref().and_then(|status| u16::try_from(status.value).ok());
    let mut usable = true;
    let body = proto.body.as_ref().and_then(|source| {
        let text = problems.within("body", |inner| read_text(source, inner));
        usable &= text.is_some();
        text.map(Bytes::from)
    });
    let headers = header_ops::of_response(&proto.headers_to_add, &[], ["headers_to_add", ""], problems);
    let format = body_format(proto.body_format_override.as_ref(), "body_format_override", problems)?;
    usable.then_some(Mapper { filter: filter?, status, body, headers, format })
}

/// `Some(None)` where there is none.
fn body_format(
    proto: Option<&SubstitutionFormatString>,
    field: &str,
    problems: &mut Problems,
) -> Option<Option<BodyFormat>> {
    let Some(proto) = proto else { return Some(None) };
    let format = problems.within(field, |inner| substitution_format(proto, inner))?;
    let content_type = match &proto.format {
        _ if !proto.content_type.is_empty() => Bytes::copy_from_slice(proto.content_type.as_bytes()),
        Some(Format::JsonFormat(_)) => Bytes::from_static(b"application/json"),
        _ => Bytes::from_static(b"text/plain"),
    };
    Some(Some(BodyFormat { format, content_type }))
}
