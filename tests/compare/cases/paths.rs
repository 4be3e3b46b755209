//! The one canonical path: computed once, matched, and forwarded.

use crate::case::{Case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

const PATHS: [&str; 34] = [
    "/a/b",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/a/.",
    "/..",
    "/../../a",
    "/a/b/../../../c",
    "//a",
    "/a//b",
    "/a///b//",
    "/a//../b",
    "/a/..//b",
    "/a%2Fb",
    "/a%2fb/../c",
    "/a%5Cb",
    "/a%5cb",
    "/a\\b",
    "/a\\..\\b",
    "/%2e%2e/a",
    "/a/%2E%2e/b",
    "/a/.%2e/b",
    "/%61/%41%7e%2D",
    "/a%00b",
    "/a%zz",
    "/a%",
    "/a%252Fb",
    "/a%252e%252e/b",
    "/a;p=1/..;/b",
    "/a/..;x/b",
    "/a?q=/../b//c%2F",
    "/a/../b?q=..",
    "/a/../b#f",
    "/a/...",
];

/// Which of a few routes matches shows which path was matched.
fn routes() -> Value {
    json!([
        {"name": "b", "match": {"path": "/b"}, "route": {"cluster": "a"}},
        {"name": "under-a", "match": {"path_separated_prefix": "/a"}, "route": {"cluster": "a"}},
        {"name": "rest", "match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ])
}

async fn ask(fields: Value) {
    let cases: Vec<Case> = PATHS.iter().map(|path| get(path, path, "")).collect();
    compare(Setup::main(Hcm::new().routes(routes()).set(fields)), cases).await;
}

#[tokio::test]
async fn as_they_are() {
    ask(json!({})).await;
}

#[tokio::test]
async fn normalized() {
    ask(json!({"normalize_path": true})).await;
}

#[tokio::test]
async fn slashes_merged() {
    ask(json!({"merge_slashes": true})).await;
}

#[tokio::test]
async fn normalized_and_merged() {
    ask(json!({"normalize_path": true, "merge_slashes": true})).await;
}

#[tokio::test]
async fn escaped_slashes_refused() {
    ask(json!({"path_with_escaped_slashes_action": "REJECT_REQUEST"})).await;
}

#[tokio::test]
async fn escaped_slashes_redirected() {
    ask(json!({"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "normalize_path": true})).await;
}

#[tokio::test]
async fn escaped_slashes_unescaped() {
    let action = "UNESCAPE_AND_FORWARD";
    ask(json!({"path_with_escaped_slashes_action": action, "normalize_path": true, "merge_slashes": true})).await;
}
