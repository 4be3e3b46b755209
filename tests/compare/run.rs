//! Runs the cases of one setup on both gateways and reports what differs.

use crate::case::{Allowed, Case, Input};
use crate::known::{self, Part};
use crate::normal::{Names, Outcome, own_address};
use crate::setup::{Ports, Setup};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use weir_tests::{Client, Gateway, H2Client, Kind, Launch, Upstream, h2_exchange_on, refused_address, request};

/// How long an answer may take; longer than any time-out that a case configures.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long to look whether a connection stays open, where no probe can tell; longer than the delayed close of a setup.
const LINGER: Duration = Duration::from_millis(700);
/// How long bytes of separate pieces lie apart.
const GAP: Duration = Duration::from_millis(20);
const PROBE: &str = "GET /probe HTTP/1.1\r\nhost: test.example\r\n\r\n";

/// Runs the cases on both.
///
/// # Panics
/// With a report, when there is a difference that is not allowed, or an allowed one that is none.
pub(crate) async fn compare(setup: Setup, cases: Vec<Case>) {
    let itself = std::env::var("WEIR_COMPARE").is_ok_and(|mode| mode == "envoy");
    let other = if itself { Kind::Envoy } else { Kind::Weir };
    let (envoy, weir) = tokio::join!(outcomes(Kind::Envoy, &setup, &cases), outcomes(other, &setup, &cases));
    let judged = cases.iter().zip(envoy.iter().zip(&weir));
    let problems: Vec<_> = judged.filter_map(|(case, (envoy, weir))| judge(case, envoy, weir, other)).collect();
    if std::env::var_os("WEIR_COMPARE_SHOW").is_some() {
        cases.iter().zip(&envoy).for_each(|(case, outcome)| eprintln!("=== {}\n{}", case.name, show(outcome)));
    }
    assert!(problems.is_empty(), "{} of {} cases:\n\n{}", problems.len(), cases.len(), problems.join("\n\n"));
    eprintln!("{} cases compared", cases.len());
}

fn judge(case: &Case, envoy: &Outcome, weir: &Outcome, other: Kind) -> Option<String> {
    let allowed = if other == Kind::Weir { case.allowed } else { Allowed::Nothing };
    let differing = differing(envoy, weir);
    let report = |what: &str| Some(format!("=== {}\n{what}", case.name));
    match allowed {
        Allowed::Nothing => {
            let known = if other == Kind::Weir { known::known(case.name) } else { None };
            let is_known = |part: &str| known.as_ref().is_some_and(|known| known.allows(part));
            let more: Vec<_> = differing.iter().filter(|part| !is_known(part)).cloned().collect();
            if !more.is_empty() {
                return report(&format!("in {}\n{}", more.join(", "), difference(envoy, weir)));
            }
            let known = known.filter(|known| known.always || !differing.is_empty())?;
            let stays = |part: &&Part| !differing.iter().any(|other| part.covers(other));
            let gone: Vec<_> = known.parts.iter().filter(stays).map(|part| part.name).collect();
            if known.always && !gone.is_empty() {
                return report(&format!("is known to differ in {} and does not: mend known.rs", gone.join(", ")));
            }
            let parts = named(weir);
            let others: Vec<_> = known.parts.iter().filter_map(|part| unlike(part, &parts)).collect();
            if others.is_empty() {
                None
            } else {
                report(&format!("{}\n{}", others.join("\n"), difference(envoy, weir)))
            }
        }
        Allowed::Stricter(_) if differing.is_empty() => {
            report("is allowed to differ and does not: remove the allowance")
        }
        Allowed::Stricter(reason) => {
            let refused = weir.answers.first().is_some_and(|answer| answer.starts_with("HTTP/1.1 400\n"));
            let alone = weir.upstream.is_empty() && weir.connection.starts_with("closed");
            let text = format!("must be refused with 400 and a close: {reason}\n{}", show(weir));
            if refused && alone { None } else { report(&text) }
        }
    }
}

/// What a part is instead of what it is known to be.
fn unlike(part: &Part, parts: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let known = part.value?;
    let is = parts.get(part.name).map_or_else(|| "-".into(), |lines| lines.join(" | "));
    let value = match part.name.split(' ').next() {
        Some("status") => is.trim_start_matches("HTTP/1.1 "),
        Some("header" | "trailer" | "log") => is.split_once(": ").map_or(&*is, |(_, value)| value),
        Some("body") => is.trim_start_matches("body "),
        _ => &*is,
    };
    let same = match known.strip_suffix('*') {
        Some(begin) => value.starts_with(begin),
        None => value == known,
    };
    (!same).then(|| format!("{} is known to be {known} and is {value}", part.name))
}

