//! [`Context`]: what a guest is called for.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::connection::ConnectionContext;
use crate::meter::{ContextKind, Meter};
use crate::plugin::Root;
use crate::stream::StreamContext;
use crate::types::ContextId;

/// A live context of a VM.
#[derive(Clone)]
pub(crate) enum Context {
    Root(Rc<Root>),
    Stream(Rc<StreamContext>),
    Connection(Rc<ConnectionContext>),
}

impl Context {
    pub(crate) fn id(&self) -> ContextId {
        match self {
            Self::Root(root) => root.id,
            Self::Stream(stream) => stream.id,
            Self::Connection(connection) => connection.id,
        }
    }

    pub(crate) fn root(&self) -> &Rc<Root> {
        match self {
            Self::Root(root) => root,
            Self::Stream(stream) => &stream.root,
            Self::Connection(connection) => &connection.root,
        }
    }

    /// Has the meter of its plugin count that it has come or gone.
    pub(crate) fn count(&self, count: impl FnOnce(&dyn Meter, ContextKind)) {
        let kind = match self {
            Self::Root(_) => ContextKind::Root,
            Self::Stream(_) | Self::Connection(_) => ContextKind::Stream,
        };
        if let Some(meter) = &self.root().meter {
            count(&**meter, kind);
        }
    }

    /// Whether it is a plugin that is being started.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self, Self::Root(root) if root.is_starting())
    }

    /// Time that the callbacks of its stream or connection have taken, as far as
    /// that is limited.
    pub(crate) fn spent(&self) -> Option<&Cell<Duration>> {
        match self {
            Self::Root(_) => None,
            Self::Stream(stream) => Some(&stream.spent),
            Self::Connection(connection) => Some(&connection.spent),
        }
    }

    pub(crate) fn stream(&self) -> Option<&Rc<StreamContext>> {
        match self {
            Self::Root(_) | Self::Connection(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }

    pub(crate) fn connection(&self) -> Option<&Rc<ConnectionContext>> {
        match self {
            Self::Root(_) | Self::Stream(_) => None,
            Self::Connection(connection) => Some(connection),
        }
    }
}
