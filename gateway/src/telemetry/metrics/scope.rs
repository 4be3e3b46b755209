//! One named thing that is measured, and the memory of its metrics.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::histogram::{Bins, Recorder};

/// A kind of scope, such as [`super::names::Cluster`]: ties the ids of its metrics to its scopes, so that no id can be
/// used with a scope of another kind.
pub trait Kind: 'static {
    /// The metrics of this kind.
    const TABLE: &'static Table;
}

/// What a kind of scope measures.
#[derive(Debug)]
pub struct Table {
    /// Dotted name in front of its metrics; `{tag}` stands for a part of the scope's name and becomes a label of that
    /// name for Prometheus: `cluster.{envoy_cluster_name}`.
    pub pattern: &'static str,
    /// Names of counters.
    pub counters: &'static [Metric],
    /// Names of gauges.
    pub gauges: &'static [Metric],
    /// Names of histograms.
    pub histograms: &'static [Metric],
    /// Names of families of counters by status code.
    pub statuses: &'static [&'static str],
}

/// One metric of a [`Table`].
#[derive(Debug)]
pub struct Metric {
    /// Name within its scope.
    pub name: &'static str,
    /// Shown only once it has been used (Envoy creates these when they are first needed).
    pub on_use: bool,
    /// Also shown for each worker by itself, as `<scope>.worker_<n>.<name>`.
    pub per_worker: bool,
}

/// Id of a counter: it only grows.
#[derive(Debug)]
pub struct Counter<K>(u16, PhantomData<fn() -> K>);

/// Id of a gauge: a level that goes up and down.
#[derive(Debug)]
pub struct Gauge<K>(u16, PhantomData<fn() -> K>);

/// Id of a histogram.
#[derive(Debug)]
pub struct Histogram<K>(u16, PhantomData<fn() -> K>);

/// Id of a family of counters by status code (100 to 599).
#[derive(Debug)]
pub struct Statuses<K>(u16, PhantomData<fn() -> K>);

macro_rules! id {
    ($($id:ident)*) => {$(
        impl<K> $id<K> {
            pub(super) const fn at(index: u16) -> Self {
                Self(index, PhantomData)
            }
        }

        impl<K> Clone for $id<K> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<K> Copy for $id<K> {}
    )*};
}

id!(Counter Gauge Histogram Statuses);

/// Name of a scope: one part, or one for each `{tag}` of its kind's pattern.
pub trait ScopeName {
    /// The parts, joined by NUL; a NUL inside a part is replaced.
    fn key(&self) -> String;
}

impl ScopeName for &str {
    fn key(&self) -> String {
        self.replace('\0', "_")
    }
}

impl ScopeName for (&str, &str) {
    fn key(&self) -> String {
        format!("{}\0{}", self.0.key(), self.1.key())
    }
}

/// A measured thing of kind `K`. Cloning shares it.
#[derive(Debug)]
pub struct Scope<K> {
    pub(super) state: Arc<ScopeState>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Scope<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), kind: PhantomData }
    }
}

impl<K: Kind> Scope<K> {
    pub(super) fn of(state: Arc<ScopeState>) -> Self {
        Self { state, kind: PhantomData }
    }