/// The parts in which they differ, as `known.rs` names them.
fn differing(envoy: &Outcome, weir: &Outcome) -> Vec<String> {
    let (envoy, weir) = (named(envoy), named(weir));
    let names: BTreeSet<&String> = envoy.keys().chain(weir.keys()).collect();
    names.into_iter().filter(|name| envoy.get(*name) != weir.get(*name)).cloned().collect()
}

/// What there is of each part, in order.
fn named(outcome: &Outcome) -> BTreeMap<String, Vec<String>> {
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |name: String, text: &str| parts.entry(name).or_default().push(text.to_owned());
    for line in outcome.answers.iter().flat_map(|answer| answer.lines()) {
        let field = |line: &str| line.trim().split(':').next().unwrap_or_default().to_ascii_lowercase();
        match line.split_once(' ') {
            Some(("", _)) => add(format!("header {}", field(line)), line),
            Some(("trailer", rest)) => add(format!("trailer {}", field(rest)), rest),
            Some(("body", _)) => add("body".into(), line),
            _ => add("status".into(), line),
        }
    }
    add("connection".into(), &outcome.connection);
    outcome.upstream.iter().for_each(|seen| add("upstream".into(), seen));
    for line in outcome.log.iter().flat_map(|log| log.lines()) {
        add(format!("log {}", line.split(':').next().unwrap_or_default()), line);
    }
    parts
}

fn parts(outcome: &Outcome) -> [(&'static str, String); 4] {
    [
        ("answers", outcome.answers.join("\n")),
        ("connection", outcome.connection.clone()),
        ("upstream", outcome.upstream.join("\n")),
        ("access log", outcome.log.join("\n")),
    ]
}

fn show(outcome: &Outcome) -> String {
    parts(outcome).iter().map(|(part, text)| format!("-- {part}\n{text}")).collect::<Vec<_>>().join("\n")
}

/// Only the parts that differ, and of them only the lines that stand on one side.
fn difference(envoy: &Outcome, weir: &Outcome) -> String {
    let mut lines = Vec::new();
    for ((part, left), (_, right)) in parts(envoy).iter().zip(parts(weir)) {
        if *left == right {
            continue;
        }
        lines.push(format!("-- {part}"));
        let only = |of: &str, not: &str, name: &str, lines: &mut Vec<String>| {
            let missing = of.lines().filter(|line| !not.lines().any(|other| other == *line));
            lines.extend(missing.map(|line| format!("{name}  {line}")));
        };
        only(left, &right, "envoy", &mut lines);
        only(&right, left, "weir ", &mut lines);
    }
    lines.join("\n")
}

/// One gateway with its upstreams.
struct Side {
    gateway: Gateway,
    upstreams: Vec<(&'static str, Upstream)>,
    names: Names,
    _refused: TcpSocket,
}

async fn outcomes(kind: Kind, setup: &Setup, cases: &[Case]) -> Vec<Outcome> {
    let side = Side::start(kind, setup).await;
    let mut outcomes = Vec::new();
    let mut clients = HashMap::new();
    for (index, case) in cases.iter().enumerate() {
        let (outcome, local) = side.ask(case).await;
        clients.insert((case.listener, local.to_string()), index);
        outcomes.push(outcome);
    }
    let Side { gateway, names, .. } = side;
    let (_, folder) = gateway.stop().await;
    for listener in &setup.listeners {
        let text = std::fs::read_to_string(folder.path().join(format!("access-{listener}.log"))).unwrap_or_default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("access log: {error}: {line}"));
            let from = line["from"].as_str().unwrap_or_default().to_owned();
            if let Some(&index) = clients.get(&(*listener, from)).filter(|_| line["path"] != "/probe") {
                outcomes[index].log.push(names.log(&line));
            }
        }
    }
    outcomes
}

impl Side {
    async fn start(kind: Kind, setup: &Setup) -> Self {
        let upstreams = vec![("a", Upstream::start().await), ("b", Upstream::start().await)];
        let (refused, guard) = refused_address();
        let mut ports: Ports = upstreams.iter().map(|(name, upstream)| (*name, upstream.address)).collect();
        ports.insert("refused", refused);
        let gateway = Launch::new(kind, setup.bootstrap(&ports)).start().await;
        let mut named: Vec<_> = ports.iter().map(|(name, address)| (*address, (*name).to_owned())).collect();
        named.extend(setup.listeners.iter().map(|name| (gateway.listener(name), (*name).to_owned())));
        Self {
            gateway,
            upstreams,
            names: Names { kind, ports: named, own_address: own_address(), reasons: setup.reasons },
            _refused: guard,
        }
    }

