//! Connection contexts: the callbacks of one filter on one TCP connection, and
//! what the filter may see and change in each of them.

use std::cell::{Cell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::body::BodyBuffer;
use crate::context::Context;
use crate::host::{FilterIndex, PropertiesFull, Property, PropertyError, Refused};
use crate::imports::Declarations;
use crate::plugin::Root;
use crate::types::{ContextId, NetworkStatus, PeerType, Side};
use crate::vm::{Vm, VmFailed};

/// One TCP connection and the one to its upstream, as the filters between them
/// see both.
///
/// What holds for [`Stream`](crate::Stream) holds here: methods take `&self`,
/// nothing stays borrowed while a guest runs, and what a guest asks to be done
/// (the last two methods) comes after its callback has returned.
pub trait Connection {
    /// The bytes that have come from `side` and have not been passed on. Asked
    /// for only while the guest may see them.
    fn data(&self, filter: FilterIndex, side: Side) -> Option<RefMut<'_, BodyBuffer>>;

    /// A property that is not derived from the plugin. `path` is the segments of
    /// the path.
    ///
    /// # Errors
    /// [`PropertyError`] when there is no such value now, or none that can be
    /// encoded.
    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError>;

    /// Stores a property that all filters of the connection can read; `path` is
    /// the raw path.
    ///
    /// # Errors
    /// [`PropertiesFull`] when there is no room for it.
    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull>;

    /// Sets an object of filter state that other parts of the proxy read, such as
    /// `envoy.tcp_proxy.cluster`.
    ///
    /// # Errors
    /// [`Refused`] when the connection takes no such object.
    fn set_filter_state(&self, _key: &[u8], _value: Bytes) -> Result<(), Refused> {
        Err(Refused::NotTaken)
    }

    /// What has come from the client goes on to the filters behind `filter`,
    /// whether or not that one has paused.
    fn continue_reading(&self, filter: FilterIndex);

    /// Closes the connection, after what has been passed to the client already.
    fn close(&self, filter: FilterIndex);
}

/// A connection context.
pub(crate) struct ConnectionContext {
    pub(crate) id: ContextId,
    pub(crate) root: Rc<Root>,
    pub(crate) connection: Rc<dyn Connection>,
    pub(crate) filter: FilterIndex,
    /// The bytes of a side are visible from the callback that shows them until
    /// one of the same kind returns Continue.
    downstream_visible: Cell<bool>,
    upstream_visible: Cell<bool>,
    /// The connection is closed: it can no more be continued or closed.
    over: Cell<bool>,
    /// What the guest asked for that waits until it has returned, a bit each.
    pub(crate) asked: Cell<u8>,
    pub(crate) declared: Declarations,
    /// Time that its callbacks have taken, as far as that is limited.
    pub(crate) spent: Cell<Duration>,
}

impl ConnectionContext {
    fn visible(&self, side: Side) -> &Cell<bool> {
        match side {
            Side::Downstream => &self.downstream_visible,
            Side::Upstream => &self.upstream_visible,
        }
    }

    /// The bytes of `side`, if the guest may see them.
    pub(crate) fn data(&self, side: Side) -> Option<RefMut<'_, BodyBuffer>> {
        if self.visible(side).get() {
            self.connection.data(self.filter, side)
        } else {
            None
        }
    }

    /// Whether the connection is closed.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }
}

impl Vm {
    /// Creates the context of one filter on one connection:
    /// `proxy_on_context_create`. `filter` is handed back in every call to
    /// `connection`. The context lives until [`Vm::delete_connection`].
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before, or has no such root.
    pub fn create_connection(
        &self,
        root: ContextId,
        connection: Rc<dyn Connection>,
        filter: FilterIndex,
    ) -> Result<ContextId, VmFailed> {
        let Some(Context::Root(root)) = self.state.get(root) else {
            return Err(VmFailed);
        };
        let (id, root_id) = (self.state.new_id(), root.id);
        let context = Context::Connection(Rc::new(ConnectionContext {
            id,
            root,
            connection,
            filter,
            downstream_visible: Cell::new(false),
            upstream_visible: Cell::new(false),
            over: Cell::new(false),
            asked: Cell::default(),
            declared: Declarations::default(),
            spent: Cell::default(),
        }));
        self.state.insert(context.clone());
        self.call(
            &context,
            "proxy_on_context_create",
            self.callbacks.on_context_create.as_ref(),
            (id.0, root_id.0),
        )?;
        Ok(id)
    }

