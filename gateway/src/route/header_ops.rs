//! Header fields that a configuration adds, replaces or removes.

use smallvec::SmallVec;

use crate::http::one_line::{Of, add};
use crate::http::{HeaderMap, RequestHead, ResponseHead};
use crate::telemetry::StreamInfo;
use crate::telemetry::format::{Format, FormatCx};

/// What is done to the header fields of a message: nothing costs nothing.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps(Option<Box<Ops>>);

#[derive(Clone, Debug, Default)]
struct Ops {
    remove: Box<[Box<str>]>,
    set: Box<[SetHeader]>,
}

/// One field to add or to replace (Envoy's `HeaderValueOption`).
#[derive(Clone, Debug)]
pub struct SetHeader {
    name: Box<str>,
    value: Value,
    append: AppendAction,
    keep_empty: bool,
}

#[derive(Clone, Debug)]
enum Value {
    Literal(Box<[u8]>),
    Format(Format),
}

/// How a field meets those of its name (Envoy's `HeaderAppendAction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// It comes behind them.
    #[default]
    AppendOrAdd,
    /// It is added only if there is none.
    AddIfAbsent,
    /// It takes their place, or is added.
    OverwriteOrAdd,
    /// It takes their place if there are any.
    OverwriteIfExists,
}

/// Why an operation on a field is refused: the configuration's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderOpError {
    /// The scheme, host, path and method of a request have fields of the route of their own.
    #[error(":-prefixed or host headers may not be modified: '{0}' (use the route's rewrites)")]
    NotModifiable(String),
    /// As above.
    #[error(":-prefixed or host headers may not be removed: '{0}'")]
    NotRemovable(String),
    /// No token of RFC 9110 section 5.6.2.
    #[error("'{0}' is not a header name")]
    Name(String),
    /// CR, LF and NUL would end the field.
    #[error("the value of header '{0}' contains CR, LF or NUL")]
    Value(String),
    /// A command operator is wrong.
    #[error("the value of header '{name}': {reason}")]
    Format {
        /// The field's name.
        name: String,
        /// What is wrong with its format.
        reason: String,
    },
}

impl SetHeader {
    /// A field whose value may have command operators (`%REQ(x)%`). An empty value is left out unless `keep_empty`.
    pub fn new(name: &str, value: &str, append: AppendAction, keep_empty: bool) -> Result<Self, HeaderOpError> {
        if !is_modifiable(name) {
            return Err(HeaderOpError::NotModifiable(name.to_owned()));
        }
        check_name(name)?;
        if value.bytes().any(is_forbidden) {
            return Err(HeaderOpError::Value(name.to_owned()));
        }
        let value = if value.contains('%') {
            let format = Format::parse(value)
                .map_err(|error| HeaderOpError::Format { name: name.to_owned(), reason: error.to_string() })?;
            match format.as_literal() {
                Some(text) => Value::Literal(text.into()),
                None => Value::Format(format.omit_empty(true)),
            }
        } else {
            Value::Literal(value.as_bytes().into())
        };
        Ok(Self { name: name.to_ascii_lowercase().into(), value, append, keep_empty })
    }
}

impl HeaderOps {
    /// Fields to remove, then fields to set.
    pub fn new(remove: &[String], set: Vec<SetHeader>) -> Result<Self, HeaderOpError> {
        for name in remove {
            if !is_modifiable(name) {
                return Err(HeaderOpError::NotRemovable(name.clone()));
            }
            check_name(name)?;
        }
        if remove.is_empty() && set.is_empty() {
            return Ok(Self(None));
        }
        let remove = remove.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        Ok(Self(Some(Box::new(Ops { remove, set: set.into() }))))
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Done to a request.
    pub fn apply_to_request(&self, head: &mut RequestHead, info: &StreamInfo) {
        let Some(ops) = &self.0 else { return };
        ops.remove_from(&mut head.headers);
        let values = ops.values(&FormatCx::new(info).request(head));
        ops.write(&mut head.headers, Of::Request, values);
    }

    /// Done to a response; `request` is the request as it was sent on.
    pub fn apply_to_response(&self, head: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        let Some(ops) = &self.0 else { return };
        ops.remove_from(&mut head.headers);
        let values = ops.values(&FormatCx::new(info).request(request).response(head));
        ops.write(&mut head.headers, Of::Response, values);
    }
}

/// Where the rendered values end in their common buffer; literals take none of it.
struct Values {
    rendered: Vec<u8>,
    ends: SmallVec<[usize; 8]>,
}

impl Ops {
    fn remove_from(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(&**name);
        }
    }

