//! What comes beside the messages.

use std::time::Duration;

use super::*;
use crate::http::{RequestHead, Version};

pub(super) fn call_out() -> CallOut {
    let head = RequestHead {
        method: "GET".into(),
        scheme: "http".into(),
        authority: "auth".into(),
        path: "/".into(),
        version: Version::Http11,
        headers: HeaderMap::new(),
    };
    let (body, trailers) = (Bytes::new(), None);
    CallOut { cluster: "auth".into(), head, body, trailers, timeout: Duration::from_secs(1), max_body: 1 }
}

#[test]
fn a_request_waits_for_the_answer_to_a_call_out() {
    check(&["a qh:W!c call:c!q", "b"], "H. done:a", "a.qh. ask0:7:auth a.call(7,failed) b.qh. >H.");
    check(
        &["b", "a qh:W!c call:c!403"],
        "H. done:a",
        "b.qh. a.qh. ask1:7:auth a.call(7,failed) reply403 a.sh b.sh <h403 a.sb(why). b.sb(why). <d(why).",
    );
    check(&["a sh:W!c call:c!s"], "H. h d:x. done:a", "a.qh. >H. a.sh ask0:7:auth a.call(7,failed) <h a.sb(x). <d(x).");
    check(&["a call:c!c"], "H. done:a", "a.qh. >H. a.call(7,failed) ask0:7:auth");
}

#[test]
fn timers_ring_once_each() {
    check(&["a qh:W!t tick:c!q", "b"], "H. ring ring", "a.qh. due a.tick b.qh. >H. none");
    check(&["a qh:c!t tick:c!t", "b qh:c!t"], "H. ring ring ring", "a.qh. b.qh. >H. due a.tick b.tick due a.tick none");
    check(&["a qh:c!t sh:c!n"], "H. h ring", "a.qh. >H. a.sh <h none");
}

#[test]
fn interim_responses_pass_in_reverse() {
    check(&["a", "b"], "H. 1xx h.", "a.qh. b.qh. >H. b.1x(100) a.1x(101) <102 b.sh. a.sh. <h.");
    check(&["a", "b -"], "H. 1xx", "a.qh. b.qh. >H. a.1x(100) <101");
    check(&[], "H. 1xx", ">H. <100");
}
