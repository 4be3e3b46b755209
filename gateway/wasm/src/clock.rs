//! Time limits of guests: a ticker that advances the engine's epoch while guests run, and the budget of one call.
//!
//! Epochs count wall time. A worker that waits for a processor must not have its guest killed, so a tick only makes the
//! guest look at the CPU time of its thread; it goes on while the budget is not used up.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::os::thread_cpu_time;
use crate::trap::{HostTrap, TrapKind};

/// How often running guests look at their time.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Ticks without any guest call after which the ticker parks.
const IDLE_TICKS: u32 = 20;

/// A call that had to share its processor is cut after this many times its CPU budget of wall time.
const WALL_FACTOR: u32 = 20;

/// Nanoseconds since 1970; 0 before, the largest number after the year 2554.
pub(crate) fn realtime_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The thread that advances the epoch of one engine. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The engine's epoch, which it does not tell.
    ticks: AtomicU64,
    /// The ticker waits for a guest to run. Together with [`Activity`] this is a store-then-load on both sides, so all
    /// accesses of the two are sequentially consistent: one side at least sees the other.
    parked: AtomicBool,
    threads: Mutex<Vec<Weak<Activity>>>,
}

/// Odd while a guest runs on the thread, and changed by every call.
#[derive(Debug, Default)]
#[repr(align(128))] // alone on its cache lines: written by its thread at every call
struct Activity(AtomicU64);

impl Ticker {
    pub(crate) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("wasm-ticker".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&engine)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The runner of this thread; made at the first call.
    pub(crate) fn runner(&self) -> Rc<Runner> {
        thread_local! {
            static RUNNERS: RefCell<Vec<Rc<Runner>>> = const { RefCell::new(Vec::new()) };
        }
        RUNNERS.with_borrow_mut(|runners| {
            runners.retain(|runner| !runner.shared.stop.load(Ordering::Relaxed));
            if let Some(runner) = runners.iter().find(|runner| Arc::ptr_eq(&runner.shared, &self.shared)) {
                return Rc::clone(runner);
            }
            let runner = Rc::new(Runner::new(self));
            runners.push(Rc::clone(&runner));
            runner
        })
    }

    #[cfg(test)]
    fn is_parked(&self) -> bool {
        self.shared.parked.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A ticker that panicked has nothing to give back.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, engine: &wasmtime::Engine) {
        let mut idle = 0;
        let mut seen = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(TICK);
            engine.increment_epoch();
            self.ticks.fetch_add(1, Ordering::Relaxed);
            idle = if self.is_active(&mut seen) { 0 } else { idle + 1 };
            if idle >= IDLE_TICKS {
                self.parked.store(true, Ordering::SeqCst);
                while !self.is_active(&mut seen) && !self.stop.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                idle = 0;
            }
        }
    }

    /// Whether a guest runs, or ran since the last look.
    fn is_active(&self, seen: &mut Vec<u64>) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let before = threads.len();
        threads.retain(|thread| thread.strong_count() > 0);
        let mut active = threads.len() != before;
        seen.resize(threads.len(), 0);
        for (thread, seen) in threads.iter().zip(seen) {
            let now = thread.upgrade().map_or(0, |activity| activity.0.load(Ordering::SeqCst));
            active |= now != *seen || !now.is_multiple_of(2);
            *seen = now;
        }
        active
    }
}

/// A thread's right to run guests: tells the ticker when it does.
#[derive(Debug)]
pub(crate) struct Runner {
    activity: Arc<Activity>,
    shared: Arc<Shared>,
    ticker: Option<Thread>,
}

impl Runner {
    fn new(ticker: &Ticker) -> Self {
        let activity = Arc::<Activity>::default();
        ticker.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&activity));
        Self {
            activity,
            shared: Arc::clone(&ticker.shared),
            ticker: ticker.thread.as_ref().map(|thread| thread.thread().clone()),
        }
    }

    /// The time of a guest that runs on this thread.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline { shared: Arc::clone(&self.shared), seen: 0, budget: Duration::ZERO, first_tick: None }
    }

    /// A guest runs from now until the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Running<'_> {
        // Only this thread writes it. A call inside of a call (another instance, from a host call) leaves it odd.
        let now = self.activity.0.load(Ordering::Relaxed);
        self.activity.0.swap(now | 1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.wake();
        }
        Running { activity: &self.activity, after: if now.is_multiple_of(2) { now.wrapping_add(2) } else { now } }
    }

    #[cold]
    fn wake(&self) {
        if let Some(ticker) = &self.ticker {
            ticker.unpark();
        }
    }
}

