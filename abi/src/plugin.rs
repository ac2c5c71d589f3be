//! Root contexts: one for each plugin of a VM, from `proxy_on_context_create`
//! to `proxy_on_delete`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::callout::CalloutStatus;
use crate::context::Context;
use crate::header_values::HeaderValues;
use crate::imports::{Declarations, Expressions};
use crate::limits::{CALLBACK_TIME, ROOT_CALLBACK_TIME};
use crate::meter::Meter;
use crate::types::ContextId;
use crate::vm::{Vm, VmFailed};

/// One plugin: a filter as it is configured (Envoy's `PluginConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginConfig {
    /// Name in logs and metrics.
    pub name: String,
    /// Selects the root context among those that the module registers.
    pub root_id: String,
    /// Opaque bytes that `proxy_on_configure` may read.
    pub configuration: Bytes,
    /// `allow_on_headers_stop_iteration`: a Pause in a headers callback holds
    /// the headers alone, and the body is shown to the filter meanwhile.
    pub allow_on_headers_stop_iteration: bool,
    /// How long its callbacks may take.
    pub time: TimeLimits,
    /// What it sees of header values that are not UTF-8.
    pub header_values: HeaderValues,
}

/// How long the callbacks of a plugin may take. One that takes longer is ended
/// within milliseconds, and its VM with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Each callback, but for those below. Default: [`CALLBACK_TIME`].
    pub callback: Duration,
    /// Those that start the plugin, and `proxy_on_tick`. Default:
    /// [`ROOT_CALLBACK_TIME`].
    pub root_callback: Duration,
    /// All callbacks of one stream or connection together. Default: none.
    pub stream: Option<Duration>,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            callback: CALLBACK_TIME,
            root_callback: ROOT_CALLBACK_TIME,
            stream: None,
        }
    }
}

/// Why a plugin did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// `proxy_on_vm_start` returned 0.
    #[error("proxy_on_vm_start refused to start (it returned 0)")]
    VmStart,
    /// `proxy_on_configure` returned 0.
    #[error("proxy_on_configure refused the configuration (it returned 0)")]
    Configure,
    /// The VM failed; [`Vm::failure`] tells how.
    #[error("the VM failed")]
    Failed,
}

impl From<VmFailed> for PluginError {
    fn from(_: VmFailed) -> Self {
        Self::Failed
    }
}

/// A root context.
pub(crate) struct Root {
    pub(crate) id: ContextId,
    pub(crate) plugin: PluginConfig,
    pub(crate) state: Cell<RootState>,
    pub(crate) callout: CalloutStatus,
    pub(crate) meter: Option<Rc<dyn Meter>>,
    /// What it has declared of properties, for its streams.
    pub(crate) declared: Declarations,
    pub(crate) expressions: Expressions,
    /// What there was of both when its VM was kept.
    kept: RefCell<Option<(Declarations, Expressions)>>,
}

impl Root {
    /// Whether it has yet to start.
    pub(crate) fn is_starting(&self) -> bool {
        match self.state.get() {
            RootState::Created | RootState::Starting | RootState::Configuring => true,
            RootState::Running | RootState::PendingDone => false,
        }
    }

    /// Keeps what its guest has had the host remember.
    pub(crate) fn keep(&self) {
        let now = (self.declared.clone(), self.expressions.clone());
        self.kept.replace(Some(now));
    }

