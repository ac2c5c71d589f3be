//! What ends a VM: the reason, where it happened, and the guest's backtrace.

use std::fmt;

use crate::types::ContextId;

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The guest trapped: `unreachable`, a bad access, a division by zero, …
    Trap,
    /// The guest's stack overflowed.
    Stack,
    /// The guest gave up after it had been refused memory.
    Memory,
    /// The guest ran for longer than it may.
    Deadline,
    /// The guest called `proc_exit` with this code.
    Exit(u32),
    /// A host function refused to go on, or the engine itself failed.
    Host,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap => f.write_str("trap"),
            Self::Stack => f.write_str("stack"),
            Self::Memory => f.write_str("memory"),
            Self::Deadline => f.write_str("deadline"),
            Self::Exit(code) => write!(f, "exit({code})"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// One frame of a guest's backtrace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Name from the module's name section, if it has one.
    pub function: Option<String>,
    /// Index of the function in the module.
    pub index: u32,
    /// Byte offset in the module.
    pub offset: usize,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(name) => write!(f, "{name} at {:#x}", self.offset),
            None => write!(f, "function {} at {:#x}", self.index, self.offset),
        }
    }
}

/// A VM has failed: no callback reaches it any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{callback} failed ({reason}): {message}{}{}", words_text(.last_words.as_deref()), backtrace_text(.backtrace))]
pub struct Failure {
    /// Class of the failure.
    pub reason: Reason,
    /// The export that was running.
    pub callback: &'static str,
    /// The context it was running for.
    pub context: ContextId,
    /// The engine's own words.
    pub message: String,
    /// Innermost frame first.
    pub backtrace: Vec<Frame>,
    /// What the guest logged last in the call that failed, at level error or
    /// above: a panic message, mostly. Cut to [`LAST_WORDS_MAX`] bytes.
    ///
    /// [`LAST_WORDS_MAX`]: crate::limits::LAST_WORDS_MAX
    pub last_words: Option<String>,
}

fn words_text(words: Option<&str>) -> String {
    words.map_or_else(String::new, |words| format!("\n    said: {words}"))
}

fn backtrace_text(frames: &[Frame]) -> String {
    frames.iter().map(|f| format!("\n    {f}")).collect()
}
