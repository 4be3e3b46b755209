//! `header_key_format`, the same for connection managers and clusters.

use weir_xds::pb;
use weir_xds::pb::core::Http1ProtocolOptions;
use weir_xds::pb::core::http1_protocol_options::header_key_format::HeaderFormat;
use weir_xds::pb::preserve_case::PreserveCaseFormatterConfig;
use weir_xds::pb::preserve_case::preserve_case_formatter_config::FormatterTypeOnEnvoyHeaders;

use crate::http::{KeyFormat, NameCase, PreserveCase};
use crate::snapshot::Problems;

pub(super) fn compile(proto: &Http1ProtocolOptions, problems: &mut Problems) -> KeyFormat {
    match proto.header_key_format.as_ref().and_then(|format| format.header_format.as_ref()) {
        None => KeyFormat::Lower,
        Some(HeaderFormat::ProperCaseWords(_)) => KeyFormat::ProperCase,
        Some(HeaderFormat::StatefulFormatter(formatter)) => {
            let any = formatter.typed_config.clone().unwrap_or_default();
            match pb::unpack::<PreserveCaseFormatterConfig>(&any) {
                Ok(config) => KeyFormat::PreserveCase(preserve_case(&config)),
                Err(error) => {
                    problems.push("header_key_format.stateful_formatter.typed_config", error.to_string());
                    KeyFormat::Lower
                }
            }
        }
    }
}

fn preserve_case(proto: &PreserveCaseFormatterConfig) -> PreserveCase {
    PreserveCase {
        others: match proto.formatter_type_on_envoy_headers() {
            FormatterTypeOnEnvoyHeaders::Default => NameCase::Lower,
            FormatterTypeOnEnvoyHeaders::ProperCase => NameCase::Proper,
        },
        reason_phrase: proto.forward_reason_phrase,
    }
}
