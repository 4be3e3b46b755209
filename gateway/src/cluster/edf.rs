//! Weighted turns: earliest deadline first, as Envoy's EdfScheduler.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Picks positions in proportion to their weights, as evenly spaced as can be.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: BinaryHeap<Turn>,
    now: f64,
    order: u64,
}

#[derive(Debug)]
struct Turn {
    deadline: f64,
    order: u64,
    position: u32,
}

impl Schedule {
    /// One turn for each weight.
    pub(super) fn new(weights: impl Iterator<Item = f64>) -> Self {
        let mut schedule = Self::default();
        for (position, weight) in weights.enumerate() {
            schedule.push(position as u32, weight);
        }
        schedule
    }

    /// The next position; it comes again by the weight it has then.
    pub(super) fn next(&mut self, weight: impl FnOnce(u32) -> f64) -> Option<u32> {
        let turn = self.queue.pop()?;
        self.now = turn.deadline;
        self.push(turn.position, weight(turn.position));
        Some(turn.position)
    }

    fn push(&mut self, position: u32, weight: f64) {
        self.order += 1;
        self.queue.push(Turn { deadline: self.now + 1.0 / weight, order: self.order, position });
    }
}

// The heap gives the greatest first: the earliest deadline is the greatest, the older of two equal ones.
impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then_with(|| other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_follow_weights_evenly() {
        let weights = [1.0, 2.0, 4.0];
        let mut schedule = Schedule::new(weights.into_iter());
        let picks: Vec<u32> = (0..14).map(|_| schedule.next(|at| weights[at as usize]).unwrap()).collect();
        let count = |of: u32| picks.iter().filter(|p| **p == of).count();
        assert_eq!((count(0), count(1), count(2)), (2, 4, 8), "{picks:?}");
        assert!(!picks.windows(4).any(|w| w.iter().all(|p| *p == 2)), "spread out: {picks:?}");
    }

    #[test]
    fn an_empty_schedule_has_no_turn() {
        assert_eq!(Schedule::new(std::iter::empty()).next(|_| 1.0), None);
    }
}