    /// Remembers what it was told until it was kept, and nothing else.
    pub(crate) fn restore(&self) {
        if let Some((declared, expressions)) = &*self.kept.borrow() {
            self.declared.replace(declared);
            self.expressions.replace(expressions);
        }
        self.callout.code.set(0);
        self.callout.message.take();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RootState {
    /// In `proxy_on_context_create`; the guest may read its plugin configuration,
    /// as in Envoy.
    Created,
    /// In `proxy_on_vm_start`.
    Starting,
    /// In `proxy_on_configure`; the guest may read its plugin configuration.
    Configuring,
    Running,
    /// `proxy_on_done` asked for time; `proxy_done` ends it.
    PendingDone,
}

impl Vm {
    /// Creates the root context of a plugin and starts it:
    /// `proxy_on_context_create`, `proxy_on_vm_start`, `proxy_on_configure`.
    ///
    /// # Errors
    /// [`PluginError`] when the guest refuses or traps. A VM whose plugin did
    /// not start is of no further use to that plugin.
    pub fn start_plugin(&self, plugin: PluginConfig) -> Result<ContextId, PluginError> {
        let root = Rc::new(Root {
            id: self.state.new_id(),
            meter: self.state.host.meter(&plugin),
            plugin,
            state: Cell::new(RootState::Created),
            callout: CalloutStatus::default(),
            declared: Declarations::default(),
            expressions: Expressions::default(),
            kept: RefCell::default(),
        });
        let id = root.id;
        self.state.insert(Context::Root(Rc::clone(&root)));
        let started = self.start_root(&root);
        if started.is_err() {
            self.forget_root(id);
        }
        started.map(|()| id)
    }

    fn start_root(&self, root: &Rc<Root>) -> Result<(), PluginError> {
        let id = root.id;
        let context = Context::Root(Rc::clone(root));
        let callbacks = &self.callbacks;
        self.call(
            &context,
            "proxy_on_context_create",
            callbacks.on_context_create.as_ref(),
            (id.0, 0),
        )?;
        root.state.set(RootState::Starting);
        let started = self.call(
            &context,
            "proxy_on_vm_start",
            callbacks.on_vm_start.as_ref(),
            (id.0, size(&self.state.config.configuration)),
        )?;
        if started == Some(0) {
            return Err(PluginError::VmStart);
        }
        root.state.set(RootState::Configuring);
        let configured = self.call(
            &context,
            "proxy_on_configure",
            callbacks.on_configure.as_ref(),
            (id.0, size(&root.plugin.configuration)),
        );
        root.state.set(RootState::Running);
        if configured? == Some(0) {
            return Err(PluginError::Configure);
        }
        Ok(())
    }

    /// Runs `proxy_on_tick` of a root context; nothing when it is gone.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before.
    pub fn on_tick(&self, root: ContextId) -> Result<(), VmFailed> {
        let Some(context @ Context::Root(_)) = self.state.get(root) else {
            return self.alive();
        };
        self.call(
            &context,
            "proxy_on_tick",
            self.callbacks.on_tick.as_ref(),
            (root.0,),
        )?;
        Ok(())
    }

    /// Runs `proxy_on_queue_ready` of a root context for an item that came into a
    /// queue; nothing when the context is gone.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before.
    pub fn on_queue_ready(&self, root: ContextId, queue: u32) -> Result<(), VmFailed> {
        let Some(context @ Context::Root(_)) = self.state.get(root) else {
            return self.alive();
        };
        self.call(
            &context,
            "proxy_on_queue_ready",
            self.callbacks.on_queue_ready.as_ref(),
            (root.0, queue),
        )?;
        Ok(())
    }

    /// Ends a root context: `proxy_on_done`, and `proxy_on_delete` at once or,
    /// when the guest asks for time, after it has called `proxy_done`.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before.
    pub fn stop_plugin(&self, root: ContextId) -> Result<(), VmFailed> {
        let Some(context @ Context::Root(_)) = self.state.get(root) else {
            return self.alive();
        };
        let root = Rc::clone(context.root());
        let done = self.call(
            &context,
            "proxy_on_done",
            self.callbacks.on_done.as_ref(),
            (root.id.0,),
        )?;
        if done == Some(0) {
            root.state.set(RootState::PendingDone);
        } else {
            self.delete_root(&root);
        }
        Ok(())
    }

    pub(crate) fn delete_root(&self, root: &Rc<Root>) {
        let context = Context::Root(Rc::clone(root));
        // A VM that fails here has reported it; there is nothing else to end.
        let _ = self.call(
            &context,
            "proxy_on_delete",
            self.callbacks.on_delete.as_ref(),
            (root.id.0,),
        );
        self.forget_root(root.id);
    }

    /// Removes a root context, and its timer and callouts with it.
    fn forget_root(&self, id: ContextId) {
        self.state.remove(id);
        self.state.callouts.forget_root(id);
        // A host without timers has none to stop.
        let _ = self.state.host.set_tick_period(id, None);
    }
}

fn size(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
