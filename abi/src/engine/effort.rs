//! [`Effort`]: how much of the machine compiling takes.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmer::sys::{CompilerConfig, Cranelift, FunctionMiddleware, ModuleMiddleware};
use wasmer_types::LocalFunctionIndex;

use super::module::Deadline;

/// What compiling may take of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effort {
    /// All processors: nothing else is to be done before the module is there.
    #[default]
    Full,
    /// Half of one processor, in turns of about half a millisecond: others serve
    /// meanwhile.
    ///
    /// A low priority does not do: the kernel looks for threads that wait on another
    /// processor when one falls idle, and one that compiles never does.
    Shared,
}

/// How a module is to be compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// How callbacks that take too long are ended. Part of what is compiled.
    pub deadline: Deadline,
    /// What compiling takes.
    pub effort: Effort,
}

impl From<Deadline> for CompileOptions {
    fn from(deadline: Deadline) -> Self {
        Self {
            deadline,
            effort: Effort::default(),
        }
    }
}

impl Effort {
    /// Has `compiler` make no more of it.
    pub(super) fn limit(self, compiler: &mut Cranelift) {
        if self == Self::Shared {
            compiler
                .num_threads(NonZero::<usize>::MIN)
                .push_middleware(Arc::new(Rests::new()));
        }
    }
}

/// What the compiler works before it rests.
const TURN: Duration = Duration::from_micros(500);

/// The longest rest. It worked less than that if it had to wait for a processor.
const REST_MAX: Duration = Duration::from_millis(5);

/// The compiler asks for what rewrites a function before it compiles it, and rests if
/// it is time to.
#[derive(Debug)]
struct Rests {
    since: Mutex<Instant>,
}

impl Rests {
    fn new() -> Self {
        Self {
            since: Mutex::new(Instant::now()),
        }
    }
}

impl ModuleMiddleware for Rests {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        // The only thread that compiles.
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = since.elapsed();
        if worked >= TURN {
            thread::sleep(worked.min(REST_MAX));
            *since = Instant::now();
        }
        Box::new(AsItIs)
    }
}

/// Rewrites nothing.
#[derive(Debug)]
struct AsItIs;

impl FunctionMiddleware<'_> for AsItIs {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_worked_for_a_turn_rests_as_long() {
        let rests = Rests::new();
        for _ in 0..3 {
            thread::sleep(TURN);
            let called = Instant::now();
            rests.generate_function_middleware(LocalFunctionIndex::from_u32(0));
            assert!(called.elapsed() >= TURN);
        }
    }
}
