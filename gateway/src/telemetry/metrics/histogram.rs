//! Log-linear histograms, as Envoy's circllhist: two significant decimal digits, whatever the size of the value.
//!
//! A bin is a mantissa of 10 to 99 and a power of ten; zero has its own. Values are whole numbers, so powers below 10^0
//! do not occur.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::scope::bump;

/// Powers of ten that have bins: up to 10^10, which is four months in milliseconds. Larger values fall into the last bin.
const DECADES: usize = 11;
/// Mantissas 10 to 99.
const STEPS: usize = 90;

/// What one thread recorded. A decade is allocated when a value first falls into it.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    zeros: AtomicU64,
    decades: [OnceLock<Box<[AtomicU64; STEPS]>>; DECADES],
}

impl Recorder {
    #[inline]
    pub(super) fn record(&self, value: u64) {
        let Some((decade, step)) = bin_of(value) else {
            bump(&self.zeros, 1);
            return;
        };
        if let Some(slots) = self.decades.get(decade) {
            let slots = slots.get_or_init(|| Box::new([const { AtomicU64::new(0) }; STEPS]));
            if let Some(slot) = slots.get(step) {
                bump(slot, 1);
            }
        }
    }

    pub(super) fn add_to(&self, all: &mut Bins) {
        all.zeros += self.zeros.load(Ordering::Relaxed);
        for (decade, slots) in self.decades.iter().enumerate() {
            let Some(slots) = slots.get() else { continue };
            for (step, slot) in slots.iter().enumerate() {
                all.add(decade, step, slot.load(Ordering::Relaxed));
            }
        }
    }
}

/// Decade and step of a value; `None` for zero.
#[inline]
fn bin_of(value: u64) -> Option<(usize, usize)> {
    let decade = value.checked_ilog10()? as usize;
    if decade >= DECADES {
        return Some((DECADES - 1, STEPS - 1));
    }
    let mantissa = if decade == 0 { value * 10 } else { value / 10u64.pow(decade as u32 - 1) };
    Some((decade, mantissa as usize - 10))
}

/// A histogram as it stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Bins {
    zeros: u64,
    /// (left edge, width, count), ascending.
    filled: Vec<(f64, f64, u64)>,
}

/// The quantiles that Envoy shows, in percent.
pub(super) const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// Upper bounds of Envoy's buckets; an unbounded one follows.
pub(super) const BOUNDS: [f64; 19] =
    [0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6];

/// Values at [`QUANTILES`].
pub type Quantiles = [f64; QUANTILES.len()];

impl Bins {
    fn add(&mut self, decade: usize, step: usize, count: u64) {
        if count == 0 {
            return;
        }
        let width = 10f64.powi(decade as i32 - 1);
        let left = (step + 10) as f64 * width;
        match self.filled.binary_search_by(|(other, _, _)| other.total_cmp(&left)) {
            Ok(at) => self.filled[at].2 += count,
            Err(at) => self.filled.insert(at, (left, width, count)),
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.zeros + self.filled.iter().map(|(_, _, count)| count).sum::<u64>()
    }

    /// Their sum, estimated by the bins' centres of mass (as circllhist does).
    pub fn sum(&self) -> f64 {
        self.filled
            .iter()
            .map(|(left, width, count)| *count as f64 * (left + width * left / (left + left + width)))
            .sum()
    }

    /// How many values are not above each of [`BOUNDS`]; the bin that begins at a bound counts with it.
    pub fn cumulative(&self) -> [u64; BOUNDS.len()] {
        BOUNDS.map(|bound| {
            self.zeros
                + self.filled.iter().filter(|(left, _, _)| *left <= bound).map(|(_, _, count)| count).sum::<u64>()
        })
    }

    /// How many values lie between each of [`BOUNDS`] and the one before.
    pub fn disjoint(&self) -> [u64; BOUNDS.len()] {
        let mut below = 0;
        self.cumulative().map(|count| count - std::mem::replace(&mut below, count))
    }

    /// Left edge, width and count of each bin that holds a value, ascending.
    pub fn filled(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let zeros = (self.zeros > 0).then_some((0.0, 0.0, self.zeros));
        zeros.into_iter().chain(self.filled.iter().copied())
    }

    /// Estimated quantiles: the values of a bin are taken to lie evenly in it. `None` if nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let total = self.count();
        (total > 0)
            .then(|| QUANTILES.map(|percent| self.at_rank((percent / 100.0 * total as f64).ceil().max(1.0) as u64)))
    }

    fn at_rank(&self, rank: u64) -> f64 {
        let mut below = self.zeros;
        if rank <= below {
            return 0.0;
        }
        for (left, width, count) in &self.filled {
            if rank <= below + count {
                return left + width * (rank - below) as f64 / (count + 1) as f64;
            }
            below += count;
        }
        self.filled.last().map_or(0.0, |(left, width, _)| left + width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(values: &[u64]) -> Bins {
        let recorder = Recorder::default();
        values.iter().for_each(|v| recorder.record(*v));
        let mut all = Bins::default();
        recorder.add_to(&mut all);
        all
    }

    #[test]
    fn bins_have_two_digits() {
        for (value, bin) in [
            (0, None),
            (1, Some((0, 0))),
            (9, Some((0, 80))),
            (10, Some((1, 0))),
            (99, Some((1, 89))),
            (100, Some((2, 0))),
            (1999, Some((3, 9))),
            (u64::MAX, Some((10, 89))),
        ] {
            assert_eq!(bin_of(value), bin, "{value}");
        }
    }

    #[test]
    fn estimates_as_envoy_prints_them() {
        assert_eq!(bins(&[1]).sum(), 1.0476190476190477);
        assert_eq!(bins(&[42]).sum(), 42.49411764705882);
        assert_eq!(bins(&[42]).quantiles(), Some([42.5; 10]));
        assert_eq!(bins(&[0, 0]).quantiles(), Some([0.0; 10]));
        assert_eq!(bins(&[]).quantiles(), None);
        assert_eq!(bins(&[1]).cumulative()[..2], [0, 1]);
        assert_eq!((bins(&[0, 7, 7, 5000]).count(), bins(&[0, 7, 7, 5000]).cumulative()[11]), (4, 4));
    }
}
