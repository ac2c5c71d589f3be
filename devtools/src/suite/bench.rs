//! [`Rounds`]: the steps of a bench, played again and again.

use std::rc::Rc;

use weir_abi::Module;

use super::read::{Suite, Test};
use super::step::Action;
use super::world::World;
use crate::driver::{Driver, Observer};

/// A filter that runs, and has done what stands before the bench.
pub(crate) struct Rounds<'s> {
    bench: &'s Test,
    world: World<'s>,
    driver: Rc<Driver>,
    /// What is expected has come once.
    checked: bool,
}

impl Test {
    /// Streams and connections that begin in one round; a round without any counts as
    /// one.
    pub(crate) fn streams(&self) -> u64 {
        u64::try_from(self.begun().count())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// The names of these.
    fn begun(&self) -> impl Iterator<Item = &String> {
        let begins = self.steps.iter().filter(|step| step.action.begins());
        begins.map(|step| &step.stream)
    }
}

impl<'s> Rounds<'s> {
    /// Starts the filter.
    ///
    /// # Errors
    /// Why it does not start, or what was expected and did not come.
    pub(crate) fn start(
        suite: &'s Suite,
        bench: &'s Test,
        module: &Module,
        observer: Observer,
    ) -> Result<Self, String> {
        let mut world = World::new(suite, bench, observer);
        world.start(module);
        for step in &bench.before {
            world.step(step);
        }
        let trouble = world.trouble();
        match (world.driver().cloned(), trouble) {
            (Some(driver), None) => {
                // Where the steps begin a stream of the same name, this one is over.
                let names = bench.before.iter().filter(|step| step.action.begins());
                let names = names.map(|step| &step.stream);
                let again = |name: &&_| bench.begun().any(|begun| begun == *name);
                for name in names.filter(again) {
                    world.end_stream(&driver, name);
                }
                Ok(Self {
                    bench,
                    world,
                    driver,
                    checked: false,
                })
            }
            (_, Some(trouble)) => Err(trouble),
            (None, None) => Err("the filter does not start".to_owned()),
        }
    }

    /// Plays all steps, and ends the streams that they began. What is expected is looked
    /// at in the first round.
    ///
    /// # Errors
    /// What was expected and did not come, or how the filter has failed.
    pub(crate) fn round(&mut self) -> Result<(), String> {
        for step in &self.bench.steps {
            match self.checked {
                false => self.world.step(step),
                true => drop(self.world.play(step)),
            }
        }
        self.checked = true;
        for name in self.bench.begun() {
            self.world.end_stream(&self.driver, name);
        }
        self.world.trouble().map_or(Ok(()), Err)
    }

    /// Plays the first step that begins a stream or connection, which stays open.
    pub(crate) fn leave_open(&mut self) {
        let mut steps = self.bench.steps.iter();
        if let Some(step) = steps.find(|step| step.action.begins()) {
            self.world.play(step);
            self.world.leave_streams();
        }
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }
}

impl Action {
    /// Whether a stream or connection begins.
    fn begins(&self) -> bool {
        matches!(self, Self::Request(..) | Self::Connect(_))
    }
}
