//! Answers of filters, limits, and the end of a stream.

use super::*;

#[test]
fn local_replies_in_the_request_pass_all_response_filters() {
    let response = "c.sh b.sh a.sh <h403 c.sb(why). b.sb(why). a.sb(why). <d(why).";
    check(&["a", "b qh:403", "c"], "H D:1 D:2.", &format!("a.qh b.qh reply403 {response}"));
    check(&["a", "b qb:403", "c"], "H D:1 D:2.", &format!("a.qh b.qh c.qh >H a.qb(1) b.qb(1) reply403 {response}"));
    check(&["a", "b qt:403", "c"], "H T", &format!("a.qh b.qh c.qh >H a.qt b.qt reply403 {response}"));
    check(&["a", "b", "c"], "H fail:403 D:1.", &format!("a.qh b.qh c.qh >H reply403 {response}"));
    check(&["a qh:W", "b", "c"], "H. fail:403 go:a:q", &format!("a.qh. reply403 {response}"));
    check(&["a qh:403 sh:W"], "H. go:a:s", "a.qh. reply403 a.sh <h403 a.sb(why). <d(why).");
}

#[test]
fn local_replies_in_the_response_replace_it_or_reset() {
    check(&["a", "b sh:500"], "H. h d:x. ", "a.qh. b.qh. >H. b.sh direct500");
    check(&["a sh:W", "b sb:500"], "H. h d:x.", "a.qh. b.qh. >H. b.sh a.sh b.sb(x). direct500");
    check(&["a", "b sb:500"], "H. h d:x.", "a.qh. b.qh. >H. b.sh a.sh <h b.sb(x). reset");
    check(&["a st:500"], "H. h d:x t", "a.qh. >H. a.sh <h a.sb(x) <d(x) a.st reset");
    check(&["a qh:403 sh:500"], "H.", "a.qh. reply403 a.sh direct500");
    check(&["a"], "H. h fail:504 d:x.", "a.qh. >H. a.sh <h reset");
    check(&["a"], "H. h d:x. fail:504", "a.qh. >H. a.sh <h a.sb(x). <d(x).");
}

#[test]
fn limits_refuse_or_hold_back() {
    check_with(3, &["a - qh:B"], "H D:123 D:4", "a.qh replyBodyTooLarge(Request) <h500 <d(why).");
    check_with(
        3,
        &["a qb:B qb:B"],
        "H D:123 D:4 D:5",
        "a.qh >H a.qb(123) a.qb(1234) replyBodyTooLarge(Request) a.sh <h500 a.sb(why). <d(why).",
    );
    check_with(3, &["a sb:B"], "H. h d:1234", "a.qh. >H. a.sh <h a.sb(1234) reset");
    check_with(3, &["a sh:s sb:B"], "H. h d:1234", "a.qh. >H. a.sh a.sb(1234) directBodyTooLarge(Response)");
    check_with(
        3,
        &["a - qh:W"],
        "H D:123 more D:4 more go:a:q more D:5.",
        "a.qh more/more full/more >H >D(1234) more/more >D(5).",
    );
    check_with(
        3,
        &["a qb:W qb:W"],
        "H D:12 more D:34 more D:5. more",
        "a.qh >H a.qb(12) more/more a.qb(1234) full/more a.qb(12345). >D(12345). more/more",
    );
    check_with(usize::MAX, &["a - qh:B"], "H D:123456 more go:a:q", "a.qh more/more >H >D(123456)");
}

#[test]
fn an_announced_length_is_kept_or_the_message_is_not_completed() {
    let after = |script: &str, inputs: &str| {
        let mut driver = Driver::new(&[script], 100);
        driver.chain.stream().edit().request.headers.append("content-length", "4");
        inputs.split_whitespace().for_each(|input| driver.feed(input));
        let trace = driver.trace.borrow().join(" ");
        halves(&trace).1.join(" ")
    };
    assert_eq!(after("a", "H D:12 D:34 D:."), ">H >D(12) >D(34) >D().");
    assert_eq!(after("a qb:c=WXYZ", "H D:1234."), ">H >D(WXYZ).");
    // Longer: the rest would be read as the next request.
    assert_eq!(after("a qb:c+more", "H D:1234."), ">H replyLengthChanged <h500 <d(why).");
    // Shorter: the next request would be read as the rest.
    assert_eq!(after("a qb:c=1", "H D:1234."), ">H replyLengthChanged <h500 <d(why).");
    assert_eq!(after("a qb:n", "H D:12 D:34."), ">H replyLengthChanged <h500 <d(why).");
    assert_eq!(after("a qb:c=1 qb:c+T", "H D:12 D:34."), ">H >D(1) >D(34) replyLengthChanged <h500 <d(why).");

    let mut driver = Driver::new(&["a sb:c+more"], 100);
    driver.feed("H.");
    let mut head = ResponseHead::new(200);
    head.headers.append("content-length", "1");
    driver.chain.stream().edit().response = Some(head);
    driver.chain.response_headers(false);
    driver.feed("d:1.");
    assert_eq!(halves(&driver.trace.borrow().join(" ")).1, [">H.", "<h", "reset"]);
}

#[test]
fn what_passes_untouched_is_known() {
    let mut driver = Driver::new(&["a - qh:W", "b -"], 10);
    driver.feed("H");
    assert!(!driver.chain.passes_request_body() && driver.chain.is_stopped(Direction::Request));
    driver.feed("go:a:q");
    assert!(driver.chain.passes_request_body() && driver.chain.passes_request_trailers());
    assert!(driver.chain.passes_response_body() && driver.chain.passes_response_trailers());
    assert!(!driver.chain.passes_response_headers() && Driver::new(&[], 10).chain.passes_response_headers());
    let driver = Driver::new(&["a -", "b"], 10);
    assert!(!driver.chain.passes_request_body() && !driver.chain.passes_response_body());
}

#[test]
fn log_and_destroy_come_once() {
    check(&["a", "b -"], "H. log destroy destroy D:1", "a.qh. b.qh. >H. a.log a.destroy b.destroy");
    let driver = Driver::new(&["a"], 10);
    let trace = Rc::clone(&driver.trace);
    drop(driver);
    assert_eq!(trace.borrow().join(" "), "a.destroy");
}
