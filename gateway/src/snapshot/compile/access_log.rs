//! Access logs of connection managers and listeners.

use weir_xds::pb;
use weir_xds::pb::accesslog::access_log_filter::FilterSpecifier;
use weir_xds::pb::accesslog::comparison_filter::Op;
use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::core::substitution_format_string::Format as FormatSpecifier;
use weir_xds::pb::envoy::data::accesslog::v3::AccessLogType as Occasion;
use weir_xds::pb::file_access_log::FileAccessLog;
use weir_xds::pb::file_access_log::file_access_log::AccessLogFormat as FileFormat;
use weir_xds::pb::stream_access_log::{StderrAccessLog, StdoutAccessLog};

use super::json;
use super::route::matching::header_matcher;
use crate::snapshot::Problems;
use crate::telemetry::ResponseFlags;
use crate::telemetry::access_log::{
    AccessLog, Comparator, Comparison, Fraction, HeaderTest, LogFilter, LogFormat, Sinks, Target,
};
use crate::telemetry::format::{AccessLogType, DEFAULT_ACCESS_LOG, Format, FormatError, JsonFormat};

/// Compiles an access log (`envoy.config.accesslog.v3.AccessLog`) and opens its file.
pub fn compile_access_log(
    proto: &pb::accesslog::AccessLog,
    sinks: &Sinks,
    problems: &mut Problems,
) -> Option<AccessLog> {
    let before = problems.len();
    let filter = proto.filter.as_ref().and_then(|filter| problems.within("filter", |inner| log_filter(filter, inner)));
    let logger = problems.within("typed_config", |inner| logger(proto, inner));
    let (target, format) = logger.filter(|_| problems.len() == before)?;
    let sink = sinks.open(target).map_err(|e| problems.push("typed_config.path", e.to_string())).ok()?;
    Some(AccessLog { format, filter, sink })
}

fn logger(proto: &pb::accesslog::AccessLog, problems: &mut Problems) -> Option<(Target, LogFormat)> {
    let Some(pb::accesslog::access_log::ConfigType::TypedConfig(any)) = &proto.config_type else {
        problems.push("", "an access log needs a typed_config: a FileAccessLog, StdoutAccessLog or StderrAccessLog");
        return None;
    };
    let mut say = |error: pb::UnpackError| problems.push("", error.to_string());
    if pb::is::<StdoutAccessLog>(any) {
        use pb::stream_access_log::stdout_access_log::AccessLogFormat::LogFormat;
        let log = pb::unpack::<StdoutAccessLog>(any).map_err(&mut say).ok()?;
        let format = log.access_log_format.as_ref().map(|LogFormat(format)| format);
        return Some((Target::Stdout, line_format(format, problems)?));
    }
    if pb::is::<StderrAccessLog>(any) {
        use pb::stream_access_log::stderr_access_log::AccessLogFormat::LogFormat;
        let log = pb::unpack::<StderrAccessLog>(any).map_err(&mut say).ok()?;
        let format = log.access_log_format.as_ref().map(|LogFormat(format)| format);
        return Some((Target::Stderr, line_format(format, problems)?));
    }
    if !pb::is::<FileAccessLog>(any) {
        let found = pb::type_name(any);
        problems.push(
            "",
            format!("{found} is not supported by Weir: use a FileAccessLog, StdoutAccessLog or StderrAccessLog"),
        );
        return None;
    }
    let log = pb::unpack::<FileAccessLog>(any).map_err(&mut say).ok()?;
    Some((file_target(&log.path), file_format(&log, problems)?))
}

/// Envoy opens the standard streams by these paths too; as streams they also work where `/dev` cannot be opened.
fn file_target(path: &str) -> Target {
    match path {
        "/dev/stdout" => Target::Stdout,
        "/dev/stderr" => Target::Stderr,
        path => Target::File(path.into()),
    }
}

#[allow(deprecated, reason = "Envoy still takes the deprecated forms")]
fn file_format(log: &FileAccessLog, problems: &mut Problems) -> Option<LogFormat> {
    match &log.access_log_format {
        None => line_format(None, problems),
        Some(FileFormat::LogFormat(format)) => line_format(Some(format), problems),
        Some(FileFormat::Format(text)) if text.is_empty() => line_format(None, problems),
        Some(FileFormat::Format(text)) => text_format(text, false, "format", problems),
        Some(FileFormat::JsonFormat(shape)) => json_format(shape, false, "json_format", problems),
        Some(FileFormat::TypedJsonFormat(shape)) => json_format(shape, false, "typed_json_format", problems),
    }
}

