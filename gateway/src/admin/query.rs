//! Parameters of a request to the admin interface.

use regex::Regex;

use super::reply::Reply;

/// The parameters behind the question mark, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// The first value of that name; empty if it stands alone.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the name occurs.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value as a regular expression that is searched for; 400 if it is none.
    pub(super) fn pattern(&self, name: &str) -> Result<Option<Regex>, Reply> {
        self.value(name).filter(|text| !text.is_empty()).map(compile).transpose()
    }

    /// As [`Self::pattern`], but for the whole of a text.
    pub(super) fn whole_pattern(&self, name: &str) -> Result<Option<Regex>, Reply> {
        let text = self.value(name).filter(|text| !text.is_empty());
        text.map(|text| compile(text).and_then(|_| compile(&format!("^(?:{text})$")))).transpose()
    }
}

fn compile(text: &str) -> Result<Regex, Reply> {
    let regex = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    regex.map_err(|e| Reply::bad_request(format!("Invalid re2 regex: {e}\n")))
}

/// Percent-encoding and `+` for a blank; what is not well-formed stays as it is.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, after.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("usedonly&filter=a%2Bb+%zz&format=json&&x=");
        assert!(query.has("usedonly") && !query.has("nope"));
        assert_eq!(query.value("filter"), Some("a+b %zz"));
        assert_eq!((query.value("format"), query.value("x")), (Some("json"), Some("")));
        assert!(Query::parse("f=*").pattern("f").err().unwrap().parts().1.starts_with("Invalid re2 regex"));
        assert!(matches!(Query::parse("f=").pattern("f"), Ok(None)));
    }
}
