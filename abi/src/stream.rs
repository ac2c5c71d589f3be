//! Stream contexts: the callbacks of one filter on one HTTP stream, and what
//! the filter may see and change in each of them.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::slice;
use std::time::Duration;

use crate::callbacks::HeadersFn;
use crate::context::Context;
use crate::engine::Turn;
use crate::headers::HeaderMap;
use crate::host::{FilterIndex, LocalResponse, Stream};
use crate::imports::Declarations;
use crate::plugin::Root;
use crate::types::{BodyStatus, ContextId, Direction, HeadersStatus, HttpMap, TrailersStatus};
use crate::vm::{Vm, VmFailed};

const CREATE: &str = "proxy_on_context_create";
const REQUEST_HEADERS: &str = "proxy_on_request_headers";
const LOG: &str = "proxy_on_log";
const DONE: &str = "proxy_on_done";
const DELETE: &str = "proxy_on_delete";

/// A stream context.
pub(crate) struct StreamContext {
    pub(crate) id: ContextId,
    pub(crate) root: Rc<Root>,
    pub(crate) stream: Rc<dyn Stream>,
    pub(crate) filter: FilterIndex,
    pub(crate) visible: Cell<Visible>,
    /// The guest sent a local response in the callback under way, so the
    /// callback's own result does not count.
    pub(crate) replied: Cell<bool>,
    /// What the guest asked for that waits until it has returned, a bit each.
    pub(crate) asked: Cell<u8>,
    /// The last local response of several that it asked for.
    pub(crate) last_response: RefCell<Option<LocalResponse>>,
    pub(crate) declared: Declarations,
    /// Time that its callbacks have taken, as far as that is limited.
    pub(crate) spent: Cell<Duration>,
}

/// What of a stream a filter may see at the moment.
///
/// A map or buffer is visible from the callback that delivers it until that
/// callback's pause ends, or longer (see [`StreamContext::continued`]); while the stream is logged, all maps are readable
/// (Envoy, `context.cc`). After that, nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Visible(u16);

impl Visible {
    const REQUEST_HEADERS: Self = Self(1);
    const REQUEST_BODY: Self = Self(1 << 1);
    const REQUEST_TRAILERS: Self = Self(1 << 2);
    const RESPONSE_HEADERS: Self = Self(1 << 3);
    const RESPONSE_BODY: Self = Self(1 << 4);
    const RESPONSE_TRAILERS: Self = Self(1 << 5);
    /// The body at hand is the last of its direction.
    const REQUEST_END: Self = Self(1 << 6);
    const RESPONSE_END: Self = Self(1 << 7);
    /// Every map, read only.
    const LOG: Self = Self(1 << 8);
    /// Nothing, for good: the stream can no more be continued, closed or
    /// answered.
    const OVER: Self = Self(1 << 9);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn map(map: HttpMap) -> Self {
        match map {
            HttpMap::RequestHeaders => Self::REQUEST_HEADERS,
            HttpMap::RequestTrailers => Self::REQUEST_TRAILERS,
            HttpMap::ResponseHeaders => Self::RESPONSE_HEADERS,
            HttpMap::ResponseTrailers => Self::RESPONSE_TRAILERS,
        }
    }

    fn body(direction: Direction) -> Self {
        match direction {
            Direction::Request => Self::REQUEST_BODY,
            Direction::Response => Self::RESPONSE_BODY,
        }
    }

    fn end(direction: Direction) -> Self {
        match direction {
            Direction::Request => Self::REQUEST_END,
            Direction::Response => Self::RESPONSE_END,
        }
    }

    const REQUEST: Self =
        Self(Self::REQUEST_HEADERS.0 | Self::REQUEST_BODY.0 | Self::REQUEST_TRAILERS.0);
}

impl StreamContext {
    fn show(&self, what: Visible) {
        self.visible.set(self.visible.get().with(what));
    }

    fn hide(&self, what: Visible) {
        self.visible.set(self.visible.get().without(what));
    }

    /// Whether `map` may be read.
    pub(crate) fn can_read(&self, map: HttpMap) -> bool {
        self.visible.get().has(Visible::map(map).with(Visible::LOG))
    }

    /// Whether the stream is over and is being logged.
    pub(crate) fn is_logged(&self) -> bool {
        self.visible.get().has(Visible::LOG)
    }

