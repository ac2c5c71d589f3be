//! [`Polls`]: where compiled code asks whether its time is over.
//!
//! A guest asks by growing its memory by nothing, which is a call that compiled
//! code can make without an import, and which [`tunables`](super::tunables)
//! answers. It asks before each bulk instruction with a large operand, and where it
//! grows a memory or a table itself: a signal finds the guest outside of its own
//! code while these run.
//!
//! Where there are no signals, it also counts the instructions that it runs, at the
//! beginning of functions and where loops begin again, and each time so many are
//! used up it looks at a global that the watchdog sets. That the counter is stored
//! each time is what keeps the compiler from looking at that global only once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{GlobalType, Mutability, Type};
use wasmer_types::{GlobalIndex, GlobalInit, LocalFunctionIndex, ModuleInfo};

use super::module::Deadline;

/// Bytes or table elements from which on a bulk instruction asks. Fewer are done
/// in less than a microsecond.
const BULK_MIN: i32 = 4 * 1024;

/// Instructions after which a guest that counts looks whether its time is over:
/// less than a tenth of a millisecond.
const QUANTUM: i64 = 100_000;

/// What entering a function counts, in instructions.
const ENTRY_COST: i64 = 4;

/// Rewrites the functions of one module.
#[derive(Debug)]
pub(super) struct Polls {
    deadline: Deadline,
    globals: Mutex<Option<Globals>>,
    /// Some function changes a table or drops a segment.
    changes_more: Arc<AtomicBool>,
}

/// The globals that are added to a module; it cannot name them.
#[derive(Debug, Clone, Copy)]
struct Globals {
    /// Keeps an operand while it is looked at.
    scratch: u32,
    count: Option<Count>,
}

/// Where instructions are counted.
#[derive(Debug, Clone, Copy)]
struct Count {
    /// Instructions left until the next look.
    left: u32,
    /// Not 0 when the time is over. The last global of all.
    over: u32,
}

impl Polls {
    pub(super) fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            globals: Mutex::new(None),
            changes_more: Arc::default(),
        }
    }

    /// Set once the module is compiled, if a function of it changes more of an
    /// instance than memory and globals: tables and segments.
    pub(super) fn changes_more(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.changes_more)
    }
}

fn changes_more(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
    )
}

impl ModuleMiddleware for Polls {
    fn transform_module_info(&self, module: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        if module.memories.len() > 1 {
            self.changes_more.store(true, Ordering::Relaxed);
        }
        // Without a memory it cannot ask; such a module is refused.
        if module.memories.is_empty() || self.deadline == Deadline::Off {
            return Ok(());
        }
        let scratch = add_global(module, Type::I32, GlobalInit::I32Const(0));
        let count = (self.deadline == Deadline::Counter).then(|| Count {
            left: add_global(module, Type::I64, GlobalInit::I64Const(QUANTUM)),
            over: add_global(module, Type::I32, GlobalInit::I32Const(0)),
        });
        let mut globals = self.globals.lock().unwrap_or_else(PoisonError::into_inner);
        *globals = Some(Globals { scratch, count });
        Ok(())
    }

    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        let globals = self.globals.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(FunctionPolls {
            globals: *globals,
            changes_more: Arc::clone(&self.changes_more),
            is_loop: Vec::new(),
            cost: ENTRY_COST,
            entered: false,
        })
    }
}

fn add_global(module: &mut ModuleInfo, ty: Type, init: GlobalInit) -> u32 {
    let index: GlobalIndex = module.globals.push(GlobalType::new(ty, Mutability::Var));
    module.global_initializers.push(init);
    index.as_u32()
}

#[derive(Debug)]
struct FunctionPolls {
    globals: Option<Globals>,
    changes_more: Arc<AtomicBool>,
    /// Of each block that is open, whether it is a loop.
    is_loop: Vec<bool>,
    /// Instructions that were not counted yet.
    cost: i64,
    entered: bool,
}

impl FunctionPolls {
    /// Whether a branch to `depth` begins a loop again.
    fn loops(&self, depth: u32) -> bool {
        let place = self.is_loop.len().checked_sub(1 + depth as usize);
        place.is_some_and(|place| self.is_loop[place])
    }

