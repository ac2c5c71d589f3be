//! What the tap of `weir dev` sees of a stream: each filter's effect on headers, body
//! and trailers, in its callbacks and between them.

use weir_abi::{BodyBuffer, Direction, HeaderMap, LocalResponse};

use super::watch::{Action, Step};
use super::{FilteredStream, compare};
use crate::limits::TAP_BODY_BYTES;
use crate::tap::{Answer, BodyChange, Callback, Effect, Excerpt, Request};

/// A direction of a stream as a filter finds it.
pub(crate) struct Look {
    headers: Option<HeaderMap>,
    trailers: Option<HeaderMap>,
    body: BodyBuffer,
}

impl FilteredStream {
    fn look_now(&self, index: usize, direction: Direction) -> Look {
        let (headers, trailers) = super::shadow::maps(direction);
        Look {
            headers: self.map(headers).map(|map| map.clone()),
            trailers: self.map(trailers).map(|map| map.clone()),
            body: self.slots[index].direction(direction).held.borrow().clone(),
        }
    }

    /// What the filter at `index` is about to see, if there is a tap. What it has done
    /// since its last callback is noted.
    pub(super) fn look(&self, index: usize, direction: Direction) -> Option<Box<Look>> {
        let tap = self.info.tap.as_ref()?;
        let now = self.look_now(index, direction);
        if let Some(left) = tap.returned_to(index, direction) {
            // What has arrived meanwhile is no work of the filter.
            let since = Look {
                body: now.body.clone(),
                ..left
            };
            self.note_between(index, direction, &since, &now);
        }
        Some(Box::new(now))
    }

    /// Notes what a callback has done.
    pub(super) fn note_effect(
        &self,
        index: usize,
        direction: Direction,
        step: Step,
        before: &Look,
        action: Action,
    ) {
        let Some(tap) = &self.info.tap else { return };
        let callback = match step {
            Step::Headers { .. } => Callback::Headers,
            Step::Body { .. } => Callback::Body {
                pieces: 1,
                bytes: before.body.len(),
            },
            Step::Trailers => Callback::Trailers,
        };
        let after = self.look_now(index, direction);
        let mut effect = effect(index, direction, callback, before, &after);
        effect.action = Some(action);
        tap.note(effect);
    }

    /// The filter at `index` pauses, and what it holds is in its place.
    pub(super) fn note_pause(&self, index: usize, direction: Direction) {
        if let Some(tap) = &self.info.tap {
            tap.left(index, direction, self.look_now(index, direction));
        }
    }

    /// The filter at `index` ends a pause. Notes what it has done since its last
    /// callback; `sees_body`: it has seen all of the body that it holds.
    pub(super) fn note_resumption(&self, index: usize, direction: Direction, sees_body: bool) {
        let Some(tap) = &self.info.tap else { return };
        if let Some(mut left) = tap.returned_to(index, direction) {
            let now = self.look_now(index, direction);
            if !sees_body {
                left.body = now.body.clone();
            }
            self.note_between(index, direction, &left, &now);
        }
    }

    fn note_between(&self, index: usize, direction: Direction, left: &Look, now: &Look) {
        let effect = effect(index, direction, Callback::Between, left, now);
        if let Some(tap) = &self.info.tap
            && effect.changes_something()
        {
            tap.note(effect);
        }
    }

    /// The filter at `index` answers the request.
    pub(super) fn note_answer(&self, index: usize, response: &LocalResponse) {
        if let Some(tap) = &self.info.tap {
            tap.answered(Answer {
                filter: index,
                code: response.code,
                details: response.details.clone(),
                headers: response.headers.clone(),
                body: Excerpt::of(&response.body.clone().into()),
            });
        }
    }

    /// The stream is over: what was noted is told.
    pub(super) fn tell_tap(&self) {
        let Some(tap) = &self.info.tap else { return };
        let info = &self.info;
        let names = self.slots.iter().map(|slot| slot.plugin.name().to_owned());
        let upstream = info.upstream.borrow();
        tap.end(|line, notes| Request {
            line,
            notes,
            status: info.response_code.get(),
            details: info.code_details(),
            flags: info.flags().to_string(),
            took: info.elapsed(),
            filters: names.collect(),
            upstream: upstream.as_ref().map(ToString::to_string),
        });
    }
}

fn effect(
    filter: usize,
    direction: Direction,
    callback: Callback,
    before: &Look,
    after: &Look,
) -> Effect {
    let body = (!compare::is_same_body(&before.body, &after.body)).then(|| BodyChange {
        before: Excerpt::of(&before.body),
        after: Excerpt::of(&after.body),
    });
    Effect {
        filter,
        direction,
        callback,
        action: None,
        headers: compare::headers(before.headers.as_ref(), after.headers.as_ref()),
        trailers: compare::headers(before.trailers.as_ref(), after.trailers.as_ref()),
        body,
    }
}

impl Excerpt {
    fn of(body: &BodyBuffer) -> Self {
        let mut beginning = vec![0; body.len().min(TAP_BODY_BYTES)];
        body.copy_to(0, &mut beginning);
        Self {
            beginning,
            length: body.len(),
        }
    }
}