    /// A map that may be read, if the stream has it. Request trailers are not
    /// kept for the log, as in Envoy.
    pub(crate) fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        if map == HttpMap::RequestTrailers && self.is_logged() {
            return None;
        }
        self.stream.headers(map)
    }

    /// Whether `map` may be changed. Trailers come into being by the first
    /// change while the end of the body is at hand.
    pub(crate) fn can_write(&self, map: HttpMap) -> bool {
        if self.visible.get().has(Visible::map(map)) {
            return true;
        }
        let direction = match map {
            HttpMap::RequestTrailers => Direction::Request,
            HttpMap::ResponseTrailers => Direction::Response,
            HttpMap::RequestHeaders | HttpMap::ResponseHeaders => return false,
        };
        let created =
            self.visible.get().has(Visible::end(direction)) && self.stream.add_trailers(direction);
        if created {
            self.show(Visible::map(map));
        }
        created
    }

    /// Whether the body of `direction` may be read and changed.
    pub(crate) fn can_access_body(&self, direction: Direction) -> bool {
        self.visible.get().has(Visible::body(direction))
    }

    /// Whether the stream is complete: it is being logged or deleted.
    pub(crate) fn is_over(&self) -> bool {
        self.visible.get().has(Visible::OVER)
    }

    /// The guest ends its pause: what the pause kept visible of the request is
    /// gone, whichever direction it was. The response's headers and trailers
    /// stay within reach, as in Envoy (`context.cc`, `continueStream`).
    pub(crate) fn continued(&self, direction: Direction) {
        self.hide(Visible::REQUEST);
        if direction == Direction::Response {
            self.hide(Visible::RESPONSE_BODY);
        }
    }
}

impl Vm {
    /// Creates the context of one filter on one stream:
    /// `proxy_on_context_create`. `filter` is handed back in every call to
    /// `stream`. The context lives until [`Vm::delete_stream`].
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before, or has no such root.
    pub fn create_stream(
        &self,
        root: ContextId,
        stream: Rc<dyn Stream>,
        filter: FilterIndex,
    ) -> Result<ContextId, VmFailed> {
        let (context, cx) = self.new_stream(root, stream, filter)?;
        let function = self.callbacks.on_context_create.as_ref();
        let args = (cx.id.0, cx.root.id.0);
        self.call(&context, CREATE, function, args)?;
        Ok(cx.id)
    }

    /// As [`Vm::create_stream`] and then, if the guest has not asked for anything
    /// meanwhile, [`Vm::on_request_headers`], both in one entry into the engine. The
    /// second is still to be made when there is no status.
    ///
    /// # Errors
    /// As [`Vm::create_stream`].
    pub fn begin_stream(
        &self,
        root: ContextId,
        stream: Rc<dyn Stream>,
        filter: FilterIndex,
        end_of_stream: bool,
    ) -> Result<(ContextId, Option<HeadersStatus>), VmFailed> {
        let (context, cx) = self.new_stream(root, stream, filter)?;
        let callbacks = &self.callbacks;
        let create = callbacks.on_context_create.as_ref();
        let args = (cx.id.0, cx.root.id.0);
        let Some((create, headers)) = create.zip(callbacks.on_request_headers.as_ref()) else {
            self.call(&context, CREATE, create, args)?;
            return Ok((cx.id, None));
        };
        let map = HttpMap::RequestHeaders;
        let visible = Visible::map(map);
        let turns = [
            create.turn(CREATE, args),
            headers.turn(REQUEST_HEADERS, cx.id, entries(&cx, map), end_of_stream),
        ];
        let made = self.call_in_turn(&context, &turns, &|_| cx.show(visible))?;
        let status = (made == turns.len()).then(|| headers_status(&cx, visible, turns[1].answer()));
        Ok((cx.id, status))
    }

    /// A context that the guest has yet to be told of.
    fn new_stream(
        &self,
        root: ContextId,
        stream: Rc<dyn Stream>,
        filter: FilterIndex,
    ) -> Result<(Context, Rc<StreamContext>), VmFailed> {
        let Some(Context::Root(root)) = self.state.get(root) else {
            return Err(VmFailed);
        };
        let cx = Rc::new(StreamContext {
            id: self.state.new_id(),
            root,
            stream,
            filter,
            visible: Cell::default(),
            replied: Cell::default(),
            asked: Cell::default(),
            last_response: RefCell::default(),
            declared: Declarations::default(),
            spent: Cell::default(),
        });
        let context = Context::Stream(Rc::clone(&cx));
        self.state.insert(context.clone());
        Ok((context, cx))
    }