    fn begins_loop_again(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Br { relative_depth }
            | Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth } => self.loops(*relative_depth),
            Operator::BrTable { targets } => {
                let mut all = targets.targets().filter_map(Result::ok);
                self.loops(targets.default()) || all.any(|depth| self.loops(depth))
            }
            _ => false,
        }
    }

    /// Keeps track of the blocks.
    fn nest(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Loop { .. } => self.is_loop.push(true),
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.is_loop.push(false);
            }
            Operator::End => {
                self.is_loop.pop();
            }
            _ => {}
        }
    }

    fn count(&mut self, count: Count, out: &mut MiddlewareReaderState<'_>) {
        let Count { left, over } = count;
        let cost = std::mem::take(&mut self.cost);
        out.extend([
            Operator::GlobalGet { global_index: left },
            Operator::I64Const { value: cost },
            Operator::I64Sub,
            Operator::GlobalSet { global_index: left },
            Operator::GlobalGet { global_index: left },
            Operator::I64Const { value: 0 },
            Operator::I64LtS,
            Operator::If {
                blockty: BlockType::Empty,
            },
        ]);
        out.extend([
            Operator::GlobalGet { global_index: over },
            Operator::If {
                blockty: BlockType::Empty,
            },
            Operator::Unreachable,
            Operator::End,
            Operator::I64Const { value: QUANTUM },
            Operator::GlobalSet { global_index: left },
            Operator::End,
        ]);
    }
}

/// Traps when the time is over.
fn ask(out: &mut MiddlewareReaderState<'_>) {
    out.extend([
        Operator::I32Const { value: 0 },
        Operator::MemoryGrow { mem: 0 },
        Operator::I32Const { value: -1 },
        Operator::I32Eq,
        Operator::If {
            blockty: BlockType::Empty,
        },
        Operator::Unreachable,
        Operator::End,
    ]);
}

/// Asks if the memory was not grown: that is also the answer to who has run out of
/// time.
fn ask_of_growth(scratch: u32, out: &mut MiddlewareReaderState<'_>) {
    out.extend([
        Operator::GlobalSet {
            global_index: scratch,
        },
        Operator::GlobalGet {
            global_index: scratch,
        },
        Operator::I32Const { value: -1 },
        Operator::I32Eq,
        Operator::If {
            blockty: BlockType::Empty,
        },
    ]);
    ask(out);
    out.extend([
        Operator::End,
        Operator::GlobalGet {
            global_index: scratch,
        },
    ]);
}

/// Asks if the operand on top of the stack, the length, is large.
fn ask_of_bulk(scratch: u32, out: &mut MiddlewareReaderState<'_>) {
    out.extend([
        Operator::GlobalSet {
            global_index: scratch,
        },
        Operator::GlobalGet {
            global_index: scratch,
        },
        Operator::I32Const { value: BULK_MIN },
        Operator::I32GeU,
        Operator::If {
            blockty: BlockType::Empty,
        },
    ]);
    ask(out);
    out.extend([
        Operator::End,
        Operator::GlobalGet {
            global_index: scratch,
        },
    ]);
}

fn is_bulk(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
    )
}

impl<'a> FunctionMiddleware<'a> for FunctionPolls {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        out: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        if changes_more(&operator) {
            self.changes_more.store(true, Ordering::Relaxed);
        }
        if let Some(globals) = self.globals {
            if is_bulk(&operator) {
                ask_of_bulk(globals.scratch, out);
            } else if matches!(operator, Operator::TableGrow { .. }) {
                ask(out);
            }
            if let Some(count) = globals.count {
                let enters = !std::mem::replace(&mut self.entered, true);
                self.cost += 1;
                if enters || self.begins_loop_again(&operator) {
                    self.count(count, out);
                }
                self.nest(&operator);
            }
        }
        let grows = matches!(operator, Operator::MemoryGrow { .. });
        out.push_operator(operator);
        if let Some(globals) = self.globals.filter(|_| grows) {
            ask_of_growth(globals.scratch, out);
        }
        Ok(())
    }
}