    /// The memory of one worker; 0 is the control thread, workers count from 1. Only that thread may write to it:
    /// another's writes may get lost. A number beyond the registry's workers gets the last chunk.
    #[inline]
    pub fn chunk(&self, worker: usize) -> Chunk<'_, K> {
        Chunk { memory: self.state.chunk(worker), kind: PhantomData }
    }

    /// Counts one, from any thread: for what happens seldom. Takes a lock and little memory.
    pub fn inc(&self, id: Counter<K>) {
        self.add(id, 1);
    }

    /// Counts `count`, from any thread; as [`Self::inc`].
    pub fn add(&self, id: Counter<K>, count: u64) {
        self.state.edit_sparse(id.0, |value| *value = value.wrapping_add(count));
    }

    /// Sets a gauge, from any thread; as [`Self::inc`]. What chunks say is added to it.
    pub fn set(&self, id: Gauge<K>, level: u64) {
        self.state.edit_sparse(gauge_slot(K::TABLE, id.0), |value| *value = level);
    }

    /// Raises a gauge, from any thread; as [`Self::inc`].
    pub fn raise(&self, id: Gauge<K>, by: u64) {
        self.state.edit_sparse(gauge_slot(K::TABLE, id.0), |value| *value = value.wrapping_add(by));
    }

    /// Lowers a gauge, from any thread; as [`Self::inc`].
    pub fn lower(&self, id: Gauge<K>, by: u64) {
        self.raise(id, by.wrapping_neg());
    }

    /// Current value of a counter, over all threads.
    pub fn counter(&self, id: Counter<K>) -> u64 {
        self.state.read().counter(id.0 as usize)
    }

    /// Current level of a gauge, over all threads.
    pub fn gauge(&self, id: Gauge<K>) -> u64 {
        self.state.read().gauge(id.0 as usize).unwrap_or_default()
    }

    /// Current counter of a status code, over all threads.
    pub fn status(&self, id: Statuses<K>, status: u16) -> u64 {
        self.state.read().status(id.0 as usize, status)
    }

    /// The name it was made with; NUL stands between the parts of one with several.
    pub fn name(&self) -> &str {
        &self.state.key
    }

    /// Whether `other` is the same scope.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

/// The metrics of one scope as one thread has counted them.
#[derive(Debug)]
pub struct Chunk<'a, K> {
    memory: &'a Memory,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Chunk<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Chunk<'_, K> {}

impl<K: Kind> Chunk<'_, K> {
    /// Counts one.
    #[inline]
    pub fn inc(self, id: Counter<K>) {
        self.add(id, 1);
    }

    /// Counts `count`.
    #[inline]
    pub fn add(self, id: Counter<K>, count: u64) {
        if let Some(slot) = self.memory.values.get(id.0 as usize) {
            bump(slot, count);
        }
    }

    /// Raises a gauge by one.
    #[inline]
    pub fn up(self, id: Gauge<K>) {
        self.raise(id, 1);
    }

    /// Lowers a gauge by one.
    #[inline]
    pub fn down(self, id: Gauge<K>) {
        self.lower(id, 1);
    }

    /// Raises a gauge.
    #[inline]
    pub fn raise(self, id: Gauge<K>, by: u64) {
        self.shift(id, by);
    }

    /// Lowers a gauge. What one worker raised another may lower: the sum is what counts.
    #[inline]
    pub fn lower(self, id: Gauge<K>, by: u64) {
        self.shift(id, by.wrapping_neg());
    }

    /// Records a value, such as a duration in milliseconds.
    #[inline]
    pub fn record(self, id: Histogram<K>, value: u64) {
        if let Some(recorder) = self.memory.histograms.get(id.0 as usize) {
            recorder.record(value);
        }
    }

    /// Counts one response of that status; anything but 100 to 599 is ignored.
    #[inline]
    pub fn status(self, id: Statuses<K>, status: u16) {
        if let Some(family) = self.memory.statuses.get(id.0 as usize) {
            family.inc(status);
        }
    }

    #[inline]
    fn shift(self, id: Gauge<K>, by: u64) {
        if let Some(slot) = self.memory.values.get(gauge_slot(K::TABLE, id.0) as usize) {
            let old = slot.load(Ordering::Relaxed);
            let level = if old == UNUSED { ZERO } else { old };
            slot.store(level.wrapping_add(by), Ordering::Relaxed);
        }
    }
}

/// A gauge that was never touched. Levels are stored with [`ZERO`] added, so that a used one that is back at 0 differs.
const UNUSED: u64 = 0;
const ZERO: u64 = 1 << 63;

/// Gauges lie behind the counters.
const fn gauge_slot(table: &Table, index: u16) -> u16 {
    table.counters.len() as u16 + index
}

