//! [`Answers`]: what the server is still to be told of its responses.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::judge::{Rejection, detail};
use crate::limits::{ANSWERS_WAITING, REFUSAL_PAUSE, REFUSAL_PAUSE_MAX};
use crate::protocol::Answer;
use crate::resource_type::ResourceType;

/// Answers that wait, those of a type in their order. After the first refusal of a type,
/// the next ones are held back for a while: a server that sends again what was refused
/// would keep both sides busy.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    waiting: VecDeque<(Instant, Answer)>,
    /// Of types whose last response was refused.
    pauses: [Option<Backoff>; ResourceType::ALL.len()],
}

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing more should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= ANSWERS_WAITING
    }

    /// When the first one is to be sent.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|(at, _)| *at).min()
    }

    /// The next one that is to be sent by now.
    pub(crate) fn next(&mut self) -> Option<Answer> {
        let now = Instant::now();
        let place = self.waiting.iter().position(|(at, _)| *at <= now)?;
        self.waiting.remove(place).map(|(_, answer)| answer)
    }

    pub(crate) fn accept(&mut self, kind: ResourceType, nonce: String) {
        self.pauses[kind.index()] = None;
        self.push(Instant::now(), kind, nonce, None);
    }

    /// Tells why; gives what is told.
    pub(crate) fn refuse(
        &mut self,
        kind: ResourceType,
        nonce: String,
        rejections: &[Rejection],
    ) -> String {
        let mut at = Instant::now();
        match &mut self.pauses[kind.index()] {
            Some(backoff) => at += backoff.pause(),
            none => *none = Some(Backoff::new(REFUSAL_PAUSE, REFUSAL_PAUSE_MAX)),
        }
        let refusal = detail(kind, rejections);
        self.push(at, kind, nonce, Some(refusal.clone()));
        refusal
    }

    fn push(&mut self, at: Instant, kind: ResourceType, nonce: String, refusal: Option<String>) {
        let same = self.waiting.iter().filter(|(_, other)| other.kind == kind);
        let at = same
            .map(|(other, _)| *other)
            .max()
            .map_or(at, |last| at.max(last));
        let answer = Answer {
            kind,
            nonce,
            refusal,
        };
        self.waiting.push_back((at, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(answers: &mut Answers) -> Vec<String> {
        std::iter::from_fn(|| answers.next())
            .map(|a| a.nonce)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_in_a_row_are_held_back_and_other_types_are_not() {
        let [cluster, routes] = [ResourceType::Cluster, ResourceType::Routes];
        let mut answers = Answers::default();
        answers.refuse(cluster, "1".to_owned(), &[]);
        assert_eq!(nonces(&mut answers), ["1"]);
        answers.refuse(cluster, "2".to_owned(), &[]);
        // It is not told before what came before it.
        answers.accept(cluster, "3".to_owned());
        answers.accept(routes, "4".to_owned());
        assert_eq!(nonces(&mut answers), ["4"]);
        tokio::time::sleep_until(answers.due().unwrap()).await;
        assert_eq!(nonces(&mut answers), ["2", "3"]);
        answers.refuse(cluster, "5".to_owned(), &[]);
        assert_eq!(nonces(&mut answers), ["5"]);
    }
}
