//! How load is spread over priorities by their health: Envoy's arithmetic, in percent
//! (<https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/priority>).

use smallvec::SmallVec;

/// How much of a priority may be used, by number or by weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Availability {
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    pub(super) total: u64,
    /// By number in any case, as the next two: in a total panic all endpoints count.
    pub(super) hosts: u32,
    /// Without those that drain: what a panic is judged by.
    pub(super) counted_hosts: u32,
    pub(super) usable_hosts: u32,
}

/// What each priority gets, in percent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loads {
    /// (to healthy endpoints, to degraded endpoints)
    pub(super) spread: SmallVec<[(u32, u32); 4]>,
    /// Whether health is not looked at.
    pub(super) panic: SmallVec<[bool; 4]>,
    /// Whether anything is available.
    pub(super) any: bool,
}

/// Spreads 100 percent over priorities.
pub(super) fn spread(priorities: &[Availability], overprovisioning: u32, panic_threshold: u32) -> Loads {
    let percent = |part: u64, total: u64| -> u32 {
        match u64::from(overprovisioning).saturating_mul(part).checked_div(total) {
            Some(value) => value.min(100) as u32,
            None => 0,
        }
    };
    let healthy: SmallVec<[u32; 4]> = priorities.iter().map(|p| percent(p.healthy, p.total)).collect();
    let degraded: SmallVec<[u32; 4]> = priorities.iter().map(|p| percent(p.degraded, p.total)).collect();
    let available = healthy.iter().chain(&degraded).sum::<u32>().min(100);

    let mut loads = Loads {
        spread: SmallVec::from_elem((0, 0), priorities.len()),
        panic: SmallVec::from_elem(false, priorities.len()),
        any: available > 0,
    };
    if available > 0 {
        let left = distribute(&healthy, 100, available, |at, load| loads.spread[at].0 = load);
        let left = distribute(&degraded, left, available, |at, load| loads.spread[at].1 = load);
        // What is left is rounding: to the first that can take it. Indexes are positions in `priorities`, as long.
        if let Some(at) = healthy.iter().position(|&h| h > 0) {
            loads.spread[at].0 += left;
        } else if let Some(at) = degraded.iter().position(|&d| d > 0) {
            loads.spread[at].1 += left;
        }
    }

    if panic_threshold == 0 && available == 0 {
        if let Some(first) = loads.spread.first_mut() {
            first.0 = 100;
        }
        return loads;
    }
    if available < 100 {
        for (panic, priority) in loads.panic.iter_mut().zip(priorities) {
            let usable = match priority.counted_hosts {
                0 => 0.0,
                hosts => 100.0 * f64::from(priority.usable_hosts) / f64::from(hosts),
            };
            *panic = usable < f64::from(panic_threshold.min(100));
        }
    }
    if loads.panic.iter().all(|panic| *panic) {
        spread_in_total_panic(priorities, &mut loads);
    }
    loads
}

/// Hands out `load` by availability; returns what is left.
fn distribute(availability: &[u32], mut load: u32, total: u32, mut set: impl FnMut(usize, u32)) -> u32 {
    for (at, available) in availability.iter().enumerate() {
        let share = load.min(available * 100 / total);
        set(at, share);
        load -= share;
    }
    load
}

/// All priorities panic: load follows the number of endpoints, whatever their health.
fn spread_in_total_panic(priorities: &[Availability], loads: &mut Loads) {
    let total: u64 = priorities.iter().map(|p| u64::from(p.hosts)).sum();
    let mut left = 100;
    for (load, priority) in loads.spread.iter_mut().zip(priorities) {
        let share = (100 * u64::from(priority.hosts)).checked_div(total).unwrap_or(0) as u32;
        *load = (share, 0);
        left -= share;
    }
    let first = priorities.iter().position(|p| p.hosts > 0).unwrap_or(0);
    if let Some(load) = loads.spread.get_mut(first) {
        load.0 += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level((healthy, degraded, hosts): (u32, u32, u32)) -> Availability {
        Availability {
            healthy: u64::from(healthy),
            degraded: u64::from(degraded),
            total: u64::from(hosts),
            hosts,
            counted_hosts: hosts,
            usable_hosts: healthy + degraded,
        }
    }

    #[test]
    fn load_follows_health() {
        // (healthy, degraded, all) of each priority -> (healthy load, degraded load, panic)
        type Row<'a> = (&'a [(u32, u32, u32)], &'a [(u32, u32, bool)]);
        let rows: &[Row<'_>] = &[
            (&[(1, 0, 1)], &[(100, 0, false)]),
            // 71 % healthy with a factor of 1.4 is enough for all the load.
            (&[(72, 0, 100), (100, 0, 100)], &[(100, 0, false), (0, 0, false)]),
            (&[(71, 0, 100), (100, 0, 100)], &[(99, 0, false), (1, 0, false)]),
            (&[(50, 0, 100), (100, 0, 100)], &[(70, 0, false), (30, 0, false)]),
            (&[(25, 0, 100), (100, 0, 100)], &[(35, 0, false), (65, 0, false)]),
            (&[(0, 0, 100), (100, 0, 100)], &[(0, 0, false), (100, 0, false)]),
            // Together below 100: normalized, and those below half panic.
            (&[(25, 0, 100), (25, 0, 100)], &[(50, 0, true), (50, 0, true)]),
            // 7 and 91 of 98: normalized to 7 and 92, the rounding goes to the first.
            (&[(5, 0, 100), (65, 0, 100)], &[(8, 0, true), (92, 0, false)]),
            // Degraded endpoints take what the healthy ones of all priorities cannot.
            (&[(0, 100, 100), (60, 0, 100)], &[(0, 16, false), (84, 0, false)]),
            (&[(0, 100, 100)], &[(0, 100, false)]),
            // Total panic: by number of endpoints.
            (&[(0, 0, 30), (0, 0, 10)], &[(75, 0, true), (25, 0, true)]),
            (&[(0, 0, 1), (0, 0, 2)], &[(34, 0, true), (66, 0, true)]),
            (&[(0, 0, 0)], &[(100, 0, true)]),
            (&[(0, 0, 0), (3, 0, 3)], &[(0, 0, false), (100, 0, false)]),
        ];
        for (levels, expected) in rows {
            let levels: Vec<_> = levels.iter().copied().map(level).collect();
            let loads = spread(&levels, 140, 50);
            let got: Vec<_> = loads.spread.iter().zip(&loads.panic).map(|(l, p)| (l.0, l.1, *p)).collect();
            assert_eq!(&got, expected, "{levels:?}");
        }
    }

    #[test]
    fn panic_can_be_turned_off() {
        let loads = spread(&[level((0, 0, 4)), level((0, 0, 4))], 140, 0);
        assert_eq!(loads.spread.as_slice(), [(100, 0), (0, 0)]);
        assert!(loads.panic.iter().all(|p| !p));
        let loads = spread(&[level((1, 0, 4))], 140, 0);
        assert_eq!((loads.spread.as_slice(), loads.panic.as_slice()), ([(100, 0)].as_slice(), [false].as_slice()));
    }

    #[test]
    fn the_overprovisioning_factor_is_configurable() {
        let loads = spread(&[level((50, 0, 100)), level((100, 0, 100))], 200, 50);
        assert_eq!(loads.spread.as_slice(), [(100, 0), (0, 0)]);
        let loads = spread(&[level((50, 0, 100)), level((100, 0, 100))], 100, 50);
        assert_eq!(loads.spread.as_slice(), [(50, 0), (50, 0)]);
    }
}