/// There is one writer, so a read-modify-write need not be atomic, and the reader sees either value.
#[inline]
pub(super) fn bump(slot: &AtomicU64, count: u64) {
    slot.store(slot.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// Counters, gauges, histograms and status families of one thread.
#[derive(Debug)]
struct Memory {
    values: Box<[AtomicU64]>,
    histograms: Box<[Recorder]>,
    statuses: Box<[StatusFamily]>,
}

impl Memory {
    fn new(table: &Table) -> Self {
        Self {
            values: (0..table.counters.len() + table.gauges.len()).map(|_| AtomicU64::new(0)).collect(),
            histograms: table.histograms.iter().map(|_| Recorder::default()).collect(),
            statuses: table.statuses.iter().map(|_| StatusFamily::default()).collect(),
        }
    }
}

/// Counters by status code: a block of a hundred for each class that occurred.
#[derive(Debug, Default)]
struct StatusFamily([OnceLock<Box<[AtomicU64; 100]>>; 5]);

impl StatusFamily {
    #[inline]
    fn inc(&self, status: u16) {
        if let Some(slot) = self.block(status).map(|b| b.get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100])))
            && let Some(slot) = slot.get(usize::from(status % 100))
        {
            bump(slot, 1);
        }
    }

    fn count(&self, status: u16) -> u64 {
        self.block(status)
            .and_then(OnceLock::get)
            .and_then(|block| block.get(usize::from(status % 100)))
            .map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    fn block(&self, status: u16) -> Option<&OnceLock<Box<[AtomicU64; 100]>>> {
        self.0.get(usize::from(status / 100).wrapping_sub(1))
    }
}

/// A scope without its kind.
#[derive(Debug)]
pub(super) struct ScopeState {
    pub(super) table: &'static Table,
    /// Parts of the name, joined by NUL.
    pub(super) key: Arc<str>,
    chunks: Box<[OnceLock<Memory>]>,
    cold: Mutex<Cold>,
}

/// What is written by any thread and seldom.
#[derive(Debug, Default)]
struct Cold {
    /// Counters and levels by slot; most scopes have none or few.
    values: Vec<(u16, u64)>,
    /// What counters showed at the last reset, by slot; status codes lie behind the slots.
    base: Vec<(u32, u64)>,
}

impl ScopeState {
    pub(super) fn new(table: &'static Table, key: Arc<str>, chunks: usize) -> Self {
        let chunks = (0..chunks.max(1)).map(|_| OnceLock::new()).collect();
        Self { table, key, chunks, cold: Mutex::default() }
    }

    #[inline]
    fn chunk(&self, worker: usize) -> &Memory {
        // There is at least one chunk (see `new`), so the index is in range.
        let last = self.chunks.len() - 1;
        self.chunks[worker.min(last)].get_or_init(|| Memory::new(self.table))
    }

    fn used(&self) -> impl Iterator<Item = &Memory> {
        self.chunks.iter().filter_map(OnceLock::get)
    }

    fn edit_sparse(&self, slot: u16, edit: impl FnOnce(&mut u64)) {
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cold.values.iter().position(|(s, _)| *s == slot).unwrap_or_else(|| {
            cold.values.reserve_exact(1);
            cold.values.push((slot, 0));
            cold.values.len() - 1
        });
        // `at` was just found or pushed.
        edit(&mut cold.values[at].1);
    }

    /// All that is known of it, for one look: the lock is taken once.
    pub(super) fn read(&self) -> Reading<'_> {
        Reading { scope: self, cold: self.cold.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn bins(&self, histogram: usize) -> Bins {
        let mut all = Bins::default();
        self.used().filter_map(|m| m.histograms.get(histogram)).for_each(|r| r.add_to(&mut all));
        all
    }

    /// Worker numbers with their counts of one counter or gauge slot.
    pub(super) fn by_worker(&self, slot: usize) -> impl Iterator<Item = (usize, u64)> {
        self.chunks.iter().enumerate().skip(1).map(move |(worker, chunk)| {
            let value = chunk.get().and_then(|m| m.values.get(slot)).map_or(0, |v| v.load(Ordering::Relaxed));
            let is_gauge = slot >= self.table.counters.len() && value != UNUSED;
            (worker - 1, if is_gauge { value.wrapping_sub(ZERO) } else { value })
        })
    }

    /// From now on counters show what came after. Chunks are left alone: their workers are the only writers.
    pub(super) fn reset_counters(&self) {
        let base = self.read().raw_counters();
        self.cold.lock().unwrap_or_else(PoisonError::into_inner).base = base;
    }

    /// The parts of the name.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.key.split('\0')
    }

