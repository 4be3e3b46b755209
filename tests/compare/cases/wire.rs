//! Bytes and requests as both count them: on the connection, in the access log, and how each request ended.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use weir_tests::{
    Bootstrap, Client, Gateway, H2Client, Hcm, Kind, Launch, Upstream, eventually, receive, request, typed,
};

/// What a client sends, and how many answers it waits for before it leaves; none: until the upstream has its request.
const DEEDS: [(&str, &str, usize); 28] = [
    ("a request", "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: abc\r\n\r\n", 1),
    ("blanks about values", "GET / HTTP/1.1\r\nHost:a\r\nx-a: \t spaced  \r\n\r\n", 1),
    ("it asks for the end", "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 1),
    ("HEAD", "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 1),
    ("a body", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", 1),
    ("chunks", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n0\r\n\r\n", 1),
    ("trailers", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n", 1),
    ("an answer in chunks", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: chunked;body=x;trailer=x-t:1\r\n\r\n", 1),
    ("a large answer", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: size=300000\r\n\r\n", 1),
    ("an error of the endpoint", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: status=500;body=x\r\n\r\n", 1),
    ("another try", "GET /again HTTP/1.1\r\nhost: a\r\nx-upstream: status=503;body=x|body=y\r\n\r\n", 1),
    (
        "another try of a body",
        "POST /again HTTP/1.1\r\nhost: a\r\nx-upstream: nothing;close|body=y\r\ncontent-length: 2\r\n\r\nok",
        1,
    ),
    ("expectations", "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nok", 1),
    ("a direct response", "GET /direct HTTP/1.1\r\nhost: a\r\n\r\n", 1),
    ("a direct response with a place", "GET /created HTTP/1.1\r\nhost: a\r\n\r\n", 1),
    ("a redirect", "GET /moved HTTP/1.1\r\nhost: a\r\n\r\n", 1),
    ("a redirect to https", "GET / HTTP/1.1\r\nhost: secure\r\n\r\n", 1),
    ("no route", "GET / HTTP/1.1\r\nhost: none\r\n\r\n", 1),
    ("no cluster", "GET /missing HTTP/1.1\r\nhost: a\r\n\r\n", 1),
    ("an answer before the body", "POST /direct HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123", 1),
    ("no host", "GET / HTTP/1.1\r\n\r\n", 1),
    ("nonsense", "nonsense\r\n\r\n", 1),
    ("an old version", "GET / HTTP/1.0\r\n\r\n", 1),
    ("half a head", "GET / HTTP/1.1\r\nhost: a\r\nx", 1),
    ("a broken body", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nno\r\n", 1),
    (
        "an answer that breaks off",
        "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;close\r\n\r\n",
        1,
    ),
    ("a body that never comes", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello", 0),
    ("leaves while it waits", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: delay=3000\r\n\r\n", 0),
];

/// What both say of it. Names of servers are set alike, and no field says how long something took: both count.
const FIELDS: [(&str, &str); 23] = [
    ("received", "%DOWNSTREAM_WIRE_BYTES_RECEIVED%"),
    ("sent", "%DOWNSTREAM_WIRE_BYTES_SENT%"),
    ("fields received", "%DOWNSTREAM_HEADER_BYTES_RECEIVED%"),
    ("fields sent", "%DOWNSTREAM_HEADER_BYTES_SENT%"),
    ("to the endpoint", "%UPSTREAM_WIRE_BYTES_SENT%"),
    ("from the endpoint", "%UPSTREAM_WIRE_BYTES_RECEIVED%"),
    ("fields to the endpoint", "%UPSTREAM_HEADER_BYTES_SENT%"),
    ("fields from the endpoint", "%UPSTREAM_HEADER_BYTES_RECEIVED%"),
    ("status", "%RESP(:status)%"),
    ("server", "%RESP(server)%"),
    ("bytes of the answer's head", "%RESPONSE_HEADERS_BYTES%"),
    ("type", "%RESP(content-type)%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("connection", "%RESP(connection)%"),
    ("decompressed fields received", "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%"),
    ("decompressed fields sent", "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%"),
    ("attempted", "%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%"),
    ("chain", "%FILTER_CHAIN_NAME%"),
    ("custom flags", "%CUSTOM_FLAGS%"),
    ("listener", "%LISTENER_NAME%"),
    ("handshake", "%DOWNSTREAM_HANDSHAKE_DURATION%"),
    ("text", "%CUSTOM_FLAGS%|%FILTER_CHAIN_NAME%"),
    ("stream", "%STREAM_ID%"),
];

/// Known to differ, with reasons.
const KNOWN: [(&str, &str, &str); 6] = [
    ("an old version", "fields received", "of a head that is refused no fields are counted"),
    ("an old version", "decompressed fields received", "the same"),
    (
        "trailers",
        "decompressed fields received",
        "trailers are fields as others, which Envoy counts in the other number only",
    ),
    ("no host", "stream", "what is refused for its host has its id already"),
    ("a broken body", "to the endpoint", NOT_SENT),
    ("a broken body", "fields to the endpoint", NOT_SENT),
];
const NOT_SENT: &str =
    "a request whose body is known to be broken is not sent; Envoy sends its head and resets the connection";

fn bootstrap(upstream: &Upstream) -> Bootstrap {
    let log =
        json!({"path": "access.log", "log_format": {"json_format": FIELDS.into_iter().collect::<BTreeMap<_, _>>()}});
    let log =
        json!({"name": "file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", log)});
    let routes = json!([
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}},
        {"match": {"prefix": "/created"}, "direct_response": {"status": 201}},
        {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/there"}},
        {"match": {"prefix": "/again"}, "route": {"cluster": "a", "retry_policy": {"retry_on": "5xx", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"match": {"prefix": "/missing"}, "route": {"cluster": "missing"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]);
    let hosts = json!([
        {"name": "a", "domains": ["a", "test"], "routes": routes},
        {"name": "secure", "domains": ["secure"], "require_tls": "ALL", "routes": routes},
    ]);
    let router = json!({"suppress_envoy_headers": true});
    let hcm = Hcm::new().virtual_hosts(hosts).set(json!({
        "access_log": [log],
        "server_name": "same",
        "delayed_close_timeout": "0.2s",
        "request_headers_timeout": "0.3s",
        "route_config": {"validate_clusters": false},
        "http_protocol_options": {"enable_trailers": true},
        "http_filters": [{"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", router)}],
    }));
    Bootstrap::serving(hcm, upstream.address)
}

type Counts = BTreeMap<String, u64>;

async fn counts(gateway: &Gateway) -> Counts {
    const WANTED: &str = "/stats?filter=^(http\\.test\\.(rq_total|rq_direct|no_|downstream_cx_(tx|rx)_bytes_total|downstream_rq_(rx|tx)_reset)|cluster\\.a\\.upstream_cx_(tx|rx)_bytes_total)";
    let stats = gateway.admin(WANTED).await.text();
    let lines = stats.lines().filter_map(|line| line.split_once(": "));
    lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// What each deed has left: of counters what they rose by, and the line of the log.
async fn after_each(kind: Kind) -> Vec<BTreeMap<String, Value>> {
    let upstream = Upstream::start().await;
    let gateway = Launch::new(kind, bootstrap(&upstream)).start().await;
    let mut all = Vec::new();
    let mut before = counts(&gateway).await;
    for (deed, sent, answers) in DEEDS {
        let seen = upstream.seen().len();
        let mut client = Client::connect(gateway.address()).await;
        client.send(sent).await;
        for _ in 0..answers {
            // One breaks off.
            let _ = client.next(deed == "HEAD", Duration::from_secs(4)).await;
        }
        if answers == 0 {
            eventually("the upstream has it", async || upstream.seen().len() > seen).await;
        }
        drop(client);
        gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
        gateway.stat_becomes("cluster.a.upstream_rq_active", 0).await;
        let after = counts(&gateway).await;
        let rise = after.iter().map(|(name, value)| (name.clone(), json!(value - before.get(name).unwrap_or(&0))));
        all.push(rise.collect::<BTreeMap<_, _>>());
        before = after;
    }
    let (_, folder) = gateway.stop().await;
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), DEEDS.len(), "{kind:?}: {log}");
    for (left, line) in all.iter_mut().zip(log.lines()) {
        left.extend(serde_json::from_str::<BTreeMap<String, Value>>(line).unwrap());
        if left["stream"].as_str().is_some_and(|id| id.len() == 36) {
            left.insert("stream".to_owned(), json!("made up"));
        }
    }
    all
}

#[tokio::test]
async fn of_http_1() {
    let (envoy, weir) = tokio::join!(after_each(Kind::Envoy), after_each(Kind::Weir));
    let mut differ = Vec::new();
    for ((deed, ..), (envoy, weir)) in DEEDS.iter().zip(envoy.iter().zip(&weir)) {
        for (what, envoy) in envoy {
            let weir = weir.get(what).unwrap_or(&Value::Null);
            let known = KNOWN.iter().any(|(of, part, _)| of == deed && part == what);
            if (envoy != weir) != known {
                differ
                    .push(format!("{deed}: {what}: envoy {envoy}, weir {weir}{}", if known { ", known" } else { "" }));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Counters of a connection that lasts are as new as its last request, over HTTP/2 as well.
#[tokio::test]
async fn of_connections_that_last() {
    let upstream = Upstream::start().await;
    let gateway = Launch::new(Kind::Weir, bootstrap(&upstream)).start().await;
    let count = async |way: &str| gateway.stat(&format!("http.test.downstream_cx_{way}_bytes_total")).await.unwrap();
    let asked = "GET /direct HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = Client::connect(gateway.address()).await;
    client.send(asked).await;
    client.response().await;
    let received = asked.len() as u64;
    assert_eq!(count("rx").await, received);
    let sent = count("tx").await;
    assert!(sent > 100, "{sent}");
    let mut other = H2Client::connect(gateway.address()).await;
    other.get("/direct").await;
    assert!(count("rx").await > received + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len() as u64);
    assert!(count("tx").await > sent);
}

/// How streams end, as both count it.
async fn streams(kind: Kind) -> Counts {
    let upstream = Upstream::start().await;
    let gateway = Launch::new(kind, bootstrap(&upstream)).start().await;
    let mut client = H2Client::connect(gateway.address()).await;
    client.request(request("GET", "/direct", &[]), b"").await.unwrap();
    client.request(request("POST", "/", &[]), b"hello").await.unwrap();
    // The answer comes before the body, and the rest of it is not waited for.
    let (answer, body) = client.start(request("POST", "/direct", &[]), false).await.unwrap();
    receive(answer).await.unwrap();
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
    drop(body);
    let before = upstream.seen().len();
    let (answer, mut body) = client.start(request("POST", "/", &[("x-upstream", "delay=3000")]), false).await.unwrap();
    body.send_data(bytes::Bytes::new(), true).unwrap();
    eventually("the upstream has it", async || upstream.seen().len() > before).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(answer);
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
    let mut all = counts(&gateway).await;
    all.retain(|name, _| !name.contains("bytes"));
    all
}

#[tokio::test]
async fn of_http_2() {
    let (envoy, weir) = tokio::join!(streams(Kind::Envoy), streams(Kind::Weir));
    assert_eq!(weir, envoy, "weir, envoy");
}
