//! gRPC calls and streams: `proxy_grpc_*` and `proxy_on_grpc_*`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    CalloutError, CalloutToken, HeaderMap, Kind, Open, OpenStream, Received, Root, count, size,
};
use crate::context::Context;
use crate::types::Status;
use crate::vm::{Vm, VmFailed};
use crate::vm_state::VmState;

/// What a gRPC call and a gRPC stream begin with.
#[derive(Debug, Clone)]
pub struct GrpcStart {
    /// Whom to call, as the guest gave it: the name of a cluster, or a serialised
    /// `envoy.config.core.v3.GrpcService`.
    pub target: Bytes,
    /// Full name of the service: `package.Service`.
    pub service: Bytes,
    /// Name of the method.
    pub method: Bytes,
    /// Initial metadata.
    pub metadata: HeaderMap,
}

impl GrpcStart {
    fn bytes(&self) -> usize {
        self.target.len() + self.service.len() + self.method.len() + self.metadata.byte_size()
    }
}

/// A unary gRPC call that a guest makes.
#[derive(Debug, Clone)]
pub struct GrpcCall {
    /// Whom it goes to.
    pub start: GrpcStart,
    /// The serialised message, without gRPC's frame.
    pub message: Bytes,
    /// How long the whole call may take; `None` for no limit.
    pub timeout: Option<Duration>,
}

/// A gRPC stream under way, as the guest writes to it. Dropped, it is reset.
pub trait GrpcStream {
    /// Sends a message, and half-closes when `end_of_stream`.
    ///
    /// # Errors
    /// [`CalloutError::NotSent`] when more waits to be sent than the host keeps.
    fn send(&self, message: Bytes, end_of_stream: bool) -> Result<(), CalloutError>;

    /// Sends no more: half-closes.
    fn close(&self);
}

fn status_of(error: CalloutError) -> Status {
    match error {
        CalloutError::UnknownCluster => Status::ParseFailure,
        CalloutError::BadArgument => Status::BadArgument,
        CalloutError::NotSent => Status::InternalFailure,
        CalloutError::Unsupported => Status::Unimplemented,
    }
}

impl VmState {
    /// Makes a unary gRPC call in the name of `root`.
    pub(crate) fn grpc_call(&self, root: Rc<Root>, call: GrpcCall) -> Result<CalloutToken, Status> {
        let bytes = call.message.len() + call.start.bytes();
        self.admit_callout(bytes)?;
        let token = self.callouts.new_token(Kind::GrpcCall);
        if self.drops_callout() {
            return Ok(token);
        }
        let guard = self.host.grpc_call(token, call).map_err(status_of)?;
        self.callouts.insert(token, Open::Call(root, guard, bytes));
        Ok(token)
    }

    /// Opens a gRPC stream in the name of `root`.
    pub(crate) fn grpc_stream(
        &self,
        root: Rc<Root>,
        start: GrpcStart,
    ) -> Result<CalloutToken, Status> {
        let bytes = start.bytes();
        self.admit_callout(bytes)?;
        let token = self.callouts.new_token(Kind::GrpcStream);
        if self.drops_callout() {
            return Ok(token);
        }
        let stream = self.host.grpc_stream(token, start).map_err(status_of)?;
        let open = OpenStream {
            stream,
            bytes,
            local_closed: false,
            remote_closed: false,
        };
        self.callouts.insert(token, Open::Stream(root, open));
        Ok(token)
    }

    /// Sends a message on a gRPC stream.
    pub(crate) fn grpc_send(
        &self,
        token: u32,
        message: Bytes,
        end_of_stream: bool,
    ) -> Result<(), Status> {
        if Kind::of(token) != Some(Kind::GrpcStream) {
            return Err(Status::BadArgument);
        }
        let stream = match self.callouts.open.borrow().get(&CalloutToken(token)) {
            Some(Open::Stream(_, open)) if !open.remote_closed => Rc::clone(&open.stream),
            // The other side has closed: what is sent goes nowhere, as in Envoy.
            Some(Open::Stream(..)) => return Ok(()),
            None if self.drops_callout() => return Ok(()),
            _ => return Err(Status::NotFound),
        };
        stream.send(message, end_of_stream).map_err(status_of)
    }

    /// Cancels a gRPC call, or resets a gRPC stream.
    pub(crate) fn grpc_cancel(&self, token: u32) -> Result<(), Status> {
        self.known_grpc(token)?;
        drop(self.callouts.remove(CalloutToken(token)));
        Ok(())
    }

    /// Cancels a gRPC call, or half-closes a gRPC stream, which is forgotten when
    /// the other side has closed too.
    pub(crate) fn grpc_close(&self, token: u32) -> Result<(), Status> {
        self.known_grpc(token)?;
        let token = CalloutToken(token);
        let stream = match self.callouts.open.borrow_mut().get_mut(&token) {
            Some(Open::Stream(_, open)) if !open.remote_closed => {
                open.local_closed = true;
                Some(Rc::clone(&open.stream))
            }
            _ => None,
        };
        match stream {
            Some(stream) => stream.close(),
            None => drop(self.callouts.remove(token)),
        }
        Ok(())
    }

