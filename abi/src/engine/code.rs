//! [`Code`]: where the machine code of a module's functions is.

use wasmer_compiler::FRAME_INFO;

use super::module::Deadline;
use super::trap::frame;
use crate::failure::Frame;

/// The addresses of a module's own functions; trampolines are not among them.
#[derive(Debug)]
pub(super) struct Code {
    /// Beginning and end of each function, in ascending order.
    functions: Box<[(usize, usize)]>,
    /// How what takes too long is ended.
    pub(super) deadline: Deadline,
    changes_more: bool,
}

impl Code {
    pub(super) fn of(module: &wasmer::Module, deadline: Deadline, changes_more: bool) -> Self {
        let extents = module
            .sys_artifact()
            .and_then(wasmer::sys::Artifact::finished_function_extents);
        let extents = extents.into_iter().flatten();
        let range = |extent: &wasmer::sys::FunctionExtent| {
            let begin = *extent.ptr as usize;
            (begin, begin + extent.length)
        };
        let mut functions: Box<[_]> = extents.map(|(_, extent)| range(&extent)).collect();
        functions.sort_unstable();
        Self {
            functions,
            deadline,
            changes_more,
        }
    }

    /// Whether it changes more of an instance than its memory and globals: tables
    /// and segments.
    pub(super) fn is_changed_beyond_memory(&self) -> bool {
        self.changes_more
    }

    #[cfg(test)]
    pub(super) fn function_lengths(&self) -> Vec<usize> {
        let functions = self.functions.iter();
        functions.map(|(begin, end)| end - begin).collect()
    }

    /// Whether an instruction at `address` is one of the guest's. Also for signal
    /// handlers.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.function_of(address).is_some()
    }

    /// Where the function begins that has an instruction at `address`. Also for
    /// signal handlers.
    pub(super) fn function_of(&self, address: usize) -> Option<usize> {
        let after = self
            .functions
            .partition_point(|(begin, _)| *begin <= address);
        let last = after.checked_sub(1).and_then(|i| self.functions.get(i));
        let (begin, end) = last?;
        (address < *end).then_some(*begin)
    }
}

/// What the engine knows of the instructions at `addresses`.
pub(super) fn frames(addresses: &[usize]) -> Vec<Frame> {
    let Ok(info) = FRAME_INFO.read() else {
        return Vec::new();
    };
    let known = addresses.iter().filter_map(|a| info.lookup_frame_info(*a));
    known.map(|f| frame(&f)).collect()
}
