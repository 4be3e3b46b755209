#![allow(clippy::unwrap_used)]

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::http::{RequestHead, Version};
use crate::telemetry::format::{AccessLogType, DEFAULT_ACCESS_LOG};
use crate::telemetry::metrics::Registry;
use crate::telemetry::metrics::names::{Filesystem, Weir, filesystem, weir};
use crate::telemetry::{ConnectionInfo, ResponseFlags, StreamInfo};

fn info() -> StreamInfo {
    let address = "127.0.0.1:1".parse().unwrap();
    let connection = ConnectionInfo {
        id: 1,
        remote: address,
        local: address,
        tls: None,
        requested_server_name: None,
        listener: "".into(),
        filter_chain: "".into(),
        accepted: Instant::now(),
        shaken: None,
        failure: None,
    };
    StreamInfo::new(Rc::new(connection), Version::Http11)
}

fn log_to(sinks: &Sinks, target: Target, format: &str) -> AccessLog {
    AccessLog {
        format: LogFormat::Text(Format::parse(format).unwrap()),
        filter: None,
        sink: sinks.open(target).unwrap(),
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn lines_are_written_when_due_and_files_are_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let registry = Registry::new(1);
    let sinks = Sinks::start(&registry).unwrap();
    let log = log_to(&sinks, Target::File(path.clone()), "%RESPONSE_CODE%\n");
    assert!(Arc::ptr_eq(&log.sink, &sinks.open(Target::File(path.clone())).unwrap()));
    let info = info();
    let mut buffers = LogBuffers::new(sinks.clone(), 1);
    assert_eq!(buffers.next_due(), None);
    log.log(&FormatCx::new(&info), &mut buffers);
    let due = buffers.next_due().unwrap();
    buffers.flush_due(due - Duration::from_millis(1));
    assert!(sinks.sync(LONG));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    buffers.flush_due(due);
    assert!(sinks.sync(LONG));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n");
    assert_eq!(buffers.next_due(), None);

    let moved = folder.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    sinks.reopen();
    log.log(&FormatCx::new(&info), &mut buffers);
    buffers.flush_all();
    assert!(sinks.sync(LONG));
    assert_eq!((std::fs::read(&moved).unwrap().len(), std::fs::read(&path).unwrap().len()), (2, 2));
    let files = registry.scope(Filesystem, "");
    assert_eq!(files.counter(filesystem::WRITE_BUFFERED), 2);
    assert_eq!(files.counter(filesystem::WRITE_COMPLETED), 2);
    assert_eq!(files.counter(filesystem::FLUSHED_BY_TIMER), 1);
    assert_eq!(files.gauge(filesystem::WRITE_TOTAL_BUFFERED), 0);
}

#[test]
fn a_full_buffer_goes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sinks = Sinks::start(&Registry::new(1)).unwrap();
    let log = log_to(&sinks, Target::File(path.clone()), &"x".repeat(40_000));
    let (info, mut buffers) = (info(), LogBuffers::new(sinks.clone(), 1));
    log.log(&FormatCx::new(&info), &mut buffers);
    log.log(&FormatCx::new(&info), &mut buffers);
    assert_eq!(buffers.next_due(), None);
    assert!(sinks.sync(LONG));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 80_000);
}

#[test]
fn what_the_writer_cannot_take_is_dropped_and_counted() {
    let registry = Registry::new(1);
    let sinks = Arc::new(Sinks::dry(&registry));
    let log = log_to(&sinks, Target::Stdout, "line\n");
    let (info, mut buffers) = (info(), LogBuffers::new(sinks, 1));
    log.log(&FormatCx::new(&info), &mut buffers);
    log.log(&FormatCx::new(&info), &mut buffers);
    buffers.flush_all();
    let weir = registry.scope(Weir, "");
    assert_eq!(weir.counter(weir::ACCESS_LOG_DROPPED_LINES), 2);
    assert_eq!(weir.counter(weir::ACCESS_LOG_DROPPED_BYTES), 10);
}

#[test]
fn a_log_that_cannot_be_opened_is_refused() {
    let sinks = Sinks::dry(&Registry::new(1));
    let error = sinks.open(Target::File("/nonexistent/folder/log".into())).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the access log /nonexistent/folder/log: "), "{error}");
    assert!(Format::parse(DEFAULT_ACCESS_LOG).is_ok());
}

#[test]
fn filters() {
    let mut info = info();
    info.status = 503;
    info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
    info.end = Some(info.start + Duration::from_millis(100));
    let request = RequestHead {
        method: Bytes::from_static(b"GET"),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from_static(b"a"),
        path: Bytes::from_static(b"/"),
        version: Version::Http11,
        headers: [("x-request-id", "00000010-0000-4000-8000-000000000000")].into_iter().collect(),
    };
    let cx = FormatCx { access_log_type: AccessLogType::DownstreamEnd, ..FormatCx::new(&info).request(&request) };
    let compare = |comparator, value| Comparison { comparator, value };
    let fraction =
        |numerator, denominator| LogFilter::Fraction(Fraction { numerator, denominator, independent: false });
    for (filter, passes) in [
        (LogFilter::Status(compare(Comparator::AtLeast, 500)), true),
        (LogFilter::Status(compare(Comparator::Different, 503)), false),
        (LogFilter::Duration(compare(Comparator::AtMost, 99)), false),
        (LogFilter::Duration(compare(Comparator::Equal, 100)), true),
        (LogFilter::Flags(ResponseFlags::NONE), true),
        (LogFilter::Flags(ResponseFlags::UPSTREAM_OVERFLOW), true),
        (LogFilter::Flags(ResponseFlags::NO_ROUTE_FOUND), false),
        (LogFilter::Grpc { codes: 1 << 14, exclude: false }, true),
        (LogFilter::Grpc { codes: 1 << 14, exclude: true }, false),
        (LogFilter::Occasion { types: vec![AccessLogType::DownstreamEnd], exclude: false }, true),
        (LogFilter::Header(HeaderTest::new(|head| head.path == "/")), true),
        (fraction(17, 100), true),
        (fraction(16, 100), false),
        (LogFilter::And(vec![LogFilter::Always, LogFilter::Flags(ResponseFlags::NO_ROUTE_FOUND)]), false),
        (LogFilter::Or(vec![LogFilter::Always, LogFilter::Flags(ResponseFlags::NO_ROUTE_FOUND)]), true),
    ] {
        assert_eq!(filter.passes(&cx), passes, "{filter:?}");
    }
}
