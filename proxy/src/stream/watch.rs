//! Who looks at what a filter does in a callback: its shadow, and the tap of
//! `weir dev`. Streams without either know that from their beginning.

use std::rc::Rc;

use weir_abi::{BodyStatus, Direction, HeadersStatus, TrailersStatus};

use super::FilteredStream;
use super::shadow::Done;
use super::tap::Look;

/// A callback that a filter gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Headers { end_of_stream: bool },
    Body { end_of_stream: bool },
    Trailers,
}

/// What a callback comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Headers(HeadersStatus),
    Body(BodyStatus),
    Trailers(TrailersStatus),
    Failed,
}

impl Action {
    /// As it is after a pause that has ended within the callback.
    pub(super) fn continued(self) -> Self {
        match self {
            Self::Headers(_) => Self::Headers(HeadersStatus::Continue),
            Self::Body(_) => Self::Body(BodyStatus::Continue),
            Self::Trailers(_) => Self::Trailers(TrailersStatus::Continue),
            Self::Failed => Self::Failed,
        }
    }

    pub(crate) fn goes_on(self) -> bool {
        self == self.continued() && self != Self::Failed
    }
}

/// What those who look have seen before a callback.
pub(super) struct Seen {
    shadow: Option<Done>,
    tap: Option<Box<Look>>,
}

impl FilteredStream {
    /// The filter at `index` is about to get a callback. What those who look at it see
    /// now, if there are any.
    #[inline]
    pub(super) fn before_callback(
        self: &Rc<Self>,
        index: usize,
        direction: Direction,
        step: Step,
    ) -> Option<Seen> {
        let looks = || Seen {
            tap: self.look(index, direction),
            shadow: self.show_shadow(index, direction, step),
        };
        self.slots[index].is_watched().then(looks)
    }

    /// It has returned, and somebody looks. What it asked for is still in the queue.
    #[cold]
    pub(super) fn tell_watchers(
        &self,
        index: usize,
        direction: Direction,
        step: Step,
        seen: Seen,
        action: Action,
    ) {
        let action = if self.has_continued(index, direction) {
            action.continued()
        } else {
            action
        };
        self.compare_shadow(index, direction, seen.shadow, action);
        if let Some(look) = seen.tap {
            self.note_effect(index, direction, step, &look, action);
        }
    }
}
