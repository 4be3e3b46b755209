//! The instances of one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use weir_wasm::{Exports, Instance, Trap, TrapKind};

use super::breaker::{Breaker, Permit};
use super::config::FailurePolicy;
use super::filter::WasmFilter;
use super::host::{Bridge, ROOT};
use super::load::{Core, Plugin, count_start};
use crate::filter::{Answer, Effect, Failure, FilterId};
use crate::telemetry::metrics::{
    Scope,
    names::{Wasm, wasm},
};

/// The plugins of one worker: one instance each ("shared" isolation), made for the first stream that needs it.
pub struct WorkerPlugins {
    /// This worker's number in metrics; workers count from 1.
    worker: usize,
    slots: RefCell<HashMap<u64, Rc<Slot>>>,
}

/// A plugin on this worker.
pub(super) struct Slot {
    worker: usize,
    plugin: Arc<Core>,
    /// Alive while a snapshot has the plugin.
    published: Weak<Plugin>,
    running: RefCell<Option<Rc<Running>>>,
    breaker: RefCell<Breaker>,
    /// As the gauge of the breaker says.
    breaker_open: Cell<bool>,
    trap_log: RefCell<TrapLog>,
}

/// An instance with the streams inside of it.
pub(super) struct Running {
    /// Borrowed for the length of a call into the guest. Host calls never start another one.
    pub(super) instance: RefCell<Instance<Bridge>>,
    /// It has trapped: nobody calls it any more.
    failed: Cell<bool>,
    metrics: Scope<Wasm>,
    worker: usize,
}

impl WorkerPlugins {
    /// No instance yet. `worker` is this thread's number in metrics (1 for the first worker).
    pub fn new(worker: usize) -> Self {
        Self { worker, slots: RefCell::default() }
    }

    /// The filter for a new stream. Starts an instance if there is none (or the last one has trapped).
    pub fn filter(&self, plugin: &Arc<Plugin>, id: FilterId) -> WasmFilter {
        let slot = self.slot(plugin);
        let running = slot.running();
        WasmFilter::new(slot, running, id)
    }

    /// Drops the instances of plugins that no snapshot has any more. Streams inside of one keep it to their end.
    pub fn sweep(&self) {
        self.slots.borrow_mut().retain(|_, slot| slot.published.strong_count() > 0);
    }

    /// Name of each plugin with an instance here, bytes of the instance's memory, streams inside of it.
    pub fn instances(&self) -> Vec<(String, usize, usize)> {
        let slots = self.slots.borrow();
        let shown = slots.values().filter_map(|slot| {
            let running = slot.running.borrow().clone()?;
            let mut instance = running.instance.try_borrow_mut().ok()?;
            let streams = instance.host_mut().contexts.len();
            Some((slot.plugin.config.name.clone(), instance.memory_bytes(), streams))
        });
        shown.collect()
    }

    fn slot(&self, plugin: &Arc<Plugin>) -> Rc<Slot> {
        if let Some(slot) = self.slots.borrow().get(&plugin.core.id) {
            return Rc::clone(slot);
        }
        self.sweep();
        let slot = Rc::new(Slot {
            worker: self.worker,
            plugin: Arc::clone(&plugin.core),
            published: Arc::downgrade(plugin),
            running: RefCell::new(None),
            breaker: RefCell::new(Breaker::new(plugin.core.config.restart, Instant::now())),
            breaker_open: Cell::new(false),
            trap_log: RefCell::default(),
        });
        self.slots.borrow_mut().insert(plugin.core.id, Rc::clone(&slot));
        slot
    }
}

impl Slot {
    pub(super) fn plugin(&self) -> &Core {
        &self.plugin
    }

    pub(super) fn exports(&self) -> Exports {
        self.plugin.exports
    }

    pub(super) fn policy(&self) -> FailurePolicy {
        self.plugin.config.failure_policy
    }

    /// The living instance, or a new one if the breaker lets.
    #[inline]
    pub(super) fn running(&self) -> Option<Rc<Running>> {
        if let Some(running) = &*self.running.borrow()
            && !running.failed.get()
        {
            return Some(Rc::clone(running));
        }
        self.start()
    }

