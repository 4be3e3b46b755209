#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::http::Version;
use crate::telemetry::{CertificateInfo, ConnectionInfo, ResponseFlags, TlsInfo};

fn connection(tls: bool) -> Rc<ConnectionInfo> {
    let certificate = CertificateInfo {
        subject: "CN=client,O=Weir".to_owned(),
        uri_sans: vec!["spiffe://a/b".to_owned(), "spiffe://a/c".to_owned()],
        ip_sans: vec!["10.0.0.1".to_owned(), "::1".to_owned()],
        email_sans: vec!["a@b.c".to_owned()],
        sha1: "ab12".to_owned(),
        pem: "-----BEGIN CERTIFICATE-----\na+/=\n".to_owned(),
        not_after: 1_795_361_429,
        ..Default::default()
    };
    Rc::new(ConnectionInfo {
        id: 7,
        remote: "10.0.0.1:1234".parse::<SocketAddr>().unwrap(),
        local: "[::1]:443".parse::<SocketAddr>().unwrap(),
        tls: tls.then(|| TlsInfo {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            curve: "X25519",
            signature: "",
            alpn: "h2".into(),
            peer: Some(Arc::new(certificate)),
            validated: true,
            local: None,
        }),
        requested_server_name: tls.then(|| "example.com".into()),
        listener: "main".into(),
        filter_chain: "".into(),
        accepted: Instant::now(),
        shaken: None,
        failure: None,
    })
}

fn request() -> RequestHead {
    RequestHead {
        method: Bytes::from_static(b"GET"),
        scheme: Bytes::from_static(b"https"),
        authority: Bytes::from_static(b"example.com"),
        path: Bytes::from_static(b"/up?x=1&y=&x=2&u%20v=a%2B%20b%"),
        version: Version::Http11,
        headers: [("user-agent", "a\"b\tc"), ("x-one", "first"), ("x-one", "second")].into_iter().collect(),
    }
}

