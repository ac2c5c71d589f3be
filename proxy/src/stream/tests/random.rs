//! Guests, a client and an upstream that do anything in any order: streams end,
//! nothing panics, no context stays behind, and no byte is lost.

use std::collections::VecDeque;
use std::time::Duration;

use weir_abi::Direction::{self, Request, Response};
use weir_config::FailurePolicy;

use super::random_guest::{self, may};
use super::rig::{Chain, Filter};
use super::run::Run;
use crate::stream::event::Event;
use crate::stream::{ResponseFlags, ResponseState};

/// Rounds of "continue everything" after which a stream must have ended. Each
/// filter can pause each direction at headers, body and trailers.
const ROUNDS_MAX: usize = 100;

/// xorshift; a seed must not be 0.
struct Random(u32);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % n
    }
}

/// One direction's message, as it is still to come.
struct Message {
    sent: String,
    pieces: VecDeque<String>,
    ended: bool,
}

impl Message {
    fn new(random: &mut Random) -> Self {
        let piece = |n: usize| ('a'..='z').cycle().skip(n).take(n + 1).collect();
        let pieces: VecDeque<String> = (0..random.below(5))
            .map(|_| piece(random.below(9)))
            .collect();
        Self {
            sent: pieces.iter().map(String::as_str).collect(),
            pieces,
            ended: false,
        }
    }

    /// Feeds the next piece, or the end.
    fn feed(&mut self, run: &Run, direction: Direction, random: &mut Random) {
        if self.ended || run.stream.is_over_watermark(direction) {
            return;
        }
        let piece = self.pieces.pop_front().unwrap_or_default();
        self.ended = piece.is_empty() || self.pieces.is_empty() && random.below(2) == 0;
        run.feed(direction, &piece, self.ended);
    }
}

/// One stream and what the client and the upstream have of it.
struct Player {
    run: Run,
    request: Message,
    response: Message,
    responding: bool,
    upstream: Vec<String>,
    client: Vec<String>,
}

impl Player {
    fn new(chain: &Chain, limit: usize, random: &mut Random) -> Self {
        let run = chain.limited_stream(&[(":method", "POST"), (":path", "/")], limit);
        let mut request = Message::new(random);
        request.ended = request.pieces.is_empty() && random.below(2) == 0;
        run.request(request.ended);
        Self {
            run,
            request,
            response: Message::new(random),
            responding: false,
            upstream: Vec::new(),
            client: Vec::new(),
        }
    }

    fn collect(&mut self) {
        self.upstream.extend(self.run.upstream());
        self.client.extend(self.run.client());
    }

    fn respond(&mut self, random: &mut Random) {
        self.collect();
        if self.upstream.is_empty() {
            return;
        }
        if self.responding {
            self.response.feed(&self.run, Response, random);
        } else {
            self.responding = true;
            self.response.ended = self.response.pieces.is_empty() && random.below(2) == 0;
            self.run
                .respond_with(&[(":status", "200")], self.response.ended);
        }
    }

    fn has_ended(&mut self) -> bool {
        self.collect();
        match self.run.state() {
            ResponseState::Awaited | ResponseState::Started => false,
            ResponseState::Complete => ended(&self.upstream) || self.run.stream.request_over(),
            ResponseState::Reset => true,
        }
    }

    fn step(&mut self, chain: &Chain, filters: usize, random: &mut Random) {
        match random.below(8) {
            0..=2 => self.request.feed(&self.run, Request, random),
            3 | 4 => self.respond(random),
            5 => self.continues(random.below(filters)),
            6 => chain.tick(random.below(filters)),
            _ => self.run.pump(),
        }
    }

    /// A connection breaks, now and then.
    fn accident(&mut self, random: &mut Random) {
        self.collect();
        match random.below(60) {
            0 if !self.upstream.is_empty() => self.run.upstream_closes(),
            1 => {
                let flag = ResponseFlags::DOWNSTREAM_TERMINATION;
                self.run.stream.fail_downstream(flag, "gone");
            }
            _ => {}
        }
    }

    fn continues(&self, filter: usize) {
        for direction in [Request, Response] {
            self.run.stream.queue(Event::Continue(filter, direction));
        }
        self.run.pump();
    }