/// A guest runs on this thread.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    activity: &'a Activity,
    after: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.activity.0.store(self.after, Ordering::Release);
    }
}

/// What is left to one call of a guest.
#[derive(Debug)]
pub(crate) struct Deadline {
    shared: Arc<Shared>,
    /// The ticks when it was looked at last.
    seen: u64,
    budget: Duration,
    /// CPU and wall clock at the first tick of this call: the usual call ends before it, and never asks a clock.
    first_tick: Option<(Duration, Instant)>,
}

impl Deadline {
    /// A new call begins.
    #[inline]
    pub(crate) fn restart(&mut self, budget: Duration) {
        self.seen = self.shared.ticks.load(Ordering::Relaxed);
        self.budget = budget;
        self.first_tick = None;
    }

    /// To be asked at each host call: a guest's code looks at the epoch in loops and functions, and can make a million host calls
    /// one behind the other.
    #[inline]
    pub(crate) fn check(&mut self) -> Result<(), HostTrap> {
        let now = self.shared.ticks.load(Ordering::Relaxed);
        if now == self.seen {
            return Ok(());
        }
        self.seen = now;
        self.tick()
    }

    /// A tick came while the guest runs: an error if its time is used up.
    pub(crate) fn tick(&mut self) -> Result<(), HostTrap> {
        let cpu = thread_cpu_time();
        // The call began within the 5 ms before its first tick: in their middle, as far as one can know. Ticks being 5 ms
        // apart, no call is cut before its budget, and none goes on for more than a tick behind it.
        let (first_cpu, first_wall) = *self.first_tick.get_or_insert_with(|| (cpu, Instant::now()));
        let used = cpu.saturating_sub(first_cpu) + TICK / 2;
        let waited = first_wall.elapsed() + TICK / 2;
        if used >= self.budget.max(TICK) {
            let message = format!("used {} ms of CPU time of {} ms", used.as_millis(), self.budget.as_millis());
            return Err(HostTrap::new(TrapKind::Deadline, message));
        }
        if waited >= self.budget * WALL_FACTOR {
            let message = format!(
                "took {} ms on a busy machine, {} times its {} ms of CPU time",
                waited.as_millis(),
                WALL_FACTOR,
                self.budget.as_millis()
            );
            return Err(HostTrap::new(TrapKind::Deadline, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ticker() -> Ticker {
        Ticker::start(wasmtime::Engine::new(&crate::engine::config()).unwrap()).unwrap()
    }

    fn wait_until(what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end, "waited 20 s");
            std::thread::yield_now();
        }
    }

    #[test]
    fn parks_when_idle_and_wakes_for_a_guest() {
        let ticker = ticker();
        let runner = ticker.runner();
        wait_until(|| ticker.is_parked());
        let running = runner.enter();
        wait_until(|| !ticker.is_parked());
        drop(running);
        wait_until(|| ticker.is_parked());
    }

    #[test]
    fn a_thread_has_one_runner_for_each_ticker() {
        let (one, other) = (ticker(), ticker());
        assert!(Rc::ptr_eq(&one.runner(), &one.runner()));
        assert!(!Rc::ptr_eq(&one.runner(), &other.runner()));
    }

    #[test]
    fn the_first_tick_cuts_no_call_however_small_its_budget() {
        let ticker = ticker();
        let mut deadline = ticker.runner().deadline();
        deadline.restart(Duration::from_millis(1));
        deadline.tick().unwrap();
        let start = thread_cpu_time();
        while thread_cpu_time() - start < TICK {
            std::hint::spin_loop();
        }
        assert!(deadline.tick().unwrap_err().to_string().starts_with("used "));
    }

    #[test]
    fn waiting_for_a_processor_is_not_counted_up_to_the_wall_limit() {
        let ticker = ticker();
        let mut deadline = ticker.runner().deadline();
        deadline.restart(Duration::from_millis(50));
        deadline.tick().unwrap();
        let waited = |by: u64| Some((thread_cpu_time(), Instant::now() - Duration::from_millis(by)));
        deadline.first_tick = waited(900);
        deadline.tick().unwrap();
        deadline.first_tick = waited(1000);
        assert!(deadline.tick().unwrap_err().to_string().contains("busy machine"));
    }

    #[test]
    fn nested_calls_keep_the_thread_active() {
        let ticker = ticker();
        let runner = ticker.runner();
        let outer = runner.enter();
        drop(runner.enter());
        assert_eq!(runner.activity.0.load(Ordering::SeqCst) % 2, 1);
        drop(outer);
        assert_eq!(runner.activity.0.load(Ordering::SeqCst) % 2, 0);
    }
}
