//! Runs the tests of a suite.

use std::time::Instant;

use weir_abi::Module;

use super::read::{Suite, Test};
use super::world::World;
use crate::driver::Observer;
use crate::report::{TestResult, Verdict};
use crate::test::Choice;

/// How often the steps of a bench are played when it is tested: they have to go on where
/// they end.
const ROUNDS: usize = 2;

/// Runs the tests that are chosen, and tells of each when it has ended. A bench is tested
/// too: whether what it expects comes.
pub(crate) fn run(
    suite: &Suite,
    module: &Module,
    choice: &Choice,
    mut each: impl FnMut(&TestResult),
) -> Vec<TestResult> {
    let tests = suite.tests.iter().map(|test| (test.name.clone(), test, 1));
    let benches = suite.benches.iter();
    let benches = benches.map(|bench| (format!("bench {}", bench.name), bench, ROUNDS));
    let all = tests.chain(benches);
    let results = all.filter(|(name, ..)| choice.picks(name));
    let results = results.map(|(name, test, rounds)| {
        let began = Instant::now();
        let (verdict, output) = match test.ignored || !choice.tests {
            true => (Verdict::Ignored, String::new()),
            false => run_one(suite, test, rounds, module, choice.trace),
        };
        let result = TestResult {
            name,
            verdict,
            output,
            measured: Vec::new(),
            took: began.elapsed(),
        };
        each(&result);
        result
    });
    results.collect()
}

fn run_one(
    suite: &Suite,
    test: &Test,
    rounds: usize,
    module: &Module,
    trace: bool,
) -> (Verdict, String) {
    let mut world = World::new(suite, test, Observer::tracing(trace));
    world.start(module);
    let steps = std::iter::repeat_n(&test.steps, rounds).flatten();
    for step in test.before.iter().chain(steps) {
        world.step(step);
    }
    let (failures, output) = world.end();
    let verdict = match failures.is_empty() {
        true => Verdict::Passed,
        false => Verdict::Failed(failures),
    };
    (verdict, output)
}
