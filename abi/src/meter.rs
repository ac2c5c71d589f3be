//! [`Meter`]: how a host learns what a plugin does and what it costs, without a
//! map, a lock or an allocation on the way of a callback.

use std::cell::Cell;
use std::fmt;

use crate::callbacks::CALLBACKS;
use crate::imports;
use crate::limits::HOSTCALLS_MAX;

/// One of the ABI's callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Callback(u8);

impl Callback {
    /// Number of callbacks there are.
    pub const COUNT: usize = CALLBACKS.len();

    /// The callback that the export `name` is; start functions and allocators
    /// are none.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let index = CALLBACKS.iter().position(|(n, ..)| *n == name)?;
        u8::try_from(index).ok().map(Self)
    }

    /// Every callback.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(Self::COUNT).map(Self)
    }

    /// Name of the export.
    #[must_use]
    pub fn name(self) -> &'static str {
        CALLBACKS[self.index()].0
    }

    /// Place among all callbacks, below [`Callback::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the functions that a host offers to guests, WASI's included; those
/// that stand in several namespaces are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hostcall(u8);

impl Hostcall {
    /// One more than the index of the last hostcall can be.
    pub const COUNT: usize = HOSTCALLS_MAX;

    /// Every hostcall.
    pub fn all() -> impl Iterator<Item = Self> {
        let count = imports::hostcall_names().len().min(Self::COUNT);
        (0..=u8::MAX).take(count).map(Self)
    }

    /// The hostcall of this number.
    pub(crate) fn numbered(number: usize) -> Self {
        // Numbers end below 128.
        Self(u8::try_from(number).unwrap_or(u8::MAX))
    }

    /// Name of the import.
    #[must_use]
    pub fn name(self) -> &'static str {
        let names = imports::hostcall_names();
        names.get(self.index()).copied().unwrap_or_default()
    }

    /// Place among all hostcalls, below [`Hostcall::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Hostcall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a context is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// A plugin.
    Root,
    /// A stream that passes it.
    Stream,
}

/// Counts for one plugin of one VM. It is told within a VM's call, so its
/// methods must be short and must not call a VM.
pub trait Meter {
    /// The meter's own clock, in its own unit.
    fn now(&self) -> u64;

    /// A callback has ended, also if by a trap. It began at `began`, a time of
    /// [`Meter::now`]; what the guest spent in hostcalls is part of it. The time now:
    /// another one may follow at once.
    fn called(&self, callback: Callback, began: u64) -> u64;

    /// The callbacks that have just ended made `count` calls of a hostcall.
    fn hostcalls(&self, hostcall: Hostcall, count: u64);

    /// A context has come into being.
    fn context_created(&self, kind: ContextKind);

    /// A context is gone, be it with its VM.
    fn context_deleted(&self, kind: ContextKind);

    /// A filter answers a request itself.
    fn local_response(&self);
}

/// The hostcalls of the guest call under way, by their number.
pub(crate) struct Tally {
    counts: [Cell<u32>; HOSTCALLS_MAX],
    /// A bit for each count that is not 0: most calls touch two or three.
    touched: Cell<u128>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: [const { Cell::new(0) }; HOSTCALLS_MAX],
            touched: Cell::new(0),
        }
    }
}

impl Tally {
    /// Counts hostcall `number`.
    pub(crate) fn count(&self, number: usize) {
        if let Some(count) = self.counts.get(number) {
            count.set(count.get().saturating_add(1));
            self.touched.set(self.touched.get() | 1 << number);
        }
    }

    /// Hands out every count, and begins anew.
    pub(crate) fn drain(&self, mut each: impl FnMut(Hostcall, u64)) {
        let mut touched = self.touched.take();
        while touched != 0 {
            let number = touched.trailing_zeros();
            touched &= touched - 1;
            let count = self.counts[number as usize].take();
            each(Hostcall::numbered(number as usize), count.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hostcall_has_a_number_that_is_counted() {
        let names = imports::hostcall_names();
        assert!(names.len() <= Hostcall::COUNT, "{}", names.len());
        assert_eq!(Hostcall::all().count(), names.len());
        for name in names {
            assert_eq!(names.iter().filter(|n| *n == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_tally_hands_out_what_it_has_counted_once() {
        let tally = Tally::default();
        for number in [0, 3, 3, HOSTCALLS_MAX - 1, HOSTCALLS_MAX] {
            tally.count(number);
        }
        let mut drained = Vec::new();
        tally.drain(|hostcall, count| drained.push((hostcall.index(), count)));
        assert_eq!(drained, [(0, 1), (3, 2), (HOSTCALLS_MAX - 1, 1)]);
        tally.drain(|hostcall, _| panic!("{hostcall} again"));
    }

    #[test]
    fn callbacks_know_their_names() {
        for (index, callback) in Callback::all().enumerate() {
            assert_eq!(callback.index(), index);
            assert_eq!(Callback::of(callback.name()), Some(callback));
        }
        assert_eq!(Callback::all().count(), Callback::COUNT);
        assert_eq!(Callback::of("_start"), None);
    }
}