fn line_format(proto: Option<&pb::core::SubstitutionFormatString>, problems: &mut Problems) -> Option<LogFormat> {
    let Some(proto) = proto else { return text_format(DEFAULT_ACCESS_LOG, false, "log_format", problems) };
    problems.within("log_format", |problems| substitution_format(proto, problems))
}

/// Compiles a format of log lines, or of the body of a local reply.
#[allow(deprecated, reason = "Envoy still takes the deprecated form of text")]
pub(super) fn substitution_format(
    proto: &pb::core::SubstitutionFormatString,
    problems: &mut Problems,
) -> Option<LogFormat> {
    let omit = proto.omit_empty_values;
    if !proto.formatters.is_empty() {
        problems.push("formatters", "extensions of formats are not supported by Weir");
    }
    match proto.format.as_ref() {
        None => {
            problems.push("", "needs text_format_source or json_format");
            None
        }
        Some(FormatSpecifier::TextFormat(text)) => text_format(text, omit, "text_format", problems),
        Some(FormatSpecifier::JsonFormat(shape)) => json_format(shape, omit, "json_format", problems),
        Some(FormatSpecifier::TextFormatSource(source)) => {
            let text = problems.within("text_format_source", |inner| read_text(source, inner))?;
            text_format(&text, omit, "text_format_source", problems)
        }
    }
}

/// The text of a `DataSource`.
pub(super) fn read_text(source: &pb::core::DataSource, problems: &mut Problems) -> Option<String> {
    if source.watched_directory.is_some() {
        let reason = "the file is read when the configuration is taken, and not watched: leave it out";
        problems.push("watched_directory", reason);
    }
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_owned());
    let (field, read) = match &source.specifier {
        Some(Specifier::InlineString(text)) => ("inline_string", Ok(text.clone())),
        Some(Specifier::InlineBytes(bytes)) => ("inline_bytes", utf8(bytes.clone())),
        Some(Specifier::Filename(path)) => {
            let read = weir_xds::read_file(path.as_ref(), weir_xds::MAX_FILE_BYTES);
            ("filename", read.map_err(|e| format!("cannot read {path}: {e}")).and_then(utf8))
        }
        Some(Specifier::EnvironmentVariable(name)) => (
            "environment_variable",
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set, or not UTF-8")),
        ),
        None => ("", Err("needs inline_string, inline_bytes, filename or environment_variable".to_owned())),
    };
    read.map_err(|reason| problems.push(field, reason)).ok()
}

fn text_format(text: &str, omit_empty: bool, field: &str, problems: &mut Problems) -> Option<LogFormat> {
    report(Format::parse(text).map(|format| LogFormat::Text(format.omit_empty(omit_empty))), field, problems)
}

fn json_format(shape: &pb::Struct, omit_empty: bool, field: &str, problems: &mut Problems) -> Option<LogFormat> {
    report(JsonFormat::parse(&json::object(shape), omit_empty).map(LogFormat::Json), field, problems)
}

fn report<T>(parsed: Result<T, FormatError>, field: &str, problems: &mut Problems) -> Option<T> {
    parsed.map_err(|e| problems.push(field, e.to_string())).ok()
}

