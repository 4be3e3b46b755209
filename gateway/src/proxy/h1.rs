//! An HTTP/1 connection of a client: its requests one after the other.

mod stream;

use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Buf;

use super::alarm::{Alarm, due, earlier};
use super::connection::{ConnectionContext, Serving};
use super::downstream::Downstream;
use super::error::Cause;
use super::prepare::valid_authority;
use super::request::{self, Incoming, Malformed};
use super::wait::{LAST_WRITE, Waited, count_end, finish, head_due, is_over, linger, wait_for_bytes};
use crate::http::h1::{Arrival, Framing, RequestOptions, RequestStart, parse_request, response_head};
use crate::http::{ResponseHead, Version};
use crate::snapshot::connection_manager::ConnectionManager;
use crate::telemetry::WireBytes;
use crate::telemetry::metrics::names::http;
use crate::upstream::Wire;
pub(crate) use stream::Http1Stream;

/// So many requests that came together are served before other connections have their turn.
const PIPELINED: u32 = 16;

/// Serves a connection to its end.
pub(super) async fn serve(cx: Rc<ConnectionContext>, mut wire: Wire) {
    let mut alarm = Alarm::default();
    let mut served = 0u32;
    loop {
        let serving = cx.serving();
        let timeouts = serving.manager().timeouts;
        let life = due(cx.info.accepted, timeouts.connection);
        if wire.input.is_empty() {
            wire.release_buffers();
            drop(serving);
            let idle = earlier(due(Instant::now(), timeouts.idle), life);
            match wait_for_bytes(&cx, &mut wire, &mut alarm, idle).await {
                Waited::Came => {}
                Waited::Gone => {
                    cx.client_left(false);
                    break;
                }
                Waited::Over => {
                    count_end(&cx, life);
                    break;
                }
            }
        }
        let serving = cx.serving();
        let manager = serving.manager();
        let read = read_head(&mut wire, manager, cx.info.tls.is_some(), &mut alarm).await;
        cx.count_bytes(&mut wire);
        let start = match read {
            Ok(Some(start)) => *start,
            Ok(None) => {
                cx.client_left(!wire.input.is_empty());
                break;
            }
            Err(cause) => {
                refuse(&cx, &serving, &mut wire, cause);
                linger(&cx, &mut wire, &mut alarm, manager.timeouts.delayed_close).await;
                break;
            }
        };
        served += 1;
        let (full, old) = (manager.max_requests > 0 && served >= manager.max_requests, is_over(life));
        let last = !start.keep_alive || full || old;
        for (ends, why) in
            [(full, http::DOWNSTREAM_CX_MAX_REQUESTS_REACHED), (old, http::DOWNSTREAM_CX_MAX_DURATION_REACHED)]
        {
            if ends {
                cx.count(why);
            }
        }
        if !Box::pin(serve_one(&cx, serving, &mut wire, &mut alarm, start, last)).await {
            break;
        }
        if served.is_multiple_of(PIPELINED) && !wire.input.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    let limit = cx.serving().manager().timeouts.delayed_close;
    finish(&mut wire, &mut alarm, due(Instant::now(), limit.or(Some(LAST_WRITE)))).await;
    cx.count_bytes(&mut wire);
}

/// Answers bytes that are no request. Not a part of [`serve`], which has no room for it in every idle connection.
fn refuse(cx: &Rc<ConnectionContext>, serving: &Rc<Serving>, wire: &mut Wire, cause: Cause) {
    let names = serving.manager().http1.key_format.written();
    let mut answer = Malformed::new(cx, serving, Version::Http11, cause);
    answer.head.headers.append("connection", "close");
    let fields = response_head(&answer.head, Version::Http11, Framing::AsHead, names, wire.tail());
    wire.push(answer.body.clone());
    answer.info.downstream_bytes = WireBytes {
        received: wire.input.len() as u64,
        sent: wire.queued() as u64,
        fields_sent: fields as u64,
        ..WireBytes::default()
    };
    answer.log(cx, serving);
}

/// Serves one request; whether the connection may carry another.
async fn serve_one(
    cx: &Rc<ConnectionContext>,
    serving: Rc<Serving>,
    wire: &mut Wire,
    alarm: &mut Alarm,
    start: RequestStart,
    last: bool,
) -> bool {
    let manager = serving.manager();
    let delayed_close = manager.timeouts.delayed_close;
    let mut stream = Http1Stream {
        decoder: start.body,
        limits: manager.limits,
        pass_trailers: manager.http1.trailers,
        names: manager.http1.key_format.written(),
        version: start.head.version,
        head_request: start.head.is_head(),
        chunked: false,
        close: last,
        ended: false,
        cut: false,
        bytes: WireBytes {
            received: start.consumed as u64,
            fields_received: start.field_bytes as u64,
            ..WireBytes::default()
        },
        wire,
        cx: Rc::clone(cx),
    };
    let end = stream.decoder.is_done();
    let asked_to_close = !start.keep_alive;
    let mut head = start.head;
    if start.expect_continue && !manager.proxy_100_continue {
        head.headers.remove("expect");
        // To Envoy's codec a host that is none is no request.
        if valid_authority(&head.authority) {
            stream.informational(&ResponseHead::new(100));
        }
    }
    let incoming = Incoming { head, end, has_host: start.has_host, upgrade: start.upgrade };
    let mut down = Downstream::Http1(stream);
    request::serve(cx, serving, &mut down, alarm, incoming).await;
    let Downstream::Http1(stream) = down else { return false };
    if !stream.ended || stream.cut {
        return false;
    }
    if asked_to_close && stream.decoder.is_done() {
        // It sends no more, so nothing can make the answer unreadable.
        return false;
    }
    if stream.close || !stream.decoder.is_done() {
        linger(cx, stream.wire, alarm, delayed_close).await;
        return false;
    }
    true
}

/// Reads until a head is complete; none if the client left before it had sent all of it.
async fn read_head(
    wire: &mut Wire,
    manager: &ConnectionManager,
    tls: bool,
    alarm: &mut Alarm,
) -> Result<Option<Box<RequestStart>>, Cause> {
    let options = RequestOptions {
        limits: manager.limits,
        refuse_https: !tls && manager.trust.is_front(),
        preserve_case: manager.http1.key_format.preserved(),
    };
    let mut clock = None;
    let mut arrival = Arrival::default();
    loop {
        if arrival.is_worth_parsing(&wire.input, manager.limits)
            && let Some(start) = parse_request(&wire.input, &options).map_err(Cause::Malformed)?
        {
            if start.head.version == Version::Http10 && !manager.http1.accept_http_10 {
                return Err(Cause::LowVersion);
            }
            wire.input.advance(start.consumed);
            return Ok(Some(Box::new(start)));
        }
        // The first byte starts the clock: a head that comes in one piece never looks at it.
        let limits = &manager.timeouts;
        let (deadline, cause) = clock.get_or_insert_with(|| head_due(Instant::now(), limits));
        let filled = std::future::poll_fn(|cx| {
            if let Poll::Ready(filled) = wire.poll_fill(cx) {
                return Poll::Ready(Ok(filled));
            }
            alarm.poll(cx, *deadline).map(Err)
        });
        match filled.await {
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) => {}
            Err(()) => return Err(cause.clone()),
        }
    }
}
