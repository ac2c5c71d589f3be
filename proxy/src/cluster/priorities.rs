//! How requests are divided among the priorities of a cluster, as in Envoy
//! (`load_balancer_impl.cc`): by how many endpoints of each are healthy.

/// The endpoints of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) all: usize,
    pub(super) healthy: usize,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Division {
    /// Of 100 requests, how many each priority gets.
    pub(super) loads: Vec<u32>,
    /// Whether all endpoints of a priority are used, for want of healthy ones.
    pub(super) panics: Vec<bool>,
}

/// Divides requests. `overprovisioning` is in hundredths; below `panic_threshold`
/// of 100, a priority has too few healthy endpoints.
pub(super) fn divide(levels: &[Level], overprovisioning: u32, panic_threshold: u32) -> Division {
    let health = levels.iter().map(|level| health(*level, overprovisioning));
    let health: Vec<u32> = health.collect();
    let available = health.iter().sum::<u32>().min(100);
    let mut loads = vec![0; levels.len()];
    let mut left = 100;
    for (load, health) in loads.iter_mut().zip(&health) {
        *load = left.min((health * 100).checked_div(available).unwrap_or(0));
        left -= *load;
    }
    // What rounding leaves is for the first that takes any.
    if let Some(place) = health.iter().position(|health| *health > 0) {
        loads[place] += left;
    }
    let panics: Vec<bool> = levels
        .iter()
        .map(|level| available < 100 && is_short(*level, panic_threshold))
        .collect();
    if available == 0 && panic_threshold == 0 {
        // Nothing is healthy, and nothing else is used: any priority will do.
        if let Some(first) = loads.first_mut() {
            *first = 100;
        }
    } else if panics.iter().all(|panic| *panic) {
        loads = by_size(levels);
    }
    Division { loads, panics }
}

/// What part of all requests a priority can take.
fn health(level: Level, overprovisioning: u32) -> u32 {
    let healthy = level.healthy as u64 * u64::from(overprovisioning);
    let part = healthy.checked_div(level.all as u64).unwrap_or(0);
    u32::try_from(part.min(100)).unwrap_or(100)
}

/// Whether fewer of its endpoints than `threshold` of 100 are healthy.
fn is_short(level: Level, threshold: u32) -> bool {
    let threshold = u64::from(threshold);
    match level.all as u64 {
        0 => threshold > 0,
        all => 100 * (level.healthy as u64) < threshold * all,
    }
}

/// Loads by the number of endpoints, healthy or not.
fn by_size(levels: &[Level]) -> Vec<u32> {
    let total: usize = levels.iter().map(|level| level.all).sum();
    let mut left = 100;
    let part = |level: &Level| {
        let part = (100 * level.all).checked_div(total).unwrap_or(0);
        u32::try_from(part).unwrap_or(0)
    };
    let mut loads: Vec<u32> = levels.iter().map(part).collect();
    for load in &loads {
        left -= load;
    }
    let first = levels.iter().position(|level| level.all > 0).unwrap_or(0);
    if let Some(first) = loads.get_mut(first) {
        *first += left;
    }
    loads
}

/// The priority that a hash falls to.
pub(super) fn choose(loads: &[u32], hash: u64) -> Option<usize> {
    let mut left = hash % 100 + 1;
    for (place, load) in loads.iter().enumerate() {
        let load = u64::from(*load);
        if left <= load {
            return Some(place);
        }
        left -= load;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(healthy: usize, all: usize) -> Level {
        Level { all, healthy }
    }

    fn division(levels: &[Level]) -> (Vec<u32>, Vec<bool>) {
        let Division { loads, panics } = divide(levels, 140, 50);
        (loads, panics)
    }

    #[test]
    fn loads_are_those_of_envoys_documentation() {
        // Of its table for two priorities, and that for three.
        for (healthy, loads) in [
            ([100, 100], [100, 0]),
            ([72, 72], [100, 0]),
            ([71, 71], [99, 1]),
            ([50, 50], [70, 30]),
            ([25, 100], [35, 65]),
            ([25, 25], [50, 50]),
        ] {
            let levels = [level(healthy[0], 100), level(healthy[1], 100)];
            assert_eq!(division(&levels).0, loads, "{healthy:?}");
        }
        let levels = [level(25, 100), level(25, 100), level(25, 100)];
        assert_eq!(division(&levels).0, [35, 35, 30]);
    }

    #[test]
    fn a_priority_panics_only_where_others_do_not_make_up_for_it() {
        assert_eq!(division(&[level(1, 3), level(3, 3)]).1, [false, false]);
        let (loads, panics) = division(&[level(1, 4), level(0, 4)]);
        assert_eq!((loads, panics), (vec![50, 50], vec![true, true]));
        assert_eq!(division(&[level(1, 2)]), (vec![100], vec![false]));
        assert_eq!(division(&[level(1, 3)]), (vec![100], vec![true]));
        assert_eq!(division(&[level(0, 1)]), (vec![100], vec![true]));
    }

    #[test]
    fn without_panic_nothing_is_used_that_is_not_healthy() {
        let division = divide(&[level(0, 2), level(0, 2)], 140, 0);
        assert_eq!(division.loads, [100, 0]);
        assert_eq!(division.panics, [false, false]);
    }

    #[test]
    fn a_hash_falls_to_each_priority_by_its_load() {
        let loads = [35, 0, 65];
        let chosen = |wanted| (0..1000).filter(move |h| choose(&loads, *h) == Some(wanted));
        assert_eq!(chosen(0).count(), 350);
        assert_eq!(chosen(1).count(), 0);
        assert_eq!(chosen(2).count(), 650);
    }
}
