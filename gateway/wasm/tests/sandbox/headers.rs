use weir_wasm::Status;

use crate::support::Arg::{Bytes, Number, Out};
use crate::support::Probe;

fn with_headers(mut probe: Probe) -> Probe {
    probe.host().request_headers = vec![(":path".into(), "/".into()), ("a".into(), "1".into())];
    probe
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn a_value_is_given_in_memory_of_the_guest() {
    let mut probe = with_headers(Probe::env("proxy_get_header_map_value", "iiiii"));
    let answer = probe.call(&[Number(0), Bytes(b":path"), Out(0), Out(1)]);
    assert_eq!((answer.status, answer.bytes(0)), (0, &b"/"[..]));
    assert_eq!(probe.call(&[Number(0), Bytes(b"none"), Out(0), Out(1)]).status, Status::NotFound as u32);
    // A map of another phase, or none at all: what SDKs survive.
    assert_eq!(probe.call(&[Number(2), Bytes(b":path"), Out(0), Out(1)]).status, Status::NotFound as u32);
    assert_eq!(probe.call(&[Number(99), Bytes(b":path"), Out(0), Out(1)]).status, Status::NotFound as u32);
}

#[test]
fn all_pairs_are_given_and_a_missing_map_is_empty() {
    let mut probe = with_headers(Probe::env("proxy_get_header_map_pairs", "iii"));
    let answer = probe.call(&[Number(0), Out(0), Out(1)]);
    let pairs = weir_wasm::Pairs::parse(answer.bytes(0)).unwrap();
    assert_eq!(pairs.iter().collect::<Vec<_>>(), [(&b":path"[..], &b"/"[..]), (b"a", b"1")]);

    let answer = probe.call(&[Number(2), Out(0), Out(1)]);
    assert_eq!((answer.status, answer.bytes(0)), (0, &[0; 4][..]));
    assert_eq!(probe.host().refused, [("proxy_get_header_map_pairs", Status::BadArgument)]);
}

#[test]
fn size_is_that_of_the_pairs() {
    let mut probe = with_headers(Probe::env("proxy_get_header_map_size", "ii"));
    let answer = probe.call(&[Number(0), Out(0)]);
    // A count, two times two lengths, and `:path/a1` with four NULs.
    assert_eq!((answer.status, answer.number(0)), (0, 4 + 16 + 8 + 4));
}

#[test]
fn pairs_are_set_as_a_whole_and_nonsense_changes_nothing() {
    let mut probe = with_headers(Probe::env("proxy_set_header_map_pairs", "iii"));
    let before = probe.host().request_headers.clone();
    assert_eq!(probe.call(&[Number(0), Bytes(b"\x01\0\0\0nonsense")]).status, 0);
    assert_eq!(probe.host().request_headers, before);
    assert_eq!(probe.host().refused, [("proxy_set_header_map_pairs", Status::ParseFailure)]);

    assert_eq!(probe.call(&[Number(0), Bytes(b"\x01\0\0\0\x01\0\0\0\x01\0\0\0x\0y\0")]).status, 0);
    assert_eq!(probe.host().request_headers, [pair("x", "y")]);
}

#[test]
fn fields_are_added_replaced_and_removed() {
    let mut probe = with_headers(Probe::env("proxy_add_header_map_value", "iiiii"));
    assert_eq!(probe.call(&[Number(0), Bytes(b"a"), Bytes(b"2")]).status, 0);
    assert_eq!(probe.host().request_headers[1..], [pair("a", "1"), pair("a", "2")]);

    let mut probe = with_headers(Probe::env("proxy_replace_header_map_value", "iiiii"));
    assert_eq!(probe.call(&[Number(0), Bytes(b"a"), Bytes(b"2")]).status, 0);
    assert_eq!(probe.host().request_headers[1..], [pair("a", "2")]);

    let mut probe = with_headers(Probe::env("proxy_remove_header_map_value", "iii"));
    assert_eq!(probe.call(&[Number(0), Bytes(b"a")]).status, 0);
    assert_eq!(probe.host().request_headers, [pair(":path", "/")]);
}

#[test]
fn writing_in_the_wrong_phase_is_a_no_op_that_an_sdk_survives() {
    let mut probe = with_headers(Probe::env("proxy_replace_header_map_value", "iiiii"));
    assert_eq!(probe.call(&[Number(2), Bytes(b"a"), Bytes(b"2")]).status, 0);
    assert_eq!(probe.host().refused, [("proxy_replace_header_map_value", Status::BadArgument)]);
}

#[test]
fn properties_are_found_by_their_path() {
    let mut probe = Probe::env("proxy_get_property", "iiii");
    for path in [&b"request\0path"[..], b"request\0path\0"] {
        let answer = probe.call(&[Bytes(path), Out(0), Out(1)]);
        assert_eq!((answer.status, answer.bytes(0)), (0, &b"/here"[..]));
    }
    assert_eq!(probe.call(&[Bytes(b"request\0nothing"), Out(0), Out(1)]).status, Status::NotFound as u32);
    assert_eq!(probe.call(&[Bytes(b""), Out(0), Out(1)]).status, Status::NotFound as u32);
}
