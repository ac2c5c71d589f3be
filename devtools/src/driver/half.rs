//! One direction of a stream at its filter.

use std::cell::{Cell, RefCell};

use weir_abi::{BodyBuffer, HeaderMap};

/// What a filter holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// The headers; it is shown the body meanwhile.
    Headers,
    /// Everything; it is shown nothing.
    All,
    /// Body. With `whole`, it is shown all that it holds each time.
    Body { whole: bool },
    /// Trailers.
    Trailers,
}

/// How far the message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Arrived {
    #[default]
    Nothing,
    /// Headers, perhaps body; more will follow.
    Partly,
    /// Its end, without trailers.
    End,
    /// Trailers, which are its end.
    Trailers,
}

/// What has come out behind the filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passed {
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) ended: bool,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Half {
    /// Empty until the headers have arrived.
    pub(super) headers: RefCell<HeaderMap>,
    pub(super) trailers: RefCell<Option<HeaderMap>>,
    pub(super) hold: Cell<Hold>,
    pub(super) arrived: Cell<Arrived>,
    /// Body that is shown to the filter or that it holds.
    pub(super) held: RefCell<BodyBuffer>,
    /// Whether body, perhaps of no bytes, has arrived and not been passed on.
    pub(super) body_pending: Cell<bool>,
    pub(super) headers_passed: Cell<bool>,
    pub(super) passed: RefCell<Passed>,
}

impl Half {
    pub(super) fn take_held(&self) -> BodyBuffer {
        self.body_pending.set(false);
        self.held.take()
    }

    pub(super) fn keep(&self, body: BodyBuffer) {
        self.body_pending.set(true);
        self.held.replace(body);
    }

    pub(super) fn pass_headers(&self, end: bool) {
        let mut passed = self.passed.borrow_mut();
        passed.headers = Some(self.headers.borrow().clone());
        passed.ended = end;
    }

    pub(super) fn pass_body(&self, body: &BodyBuffer, end: bool) {
        let mut passed = self.passed.borrow_mut();
        body.chunks()
            .for_each(|chunk| passed.body.extend_from_slice(chunk));
        passed.ended = end;
    }

    pub(super) fn pass_trailers(&self) {
        let mut passed = self.passed.borrow_mut();
        passed.trailers = self.trailers.borrow().clone();
        passed.ended = true;
    }
}