    /// Dotted name in front of the metrics, ending in a dot.
    pub(super) fn prefix(&self) -> String {
        let mut parts = self.parts();
        let mut prefix = String::with_capacity(self.table.pattern.len() + self.key.len());
        for piece in self.table.pattern.split('.') {
            prefix.push_str(if piece.starts_with('{') { parts.next().unwrap_or_default() } else { piece });
            prefix.push('.');
        }
        prefix
    }
}

/// A look at a scope.
pub(super) struct Reading<'a> {
    scope: &'a ScopeState,
    cold: MutexGuard<'a, Cold>,
}

impl Reading<'_> {
    /// Whether any worker has a chunk or anything was counted by another thread.
    pub(super) fn is_used(&self) -> bool {
        !self.cold.values.is_empty() || self.has_chunks()
    }

    /// Whether any worker has a chunk.
    pub(super) fn has_chunks(&self) -> bool {
        self.scope.used().next().is_some()
    }

    pub(super) fn counter(&self, index: usize) -> u64 {
        self.since_reset(index, self.raw_counter(index))
    }

    /// `None` if it is 0; unless it was set to that, if `or_set`.
    pub(super) fn counted(&self, index: usize, or_set: bool) -> Option<u64> {
        let value = self.counter(index);
        (value > 0 || or_set && self.sparse(index).is_some()).then_some(value)
    }

    /// `None` if it was never touched.
    pub(super) fn gauge(&self, index: usize) -> Option<u64> {
        let slot = usize::from(gauge_slot(self.scope.table, 0)) + index;
        let hot = self.scope.used().filter_map(|m| m.values.get(slot)).map(|v| v.load(Ordering::Relaxed));
        let levels = hot.filter(|v| *v != UNUSED).map(|v| v.wrapping_sub(ZERO));
        let Some(sum) = levels.reduce(u64::wrapping_add) else { return self.sparse(slot) };
        let sum = sum.wrapping_add(self.sparse(slot).unwrap_or_default());
        // Workers are read one after the other: a sum may be below zero for a moment.
        Some(if sum > i64::MAX as u64 { 0 } else { sum })
    }

    pub(super) fn status(&self, family: usize, status: u16) -> u64 {
        self.since_reset(self.status_slot(family, status), self.raw_status(family, status))
    }

    fn sparse(&self, slot: usize) -> Option<u64> {
        self.cold.values.iter().find(|(s, _)| usize::from(*s) == slot).map(|(_, value)| *value)
    }

    fn since_reset(&self, slot: usize, value: u64) -> u64 {
        let base = self.cold.base.iter().find(|(s, _)| *s as usize == slot).map_or(0, |(_, base)| *base);
        value.saturating_sub(base)
    }

    fn raw_counter(&self, index: usize) -> u64 {
        let hot = self.scope.used().filter_map(|m| m.values.get(index)).map(|v| v.load(Ordering::Relaxed));
        hot.fold(self.sparse(index).unwrap_or(0), u64::wrapping_add)
    }

    fn raw_status(&self, family: usize, status: u16) -> u64 {
        self.scope.used().filter_map(|m| m.statuses.get(family)).map(|f| f.count(status)).sum()
    }

    fn status_slot(&self, family: usize, status: u16) -> usize {
        let table = self.scope.table;
        table.counters.len() + table.gauges.len() + family * 600 + usize::from(status)
    }

    /// Slots and values of all counters that have counted, without regard to resets.
    fn raw_counters(&self) -> Vec<(u32, u64)> {
        let table = self.scope.table;
        let fixed = (0..table.counters.len()).map(|i| (i as u32, self.raw_counter(i)));
        let families = if self.has_chunks() { table.statuses.len() } else { 0 };
        let by_status = (0..families)
            .flat_map(|family| (100..600).map(move |status| (family, status)))
            .map(|(family, status)| (self.status_slot(family, status) as u32, self.raw_status(family, status)));
        fixed.chain(by_status).filter(|(_, value)| *value > 0).collect()
    }
}