    fn known_grpc(&self, token: u32) -> Result<(), Status> {
        match Kind::of(token) {
            None | Some(Kind::Http) => Err(Status::BadArgument),
            Some(_)
                if self
                    .callouts
                    .open
                    .borrow()
                    .contains_key(&CalloutToken(token)) =>
            {
                Ok(())
            }
            Some(_) if self.drops_callout() => Ok(()),
            Some(_) => Err(Status::NotFound),
        }
    }
}

impl Vm {
    /// The headers of a gRPC stream's response have come. Runs
    /// `proxy_on_grpc_receive_initial_metadata`.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before; so for all below.
    /// What comes for a stream that has been cancelled meanwhile, is dropped.
    pub fn on_grpc_initial_metadata(
        &self,
        token: CalloutToken,
        metadata: HeaderMap,
    ) -> Result<(), VmFailed> {
        let Some(root) = self.state.callouts.root_of(token) else {
            return self.alive();
        };
        let args = (root.id.0, token.0, count(&metadata));
        let received = Received::InitialMetadata(Rc::new(metadata));
        let function = self.callbacks.on_grpc_receive_initial_metadata.as_ref();
        let name = "proxy_on_grpc_receive_initial_metadata";
        self.state
            .callouts
            .while_showing(received, || {
                self.call(&Context::Root(root), name, function, args)
            })
            .map(drop)
    }

    /// A message has come: the answer to a call, which thereby has ended, or one
    /// of a stream. Runs `proxy_on_grpc_receive`.
    ///
    /// # Errors
    /// As [`Vm::on_grpc_initial_metadata`].
    pub fn on_grpc_message(&self, token: CalloutToken, message: Bytes) -> Result<(), VmFailed> {
        let callouts = &self.state.callouts;
        let Some(root) = callouts.root_of(token) else {
            return self.alive();
        };
        let args = (root.id.0, token.0, size(message.len()));
        let function = self.callbacks.on_grpc_receive.as_ref();
        let received = Received::Message(Rc::new(RefCell::new(message.into())));
        let called = callouts.while_showing(received, || {
            self.call(
                &Context::Root(root),
                "proxy_on_grpc_receive",
                function,
                args,
            )
        });
        if Kind::of(token.0) == Some(Kind::GrpcCall) {
            drop(callouts.remove(token));
        }
        called.map(drop)
    }

    /// The trailers of a gRPC stream's response have come. Runs
    /// `proxy_on_grpc_receive_trailing_metadata`.
    ///
    /// # Errors
    /// As [`Vm::on_grpc_initial_metadata`].
    pub fn on_grpc_trailing_metadata(
        &self,
        token: CalloutToken,
        metadata: HeaderMap,
    ) -> Result<(), VmFailed> {
        let Some(root) = self.state.callouts.root_of(token) else {
            return self.alive();
        };
        let args = (root.id.0, token.0, count(&metadata));
        let received = Received::TrailingMetadata(Rc::new(metadata));
        let function = self.callbacks.on_grpc_receive_trailing_metadata.as_ref();
        let name = "proxy_on_grpc_receive_trailing_metadata";
        self.state
            .callouts
            .while_showing(received, || {
                self.call(&Context::Root(root), name, function, args)
            })
            .map(drop)
    }

    /// A call has failed, or a stream has ended, with this gRPC status. Runs
    /// `proxy_on_grpc_close`.
    ///
    /// # Errors
    /// As [`Vm::on_grpc_initial_metadata`].
    pub fn on_grpc_close(
        &self,
        token: CalloutToken,
        status: u32,
        message: Bytes,
    ) -> Result<(), VmFailed> {
        let callouts = &self.state.callouts;
        let Some(root) = callouts.root_of(token) else {
            return self.alive();
        };
        self.remote_closed(token);
        root.callout.set(status, message);
        let args = (root.id.0, token.0, status);
        let function = self.callbacks.on_grpc_close.as_ref();
        let called = self.call(
            &Context::Root(Rc::clone(&root)),
            "proxy_on_grpc_close",
            function,
            args,
        );
        root.callout.forget_message();
        self.forget_closed(token);
        called.map(drop)
    }

    fn remote_closed(&self, token: CalloutToken) {
        let mut open = self.state.callouts.open.borrow_mut();
        if let Some(Open::Stream(_, stream)) = open.get_mut(&token) {
            stream.remote_closed = true;
        }
    }

    /// Takes a callout out of the books that has ended on both sides; a stream
    /// whose own side is open stays known until the guest closes it.
    fn forget_closed(&self, token: CalloutToken) {
        let callouts = &self.state.callouts;
        let open = match callouts.open.borrow().get(&token) {
            Some(Open::Stream(_, stream)) => !stream.local_closed,
            Some(Open::Call(..)) => false,
            None => return,
        };
        if !open {
            drop(callouts.remove(token));
        }
    }
}