/// Compiles a filter of an access log, which also chooses among local replies.
pub(super) fn log_filter(proto: &pb::accesslog::AccessLogFilter, problems: &mut Problems) -> Option<LogFilter> {
    let Some(specifier) = &proto.filter_specifier else {
        problems.push("", "a filter needs one of its kinds, such as status_code_filter");
        return None;
    };
    let mut refuse = |field: &str, reason: &str| {
        problems.push(field, reason);
        None
    };
    match specifier {
        FilterSpecifier::StatusCodeFilter(filter) => {
            comparison(filter.comparison.as_ref(), "status_code_filter", problems).map(LogFilter::Status)
        }
        FilterSpecifier::DurationFilter(filter) => {
            comparison(filter.comparison.as_ref(), "duration_filter", problems).map(LogFilter::Duration)
        }
        // Only the health check filter marks requests, and Weir refuses it: no request is one.
        FilterSpecifier::NotHealthCheckFilter(_) => Some(LogFilter::Always),
        FilterSpecifier::RuntimeFilter(filter) => fraction(filter, problems).map(LogFilter::Fraction),
        FilterSpecifier::AndFilter(filter) => filters(&filter.filters, "and_filter", problems).map(LogFilter::And),
        FilterSpecifier::OrFilter(filter) => filters(&filter.filters, "or_filter", problems).map(LogFilter::Or),
        FilterSpecifier::HeaderFilter(filter) => {
            let matcher = filter.header.as_ref();
            let Some(matcher) = matcher else { return refuse("header_filter.header", "is required") };
            let matcher = problems.within("header_filter.header", |inner| header_matcher(matcher, inner))?;
            Some(LogFilter::Header(HeaderTest::new(move |head| matcher.matches_request(head))))
        }
        FilterSpecifier::ResponseFlagFilter(filter) => Some(flags(&filter.flags)),
        FilterSpecifier::GrpcStatusFilter(filter) => {
            let codes = filter.statuses.iter().filter(|code| (0..32).contains(*code));
            let codes = codes.fold(0u32, |set, code| set | 1 << code);
            Some(LogFilter::Grpc { codes, exclude: filter.exclude })
        }
        FilterSpecifier::LogTypeFilter(filter) => {
            let types = filter.types.iter().filter_map(|number| occasion(*number)).collect();
            Some(LogFilter::Occasion { types, exclude: filter.exclude })
        }
        FilterSpecifier::TraceableFilter(_) => refuse("traceable_filter", "tracing is not supported by Weir"),
        FilterSpecifier::MetadataFilter(_) => refuse("metadata_filter", "is not supported by Weir"),
        FilterSpecifier::ExtensionFilter(_) => refuse("extension_filter", "extensions are not supported by Weir"),
    }
}

fn filters(protos: &[pb::accesslog::AccessLogFilter], field: &str, problems: &mut Problems) -> Option<Vec<LogFilter>> {
    let each = protos.iter().enumerate();
    let compiled: Vec<_> = each
        .map(|(index, proto)| problems.within(&format!("{field}.filters[{index}]"), |inner| log_filter(proto, inner)))
        .collect();
    compiled.into_iter().collect()
}

fn comparison(
    proto: Option<&pb::accesslog::ComparisonFilter>,
    field: &str,
    problems: &mut Problems,
) -> Option<Comparison> {
    let Some((proto, value)) = proto.and_then(|proto| Some((proto, proto.value.as_ref()?))) else {
        problems.push(format!("{field}.comparison.value"), "is required");
        return None;
    };
    let comparator = match proto.op() {
        Op::Eq => Comparator::Equal,
        Op::Ge => Comparator::AtLeast,
        Op::Le => Comparator::AtMost,
        Op::Ne => Comparator::Different,
    };
    // There is no runtime to ask: the default value counts.
    Some(Comparison { comparator, value: u64::from(value.default_value) })
}

fn fraction(proto: &pb::accesslog::RuntimeFilter, problems: &mut Problems) -> Option<Fraction> {
    use pb::types::fractional_percent::DenominatorType;
    let share = proto.percent_sampled.unwrap_or_default();
    let denominator = match DenominatorType::try_from(share.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => {
            problems.push("runtime_filter.percent_sampled.denominator", "is HUNDRED, TEN_THOUSAND or MILLION");
            return None;
        }
    };
    Some(Fraction { numerator: share.numerator, denominator, independent: proto.use_independent_randomness })
}

/// Flags that Weir never sets (of fault injection, rate limits, …) match nothing.
fn flags(names: &[String]) -> LogFilter {
    let mut flags = ResponseFlags::NONE;
    let known = ResponseFlags::ALL.iter().filter(|(_, short, _)| names.iter().any(|name| name == short));
    known.for_each(|(flag, _, _)| flags.insert(*flag));
    if flags.is_empty() && !names.is_empty() { LogFilter::Or(Vec::new()) } else { LogFilter::Flags(flags) }
}

/// Occasions that do not occur in Weir match nothing.
fn occasion(number: i32) -> Option<AccessLogType> {
    match Occasion::try_from(number).ok()? {
        Occasion::NotSet => Some(AccessLogType::NotSet),
        Occasion::DownstreamEnd => Some(AccessLogType::DownstreamEnd),
        _ => None,
    }
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
