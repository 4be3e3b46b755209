//! Waiting for conditions: the only clock of the tests.

use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a condition may take before the test fails; a busy machine must not make a test fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
///
/// # Panics
/// With `what` when it does not within a minute.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let check = async || if condition().await { Some(()) } else { None };
    eventually_some(what, check).await
}

/// Waits until there is a value.
///
/// # Panics
/// With `what` when there is none within a minute.
pub async fn eventually_some<T>(what: &str, mut value: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = value().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
