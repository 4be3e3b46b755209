//! What the admin asks of the publisher.

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::snapshot::{DumpEntry, Publisher};

/// Where to ask; cloning shares it.
#[derive(Clone, Debug)]
pub struct Questions(mpsc::UnboundedSender<oneshot::Sender<Vec<DumpEntry>>>);

/// What was asked.
#[derive(Debug)]
pub struct Asked(mpsc::UnboundedReceiver<oneshot::Sender<Vec<DumpEntry>>>);

impl Questions {
    /// Both ends.
    pub fn new() -> (Self, Asked) {
        let (ask, asked) = mpsc::unbounded_channel();
        (Self(ask), Asked(asked))
    }

    /// All resources as they came; waits while the publisher is busy. `None` if the gateway is ending.
    pub(super) async fn dump(&self) -> Option<Vec<DumpEntry>> {
        let (tell, told) = oneshot::channel();
        self.0.send(tell).ok()?;
        told.await.ok()
    }
}

impl Asked {
    /// Answers whenever the publisher is free, for as long as it is polled.
    pub async fn answer(&mut self, publisher: &Mutex<Publisher>) {
        while let Some(tell) = self.0.recv().await {
            // Who asked may have hung up.
            let _ = tell.send(publisher.lock().await.dump());
        }
    }
}
