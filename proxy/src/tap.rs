//! The tap: tells `weir dev` what filters do to each request, which filters fail, and
//! what comes of reloads.
//!
//! A process has one or none. Whether there is one is asked when a stream begins. What
//! is told goes by a queue with an end: a worker never waits, and what finds no room is
//! counted.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{Direction, Failure, HeaderMap};

use crate::limits::{TAP_EFFECTS, TAP_QUEUE};
use crate::stream::{Action, HeaderChanges, Look};

static TAP: OnceLock<Tap> = OnceLock::new();

/// Where workers tell what happens.
pub(crate) struct Tap {
    told: SyncSender<Told>,
    /// What has found no room since the last that has.
    dropped: AtomicU64,
    requests: AtomicU64,
}

/// What is told.
pub(crate) enum Told {
    /// A listener takes connections at this address.
    Listening(String, String),
    /// A stream is over.
    Request(Box<Request>),
    /// A filter has failed.
    Failure(Box<FilterFailure>),
    /// What has come of a reload.
    Reload(Result<String, String>),
    /// So many of these were not told.
    Dropped(u64),
}

/// Installs the tap of this process; gives what it tells. `None` if there is one.
pub(crate) fn install() -> Option<Receiver<Told>> {
    let (told, receiver) = sync_channel(TAP_QUEUE);
    let tap = Tap {
        told,
        dropped: AtomicU64::new(0),
        requests: AtomicU64::new(0),
    };
    TAP.set(tap).ok().map(|()| receiver)
}

/// The tap of this process, if it has one.
pub(crate) fn installed() -> Option<&'static Tap> {
    TAP.get()
}

impl Tap {
    /// Tells something, unless too much waits.
    pub(crate) fn tell(&self, told: Told) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 && self.told.try_send(Told::Dropped(dropped)).is_err() {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        if self.told.try_send(told).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A stream begins with these headers.
    pub(crate) fn begin(&'static self, headers: &HeaderMap) -> Box<StreamTap> {
        let text = |name: &[u8]| {
            let value = headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value));
            value.unwrap_or_default().into_owned()
        };
        Box::new(StreamTap {
            tap: self,
            line: Some(RequestLine {
                number: self.requests.fetch_add(1, Ordering::Relaxed) + 1,
                method: text(b":method"),
                target: text(b":path"),
            })
            .into(),
            notes: RefCell::default(),
            left: RefCell::default(),
            count: Cell::new(0),
        })
    }
}

/// What is noted of one stream until it ends.
pub(crate) struct StreamTap {
    tap: &'static Tap,
    /// `None` when it has been told.
    line: RefCell<Option<RequestLine>>,
    notes: RefCell<Notes>,
    /// How filters have left what they hold.
    left: RefCell<HashMap<(usize, u8), Look>>,
    /// Effects that were noted.
    count: Cell<usize>,
}

impl StreamTap {
    /// Notes an effect. Of body that passes as it is, piece after piece, the sum is noted.
    pub(crate) fn note(&self, effect: Effect) {
        let mut notes = self.notes.borrow_mut();
        let of_same = |note: &&mut Note| matches!(note, Note::Effect(e) if (e.filter, e.direction) == (effect.filter, effect.direction));
        let last = notes.list.iter_mut().rev().find(of_same);
        if let Some(Note::Effect(last)) = last
            && last.absorbs(&effect)
        {
            return;
        }
        if self.count.get() >= TAP_EFFECTS {
            notes.omitted += 1;
            return;
        }
        self.count.set(self.count.get() + 1);
        notes.list.push(Note::Effect(Box::new(effect)));
    }

    /// Notes an answer of a filter.
    pub(crate) fn answered(&self, answer: Answer) {
        self.notes.borrow_mut().list.push(Note::Answer(answer));
    }

    /// Keeps how a filter has left what it holds.
    pub(crate) fn left(&self, filter: usize, direction: Direction, look: Look) {
        let mut left = self.left.borrow_mut();
        left.insert((filter, direction as u8), look);
    }

    /// How the filter has left what it holds, if it holds something.
    pub(crate) fn returned_to(&self, filter: usize, direction: Direction) -> Option<Look> {
        self.left.borrow_mut().remove(&(filter, direction as u8))
    }

    /// The stream is over: tells of it. Has no effect a second time.
    pub(crate) fn end(&self, request: impl FnOnce(RequestLine, Notes) -> Request) {
        self.left.borrow_mut().clear();
        if let Some(line) = self.line.borrow_mut().take() {
            let request = request(line, self.notes.take());
            self.tap.tell(Told::Request(Box::new(request)));
        }
    }
}

/// A request as the client has sent it.
#[derive(Debug)]
pub(crate) struct RequestLine {
    /// Which one it is of the process, from 1.
    pub(crate) number: u64,
    pub(crate) method: String,
    pub(crate) target: String,
}

/// A stream that is over.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) line: RequestLine,
    pub(crate) notes: Notes,
    /// Of the response, if there was one.
    pub(crate) status: Option<u16>,
    pub(crate) details: Bytes,
    /// As in the access log.
    pub(crate) flags: String,
    pub(crate) took: Duration,
    /// Names of the filters, in the order of the chain.
    pub(crate) filters: Vec<String>,
    pub(crate) upstream: Option<String>,
}

/// What filters have done, in the order in which they have.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) list: Vec<Note>,
    /// Effects beyond what is kept of one stream.
    pub(crate) omitted: usize,
}

#[derive(Debug)]
pub(crate) enum Note {
    Effect(Box<Effect>),
    Answer(Answer),
}

