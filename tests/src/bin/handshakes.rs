//! The load of the handshake benchmark: full TLS 1.3 handshakes, each on a connection of its own and without resumption.
//!
//! `handshakes certificate FOLDER` writes `server.crt` and `server.key` (ECDSA P-256).
//! `handshakes run ADDRESS SECONDS CONCURRENCY GROUP` exchanges keys by X25519 or X25519MLKEM768, offers no other group, so that
//! whoever is measured does the same work, and prints how many were completed and how many failed.
#![allow(clippy::unwrap_used)]

use rustls::NamedGroup;
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use weir_tests::{Authority, TlsClient};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["certificate", folder] => {
            Authority::new("benchmark").issue(&["bench.example"]).write(Path::new(folder), "server");
        }
        ["run", address, seconds, concurrency, group] => {
            let group = match group {
                "X25519" => NamedGroup::X25519,
                "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
                _ => usage(),
            };
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let time = Duration::from_secs_f64(seconds.parse().unwrap());
            let work = run(address.parse().unwrap(), time, concurrency.parse().unwrap(), group);
            let (done, failed) = LocalSet::new().block_on(&runtime, work);
            println!("{done} done, {failed} failed");
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: handshakes certificate FOLDER | handshakes run ADDRESS SECONDS CONCURRENCY X25519|X25519MLKEM768"
    );
    std::process::exit(2);
}

async fn run(to: SocketAddr, time: Duration, concurrency: usize, group: NamedGroup) -> (usize, usize) {
    let client = Rc::new(TlsClient::for_full_handshakes(group));
    let (done, failed) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let end = Instant::now() + time;
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (client, done, failed) = (client.clone(), done.clone(), failed.clone());
            spawn_local(async move {
                while Instant::now() < end {
                    let count = match client.connect(to, "bench.example").await {
                        Ok(_) => &done,
                        Err(_) => &failed,
                    };
                    count.set(count.get() + 1);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    (done.get(), failed.get())
}
