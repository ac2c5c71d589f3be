//! HTTP calls: `proxy_http_call` and `proxy_on_http_call_response`.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    BodyBuffer, CalloutError, CalloutToken, HeaderMap, Kind, Open, Received, Root, count, size,
};
use crate::context::Context;
use crate::types::Status;
use crate::vm::{Vm, VmFailed};
use crate::vm_state::VmState;

/// An HTTP request that a guest makes.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// Name of the cluster; any bytes.
    pub cluster: Bytes,
    /// With `:method`, `:path` and `:authority`.
    pub headers: HeaderMap,
    /// May be empty.
    pub body: Bytes,
    /// May be empty: there are none then.
    pub trailers: HeaderMap,
    /// How long the whole call may take; `None` for no limit.
    pub timeout: Option<Duration>,
}

/// The answer to an [`HttpCall`].
#[derive(Debug, Clone, Default)]
pub struct HttpCallResponse {
    /// With `:status`.
    pub headers: HeaderMap,
    /// May be empty.
    pub body: BodyBuffer,
    /// `None` when the response ended without.
    pub trailers: Option<HeaderMap>,
}

/// What a guest hears of a call that came to nothing (Envoy, `context.cc`).
const RESET: Bytes = Bytes::from_static(b"reset");

impl VmState {
    /// Makes an HTTP call in the name of `root`.
    pub(crate) fn http_call(&self, root: Rc<Root>, call: HttpCall) -> Result<CalloutToken, Status> {
        let bytes = call.body.len() + call.headers.byte_size() + call.trailers.byte_size();
        self.admit_callout(bytes)?;
        let token = self.callouts.new_token(Kind::Http);
        if self.drops_callout() {
            return Ok(token);
        }
        let guard = self.host.http_call(token, call).map_err(|e| match e {
            CalloutError::UnknownCluster | CalloutError::BadArgument => Status::BadArgument,
            CalloutError::NotSent => Status::InternalFailure,
            CalloutError::Unsupported => Status::Unimplemented,
        })?;
        self.callouts.insert(token, Open::Call(root, guard, bytes));
        Ok(token)
    }
}

impl Vm {
    /// An HTTP call has ended: with a response, or `None` when it was cut before
    /// there was a whole one. Runs `proxy_on_http_call_response`, unless the call
    /// has been cancelled meanwhile.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before.
    pub fn on_http_call_response(
        &self,
        token: CalloutToken,
        response: Option<HttpCallResponse>,
    ) -> Result<(), VmFailed> {
        let callouts = &self.state.callouts;
        let Some(Open::Call(root, guard, _)) = callouts.remove(token) else {
            return self.alive();
        };
        let (received, [headers, body, trailers]) = match response {
            None => {
                root.callout.set(Status::BrokenConnection as u32, RESET);
                (Received::Nothing, [0; 3])
            }
            Some(response) => {
                let numbers = [
                    count(&response.headers),
                    size(response.body.len()),
                    response.trailers.as_ref().map_or(0, count),
                ];
                (Received::Http(Rc::new(response)), numbers)
            }
        };
        let id = root.id;
        let context = Context::Root(Rc::clone(&root));
        let called = callouts.while_showing(received, || {
            self.call(
                &context,
                "proxy_on_http_call_response",
                self.callbacks.on_http_call_response.as_ref(),
                (id.0, token.0, headers, body, trailers),
            )
        });
        root.callout.forget_message();
        drop(guard);
        called.map(drop)
    }
}