/// What a filter has done in a callback.
#[derive(Debug)]
pub(crate) struct Effect {
    /// Its place in the chain.
    pub(crate) filter: usize,
    pub(crate) direction: Direction,
    pub(crate) callback: Callback,
    /// What the callback came to.
    pub(crate) action: Option<Action>,
    pub(crate) headers: Option<HeaderChanges>,
    pub(crate) trailers: Option<HeaderChanges>,
    pub(crate) body: Option<BodyChange>,
}

/// When it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    Headers,
    /// With so many bytes, in so many calls.
    Body {
        pieces: usize,
        bytes: usize,
    },
    Trailers,
    /// In a callback that is not the stream's, such as that of a callout's answer.
    Between,
}

impl Effect {
    pub(crate) fn changes_something(&self) -> bool {
        self.headers.is_some() || self.trailers.is_some() || self.body.is_some()
    }

    /// Takes another piece of body into the sum, if neither of them has changed anything.
    fn absorbs(&mut self, other: &Self) -> bool {
        let same =
            !self.changes_something() && !other.changes_something() && self.action == other.action;
        match (&mut self.callback, other.callback) {
            (
                Callback::Body { pieces, bytes },
                Callback::Body {
                    pieces: more,
                    bytes: of_more,
                },
            ) if same => {
                *pieces += more;
                *bytes += of_more;
                true
            }
            _ => false,
        }
    }
}

/// What a body was, and what it has become.
#[derive(Debug)]
pub(crate) struct BodyChange {
    pub(crate) before: Excerpt,
    pub(crate) after: Excerpt,
}

/// The beginning of a body.
#[derive(Debug)]
pub(crate) struct Excerpt {
    pub(crate) beginning: Vec<u8>,
    /// Bytes of the whole.
    pub(crate) length: usize,
}

/// An answer of a filter in place of the upstream's.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its place in the chain.
    pub(crate) filter: usize,
    pub(crate) code: u16,
    pub(crate) details: Bytes,
    pub(crate) headers: Vec<(Bytes, Bytes)>,
    pub(crate) body: Excerpt,
}

/// A filter that has failed.
#[derive(Debug)]
pub(crate) struct FilterFailure {
    pub(crate) plugin: String,
    /// SHA-256 of its module.
    pub(crate) module: [u8; 32],
    pub(crate) failure: Failure,
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::TryRecvError;

    use weir_abi::BodyStatus;

    use super::*;

    fn tap(room: usize) -> (&'static Tap, Receiver<Told>) {
        let (told, receiver) = sync_channel(room);
        let tap = Tap {
            told,
            dropped: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        };
        (Box::leak(Box::new(tap)), receiver)
    }

    fn told(receiver: &Receiver<Told>) -> Option<Told> {
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => None,
            told => Some(told.unwrap()),
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_when_there_is_some() {
        let (tap, receiver) = tap(2);
        for _ in 0..5 {
            tap.tell(Told::Reload(Ok(String::new())));
        }
        assert!(matches!(told(&receiver), Some(Told::Reload(_))));
        assert!(matches!(told(&receiver), Some(Told::Reload(_))));
        assert!(told(&receiver).is_none());
        tap.tell(Told::Reload(Ok(String::new())));
        assert!(matches!(told(&receiver), Some(Told::Dropped(3))));
        assert!(matches!(told(&receiver), Some(Told::Reload(_))));
        tap.tell(Told::Reload(Ok(String::new())));
        assert!(matches!(told(&receiver), Some(Told::Reload(_))));
    }

    fn piece(filter: usize, changed: bool) -> Effect {
        let excerpt = || Excerpt {
            beginning: Vec::new(),
            length: 0,
        };
        Effect {
            filter,
            direction: Direction::Request,
            callback: Callback::Body {
                pieces: 1,
                bytes: 10,
            },
            action: Some(Action::Body(BodyStatus::Continue)),
            headers: None,
            trailers: None,
            body: changed.then(|| BodyChange {
                before: excerpt(),
                after: excerpt(),
            }),
        }
    }

    /// What is told of a stream with these effects: the callbacks, and how many are not
    /// there.
    fn noted(effects: impl IntoIterator<Item = Effect>) -> (Vec<(usize, Callback)>, usize) {
        let (tap, receiver) = tap(1);
        let stream = tap.begin(&HeaderMap::new());
        effects.into_iter().for_each(|effect| stream.note(effect));
        let request = |line, notes| Request {
            line,
            notes,
            status: None,
            details: Bytes::new(),
            flags: String::new(),
            took: Duration::ZERO,
            filters: Vec::new(),
            upstream: None,
        };
        stream.end(request);
        stream.end(|_, _| unreachable!("it is told once"));
        let Some(Told::Request(request)) = told(&receiver) else {
            panic!("nothing is told");
        };
        let callbacks = request.notes.list.iter().map(|note| match note {
            Note::Effect(effect) => (effect.filter, effect.callback),
            Note::Answer(_) => unreachable!("nobody has answered"),
        });
        (callbacks.collect(), request.notes.omitted)
    }

    #[test]
    fn pieces_of_a_body_that_pass_as_they_are_are_one() {
        let pieces = |pieces| Callback::Body {
            pieces,
            bytes: 10 * pieces,
        };
        let effects = [(0, false), (1, false), (0, false), (1, true), (1, false)];
        let effects = effects.map(|(filter, changed)| piece(filter, changed));
        let expected = vec![
            (0, pieces(2)),
            (1, pieces(1)),
            (1, pieces(1)),
            (1, pieces(1)),
        ];
        assert_eq!(noted(effects), (expected, 0));
    }

    #[test]
    fn effects_of_one_stream_have_an_end() {
        let (list, omitted) = noted((0..TAP_EFFECTS + 5).map(|_| piece(0, true)));
        assert_eq!((list.len(), omitted), (TAP_EFFECTS, 5));
    }
}
