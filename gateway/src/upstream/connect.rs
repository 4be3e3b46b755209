//! Making a connection to an endpoint: TCP, its options, TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::error::UpstreamError;
use crate::cluster::{ClusterConfig, SocketOptions};
use crate::telemetry::TlsInfo;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{ClusterSsl, cluster_ssl};
use crate::tls::{Io, ServerIdentity, TlsError, Unverified};

/// Connects within the cluster's `connect_timeout`. Handshakes are counted in chunk `worker`.
pub(super) async fn connect(
    config: &ClusterConfig,
    address: SocketAddr,
    identity: ServerIdentity<'_>,
    worker: usize,
) -> Result<(Io, Option<Rc<TlsInfo>>), UpstreamError> {
    let connected = async {
        let tcp = connect_tcp(&config.socket, address).await?;
        let Some(tls) = &config.tls else { return Ok((Io::Tcp(tcp), None)) };
        let metrics = config.ssl.as_ref().map(|scope| scope.chunk(worker));
        match tls.connect(tcp, identity).await {
            Ok((io, info)) => {
                metrics.inspect(|metrics| count_handshake(*metrics, &io, &info));
                Ok((io, Some(Rc::new(info))))
            }
            Err(error) => {
                metrics.inspect(|metrics| count_failure(*metrics, &error));
                Err(UpstreamError::Tls { reason: error.transport_failure_reason() })
            }
        }
    };
    match tokio::time::timeout(config.connect_timeout, connected).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Timeout),
    }
}

fn count_handshake(metrics: Chunk<'_, ClusterSsl>, io: &Io, info: &TlsInfo) {
    metrics.inc(cluster_ssl::HANDSHAKE);
    if io.is_resumed() {
        metrics.inc(cluster_ssl::SESSION_REUSED);
    }
    metrics.negotiated(info);
}

fn count_failure(metrics: Chunk<'_, ClusterSsl>, error: &TlsError) {
    metrics.inc(match error.unverified() {
        Some(Unverified::Chain) => cluster_ssl::FAIL_VERIFY_ERROR,
        Some(Unverified::Name) => cluster_ssl::FAIL_VERIFY_SAN,
        Some(Unverified::Hash) => cluster_ssl::FAIL_VERIFY_CERT_HASH,
        None => cluster_ssl::CONNECTION_ERROR,
    });
}

async fn connect_tcp(options: &SocketOptions, address: SocketAddr) -> Result<TcpStream, UpstreamError> {
    let socket = open(options, address).map_err(|error| UpstreamError::immediate(&error))?;
    if let Some(source) = options.source {
        bind(&socket, source).map_err(|error| UpstreamError::source(&error, source))?;
    }
    let mut connecting = pin!(socket.connect(address));
    let mut waited = false;
    let connected = poll_fn(|task| {
        let polled = connecting.as_mut().poll(task);
        waited |= polled.is_pending();
        polled
    });
    connected.await.map_err(|error| match waited {
        true => UpstreamError::delayed(&error),
        false => UpstreamError::unreachable(&error, address),
    })
}

fn open(options: &SocketOptions, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(keepalive) = options.keepalive {
        let mut settings = socket2::TcpKeepalive::new();
        if let Some(time) = keepalive.time {
            settings = settings.with_time(time);
        }
        if let Some(interval) = keepalive.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(probes) = keepalive.probes {
            settings = settings.with_retries(probes);
        }
        SockRef::from(&socket).set_tcp_keepalive(&settings)?;
        socket.set_keepalive(true)?;
    }
    Ok(socket)
}

/// Makes the socket come from an address. As in Envoy one of the other IP version is an error.
fn bind(socket: &TcpSocket, source: SocketAddr) -> io::Result<()> {
    if source.port() == 0 {
        port_at_connect(socket);
    }
    socket.bind(source)
}

/// Leaves it to `connect` to choose a port: it knows the endpoint, and only then may connections to two endpoints have the same.
/// Otherwise there were no more connections from an address than it has ports.
#[cfg(target_os = "linux")]
fn port_at_connect(socket: &TcpSocket) {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and `length` bytes are read from `on`, which lives longer.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if set != 0 {
        tracing::debug!("IP_BIND_ADDRESS_NO_PORT: {}", io::Error::last_os_error());
    }
}

#[cfg(not(target_os = "linux"))]
fn port_at_connect(_: &TcpSocket) {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_port_is_chosen_when_it_is_known_what_for() {
        let bound = |source: &str| {
            let socket = TcpSocket::new_v4().unwrap();
            bind(&socket, source.parse().unwrap()).map(|()| socket.local_addr().unwrap())
        };
        assert_eq!(bound("127.0.0.9:0").unwrap(), "127.0.0.9:0".parse().unwrap());
        assert!(bound("[::1]:0").is_err());
    }
}
