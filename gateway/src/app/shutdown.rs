//! The end on SIGTERM: readiness first, then the listeners, connections last.
//!
//! Who sends clients here (a balancer that asks /ready, a mesh's endpoints) learns of the end some time after it began. Until
//! then connections come that would be refused if the listeners closed at once; they are served, and each is told that it ends.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::workers::Mail;
use super::{Gateway, Signals};
use crate::control::Command;
use crate::snapshot::Stopped;

/// How often it is looked whether connections have come, or all have ended.
const LOOK: Duration = Duration::from_millis(20);
/// Listeners close once no connection has come for this time: nobody is sent here any more.
const QUIET: Duration = Duration::from_secs(1);
/// They close after this time in any case, or after a third of the drain time, if that is less: somebody may go on
/// connecting for as long as he is let in.
const LISTENS_MOST: Duration = Duration::from_secs(10);

impl Gateway {
    /// Drains, until all has ended, the drain time is over, or somebody is tired of waiting. `hurried` closes the listeners
    /// at once: a person waits for the prompt.
    pub(super) async fn shut_down(
        &mut self,
        hurried: bool,
        signals: &mut Signals,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) {
        tracing::info!(connections = self.workers.connections(), "draining");
        self.control.set_draining();
        // From now on answers say that their connections end; idle ones end after a last call.
        self.workers.tell_all(|| Mail::Drain);
        let limit = sleep(self.drain_time);
        tokio::select! {
            () = self.end_all(hurried) => tracing::info!("all connections have ended"),
            () = limit => tracing::warn!("{} connections are cut at the end of the drain time", self.workers.connections()),
            () = told_to_quit(commands) => tracing::warn!("told to end at once"),
            _ = signals.terminate.recv() => tracing::warn!("told to end again: not waiting any more"),
            _ = signals.interrupt.recv() => tracing::warn!("interrupted again: not waiting any more"),
        }
    }

    async fn end_all(&mut self, hurried: bool) {
        if !hurried {
            // When the time is over is no different from when nobody comes.
            let _ = timeout(LISTENS_MOST.min(self.drain_time / 3), self.nobody_comes()).await;
        }
        self.listeners.stop(Stopped::All, &self.store);
        // The first look comes before the workers have read their mail.
        sleep(LOOK).await;
        while self.workers.connections() > 0 {
            sleep(LOOK).await;
        }
    }

    /// Ready when no connection has come for a while.
    async fn nobody_comes(&self) {
        let (mut accepted, mut since) = (self.workers.accepted(), Instant::now());
        while since.elapsed() < QUIET {
            sleep(LOOK).await;
            let now = self.workers.accepted();
            if now != accepted {
                (accepted, since) = (now, Instant::now());
            }
        }
    }
}

/// Ready when somebody asks for the end; what else is asked has no meaning any more.
async fn told_to_quit(commands: &mut mpsc::UnboundedReceiver<Command>) {
    while commands.recv().await.is_some_and(|command| command != Command::Quit) {}
}
