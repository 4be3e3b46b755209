//! `RouteMatch`, `HeaderMatcher`, `QueryParameterMatcher` and `StringMatcher`.

use weir_xds::pb;
use weir_xds::pb::matcher::string_matcher::MatchPattern;
use weir_xds::pb::route::header_matcher::HeaderMatchSpecifier;
use weir_xds::pb::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use weir_xds::pb::route::route_match::PathSpecifier;
use weir_xds::pb::types::fractional_percent::DenominatorType;

use crate::route::matcher::{Fraction, HeaderTest, QueryMatcher, QueryTest, TlsMatcher};
use crate::route::rewrite::MatchedPart;
use crate::route::{Conditions, HeaderMatcher, PathMatch, Pattern, StringMatcher, Substitution};
use crate::snapshot::Problems;

/// Which requests a route takes.
pub(super) struct RouteMatch {
    pub(super) path: PathMatch,
    pub(super) part: MatchedPart,
    pub(super) case_sensitive: bool,
    pub(super) conditions: Conditions,
}

pub(super) fn route_match(proto: &pb::route::RouteMatch, problems: &mut Problems) -> Option<RouteMatch> {
    let path = path(proto.path_specifier.as_ref(), problems);
    let conditions = conditions(proto, problems);
    let (path, part) = path?;
    let case_sensitive = proto.case_sensitive.as_ref().is_none_or(|sensitive| sensitive.value);
    Some(RouteMatch { path, part, case_sensitive, conditions })
}

fn path(proto: Option<&PathSpecifier>, problems: &mut Problems) -> Option<(PathMatch, MatchedPart)> {
    let key = |text: &String| -> Box<[u8]> { text.as_bytes().into() };
    match proto {
        Some(PathSpecifier::Prefix(prefix)) => Some((PathMatch::Prefix(key(prefix)), MatchedPart::Prefix(key(prefix)))),
        Some(PathSpecifier::Path(path)) => Some((PathMatch::Exact(key(path)), MatchedPart::Prefix(key(path)))),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            if prefix.len() < 2 || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                problems.push(
                    "path_separated_prefix",
                    format!("'{prefix}': has to have two characters or more, not end with '/', and have no '?' or '#'"),
                );
                return None;
            }
            Some((PathMatch::SeparatedPrefix(key(prefix)), MatchedPart::Prefix(key(prefix))))
        }
        Some(PathSpecifier::SafeRegex(regex)) => {
            Some((PathMatch::Regex(pattern(regex, "safe_regex", problems)?), MatchedPart::Whole))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => {
            problems.push("connect_matcher", "not supported: CONNECT is not served");
            None
        }
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            problems.push("path_match_policy", "not supported: use prefix, path, path_separated_prefix or safe_regex");
            None
        }
        None => {
            problems.push("", "required: one of prefix, path, path_separated_prefix and safe_regex");
            None
        }
    }
}

fn conditions(proto: &pb::route::RouteMatch, problems: &mut Problems) -> Conditions {
    let mut query = Vec::with_capacity(proto.query_parameters.len());
    for (at, parameter) in proto.query_parameters.iter().enumerate() {
        let mut inner = Problems::new();
        query.extend(query_matcher(parameter, &mut inner));
        problems.nest_at("query_parameters", at, inner);
    }
    Conditions {
        fraction: proto.runtime_fraction.as_ref().and_then(|fraction| runtime_fraction(fraction, problems)),
        grpc: proto.grpc.is_some(),
        headers: header_matchers(&proto.headers, "headers", problems),
        query: query.into(),
        tls: proto.tls_context.as_ref().map(|tls| TlsMatcher {
            presented: tls.presented.as_ref().map(|presented| presented.value),
            validated: tls.validated.as_ref().map(|validated| validated.value),
        }),
    }
}

