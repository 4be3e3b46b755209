#![allow(clippy::unwrap_used)]
use super::super::pattern::Pattern;

/// Pattern, texts it matches as a whole, texts it does not.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("/a.*", &["/a", "/abc"], &["/b", "x/a", "/a\nb"]),
    ("a|bc", &["a", "bc"], &["abc", "ac", "b"]),
    (r"\d+", &["12"], &["1x", "\u{663}", ""]),
    (r"\w+", &["aZ_9"], &["é", "a-b"]),
    (r"\s", &[" ", "\t", "\n", "\u{c}", "\r"], &["\u{b}", "\u{a0}", ""]),
    (r"\S\D\W", &["ab-"], &["a1-", " b-", "é\u{663}é"]),
    (r"[\d_]+[^\s]", &["12_x"], &["x", "1 "]),
    (r"[\D]", &["a"], &["1"]),
    (r"[[:alpha:]][[:^digit:]]", &["ab", "a-"], &["a1", "1b", "é-"]),
    ("[a[b]+", &["a[b"], &["c", "a]"]),
    ("[]a]+", &["]a"], &["b"]),
    ("[^]a]", &["b"], &["]", "a"]),
    ("[a&&b]+", &["a&b"], &["c"]),
    ("[a~~b]*", &["a~b"], &["z"]),
    ("[-a]+[a-]+", &["-a-a"], &["b"]),
    ("[+--]", &["+", ",", "-"], &["."]),
    (r"[\]\\]", &["]", "\\"], &["a"]),
    (r"[\x41-\x{43}\101\n]+", &["ABC\n"], &["D"]),
    ("a{2}", &["aa"], &["a", "aaa"]),
    ("a{1,}b{0,2}", &["a", "aabb"], &["b", "abbb"]),
    ("a{,2}", &["a{,2}"], &["a", "aa"]),
    ("a{x}{", &["a{x}{"], &["a"]),
    ("a}]", &["a}]"], &["a"]),
    (r"\<a\>", &["<a>"], &["a"]),
    (r"a\_b\-c\/d\.e", &["a_b-c/d.e"], &["a_b-c/dxe"]),
    (r"\Qa.b[\E+c", &["a.b[c", "a.b[[c"], &["axb[c"]),
    (r"\101\0", &["A\0"], &["A"]),
    (r"(?i)ab(?-i)c", &["ABc"], &["ABC"]),
    ("(?s)a.b", &["a\nb"], &["ab"]),
    ("(?P<x>a)(?<y>b)(?:c)", &["abc"], &["ab"]),
    ("(?U)a+?", &["aa"], &["b"]),
    ("a+?b*?", &["aab"], &["c"]),
    (r"\ba\b.\Bb", &[], &["a b", "ab"]),
    (r"\ba\b.b\b", &["a b"], &["aab"]),
    ("é", &["é"], &["e"]),
    (".", &["x"], &["xy", "\n", "é"]),
    ("..", &["é"], &[]),
    ("é?", &["é"], &["", "e"]),
    ("é{2}", &[], &["éé"]),
    ("[^a][^a]", &["é"], &[]),
    (r"\xc3\xa9", &["é"], &[]),
    ("(?i)É", &[], &["é"]),
    ("(?i)k", &["K"], &["\u{212a}"]),
    (r"\pL[\p{Lu}1]\PL[^\pL]", &["aB12", "a112"], &["ab12", "1B12"]),
    (r"a\p{Greek}?\p{^Greek}", &["ab"], &["aα", "a"]),
    ("(|a)*", &["", "aa"], &["b"]),
    ("^/a$", &["/a"], &["/ab"]),
    ("", &[""], &["a"]),
    ("a#b c", &["a#b c"], &["a"]),
];

#[test]
fn means_what_re2_means() {
    for (pattern, yes, no) in TABLE {
        let compiled = Pattern::parse(pattern).unwrap();
        for text in *yes {
            assert!(compiled.is_match(text.as_bytes()), "{pattern} should match {text:?}");
        }
        for text in *no {
            assert!(!compiled.is_match(text.as_bytes()), "{pattern} should not match {text:?}");
        }
    }
    for (pattern, byte, want) in [
        (r"\C", 0xff, true),
        (".", 0xe9, true),
        (r"\x{e9}", 0xe9, true),
        (r"\pL", 0xe9, true),
        ("[é]", 0xa9, true),
        ("[à-é]", 0xb0, true),
        (r"(?i)\xe9", 0xc9, false),
        (r"[[:^alpha:]]", 0xe9, true),
        (r"\W", 0xe9, true),
        (r"\p{Greek}", 0xe9, false),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap().is_match(&[byte]), want, "{pattern}");
    }
}

#[test]
fn knows_what_every_match_starts_with() {
    for (pattern, prefix) in [
        ("/a/b", "/a/b"),
        ("^/a/b$", "/a/b"),
        ("/a/.*", "/a/"),
        ("/ab*", "/a"),
        ("/ab+", "/a"),
        ("/ab{2}", "/a"),
        ("/a{,2}b", "/a{,2}b"),
        (r"/a\.b\d", "/a.b"),
        ("/a/(b|c)", "/a/"),
        ("/a|/b", ""),
        ("/é?x", "/Ã"),
        ("(?i)/a", ""),
        ("/a(?i)b", "/a"),
        ("[/]a", ""),
        ("", ""),
    ] {
        let latin1: String = super::translate(pattern).unwrap().prefix.into_iter().map(char::from).collect();
        assert_eq!(latin1, prefix, "{pattern}");
    }
}

#[test]
fn refuses_what_re2_refuses() {
    for pattern in [
        "(",
        ")",
        "a)",
        "(a",
        "[a",
        "[",
        "*a",
        "a|*",
        "(+)",
        "a**",
        "a+*",
        "a{2}{3}",
        "a???",
        "a{1001}",
        "a{3,2}",
        r"\1",
        r"(a)\1",
        r"\8",
        r"\q",
        r"\Z",
        r"\",
        r"\x4",
        r"\x{110000}",
        r"\x{3b1}",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "(?>a)",
        "(?x)a",
        "(?P=n)",
        "[z-a]",
        r"[a-\d]",
        "[[:foo:]]",
        r"\p{Nope}",
        r"\pé",
        r"\E",
        "(?#c)",
    ] {
        assert!(Pattern::parse(pattern).is_err(), "{pattern}");
    }
}