    async fn ask(&self, case: &Case) -> (Outcome, SocketAddr) {
        let address = self.gateway.listener(case.listener);
        if let Some(Input::H2(method, path, headers, body)) = case.inputs.first() {
            return self.ask_h2(address, request(method, path, headers), body).await;
        }
        if let Some(Input::H2Frames(frames)) = case.inputs.first() {
            let stream = TcpStream::connect(address).await.unwrap();
            let local = if case.logged { stream.local_addr().unwrap() } else { ([0, 0, 0, 0], 0).into() };
            let answer = h2_exchange_on(stream, frames, Duration::from_secs(1)).await.unwrap();
            self.wait(|side| side.upstreams.iter().all(|(_, up)| up.busy() == 0)).await;
            // How a malformed request is refused is the codec's affair, and so is whether it is logged, mostly.
            let answers = vec![if answer.is_refused() { "refused".into() } else { format!("{answer:?}") }];
            return (Outcome { answers, upstream: self.seen(), ..Outcome::default() }, local);
        }
        let mut client = match &case.tls {
            Some(tls) => Client::tls(address, tls, "test.example").await.unwrap(),
            None => Client::connect(address).await,
        };
        let local = client.local;
        let mut heads = head_requests(case).into_iter();
        let mut answers = Vec::new();
        for input in &case.inputs {
            match input {
                Input::Send(bytes) => client.send(bytes).await,
                Input::Gap => sleep(GAP).await,
                Input::Answer => answers.push(client.next(heads.next().unwrap_or(false), PATIENCE).await),
                Input::AtUpstream => self.wait(|side| side.upstreams.iter().any(|(_, up)| !up.seen().is_empty())).await,
                Input::Receive(text) => client.receives(text).await,
                Input::Finish => client.finish().await,
                Input::H2(..) | Input::H2Frames(_) => unreachable!("only as the first input"),
            }
        }
        for _ in 0..case.answers {
            answers.push(client.next(heads.next().unwrap_or(false), PATIENCE).await);
            if answers.last().is_some_and(Result::is_err) {
                break;
            }
        }
        self.wait(|side| side.upstreams.iter().all(|(_, up)| up.busy() == 0)).await;
        let upstream = self.seen();
        let connection = match answers.last() {
            Some(Err(end)) => self.names.end(&end.without_bytes()),
            _ if case.probe => self.probe(&mut client).await,
            _ => self.names.end(&client.end(LINGER).await),
        };
        drop(client);
        self.wait(|side| side.upstreams.iter().all(|(_, up)| up.busy() == 0)).await;
        self.seen();
        let answers = answers.iter().map(|answer| self.names.answer(answer)).collect();
        (Outcome { answers, connection, upstream, log: Vec::new() }, local)
    }

    async fn ask_h2(&self, to: SocketAddr, request: http::Request<()>, body: &[u8]) -> (Outcome, SocketAddr) {
        let mut client = H2Client::connect(to).await;
        let local = client.local;
        let answer = match client.request(request, body).await {
            Ok(response) => self.names.answer(&Ok(response)),
            Err(error) => format!("none: {:?}", error.reason()),
        };
        self.wait(|side| side.upstreams.iter().all(|(_, up)| up.busy() == 0)).await;
        (Outcome { answers: vec![answer], upstream: self.seen(), ..Outcome::default() }, local)
    }

    /// Requests that came whole. Whether a broken one has reached the upstream before it was seen to be broken is a matter of timing.
    fn seen(&self) -> Vec<String> {
        let seen =
            self.upstreams.iter().flat_map(|(name, upstream)| upstream.take().into_iter().map(move |s| (name, s)));
        seen.filter(|(_, seen)| seen.complete).map(|(name, seen)| self.names.seen(name, &seen)).collect()
    }

    async fn probe(&self, client: &mut Client) -> String {
        client.send(PROBE).await;
        match client.next(false, PATIENCE).await {
            Ok(_) => "kept".into(),
            Err(end) => self.names.end(&end),
        }
    }

    /// Waits for a condition that a case may be about to break: not for ever.
    async fn wait(&self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..60 {
            if condition(self) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Which of the case's requests are HEAD.
fn head_requests(case: &Case) -> Vec<bool> {
    let sent: Vec<u8> = case
        .inputs
        .iter()
        .flat_map(|input| if let Input::Send(bytes) = input { &bytes[..] } else { &[] })
        .copied()
        .collect();
    let text: String = sent.iter().map(|&byte| char::from(byte)).collect();
    text.split("\r\n\r\n").filter(|part| part.contains(" HTTP/1.")).map(|part| part.starts_with("HEAD ")).collect()
}