fn runtime_fraction(proto: &pb::core::RuntimeFractionalPercent, problems: &mut Problems) -> Option<Fraction> {
    let Some(value) = &proto.default_value else {
        problems.push("runtime_fraction.default_value", "required: the fraction");
        return None;
    };
    let denominator = match value.denominator() {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Some(Fraction { numerator: value.numerator, denominator })
}

/// A list of `HeaderMatcher`s in the field `field`.
pub fn header_matchers(
    proto: &[pb::route::HeaderMatcher],
    field: &str,
    problems: &mut Problems,
) -> Box<[HeaderMatcher]> {
    let mut matchers = Vec::with_capacity(proto.len());
    for (at, matcher) in proto.iter().enumerate() {
        let mut inner = Problems::new();
        matchers.extend(header_matcher(matcher, &mut inner));
        problems.nest_at(field, at, inner);
    }
    matchers.into()
}

/// One `HeaderMatcher`.
#[allow(deprecated)] // Configurations in use have the deprecated forms.
pub fn header_matcher(proto: &pb::route::HeaderMatcher, problems: &mut Problems) -> Option<HeaderMatcher> {
    let text = |matcher| Some(HeaderTest::Text(matcher));
    let test = match &proto.header_match_specifier {
        None => Some(HeaderTest::Present(true)),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => Some(HeaderTest::Present(*present)),
        // The deprecated form takes an empty text as "is there".
        Some(HeaderMatchSpecifier::ExactMatch(value)) if value.is_empty() => Some(HeaderTest::Present(true)),
        Some(HeaderMatchSpecifier::ExactMatch(value)) => text(StringMatcher::exact(value, false)),
        Some(HeaderMatchSpecifier::PrefixMatch(value)) => text(StringMatcher::prefix(value, false)),
        Some(HeaderMatchSpecifier::SuffixMatch(value)) => text(StringMatcher::suffix(value, false)),
        Some(HeaderMatchSpecifier::ContainsMatch(value)) => text(StringMatcher::contains(value, false)),
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => {
            pattern(regex, "safe_regex_match", problems).map(|pattern| HeaderTest::Text(StringMatcher::Regex(pattern)))
        }
        Some(HeaderMatchSpecifier::RangeMatch(range)) => Some(HeaderTest::Range { start: range.start, end: range.end }),
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            string_matcher(matcher, "string_match", problems).map(HeaderTest::Text)
        }
    };
    if proto.name.is_empty() {
        problems.push("name", "required: which header field");
        return None;
    }
    Some(HeaderMatcher::new(&proto.name, test?, proto.invert_match, proto.treat_missing_header_as_empty))
}

fn query_matcher(proto: &pb::route::QueryParameterMatcher, problems: &mut Problems) -> Option<QueryMatcher> {
    let test = match &proto.query_parameter_match_specifier {
        None => QueryTest::Present(true),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => QueryTest::Present(*present),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            QueryTest::Text(string_matcher(matcher, "string_match", problems)?)
        }
    };
    Some(QueryMatcher { name: proto.name.as_str().into(), test })
}

/// One `StringMatcher` in the field `field`.
pub fn string_matcher(
    proto: &pb::matcher::StringMatcher,
    field: &str,
    problems: &mut Problems,
) -> Option<StringMatcher> {
    let ignore = proto.ignore_case;
    match &proto.match_pattern {
        Some(MatchPattern::Exact(text)) => Some(StringMatcher::exact(text, ignore)),
        Some(MatchPattern::Prefix(text)) => Some(StringMatcher::prefix(text, ignore)),
        Some(MatchPattern::Suffix(text)) => Some(StringMatcher::suffix(text, ignore)),
        Some(MatchPattern::Contains(text)) => Some(StringMatcher::contains(text, ignore)),
        Some(MatchPattern::SafeRegex(_)) if ignore => {
            problems.push(format!("{field}.ignore_case"), "has no effect for safe_regex; write (?i) in the pattern");
            None
        }
        Some(MatchPattern::SafeRegex(regex)) => {
            pattern(regex, &format!("{field}.safe_regex"), problems).map(StringMatcher::Regex)
        }
        Some(MatchPattern::Custom(_)) => {
            problems
                .push(format!("{field}.custom"), "not supported: use exact, prefix, suffix, contains or safe_regex");
            None
        }
        None => {
            problems.push(field, "required: one of exact, prefix, suffix, contains and safe_regex");
            None
        }
    }
}

/// One `RegexMatcher` in the field `field`.
pub fn pattern(proto: &pb::matcher::RegexMatcher, field: &str, problems: &mut Problems) -> Option<Pattern> {
    match Pattern::parse(&proto.regex) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            problems.push(format!("{field}.regex"), error.to_string());
            None
        }
    }
}

/// One `RegexMatchAndSubstitute` in the field `field`.
pub fn substitution(
    proto: &pb::matcher::RegexMatchAndSubstitute,
    field: &str,
    problems: &mut Problems,
) -> Option<Substitution> {
    let Some(pattern) = &proto.pattern else {
        problems.push(format!("{field}.pattern"), "required: what is replaced");
        return None;
    };
    match Substitution::parse(&pattern.regex, &proto.substitution) {
        Ok(substitution) => Some(substitution),
        Err(error) => {
            problems.push(field, error.to_string());
            None
        }
    }
}
