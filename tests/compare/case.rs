//! One question to both gateways.

use weir_tests::TlsClient;

/// What a client does, where to, and what may differ.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) inputs: Vec<Input>,
    pub(crate) answers: usize,
    pub(crate) probe: bool,
    pub(crate) allowed: Allowed,
    /// Of raw frames: the access log is compared, too.
    pub(crate) logged: bool,
    /// The client speaks TLS.
    pub(crate) tls: Option<TlsClient>,
}

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Leaves time for the gateway to see what was sent as a piece of its own.
    Gap,
    /// Waits for an answer.
    Answer,
    /// Waits until the upstream has the head of a request.
    AtUpstream,
    /// Waits for these bytes, such as of an informational answer.
    Receive(&'static str),
    /// Ends its direction of the connection.
    Finish,
    /// Sends frames of HTTP/2 after the preface, and waits until stream 1 is over.
    H2Frames(Vec<u8>),
    /// Sends a request over HTTP/2 (method, path, headers, body) and waits for its answer.
    H2(&'static str, &'static str, Vec<(&'static str, &'static str)>, Vec<u8>),
}

/// How Weir may differ from Envoy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Allowed {
    /// Not at all.
    Nothing,
    /// Weir answers 400 and closes, and nothing reaches the upstream; the reason.
    Stricter(&'static str),
}

/// A case that sends these bytes to the listener `main` and expects one answer.
pub(crate) fn case(name: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        name,
        listener: "main",
        inputs: vec![Input::Send(bytes.as_ref().to_vec())],
        answers: 1,
        probe: true,
        allowed: Allowed::Nothing,
        logged: false,
        tls: None,
    }
}

/// A case with a GET of this path and these header lines, each ended by `\r\n`.
pub(crate) fn get(name: &'static str, path: &str, headers: &str) -> Case {
    case(name, format!("GET {path} HTTP/1.1\r\nhost: test.example\r\n{headers}\r\n"))
}

/// A case with a POST to `/` of this body and these header lines, each ended by `\r\n`.
pub(crate) fn post(name: &'static str, headers: &str, body: &str) -> Case {
    case(
        name,
        format!("POST / HTTP/1.1\r\nhost: test.example\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()),
    )
}

/// A case over HTTP/2.
pub(crate) fn h2(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &[(&'static str, &'static str)],
    body: impl AsRef<[u8]>,
) -> Case {
    let inputs = vec![Input::H2(method, path, headers.to_vec(), body.as_ref().to_vec())];
    Case { inputs, answers: 0, probe: false, ..case(name, "") }
}

/// A case of raw frames of HTTP/2.
pub(crate) fn frames(name: &'static str, bytes: Vec<u8>) -> Case {
    Case { inputs: vec![Input::H2Frames(bytes)], answers: 0, probe: false, ..case(name, "") }
}

impl Case {
    /// To another listener.
    pub(crate) fn to(self, listener: &'static str) -> Self {
        Self { listener, ..self }
    }

    /// Over TLS, by a handshake of its own.
    pub(crate) fn over(self, tls: &TlsClient) -> Self {
        Self { tls: Some(tls.clone().without_resumption()), ..self }
    }

    /// The access log is compared, too.
    pub(crate) fn logged(self) -> Self {
        Self { logged: true, ..self }
    }

    /// Then does this.
    pub(crate) fn then(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Then sends these bytes, as a piece of their own.
    pub(crate) fn piece(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Input::Gap).then(Input::Send(bytes.as_ref().to_vec()))
    }

    /// Expects this many answers after all is sent.
    pub(crate) fn answers(self, answers: usize) -> Self {
        Self { answers, ..self }
    }

    /// Looks whether the connection is kept without sending another request on it: for a request that is not complete.
    pub(crate) fn unprobed(self) -> Self {
        Self { probe: false, ..self }
    }

    /// Weir answers 400 and closes.
    pub(crate) fn stricter(self, reason: &'static str) -> Self {
        Self { allowed: Allowed::Stricter(reason), ..self }
    }
}
