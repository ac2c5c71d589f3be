//! [`Chance`]: what a server does with a request, by the seed.

use std::sync::{Arc, Mutex, PoisonError};

use weir_stress::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A whole answer.
    Answer,
    /// A whole answer of 64 KiB.
    AnswerMuch,
    /// An answer that is an error.
    Refuse,
    /// Nothing, until the other side has enough of it.
    Stall,
    /// Part of an answer, then the end of the connection or stream.
    Cut,
    /// The connection or stream is reset before an answer.
    Reset,
    /// The connection is closed before an answer, with all that is on it.
    Close,
}

/// In a thousand.
const SHARES: [(Fate, usize); 6] = [
    (Fate::AnswerMuch, 20),
    (Fate::Refuse, 60),
    (Fate::Stall, 25),
    (Fate::Cut, 30),
    (Fate::Reset, 30),
    (Fate::Close, 5),
];

#[derive(Clone)]
pub(crate) struct Chance(Arc<Mutex<Random>>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Random::new(seed, 1))))
    }

    pub(crate) fn fate(&self) -> Fate {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = random.below(1000);
        for (fate, share) in SHARES {
            if at < share {
                return fate;
            }
            at -= share;
        }
        Fate::Answer
    }
}