    /// Runs `proxy_on_request_headers`.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before; so for all below.
    pub fn on_request_headers(
        &self,
        stream: ContextId,
        end_of_stream: bool,
    ) -> Result<HeadersStatus, VmFailed> {
        self.on_headers(
            stream,
            HttpMap::RequestHeaders,
            REQUEST_HEADERS,
            self.callbacks.on_request_headers.as_ref(),
            end_of_stream,
        )
    }

    /// Runs `proxy_on_response_headers`.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn on_response_headers(
        &self,
        stream: ContextId,
        end_of_stream: bool,
    ) -> Result<HeadersStatus, VmFailed> {
        self.on_headers(
            stream,
            HttpMap::ResponseHeaders,
            "proxy_on_response_headers",
            self.callbacks.on_response_headers.as_ref(),
            end_of_stream,
        )
    }

    fn on_headers(
        &self,
        stream: ContextId,
        map: HttpMap,
        callback: &'static str,
        function: Option<&HeadersFn>,
        end_of_stream: bool,
    ) -> Result<HeadersStatus, VmFailed> {
        let (context, cx) = self.stream_context(stream)?;
        let visible = Visible::map(map);
        cx.show(visible);
        let Some(function) = function else {
            self.alive()?;
            return Ok(headers_status(&cx, visible, None));
        };
        let turn = function.turn(callback, stream, entries(&cx, map), end_of_stream);
        self.call_in_turn(&context, slice::from_ref(&turn), &|_| {})?;
        Ok(headers_status(&cx, visible, turn.answer()))
    }

    /// Runs `proxy_on_request_body` or `proxy_on_response_body`. `size` is the
    /// bytes that the filter can read now.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn on_body(
        &self,
        stream: ContextId,
        direction: Direction,
        size: usize,
        end_of_stream: bool,
    ) -> Result<BodyStatus, VmFailed> {
        let (context, cx) = self.stream_context(stream)?;
        let (callback, function) = match direction {
            Direction::Request => ("proxy_on_request_body", &self.callbacks.on_request_body),
            Direction::Response => ("proxy_on_response_body", &self.callbacks.on_response_body),
        };
        let (body, end) = (Visible::body(direction), Visible::end(direction));
        cx.show(if end_of_stream { body.with(end) } else { body });
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let args = (stream.0, size, u32::from(end_of_stream));
        let result = self.call(&context, callback, function.as_ref(), args);
        cx.hide(end);
        let result = result?;
        if cx.replied.take() {
            return Ok(BodyStatus::StopNoBuffer);
        }
        let status = BodyStatus::from_guest(result.unwrap_or(0));
        if status == BodyStatus::Continue {
            cx.hide(body);
        }
        Ok(status)
    }

    /// Runs `proxy_on_request_trailers` or `proxy_on_response_trailers`.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn on_trailers(
        &self,
        stream: ContextId,
        direction: Direction,
    ) -> Result<TrailersStatus, VmFailed> {
        let (context, cx) = self.stream_context(stream)?;
        let (callback, function, map) = match direction {
            Direction::Request => (
                "proxy_on_request_trailers",
                &self.callbacks.on_request_trailers,
                HttpMap::RequestTrailers,
            ),
            Direction::Response => (
                "proxy_on_response_trailers",
                &self.callbacks.on_response_trailers,
                HttpMap::ResponseTrailers,
            ),
        };
        let visible = Visible::map(map);
        cx.show(visible);
        let args = (stream.0, entries(&cx, map));
        let result = self.call(&context, callback, function.as_ref(), args)?;
        if cx.replied.take() {
            return Ok(TrailersStatus::Stop);
        }
        let status = TrailersStatus::from_guest(result.unwrap_or(0));
        if status == TrailersStatus::Continue {
            cx.hide(visible);
        }
        Ok(status)
    }

    /// Runs `proxy_on_log`: the stream is complete, every map is readable.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn on_log(&self, stream: ContextId) -> Result<(), VmFailed> {
        let (context, cx) = self.stream_context(stream)?;
        cx.visible.set(Visible::LOG.with(Visible::OVER));
        let function = self.callbacks.on_log.as_ref();
        self.call(&context, LOG, function, (stream.0,))?;
        cx.visible.set(Visible::OVER);
        Ok(())
    }

    /// Runs `proxy_on_log` of a root context, for a stream that is complete and
    /// of which its plugin knows nothing else: every map is readable (Envoy's
    /// wasm access logger).
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before, or has no such root.
    pub fn log_stream(&self, root: ContextId, stream: Rc<dyn Stream>) -> Result<(), VmFailed> {
        let Some(Context::Root(root)) = self.state.get(root) else {
            return Err(VmFailed);
        };
        let id = root.id;
        // It goes by the root's number, and ends with the callback.
        let context = Context::Stream(Rc::new(StreamContext {
            id,
            root,
            stream,
            filter: 0,
            visible: Cell::new(Visible::LOG.with(Visible::OVER)),
            replied: Cell::default(),
            asked: Cell::default(),
            last_response: RefCell::default(),
            declared: Declarations::default(),
            spent: Cell::default(),
        }));
        let function = self.callbacks.on_log.as_ref();
        self.call(&context, LOG, function, (id.0,))?;
        Ok(())
    }

    /// Ends a stream context: `proxy_on_done`, whose result counts for root
    /// contexts only, then `proxy_on_delete`.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn delete_stream(&self, stream: ContextId) -> Result<(), VmFailed> {
        self.end_stream(stream, false)
    }

    /// As [`Vm::on_log`] and then [`Vm::delete_stream`], as far as possible in one entry
    /// into the engine.
    ///
    /// # Errors
    /// As [`Vm::on_request_headers`].
    pub fn log_and_delete_stream(&self, stream: ContextId) -> Result<(), VmFailed> {
        self.end_stream(stream, true)
    }

    fn end_stream(&self, stream: ContextId, logged: bool) -> Result<(), VmFailed> {
        let (context, cx) = self.stream_context(stream)?;
        cx.visible.set(Visible::OVER);
        let callbacks = &self.callbacks;
        let id = (stream.0,);
        let log = callbacks.on_log.as_ref().filter(|_| logged);
        let log = log.map(|f| f.turn(LOG, id));
        let done = callbacks.on_done.as_ref().map(|f| f.turn(DONE, id));
        let delete = callbacks.on_delete.as_ref().map(|f| f.turn(DELETE, id));
        let result = match (log, done, delete) {
            (None, None, None) => self.alive(),
            (None, Some(done), Some(delete)) => self.end_in_turn(&context, &cx, &[done, delete]),
            (log, done, delete) => {
                let turns: Vec<_> = [log, done, delete].into_iter().flatten().collect();
                self.end_in_turn(&context, &cx, &turns)
            }
        };
        self.state.remove(stream);
        let completed = &self.state.completed;
        completed.set(completed.get() + u64::from(result.is_ok()));
        result
    }

    /// Makes calls of which only `proxy_on_log` shows the stream.
    fn end_in_turn(
        &self,
        context: &Context,
        cx: &StreamContext,
        mut turns: &[Turn],
    ) -> Result<(), VmFailed> {
        let show = |turn: &Turn| {
            cx.visible.set(if turn.name == LOG {
                Visible::LOG.with(Visible::OVER)
            } else {
                Visible::OVER
            });
        };
        while let Some(first) = turns.first() {
            show(first);
            let made = self.call_in_turn(context, turns, &|place| show(&turns[place]))?;
            turns = &turns[made..];
        }
        cx.visible.set(Visible::OVER);
        Ok(())
    }

    /// The stream context `id`, for a callback. A local response sent before,
    /// from another context, does not count for the result of this one.
    fn stream_context(&self, id: ContextId) -> Result<(Context, Rc<StreamContext>), VmFailed> {
        match self.state.get_again(id) {
            Some(Context::Stream(cx)) => {
                cx.replied.set(false);
                Ok((Context::Stream(Rc::clone(&cx)), cx))
            }
            _ => Err(VmFailed),
        }
    }
}

/// What a headers callback comes to, whose result this is.
fn headers_status(cx: &StreamContext, visible: Visible, result: Option<u32>) -> HeadersStatus {
    if cx.replied.take() {
        return HeadersStatus::StopAllAndWatermark;
    }
    let stop_allowed = cx.root.plugin.allow_on_headers_stop_iteration;
    let status = HeadersStatus::from_guest(result.unwrap_or(0), stop_allowed);
    if status == HeadersStatus::Continue {
        cx.hide(visible);
    }
    status
}

fn entries(cx: &StreamContext, map: HttpMap) -> u32 {
    let values = cx.root.plugin.header_values;
    let count = cx.headers(map).map_or(0, |m| values.count(&m));
    u32::try_from(count).unwrap_or(u32::MAX)
}