    /// All values before the first is written: each sees the message as it came.
    fn values(&self, cx: &FormatCx<'_>) -> Values {
        let mut values = Values { rendered: Vec::new(), ends: SmallVec::new() };
        for field in &self.set {
            if let Value::Format(format) = &field.value {
                let start = values.rendered.len();
                format.render(cx, &mut values.rendered);
                // A value from a guest or a certificate must not end the field.
                if values.rendered.get(start..).unwrap_or_default().iter().copied().any(is_forbidden) {
                    let clean: Vec<u8> = values.rendered.drain(start..).filter(|b| !is_forbidden(*b)).collect();
                    values.rendered.extend(clean);
                }
            }
            values.ends.push(values.rendered.len());
        }
        values
    }

    /// As Envoy: first what replaces, then what is added; presence is judged before either.
    fn write(&self, headers: &mut HeaderMap, of: Of, values: Values) {
        let mut start = 0;
        let mut additions: SmallVec<[(&str, &[u8]); 8]> = SmallVec::new();
        let mut replacements: SmallVec<[(&str, &[u8]); 8]> = SmallVec::new();
        for (field, &end) in self.set.iter().zip(&values.ends) {
            let value = match &field.value {
                Value::Literal(text) => text,
                Value::Format(_) => values.rendered.get(start..end).unwrap_or_default(),
            };
            start = end;
            if value.is_empty() && !field.keep_empty {
                continue;
            }
            match field.append {
                AppendAction::AppendOrAdd => additions.push((&field.name, value)),
                AppendAction::AddIfAbsent if headers.contains(&*field.name) => {}
                AppendAction::AddIfAbsent => additions.push((&field.name, value)),
                AppendAction::OverwriteIfExists if !headers.contains(&*field.name) => {}
                AppendAction::OverwriteIfExists | AppendAction::OverwriteOrAdd => {
                    replacements.push((&field.name, value));
                }
            }
        }
        for (name, value) in replacements {
            headers.set(name, value);
        }
        for (name, value) in additions {
            add(headers, of, name.as_bytes(), value);
        }
    }
}

/// Whether a configuration may set or remove this field: not the pseudo-headers, not the host.
pub fn is_modifiable(name: &str) -> bool {
    !name.starts_with(':') && !name.eq_ignore_ascii_case("host")
}

fn check_name(name: &str) -> Result<(), HeaderOpError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.is_empty() && name.bytes().all(token) { Ok(()) } else { Err(HeaderOpError::Name(name.to_owned())) }
}

