//! Nobody can keep others from the admin.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weir_tests::{Bootstrap, Gateway, Hcm, Upstream};

async fn gateway() -> Gateway {
    let upstream = Upstream::start().await;
    Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await
}

async fn is_ready_soon(gateway: &Gateway) {
    let begin = Instant::now();
    assert_eq!(gateway.admin("/ready").await.status, 200);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn clients_that_do_not_read_shut_nobody_out_and_are_cut_off() {
    let gateway = gateway().await;
    let questions = "GET /stats?format=json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(600);
    let mut held = Vec::new();
    for _ in 0..130 {
        let mut client = TcpStream::connect(gateway.admin).await.unwrap();
        // What does not go at once is not sent: the gateway has stopped reading.
        let _ = tokio::time::timeout(Duration::from_millis(1), client.write_all(questions.as_bytes())).await;
        held.push(client);
    }

    is_ready_soon(&gateway).await;

    assert!(gateway.stat("weir.admin_connection_overflow").await.unwrap() >= 2);
    weir_tests::eventually("those that read nothing are cut off", async || {
        is_ready_soon(&gateway).await;
        gateway.stat("weir.admin_write_timeout").await.unwrap() >= 100
    })
    .await;
}

#[tokio::test]
async fn half_requests_shut_nobody_out() {
    let gateway = gateway().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut client = TcpStream::connect(gateway.admin).await.unwrap();
        client.write_all(b"GET /stats HTTP/1.1\r\n").await.unwrap();
        held.push(client);
    }

    is_ready_soon(&gateway).await;

    assert!(gateway.stat("weir.admin_connection_overflow").await.unwrap() >= 172);
    weir_tests::eventually("those that stay are cut off when their time is over", async || {
        is_ready_soon(&gateway).await;
        gateway.stat("weir.admin_head_timeout").await.unwrap() >= 100
    })
    .await;
}