fn info(tls: bool) -> StreamInfo {
    let mut info = StreamInfo::new(connection(tls), Version::Http11);
    info.start_wall = SystemTime::UNIX_EPOCH + Duration::new(1_795_361_429, 8_153_000);
    info.status = 503;
    info.flags.insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    info.details = Some("via upstream".into());
    info.end = Some(info.start + Duration::from_micros(12_345));
    info.upstream_rx_first = Some(info.start + Duration::from_millis(5));
    info.attempts = 1;
    info.downstream_bytes.sent = 300;
    info.upstream_bytes.fields_received = 40;
    info.upstream_connection = 3;
    info.upstream_attempted.extend(["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse::<SocketAddr>().unwrap()]);
    info.bytes_sent = 98;
    info.cluster = Some("up".into());
    info.upstream_remote = Some("127.0.0.1:1".parse().unwrap());
    info.upstream_connected = true;
    info.metadata.push(("ns".to_owned(), json!({"a": {"b": "text"}, "n": 5})));
    info.filter_state.push(("key".to_owned(), b"value".to_vec()));
    info
}

fn text(format: &str, tls: bool) -> String {
    let (request, info) = (request(), info(tls));
    let mut response = ResponseHead::new(503);
    response.headers.append("x-answer", "yes");
    let mut out = Vec::new();
    let cx = FormatCx::new(&info).request(&request).response(&response);
    Format::parse(format).unwrap().render(&cx, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn operators() {
    for (format, expected) in [
        ("", ""),
        ("100%% literal", "100% literal"),
        ("%START_TIME% %START_TIME(%s)%", "2026-11-22T15:30:29.008Z 1795361429"),
        ("%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%", "GET /up?x=1&y=&x=2&u%20v=a%2B%20b% HTTP/1.1"),
        ("%REQ(X-ONE)% %REQ(X-ONE):2% %REQ(host)% %REQ(nope)%", "first fi example.com -"),
        ("%REQ_WITHOUT_QUERY(:PATH)% %PATH(NQ)% %PATH(WQ:PATH):3%", "/up /up /up"),
        ("%QUERY_PARAM(x)% [%QUERY_PARAM(y)%] %QUERY_PARAM(z)%", "1 [] -"),
        ("%QUERY_PARAM(u v)% %QUERY_PARAM(u v):2%", "a+ b% a+"),
        ("%RESP(X-ANSWER)% %RESP(:STATUS)% %TRAILER(x)%", "yes 503 -"),
        (
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%",
            "503 URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure",
        ),
        ("%RESPONSE_CODE_DETAILS%|%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "via_upstream|via upstream"),
        ("%DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %REQUEST_DURATION%", "12 5 7 -"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)% %COMMON_DURATION(US_RX_BEG:DS_RX_BEG:ms)%", "12345 -"),
        ("%BYTES_SENT% %BYTES_RECEIVED% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %CONNECTION_ID%", "98 0 1 7"),
        (
            "%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS%",
            "127.0.0.1:1 127.0.0.1 up -",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_LOCAL_ADDRESS%",
            "10.0.0.1:1234 1234 [::1]:443",
        ),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_TLS_VERSION% %ROUTE_NAME%", "::1 - -"),
        ("%DYNAMIC_METADATA(ns:a:b)% %DYNAMIC_METADATA(ns:a)% %DYNAMIC_METADATA(ns:x)%", "text {\"b\":\"text\"} -"),
        ("%DYNAMIC_METADATA(ns:a:b):2% %METADATA(DYNAMIC:ns:n)%", "te 5"),
        ("%FILTER_STATE(key)% %FILTER_STATE(key:PLAIN):3% %FILTER_STATE(no)%", "\"value\" val -"),
        ("%REQUEST_HEADERS_BYTES%", "114"),
        ("%DOWNSTREAM_WIRE_BYTES_SENT% %UPSTREAM_HEADER_BYTES_RECEIVED% %UPSTREAM_CONNECTION_ID%", "300 40 3"),
        ("%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%", "127.0.0.1:1,[::1]:2 127.0.0.1,::1"),
        ("%LISTENER_NAME% [%CUSTOM_FLAGS%] %STREAM_ID% %DOWNSTREAM_HANDSHAKE_DURATION%", "main [] - -"),
        ("%TRACE_ID%%ACCESS_LOG_TYPE%%GRPC_STATUS%", "-NotSet-"),
    ] {
        assert_eq!(text(format, false), expected, "{format}");
    }
}

#[test]
fn operators_of_tls() {
    for (format, expected) in [
        (
            "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %REQUESTED_SERVER_NAME%",
            "TLSv1.3 TLS_AES_128_GCM_SHA256 example.com",
        ),
        (
            "%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN%",
            "CN=client,O=Weir spiffe://a/b,spiffe://a/c -",
        ),
        ("%DOWNSTREAM_PEER_CERT%", "-----BEGIN%20CERTIFICATE-----%0Aa%2B%2F%3D%0A"),
        ("%DOWNSTREAM_PEER_CERT_V_END%", "2026-11-22T15:30:29.000Z"),
        ("%DOWNSTREAM_LOCAL_SUBJECT% %UPSTREAM_PEER_SUBJECT%", "- -"),
        ("%DOWNSTREAM_PEER_IP_SAN% %DOWNSTREAM_PEER_EMAIL_SAN%", "10.0.0.1,::1 a@b.c"),
        ("%DOWNSTREAM_PEER_FINGERPRINT_1% %DOWNSTREAM_TLS_GROUP% %UPSTREAM_TLS_GROUP%", "ab12 X25519 -"),
    ] {
        assert_eq!(text(format, true), expected, "{format}");
    }
}

#[test]
fn the_default_line_is_envoys() {
    assert_eq!(
        text(DEFAULT_ACCESS_LOG, false),
        "[2026-11-22T15:30:29.008Z] \"GET /up?x=1&y=&x=2&u%20v=a%2B%20b% HTTP/1.1\" 503 URX,UF 0 98 12 - \"-\" \"a\"b\tc\" \"-\" \"example.com\" \"127.0.0.1:1\"\n"
    );
}

#[test]
fn refusals_name_the_operator() {
    for (format, message) in [
        ("%NOPE%", "unknown operator %NOPE%"),
        ("%DOWNSTREAM_NOPE%", "unknown operator %DOWNSTREAM_NOPE%"),
        ("%CEL(a)%", "operator %CEL% is not supported by Weir: expressions are not supported"),
        (
            "50% off",
            "no operator at byte 2 of the format: write %OPERATOR%, %OPERATOR(parameter)% or %% for a percent sign",
        ),
        ("%REQ%", "operator %REQ%: needs a parameter: a header's name, or NAME?ALTERNATIVE"),
        ("%REQ(a?b?c)%", "operator %REQ%: takes one header's name and at most one alternative: NAME?ALTERNATIVE"),
        ("%REQ(:/x)%", "operator %REQ%: \":/x\" cannot be a header's name"),
        ("%RESP(a?b c)%", "operator %RESP%: \"b c\" cannot be a header's name"),
        ("%TRAILER(:)%", "operator %TRAILER%: \":\" cannot be a header's name"),
        ("%REQ_WITHOUT_QUERY(a/b)%", "operator %REQ_WITHOUT_QUERY%: \"a/b\" cannot be a header's name"),
        ("%PROTOCOL(x)%", "operator %PROTOCOL%: takes no parameter"),
        ("%PROTOCOL:3%", "operator %PROTOCOL%: takes no length"),
        ("%START_TIME(%Q)%", "operator %START_TIME%: unknown date specifier %Q"),
    ] {
        assert_eq!(Format::parse(format).unwrap_err().to_string(), message, "{format}");
    }
}

#[test]
fn empty_values_may_be_omitted() {
    let info = info(false);
    let mut out = Vec::new();
    Format::parse("[%REQ(a)%]").unwrap().omit_empty(true).render(&FormatCx::new(&info), &mut out);
    assert_eq!(out, b"[]");
}

#[test]
fn unique_ids_differ_and_are_uuids() {
    let (one, other) = (text("%UNIQUE_ID%", false), text("%UNIQUE_ID%", false));
    assert_ne!(one, other);
    assert_eq!((one.len(), one.as_bytes()[14]), (36, b'4'));
}

#[test]
fn json_keeps_types_and_sorts() {
    let (request, info) = (request(), info(false));
    let cx = FormatCx::new(&info).request(&request);
    let shape = json!({
        "zcode": "%RESPONSE_CODE%", "both": "%RESPONSE_CODE% %PROTOCOL%", "ua": "%REQ(USER-AGENT)%",
        "none": "%REQ(NOPE)%", "n": 5, "f": 1.5, "b": true, "nul": null, "list": ["%BYTES_SENT%", "x"],
        "obj": {"k": "%ROUTE_NAME%", "a": "%START_TIME%"}, "esc": "a\"b\\c/d\u{1}é<>",
        "md": "%DYNAMIC_METADATA(ns:a)%", "percent": "%%", "empty": "",
    });
    let mut out = Vec::new();
    JsonFormat::parse(&shape, false).unwrap().render(&cx, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"b":true,"both":"503 HTTP/1.1","empty":"","esc":"a\"b\\c/d\u0001é<>","f":1.5,"list":[98,"x"],"md":{"b":"text"},"n":5,"none":null,"nul":null,"obj":{"a":"2026-11-22T15:30:29.008Z","k":null},"percent":"%","ua":"a\"b\tc","zcode":503}"#
    );
    let mut out = Vec::new();
    JsonFormat::parse(&shape, true).unwrap().render(&cx, &mut out);
    let omitted: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(omitted.get("none").is_none() && omitted["obj"].get("k").is_none());
    assert!(JsonFormat::parse(&json!({"a": "%NOPE%"}), false).is_err());
}

#[test]
fn json_of_what_is_not_utf8_is_envoys() {
    let mut request = request();
    request.headers.append("x-e", b"a\x80\xff\"\xc3\xa9/\\b\tc");
    let info = info(false);
    let shape = json!({"mix": "é %REQ(X-E)%", "x": "%REQ(X-E)%", "c": {"d": "%REQ(NOPE)%"}, "b": ["%REQ(NOPE)%", 1]});
    let mut out = Vec::new();
    JsonFormat::parse(&shape, true).unwrap().render(&FormatCx::new(&info).request(&request), &mut out);
    let value = r#"a\u0080\u00ff\u0022\u00c3\u00a9/\u005cb\u0009c"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!(r#"{{"b":[1],"mix":"é {value}","x":"{value}"}}"#));
}
