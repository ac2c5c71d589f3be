//! [`Watch`]: how a tool sees what passes between a guest and its host.

use crate::meter::Hostcall;
use crate::types::ContextId;

/// Sees every call between a guest and its host. For tools, a tracer or a profiler: a
/// VM that has one spends time on it with each call. It is told within a VM's call, so
/// its methods must not call a VM.
pub trait Watch {
    /// The host calls the export `name` for `context`, or for the VM itself in its
    /// start functions.
    fn called(&self, context: ContextId, name: &'static str, arguments: &[u32]);

    /// The export has returned, with its result if it has one; `None` too when it has
    /// trapped, of which [`Host::failed`](crate::Host::failed) tells.
    fn returned(&self, context: ContextId, name: &'static str, result: Option<u32>);

    /// The guest calls the host. What the host does in this call, its calls of the
    /// guest's allocator included, comes between this and [`Watch::hostcall`].
    fn entered(&self, _hostcall: Hostcall) {}

    /// The guest's call of the host has ended.
    fn hostcall(&self, call: &SeenCall<'_>);

    /// The host has had the guest allocate `bytes`.
    fn allocated(&self, _bytes: u32) {}
}

/// A hostcall as it has ended.
#[derive(Debug, Clone, Copy)]
pub struct SeenCall<'a> {
    /// Which it was.
    pub hostcall: Hostcall,
    /// Its arguments; pointers lead into `memory`.
    pub arguments: &'a [u64],
    /// What it answers: a status, an errno or a truth value. `None` when it answers
    /// nothing, or has ended the guest.
    pub answer: Option<u32>,
    /// The guest's memory after the call.
    pub memory: &'a [u8],
}