    /// Lets everything go until the stream has ended.
    fn finish(&mut self, filters: usize, random: &mut Random, what: &str) {
        let mut rounds = 0;
        while !self.has_ended() {
            self.request.feed(&self.run, Request, random);
            self.respond(random);
            (0..filters).for_each(|filter| self.continues(filter));
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "{what}: {:?}", self.run.state());
        }
    }
}

fn ended(frames: &[String]) -> bool {
    frames.last().is_some_and(|frame| frame.ends_with("eos"))
}

fn body(frames: &[String]) -> String {
    let body = frames.iter().filter_map(|f| f.strip_prefix('\''));
    body.map(|f| f.split_once('\'').unwrap().0).collect()
}

/// A message is its headers, its body and perhaps its trailers; nothing twice,
/// nothing behind the end.
fn is_well_formed(frames: &[String]) -> bool {
    let headers = frames.iter().filter(|f| f.starts_with("headers")).count();
    let ends = frames.iter().filter(|f| f.ends_with("eos")).count();
    match frames.first() {
        None => true,
        Some(first) => {
            first.starts_with("headers")
                && headers == 1
                && (ends == 0 || ends == 1 && ended(frames))
        }
    }
}

/// Plays `streams` at once through a random chain.
fn play(seed: u32, may: u32, limit: usize) -> Vec<Player> {
    let what = format!("seed {seed}");
    let mut random = Random(seed.wrapping_mul(2_654_435_761) | 1);
    let module = random_guest::compile();
    let filters = 1 + random.below(3);
    let filter = |n: usize| {
        let configuration = random_guest::configuration(seed ^ (n as u32) << 16, may);
        let filter = Filter::of(module.clone()).configuration(configuration);
        let filter = match random.below(4) {
            0 => filter.policy(FailurePolicy::Open),
            1 => filter.policy(FailurePolicy::Closed),
            2 => filter.reloading(Duration::ZERO),
            _ => filter,
        };
        match random.below(3) {
            0 => filter.holding_headers(),
            _ => filter,
        }
    };
    let chain = Chain::new((0..filters).map(filter).collect::<Vec<_>>());
    let mut players: Vec<_> = (0..=random.below(3))
        .map(|_| Player::new(&chain, limit, &mut random))
        .collect();
    for _ in 0..random.below(60) {
        let player = random.below(players.len());
        players[player].step(&chain, filters, &mut random);
        if may != 0 {
            players[player].accident(&mut random);
        }
    }
    for player in &mut players {
        player.finish(filters, &mut random, &what);
        assert!(
            is_well_formed(&player.upstream),
            "{what}: {:?}",
            player.upstream
        );
        assert!(
            is_well_formed(&player.client),
            "{what}: {:?}",
            player.client
        );
    }
    for player in &players {
        player.run.stream.finish();
    }
    for player in &players {
        player.run.finish();
    }
    players
}

#[test]
fn no_byte_is_lost_by_pausing_and_continuing() {
    for seed in 1..=300 {
        for player in play(seed, 0, usize::MAX) {
            let what = format!("seed {seed}");
            assert_eq!(player.run.state(), ResponseState::Complete, "{what}");
            assert!(ended(&player.upstream), "{what}");
            assert_eq!(body(&player.upstream), player.request.sent, "{what}");
            assert_eq!(body(&player.client), player.response.sent, "{what}");
        }
    }
}

#[test]
fn whatever_filters_do_every_stream_ends_and_leaves_nothing_behind() {
    let anything = may::CHANGE | may::ANSWER | may::CLOSE | may::TRAP;
    for seed in 1..=600 {
        play(seed, anything, 20);
    }
}

#[test]
fn streams_end_without_having_been_let_go() {
    for seed in 1..=100 {
        let mut random = Random(seed);
        let module = random_guest::compile();
        let configuration = random_guest::configuration(seed, may::CHANGE);
        let filter = |_| Filter::of(module.clone()).configuration(configuration.clone());
        let chain = Chain::new((0..2).map(filter));
        let mut player = Player::new(&chain, 20, &mut random);
        for _ in 0..random.below(20) {
            player.step(&chain, 2, &mut random);
        }
        player.run.finish();
    }
}