fn is_forbidden(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{Ipv4Addr, SocketAddr};
    use std::rc::Rc;
    use std::time::Instant;

    use super::super::matcher::tests::request;
    use super::*;
    use crate::http::Version;
    use crate::telemetry::ConnectionInfo;

    fn info() -> StreamInfo {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let connection = ConnectionInfo {
            id: 1,
            remote: address,
            local: address,
            tls: None,
            requested_server_name: None,
            listener: "l".into(),
            filter_chain: "".into(),
            accepted: Instant::now(),
            shaken: None,
            failure: None,
        };
        StreamInfo::new(Rc::new(connection), Version::Http11)
    }

    #[test]
    fn every_way_to_meet_fields_of_the_same_name() {
        use AppendAction::{AddIfAbsent, AppendOrAdd, OverwriteIfExists, OverwriteOrAdd};
        for (append, value, keep_empty, with, without) in [
            (AppendOrAdd, "v", false, "old1|old2|v", "v"),
            (AddIfAbsent, "v", false, "old1|old2", "v"),
            (OverwriteOrAdd, "v", false, "v", "v"),
            (OverwriteIfExists, "v", false, "v", ""),
            (OverwriteOrAdd, "", false, "old1|old2", ""),
            (OverwriteOrAdd, "", true, "<empty>", "<empty>"),
            (AppendOrAdd, "100%%", false, "old1|old2|100%", "100%"),
            (AppendOrAdd, "%REQ(none)%", false, "old1|old2", ""),
            (AppendOrAdd, "%REQ(none)%", true, "old1|old2|<empty>", "<empty>"),
            (AppendOrAdd, "<%REQ(src)%>", false, "old1|old2|<s>", "<s>"),
        ] {
            let ops = HeaderOps::new(&[], vec![SetHeader::new("X", value, append, keep_empty).unwrap()]).unwrap();
            for (before, want) in
                [(&[("src", "s"), ("x", "old1"), ("x", "old2")][..], with), (&[("src", "s")], without)]
            {
                let mut head = request("GET", "/", before);
                ops.apply_to_request(&mut head, &info());
                let got: Vec<String> = head
                    .headers
                    .get_all("x")
                    .map(|v| if v.is_empty() { "<empty>".into() } else { String::from_utf8_lossy(v).into_owned() })
                    .collect();
                assert_eq!(got.join("|"), want, "{append:?} {value}");
            }
        }
    }

    #[test]
    fn removal_first_and_values_of_the_message_as_it_came() {
        let set = vec![
            SetHeader::new("a", "new", AppendAction::OverwriteOrAdd, false).unwrap(),
            SetHeader::new("b", "%REQ(a)%", AppendAction::AppendOrAdd, false).unwrap(),
            SetHeader::new("c", "%REQ(gone)%", AppendAction::AppendOrAdd, false).unwrap(),
        ];
        let ops = HeaderOps::new(&["Gone".to_owned()], set).unwrap();
        let mut head = request("GET", "/", &[("a", "old"), ("gone", "x")]);
        ops.apply_to_request(&mut head, &info());
        assert_eq!(format!("{:?}", head.headers), r#"{"a": "new", "b": "old"}"#);
        let mut response = ResponseHead::new(200);
        let ops = HeaderOps::new(&[], vec![SetHeader::new("s", "%REQ(a)%", AppendAction::AppendOrAdd, false).unwrap()]);
        ops.unwrap().apply_to_response(&mut response, &head, &info());
        assert_eq!(response.headers.get_str("s"), Some("new"));
    }

    #[test]
    fn what_may_not_be_touched() {
        let set = |name, value| SetHeader::new(name, value, AppendAction::AppendOrAdd, false).map(|_| ()).unwrap_err();
        assert!(matches!(set(":path", "x"), HeaderOpError::NotModifiable(_)));
        assert!(matches!(set("HOST", "x"), HeaderOpError::NotModifiable(_)));
        assert!(matches!(set("a b", "x"), HeaderOpError::Name(_)));
        assert!(matches!(set("", "x"), HeaderOpError::Name(_)));
        assert!(matches!(set("a", "x\r\ny: z"), HeaderOpError::Value(_)));
        assert!(matches!(set("a", "%NOPE%"), HeaderOpError::Format { .. }));
        let remove = |name: &str| HeaderOps::new(&[name.to_owned()], Vec::new()).map(|_| ()).unwrap_err();
        assert!(matches!(remove(":method"), HeaderOpError::NotRemovable(_)));
        assert!(matches!(remove("Host"), HeaderOpError::NotRemovable(_)));
    }
}