    /// Runs `proxy_on_new_connection`.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before; so for all below.
    pub fn on_new_connection(&self, connection: ContextId) -> Result<NetworkStatus, VmFailed> {
        let (context, _) = self.connection_context(connection)?;
        let function = self.callbacks.on_new_connection.as_ref();
        let result = self.call(
            &context,
            "proxy_on_new_connection",
            function,
            (connection.0,),
        )?;
        Ok(NetworkStatus::from_guest(result.unwrap_or(0)))
    }

    /// Runs `proxy_on_downstream_data` or `proxy_on_upstream_data`. `size` is the
    /// bytes that the filter can read now.
    ///
    /// # Errors
    /// As [`Vm::on_new_connection`].
    pub fn on_data(
        &self,
        connection: ContextId,
        side: Side,
        size: usize,
        end_of_stream: bool,
    ) -> Result<NetworkStatus, VmFailed> {
        let (context, cx) = self.connection_context(connection)?;
        let (callback, function) = match side {
            Side::Downstream => (
                "proxy_on_downstream_data",
                &self.callbacks.on_downstream_data,
            ),
            Side::Upstream => ("proxy_on_upstream_data", &self.callbacks.on_upstream_data),
        };
        cx.visible(side).set(true);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let args = (connection.0, size, u32::from(end_of_stream));
        let result = self.call(&context, callback, function.as_ref(), args)?;
        let status = NetworkStatus::from_guest(result.unwrap_or(0));
        if status == NetworkStatus::Continue {
            cx.visible(side).set(false);
        }
        Ok(status)
    }

    /// Runs `proxy_on_downstream_connection_close` or
    /// `proxy_on_upstream_connection_close`. Behind the former, nothing can be
    /// done to the connection any more.
    ///
    /// # Errors
    /// As [`Vm::on_new_connection`].
    pub fn on_connection_close(
        &self,
        connection: ContextId,
        side: Side,
        peer: PeerType,
    ) -> Result<(), VmFailed> {
        let (context, cx) = self.connection_context(connection)?;
        let (callback, function) = match side {
            Side::Downstream => (
                "proxy_on_downstream_connection_close",
                &self.callbacks.on_downstream_connection_close,
            ),
            Side::Upstream => (
                "proxy_on_upstream_connection_close",
                &self.callbacks.on_upstream_connection_close,
            ),
        };
        if side == Side::Downstream {
            cx.over.set(true);
            cx.downstream_visible.set(false);
            cx.upstream_visible.set(false);
        }
        let args = (connection.0, peer as u32);
        self.call(&context, callback, function.as_ref(), args)?;
        Ok(())
    }

    /// Ends a connection context: `proxy_on_done`, whose result counts for root
    /// contexts only, `proxy_on_log` and `proxy_on_delete`, in this order.
    ///
    /// # Errors
    /// As [`Vm::on_new_connection`].
    pub fn delete_connection(&self, connection: ContextId) -> Result<(), VmFailed> {
        let (context, cx) = self.connection_context(connection)?;
        cx.over.set(true);
        cx.downstream_visible.set(false);
        cx.upstream_visible.set(false);
        let result = self.end_connection(&context, connection);
        self.state.remove(connection);
        let completed = &self.state.completed;
        completed.set(completed.get() + u64::from(result.is_ok()));
        result
    }

    fn end_connection(&self, context: &Context, id: ContextId) -> Result<(), VmFailed> {
        let callbacks = &self.callbacks;
        self.call(
            context,
            "proxy_on_done",
            callbacks.on_done.as_ref(),
            (id.0,),
        )?;
        self.call(context, "proxy_on_log", callbacks.on_log.as_ref(), (id.0,))?;
        let function = callbacks.on_delete.as_ref();
        self.call(context, "proxy_on_delete", function, (id.0,))?;
        Ok(())
    }

    fn connection_context(
        &self,
        id: ContextId,
    ) -> Result<(Context, Rc<ConnectionContext>), VmFailed> {
        match self.state.get_again(id) {
            Some(Context::Connection(cx)) => Ok((Context::Connection(Rc::clone(&cx)), cx)),
            _ => Err(VmFailed),
        }
    }
}
