//! What `/stats` answers to each of its parameters. Numbers of histograms are a matter of time and are masked.

use serde_json::{Value, json};
use weir_tests::{Bootstrap, Gateway, Hcm, Kind, Launch, Upstream, eventually, get};

/// Some metrics of each sort that both count.
const SOME: &str = "filter=^(http\\.test\\.(downstream_(cx_total|cx_active|cx_idle_timeout|rq_time)|rs_too_large)|cluster\\.b\\.upstream_cx_(total|connect_ms))$";

async fn gateway(kind: Kind, upstream: &Upstream) -> Gateway {
    let often = json!({"stats_flush_interval": "0.05s"});
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address).cluster("b", upstream.address).set(often);
    let gateway = Launch::new(kind, bootstrap).start().await;
    get(gateway.address(), "/").await.unwrap();
    // Envoy shows a histogram when it was flushed, and as idle after the next flush.
    let idle = async || gateway.admin("/stats?filter=test.downstream_rq_time").await.text().contains("P0(nan,");
    eventually("the request is in the histogram", idle).await;
    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    gateway
}

async fn answers(kind: Kind, queries: &[String]) -> Vec<String> {
    let upstream = Upstream::start().await;
    let gateway = gateway(kind, &upstream).await;
    let mut answers = Vec::new();
    for query in queries {
        let answer = gateway.admin(query).await;
        let body = if answer.header("content-type").is_some_and(|kind| kind == "application/json") {
            let mut document = serde_json::from_slice(&answer.body).unwrap();
            mask_json(&mut document);
            document.to_string()
        } else {
            answer.text().lines().map(mask).collect::<Vec<_>>().join("\n")
        };
        answers.push(format!("{query}\n{} {body}", answer.status));
    }
    answers
}

/// Without the numbers of a histogram.
fn mask(line: &str) -> String {
    let of_prometheus = ["_bucket{", "_sum{", "_count{", "quantile="].iter().any(|part| line.contains(part));
    if let Some((name, _)) = line.rsplit_once(' ').filter(|_| of_prometheus) {
        return name.to_owned();
    }
    if let Some((name, _)) = line.split_once("totals=") {
        return name.to_owned();
    }
    let mut masked = String::new();
    for (at, piece) in line.split(',').enumerate() {
        // What follows a comma is a total; `P0(nan,1.05) P25(nan,1.05)`.
        masked.push_str(if at == 0 {
            piece
        } else {
            piece.trim_start_matches(|c: char| ".e+".contains(c) || c.is_ascii_digit())
        });
    }
    masked
}

fn mask_json(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask_json),
        Value::Object(fields) => {
            fields.remove("totals");
            for (name, value) in fields.iter_mut() {
                if name == "cumulative" && value.is_number() {
                    *value = Value::Null;
                }
                mask_json(value);
            }
        }
        // 3e+05 is a whole number too.
        Value::Number(number) if number.is_f64() => {
            *value = json!(number.as_f64().unwrap().to_string());
        }
        Value::Number(number) => *value = json!(number.to_string()),
        _ => {}
    }
}

#[tokio::test]
async fn every_combination_is_answered_alike() {
    let mut queries = Vec::new();
    for format in ["", "&format=text", "&format=json", "&format=prometheus"] {
        for more in [
            "",
            "&usedonly",
            "&type=All",
            "&type=Counters",
            "&type=Gauges",
            "&type=Histograms",
            "&type=TextReadouts",
            "&type=Counters&usedonly",
            "&type=Gauges&usedonly",
            "&type=Histograms&usedonly",
            "&type=",
            "&type=counters",
            "&histogram_buckets=",
            "&histogram_buckets=none",
            "&histogram_buckets=summary",
            "&histogram_buckets=cumulative",
            "&histogram_buckets=disjoint",
            "&histogram_buckets=detailed",
            "&histogram_buckets=detailed&usedonly",
            "&histogram_buckets=cumulative&type=Histograms&usedonly",
            "&histogram_buckets=disjoint&type=Counters",
            "&hidden=include",
        ] {
            queries.push(format!("/stats?{SOME}{more}{format}"));
        }
        for nothing in ["", "&usedonly", "&type=Histograms", "&histogram_buckets=detailed"] {
            queries.push(format!("/stats?filter=nothing_has_this_name{nothing}{format}"));
        }
        queries.push(format!("/stats?filter=([^e]|[^v]e|[^i]ve|[^l]ive|[^.]live)$&invert_filter{format}"));
    }
    for more in ["", "&usedonly", "&histogram_buckets=summary", "&histogram_buckets=disjoint", "&type=Gauges"] {
        queries.push(format!("/stats/prometheus?{SOME}{more}"));
    }
    let (envoy, weir) = tokio::join!(answers(Kind::Envoy, &queries), answers(Kind::Weir, &queries));
    let differ: Vec<_> = envoy
        .iter()
        .zip(&weir)
        .filter(|(envoy, weir)| envoy != weir)
        .map(|(envoy, weir)| format!("envoy: {envoy}\nweir: {weir}"))
        .collect();
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), queries.len(), differ.join("\n\n"));
}