    #[cold]
    fn start(&self) -> Option<Rc<Running>> {
        let metrics = &self.plugin.metrics;
        let permit = self.breaker.borrow_mut().permit(Instant::now());
        match permit {
            Permit::Yes => {
                if self.breaker_open.replace(false) {
                    metrics.chunk(self.worker).down(wasm::BREAKER_OPEN);
                }
            }
            Permit::No => return None,
            Permit::OpensFor(wait) => {
                self.breaker_opened(wait);
                return None;
            }
        }
        let bridge = Bridge::new(Arc::clone(&self.plugin.identity), metrics.clone(), self.worker);
        let began = Instant::now();
        let started = self.plugin.inner.start(bridge);
        let took = began.elapsed();
        self.breaker.borrow_mut().charge(took);
        count_start(metrics, self.worker, started.is_ok());
        match started {
            Ok(instance) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                metrics.chunk(self.worker).record(wasm::START_US, micros);
                metrics.chunk(self.worker).up(wasm::ACTIVE);
                let running = Rc::new(Running {
                    instance: RefCell::new(instance),
                    failed: Cell::new(false),
                    metrics: metrics.clone(),
                    worker: self.worker,
                });
                *self.running.borrow_mut() = Some(Rc::clone(&running));
                Some(running)
            }
            Err(error) => {
                tracing::error!(plugin = self.plugin.config.name, %error, "the plugin does not start any more");
                let wait = self.breaker.borrow_mut().start_failed(Instant::now());
                self.breaker_opened(wait);
                None
            }
        }
    }

    fn breaker_opened(&self, wait: Duration) {
        let chunk = self.plugin.metrics.chunk(self.worker);
        chunk.inc(wasm::BREAKER_OPENED);
        if !self.breaker_open.replace(true) {
            chunk.up(wasm::BREAKER_OPEN);
        }
        tracing::warn!(
            plugin = self.plugin.config.name,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "the plugin fails again and again: its failure policy holds until the next start"
        );
    }

    /// The instance has trapped: no stream gets into it any more, those that it holds follow the failure policy, the next
    /// new stream gets another one.
    #[cold]
    pub(super) fn trapped(&self, running: &Running, trap: &Trap) {
        if running.failed.replace(true) {
            return;
        }
        self.running.borrow_mut().take_if(|current| std::ptr::eq(&**current, running));
        let chunk = self.plugin.metrics.chunk(self.worker);
        chunk.inc(wasm::TRAPS);
        match trap.kind {
            TrapKind::Deadline => chunk.inc(wasm::DEADLINE_EXCEEDED),
            TrapKind::Memory => chunk.inc(wasm::MEMORY_LIMIT_REACHED),
            _ => {}
        }
        self.trap_log.borrow_mut().write(&self.plugin.config.name, trap);
        // Called by the filter after its own borrow has ended.
        let Ok(mut instance) = running.instance.try_borrow_mut() else { return };
        for context in instance.host_mut().contexts.iter_mut() {
            let held = std::mem::take(&mut context.paused);
            // Closed: what the instance knew of a stream is lost, so the stream cannot go on. Open: it goes on without.
            let concerned = held || matches!(self.policy(), FailurePolicy::Closed);
            if concerned && !context.failure_told {
                context.failure_told = true;
                self.count_failed_stream();
                let (stream, filter) = (&context.stream, context.filter);
                match self.policy() {
                    FailurePolicy::Closed => {
                        stream.request_effect(filter, Effect::Respond(Answer::Failure(Failure::GuestFailed)));
                    }
                    FailurePolicy::Open => {
                        stream.request_effect(filter, Effect::ResumeRequest);
                        stream.request_effect(filter, Effect::ResumeResponse);
                    }
                }
            }
        }
    }

    pub(super) fn count_failed_stream(&self) {
        let chunk = self.plugin.metrics.chunk(self.worker);
        match self.policy() {
            FailurePolicy::Closed => chunk.inc(wasm::STREAMS_FAILED),
            FailurePolicy::Open => chunk.inc(wasm::STREAMS_PASSED),
        }
    }
}

impl Running {
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// A callback of a stream that began then is over.
    #[inline]
    pub(super) fn took(&self, began: Instant) {
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.metrics.chunk(self.worker).record(wasm::CALLBACK_US, micros);
    }
}

/// The guest may say goodbye, as in Envoy.
impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.chunk(self.worker).down(wasm::ACTIVE);
        if !self.failed.get() {
            let instance = self.instance.get_mut();
            // What goes wrong here harms nobody: the instance goes anyway.
            let _ = instance.on_done(ROOT);
            let _ = instance.on_delete(ROOT);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.breaker_open.get() {
            self.plugin.metrics.chunk(self.worker).down(wasm::BREAKER_OPEN);
        }
    }
}

/// Traps are worth a line each, but not thousands in a second.
#[derive(Default)]
struct TrapLog {
    quiet_until: Option<Instant>,
    suppressed: u64,
}

impl TrapLog {
    fn write(&mut self, plugin: &str, trap: &Trap) {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|until| now < until) {
            self.suppressed += 1;
            return;
        }
        tracing::error!(
            plugin,
            callback = trap.callback.name(),
            kind = trap.kind.name(),
            guest = trap.guest_message.as_deref().unwrap_or_default(),
            backtrace = trap.backtrace.join(" < "),
            suppressed = self.suppressed,
            reason = trap.message.as_str(),
            "the plugin failed"
        );
        self.suppressed = 0;
        self.quiet_until = Some(now + Duration::from_millis(200));
    }
}
