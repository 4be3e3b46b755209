//! One file per thing a test talks to.

mod artifacts;
mod certs;
mod client;
mod config;
mod eventually;
mod gateway;
mod h2_client;
mod h2_frames;
mod reply;
mod response;
mod tls;
mod upstream;

pub use artifacts::{envoy_binary, plugin, repository, weir_binary};
pub use certs::{Authority, Identity};
pub use client::{Client, End, get};
pub use config::{Bootstrap, Hcm, cluster, merge, socket_address, typed};
pub use eventually::{eventually, eventually_some};
pub use gateway::{Exit, Gateway, Kind, Launch};
pub use h2_client::{H2Client, receive, request};
pub use h2_frames::{H2_PREFACE, H2Answer, h2_block, h2_exchange, h2_exchange_on, h2_frame};
pub use reply::{Reply, Step};
pub use response::{Head, Response};
pub use tls::{TlsClient, client_hello, tls_acceptor};
pub use upstream::{Seen, Upstream, refused_address};
