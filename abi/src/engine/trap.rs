//! Why a guest call ended early, in the engine's neutral terms.

use wasmer::sys::vm::TrapCode;
use wasmer::{FrameInfo, RuntimeError};

use crate::failure::{Frame, Reason};
use crate::limits::BACKTRACE_FRAMES_MAX;

/// A trap that a host function raises.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostTrap {
    #[error("the guest called proc_exit({0})")]
    Exit(u32),
    #[error("host function `{0}` may not be called from here")]
    Restricted(&'static str),
    /// Time was over when the guest called a host function.
    #[error("its time was over")]
    Deadline,
    /// The guest's allocator, called by a host function, trapped.
    #[error("{}", .0.message)]
    Allocator(GuestTrap),
}

impl From<HostTrap> for RuntimeError {
    fn from(trap: HostTrap) -> Self {
        Self::user(Box::new(trap))
    }
}

impl From<RuntimeError> for Box<GuestTrap> {
    fn from(error: RuntimeError) -> Self {
        Self::new(error.into())
    }
}

/// A guest call that did not return.
#[derive(Debug, Clone)]
pub(crate) struct GuestTrap {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) backtrace: Vec<Frame>,
}

impl From<RuntimeError> for GuestTrap {
    fn from(error: RuntimeError) -> Self {
        let backtrace = error
            .trace()
            .iter()
            .take(BACKTRACE_FRAMES_MAX)
            .map(frame)
            .collect();
        let message = error.message();
        let reason = match error.downcast_ref::<HostTrap>() {
            Some(HostTrap::Exit(code)) => Reason::Exit(*code),
            Some(HostTrap::Restricted(_)) => Reason::Host,
            Some(HostTrap::Deadline) => Reason::Deadline,
            Some(HostTrap::Allocator(trap)) => return trap.clone(),
            None => match error.to_trap() {
                Some(TrapCode::StackOverflow) => Reason::Stack,
                Some(_) => Reason::Trap,
                None => Reason::Host,
            },
        };
        Self {
            reason,
            message,
            backtrace,
        }
    }
}

/// One frame of a guest's backtrace, its name as it is in the source.
pub(super) fn frame(info: &FrameInfo) -> Frame {
    let name = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
    Frame {
        function: info.function_name().map(name),
        index: info.func_index(),
        offset: info.module_offset(),
    }
}
