//! Making a connection to an endpoint: TCP, its options, TLS.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::error::UpstreamError;
use crate::cluster::{ClusterConfig, SocketOptions};
use crate::telemetry::TlsInfo;
use crate::tls::Io;

/// Connects within the cluster's `connect_timeout`. `server_name` is the SNI if the request determines it.
pub(super) async fn connect(
    config: &ClusterConfig,
    address: SocketAddr,
    server_name: Option<&str>,
) -> Result<(Io, Option<Rc<TlsInfo>>), UpstreamError> {
    let connected = async {
        let tcp = connect_tcp(&config.socket, address).await?;
        let Some(tls) = &config.tls else { return Ok((Io::Tcp(tcp), None)) };
        match tls.connect(tcp, server_name).await {
            Ok((io, info)) => Ok((io, Some(Rc::new(info)))),
            Err(error) => Err(UpstreamError::Tls { reason: error.transport_failure_reason() }),
        }
    };
    match tokio::time::timeout(config.connect_timeout, connected).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Timeout),
    }
}

async fn connect_tcp(options: &SocketOptions, address: SocketAddr) -> Result<TcpStream, UpstreamError> {
    let socket = open(options, address).map_err(|error| UpstreamError::immediate(&error))?;
    socket.connect(address).await.map_err(|error| UpstreamError::delayed(&error))
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
    // As Envoy: a source of the other IP version is not used.
    if let Some(source) = options.source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(source)?;
    }
    Ok(socket)
}
