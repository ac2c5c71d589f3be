//! [`Edf`]: endpoints in turn by weight: the one that is due first comes next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Whose turn it is. Weights are asked for anew with each turn.
#[derive(Debug, Default)]
pub(super) struct Edf {
    heap: BinaryHeap<Reverse<Due>>,
    now: f64,
    order: u64,
}

/// When an endpoint's turn comes.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: f64,
    /// Those that are due at the same time come in the order in which they were put
    /// in.
    order: u64,
    place: usize,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        let at = self.at.total_cmp(&other.at);
        at.then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl Edf {
    /// Endpoints at these places, with their weights, which are more than 0.
    pub(super) fn new(places: impl Iterator<Item = usize>, weight: impl Fn(usize) -> f64) -> Self {
        let mut edf = Self::default();
        for place in places {
            edf.add(place, weight(place));
        }
        edf
    }

    fn add(&mut self, place: usize, weight: f64) {
        self.heap.push(Reverse(Due {
            at: self.now + 1.0 / weight,
            order: self.order,
            place,
        }));
        self.order += 1;
    }

    /// The next place.
    pub(super) fn next(&mut self, weight: impl Fn(usize) -> f64) -> Option<usize> {
        let Reverse(due) = self.heap.pop()?;
        self.now = due.at;
        self.add(due.place, weight(due.place));
        Some(due.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_by_weight_and_are_spread() {
        let weight = |place: usize| [3.0, 1.0, 2.0][place];
        let mut edf = Edf::new(0..3, weight);
        let turns: Vec<_> = (0..6).filter_map(|_| edf.next(weight)).collect();
        let count = |wanted| turns.iter().filter(|t| **t == wanted).count();
        assert_eq!([count(0), count(1), count(2)], [3, 1, 2], "{turns:?}");
        assert_ne!(turns[0], turns[1]);
    }

    #[test]
    fn a_weight_that_changes_counts_from_its_next_turn_on() {
        let mut edf = Edf::new(0..2, |_| 1.0);
        let heavy = |place: usize| if place == 0 { 9.0 } else { 1.0 };
        let turns = (0..100).filter_map(|_| edf.next(heavy));
        let first = turns.filter(|t| *t == 0).count();
        assert!((88..=92).contains(&first), "{first}");
    }
}
