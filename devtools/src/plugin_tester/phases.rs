//! [`Phases`]: a stream as the plugin tester has it: one callback a phase, which sees
//! what that phase brings and nothing else.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, BodyStatus, ContextId, Direction, FilterIndex, HeaderMap, HeadersStatus, HttpMap,
    LocalResponse, PropertiesFull, Property, PropertyError, Stream, Vm, VmFailed,
};

/// The phase under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    None,
    Headers(Direction),
    Body(Direction),
}

/// What a phase has come to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The callback wants to stop.
    pub(super) stops: bool,
    /// Whether it was one about headers: a stop is an answer then.
    pub(super) is_headers: bool,
    pub(super) reply: Option<LocalResponse>,
}

struct View {
    phase: Cell<Phase>,
    headers: RefCell<HeaderMap>,
    body: RefCell<BodyBuffer>,
    reply: RefCell<Option<LocalResponse>>,
}

impl Stream for View {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        let direction = match map {
            HttpMap::RequestHeaders => Direction::Request,
            HttpMap::ResponseHeaders => Direction::Response,
            HttpMap::RequestTrailers | HttpMap::ResponseTrailers => return None,
        };
        let shown = self.phase.get() == Phase::Headers(direction);
        shown.then(|| self.headers.borrow_mut())
    }

    fn add_trailers(&self, _direction: Direction) -> bool {
        false
    }

    fn body(&self, _filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        let shown = self.phase.get() == Phase::Body(direction);
        shown.then(|| self.body.borrow_mut())
    }

    fn property(&self, _path: &[&[u8]]) -> Result<Property, PropertyError> {
        Err(PropertyError::NotFound)
    }

    fn set_property(&self, _path: &[u8], _value: Bytes) -> Result<(), PropertiesFull> {
        Ok(())
    }

    fn takes_local_response(&self) -> bool {
        match self.phase.get() {
            Phase::Headers(_) | Phase::Body(Direction::Request) => true,
            Phase::Body(Direction::Response) | Phase::None => false,
        }
    }

    fn continue_stream(&self, _filter: FilterIndex, _direction: Direction) {}

    fn close_stream(&self, _filter: FilterIndex) {}

    fn send_local_response(&self, _filter: FilterIndex, response: LocalResponse) {
        self.reply.replace(Some(response));
    }
}

/// A stream and its filter.
pub(super) struct Phases {
    vm: Rc<Vm>,
    context: ContextId,
    view: Rc<View>,
    replied: Cell<bool>,
}

impl Phases {
    pub(super) fn open(vm: &Rc<Vm>, root: ContextId) -> Result<Self, VmFailed> {
        let view = Rc::new(View {
            phase: Cell::new(Phase::None),
            headers: RefCell::new(HeaderMap::sorted()),
            body: RefCell::default(),
            reply: RefCell::default(),
        });
        let context = vm.create_stream(root, Rc::clone(&view) as _, 0)?;
        Ok(Self {
            vm: Rc::clone(vm),
            context,
            view,
            replied: Cell::new(false),
        })
    }

    /// Shows the filter headers. Once it has answered itself, nothing happens.
    pub(super) fn headers(
        &self,
        direction: Direction,
        headers: &HeaderMap,
    ) -> Result<Outcome, VmFailed> {
        if self.replied.get() {
            return Ok(Outcome::default());
        }
        self.view.phase.set(Phase::Headers(direction));
        self.view.headers.replace(headers.clone());
        let status = match direction {
            Direction::Request => self.vm.on_request_headers(self.context, false),
            Direction::Response => self.vm.on_response_headers(self.context, false),
        };
        self.view.phase.set(Phase::None);
        let mut outcome = Outcome {
            stops: status? != HeadersStatus::Continue,
            is_headers: true,
            headers: self.view.headers.replace(HeaderMap::sorted()),
            ..Outcome::default()
        };
        self.take_reply(&mut outcome);
        Ok(outcome)
    }

    /// Shows the filter a body, piece by piece.
    pub(super) fn body(&self, direction: Direction, pieces: &[Bytes]) -> Result<Outcome, VmFailed> {
        let mut outcome = Outcome::default();
        for (index, piece) in pieces.iter().enumerate() {
            if self.replied.get() {
                break;
            }
            let end = index + 1 == pieces.len();
            self.view.phase.set(Phase::Body(direction));
            self.view.body.replace(piece.clone().into());
            let status = self.vm.on_body(self.context, direction, piece.len(), end);
            self.view.phase.set(Phase::None);
            outcome.stops = status? != BodyStatus::Continue;
            outcome
                .body
                .extend_from_slice(&self.view.body.take().to_bytes());
            self.take_reply(&mut outcome);
        }
        Ok(outcome)
    }

    /// The filter's own answer, if it has made one, takes the place of what it left.
    fn take_reply(&self, outcome: &mut Outcome) {
        let Some(reply) = self.view.reply.take() else {
            return;
        };
        self.replied.set(true);
        let mut headers = HeaderMap::sorted();
        for (name, value) in &reply.headers {
            headers.replace(name.clone(), value.clone());
        }
        outcome.headers = headers;
        outcome.body = reply.body.to_vec();
        outcome.reply = Some(reply);
    }

    /// The stream is over: `proxy_on_done`, `proxy_on_delete`.
    pub(super) fn end(self) -> Result<(), VmFailed> {
        self.vm.delete_stream(self.context)
    }
}
