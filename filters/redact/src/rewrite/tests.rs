use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use super::*;
use crate::config::Config;

/// The host's side: its buffer, and what it has passed on.
#[derive(Default)]
struct Host {
    buffer: RefCell<Vec<u8>>,
    passed_on: Vec<u8>,
    replacements: RefCell<usize>,
}

impl Buffer for Host {
    type Error = Infallible;

    fn read(&self, start: usize, length: usize) -> Result<Vec<u8>, Infallible> {
        Ok(self.buffer.borrow()[start..start + length].to_vec())
    }

    fn replace(&self, length: usize, bytes: &[u8]) -> Result<(), Infallible> {
        *self.replacements.borrow_mut() += 1;
        self.buffer
            .borrow_mut()
            .splice(..length, bytes.iter().copied());
        Ok(())
    }
}

impl Host {
    fn chunk(&mut self, rewrite: &mut Rewrite, chunk: &[u8], end_of_stream: bool) -> Next {
        self.buffer.borrow_mut().extend_from_slice(chunk);
        let size = self.buffer.borrow().len();
        let Ok(next) = rewrite.body(self, size, end_of_stream);
        self.pass_on_unless_held(next)
    }

    fn trailers(&mut self, rewrite: &mut Rewrite) -> Next {
        let Ok(next) = rewrite.trailers(self);
        self.pass_on_unless_held(next)
    }

    fn pass_on_unless_held(&mut self, next: Next) -> Next {
        if next == Next::Continue {
            self.passed_on.append(&mut self.buffer.borrow_mut());
        }
        next
    }
}

fn rewrite(trailers_announced: bool) -> Rewrite {
    let json = br#"{"rules": [{"detect": "email", "replacement": "X"}]}"#;
    let mut config: Config = filter_config::parse(Some(json)).unwrap();
    Rewrite::new(
        Scanner::new(Rc::new(config.take_rules())),
        trailers_announced,
    )
}

#[test]
fn end_of_a_chunk_is_withheld_and_comes_with_the_next_one() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    assert_eq!(
        host.chunk(&mut rewrite, b"to bob@exam", false),
        Next::Continue
    );
    assert_eq!(host.passed_on, b"to ");
    assert_eq!(
        host.chunk(&mut rewrite, b"ple.com, you", false),
        Next::Continue
    );
    assert_eq!(host.passed_on, b"to X, ");
    assert_eq!(host.chunk(&mut rewrite, b"", true), Next::Continue);
    assert_eq!(host.passed_on, b"to X, you");
}

#[test]
fn body_in_one_callback_is_rewritten_whole() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    assert_eq!(
        host.chunk(&mut rewrite, b"bob@example.com", true),
        Next::Continue
    );
    assert_eq!(host.passed_on, b"X");
}

#[test]
fn chunk_without_matches_is_not_written_back() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    host.chunk(&mut rewrite, b"nothing here. ", false);
    host.chunk(&mut rewrite, b"", true);
    assert_eq!(host.passed_on, b"nothing here. ");
    assert_eq!(*host.replacements.borrow(), 0);
}

#[test]
fn chunk_that_is_withheld_whole_passes_on_nothing() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    assert_eq!(host.chunk(&mut rewrite, b"bob", false), Next::Continue);
    assert_eq!(host.passed_on, b"");
    host.chunk(&mut rewrite, b"", true);
    assert_eq!(host.passed_on, b"bob");
}

#[test]
fn unannounced_trailers_break_a_body_whose_end_is_withheld() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    host.chunk(&mut rewrite, b"to bob", false);
    assert_eq!(host.trailers(&mut rewrite), Next::Break);
}

#[test]
fn unannounced_trailers_do_no_harm_when_nothing_is_withheld() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(false));
    host.chunk(&mut rewrite, b"{\"to\": \"bob@example.com\"}", false);
    assert_eq!(host.trailers(&mut rewrite), Next::Continue);
    assert_eq!(host.passed_on, b"{\"to\": \"X\"}");
}

#[test]
fn before_announced_trailers_the_end_is_held_in_the_host() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(true));
    assert_eq!(host.chunk(&mut rewrite, b"to bob@exam", false), Next::Hold);
    assert_eq!(
        host.chunk(&mut rewrite, b"ple.com and al", false),
        Next::Hold
    );
    assert_eq!(
        host.chunk(&mut rewrite, b"ice@example.com", false),
        Next::Hold
    );
    assert_eq!(host.passed_on, b"");
    assert_eq!(host.trailers(&mut rewrite), Next::Continue);
    assert_eq!(host.passed_on, b"to X and X");
}

#[test]
fn before_announced_trailers_a_decided_chunk_streams() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(true));
    assert_eq!(
        host.chunk(&mut rewrite, b"to bob@example.com.\n", false),
        Next::Continue
    );
    assert_eq!(host.passed_on, b"to X.\n");
    assert_eq!(host.chunk(&mut rewrite, b"to bob", false), Next::Hold);
    assert_eq!(host.chunk(&mut rewrite, b"!\n", false), Next::Continue);
    assert_eq!(host.passed_on, b"to X.\nto bob!\n");
    assert_eq!(host.trailers(&mut rewrite), Next::Continue);
}

#[test]
fn announced_trailers_may_fail_to_come() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(true));
    assert_eq!(
        host.chunk(&mut rewrite, b"to bob@example.com", false),
        Next::Hold
    );
    assert_eq!(host.chunk(&mut rewrite, b"", true), Next::Continue);
    assert_eq!(host.passed_on, b"to X");
}

#[test]
fn no_more_is_held_than_the_limit() {
    let (mut host, mut rewrite) = (Host::default(), rewrite(true));
    let chunk = b"a ".repeat(MAX_HELD_BYTES / 4);
    assert_eq!(
        host.chunk(&mut rewrite, &[&chunk[..], b"a"].concat(), false),
        Next::Hold
    );
    assert_eq!(
        host.chunk(&mut rewrite, &[&chunk[..], b"a"].concat(), false),
        Next::Continue
    );
    assert!(host.passed_on.len() > MAX_HELD_BYTES);
    assert_eq!(host.trailers(&mut rewrite), Next::Break);
}
