//! Cases made by chance: chains of probes that hold, change, answer and close,
//! between clients and upstreams of all kinds. A seed gives the same cases again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Map;

use super::case::{Case, Filter, Group, Protocol};
use super::step::Step;

/// The most filters in a chain.
const MAX_FILTERS: usize = 4;

/// `count` cases from a seed.
#[must_use]
pub fn group(seed: u64, count: usize) -> Group {
    let cases = (0..count).map(|number| case(seed, number)).collect();
    Group {
        name: "random".to_owned(),
        about: format!("Made from seed {seed}"),
        apart: false,
        cases,
    }
}

/// The same with clients who break off: three of them at once in each case, and
/// upstreams that break off their answers, too. When what comes is a matter of
/// luck, so that there is nothing to compare; but nothing may be left behind.
#[must_use]
pub fn interrupted(seed: u64, count: usize) -> Group {
    let mut group = group(seed, count);
    "interrupted".clone_into(&mut group.name);
    for (number, case) in group.cases.iter_mut().enumerate() {
        let mut chance = Chance::of_case(!seed, number);
        let whole = case.clients.remove(0).1;
        case.clients = ["one", "two", "three"]
            .map(|name| (name.to_owned(), broken_off(&whole, &mut chance)))
            .into();
        if chance.one_in(3) {
            let answer = lines(["200 | content-length: 9", "body abc", "flush", "reset"]);
            case.upstreams.insert("*".to_owned(), steps(&answer));
        }
    }
    group
}

/// The beginning of what a client does, a while, and the end.
fn broken_off(whole: &[Step], chance: &mut Chance) -> Vec<Step> {
    let mut cut = whole[..=chance.below(whole.len())].to_vec();
    let pause = Duration::from_millis(chance.below(30) as u64);
    let end = match chance.below(3) {
        0 => Step::Close,
        _ => Step::Reset(None),
    };
    cut.extend([Step::Flush, Step::Silence(pause), end]);
    cut
}

fn case(seed: u64, number: usize) -> Case {
    let mut chance = Chance::of_case(seed, number);
    let protocol = |chance: &mut Chance| match chance.one_in(3) {
        true => Protocol::H2,
        false => Protocol::H1,
    };
    let (downstream, upstream) = (protocol(&mut chance), protocol(&mut chance));
    let client = client(&mut chance, downstream);
    let answer = answer(&mut chance, upstream);
    let trailers = [&client, &answer].map(|lines| lines.iter().any(|l| l.starts_with("trailers")));
    let mut chain = Chain {
        filters: 1 + chance.below(MAX_FILTERS),
        ..Chain::default()
    };
    let filters = (0..chain.filters).map(|index| filter(&mut chance, index, trailers, &mut chain));
    let filters = filters.collect();
    Case {
        name: format!("{seed}-{number}"),
        about: format!(
            "client: {}; upstream: {}",
            client.join(", "),
            answer.join(", ")
        ),
        filters,
        loggers: Vec::new(),
        access_log: None,
        clients: vec![(String::new(), steps(&client))],
        upstreams: BTreeMap::from([("*".to_owned(), steps(&answer))]),
        downstream_protocol: downstream,
        upstream_protocol: upstream,
        connection_manager: Map::new(),
        tcp_proxy: Map::new(),
        cluster: Map::new(),
        listener: Map::new(),
        routes: None,
        any_chunks: false,
        terminate: false,
        start: false,
        differs: Vec::new(),
        crashes_envoy: false,
    }
}

/// The chain, and what its filters must not do both.
#[derive(Default)]
struct Chain {
    /// How many.
    filters: usize,
    /// Whose tick lets something go: which of two VMs has its tick first would be a
    /// matter of luck.
    timer: Option<usize>,
    /// Whether it is to requests or in response headers that filters reply: there,
    /// a reply that replaces another is a difference on purpose, `replaced-reply`.
    replies: Option<&'static str>,
}

impl Chain {
    /// Whether a filter may reply here; if so, none may reply at the other place.
    fn may_reply(&mut self, direction: &'static str) -> bool {
        *self.replies.get_or_insert(direction) == direction
    }
}

/// `trailers`: whether request and response have some.
fn filter(chance: &mut Chance, index: usize, trailers: [bool; 2], chain: &mut Chain) -> Filter {
    let mut script = "configure: tick_period 10\n".to_owned();
    let holds_headers = chance.one_in(3);
    for (direction, has_trailers) in ["request", "response"].into_iter().zip(trailers) {
        let mut at_headers = vec![format!("add {direction} x-f {index}")];
        // a body of another size needs the freedom to be so
        let changes_body = chance.one_in(3);
        if changes_body {
            at_headers.push(format!("remove {direction} content-length"));
        }
        match chance.below(8) {
            // Envoy loses count of trailers behind held headers.
            0 if has_trailers => {}
            // The body lets the headers go.
            0 if holds_headers => {
                script += &format!("{direction}_headers more: pause\n");
            }
            0 if chain.timer.is_some_and(|other| other != index) => {}
            0 => {
                chain.timer = Some(index);
                at_headers.push(format!("return {}", [1, 3, 4][chance.below(3)]));
                script += &format!(
                    "tick after={direction}_headers x1: effective oldest ; resume {direction}\n"
                );
            }
            1 if chance.one_in(2) && chain.may_reply(direction) => {
                script += &format!("{direction}_headers #1: reply 403 d denied-{index}\n");
            }
            2 if chance.one_in(3) => script += &format!("{direction}_headers: close {direction}\n"),
            _ => {}
        }
        script += &format!("{direction}_headers: {}\n", at_headers.join(" ; "));
        let body = format!("{direction}_body");
        script += &match chance.below(8) {
            0 => format!("{body} more: pause\n"),
            1 => format!("{body} more: pause\n{body} end: read {direction} 0 50\n"),
            2 if changes_body => {
                format!("{body} more: pause\n{body} end: write {direction} 0 max changed-{index}\n")
            }
            3 if changes_body => format!("{body}: write {direction} 0 0 {index}\n"),
            5 => format!("{body} more: return 2\n"),
            // Of a response that is cut, Envoy may have sent the head.
            6 if direction == "request" && chance.one_in(3) => {
                format!("{body} end: close {direction}\n")
            }
            4 if chance.one_in(3) && (direction == "response" || chain.may_reply(direction)) => {
                format!("{body} end: reply 418 d tea-{index}\n")
            }
            _ => String::new(),
        };
        // Where a later filter has kept the body, Envoy shows it once more.
        let last = match direction {
            "request" => chain.filters - 1,
            _ => 0,
        };
        let is_free = chain.timer.is_none_or(|other| other == index);
        if has_trailers && index == last && is_free && chance.one_in(4) {
            chain.timer = Some(index);
            script += &format!(
                "{direction}_trailers: pause\n\
                 tick after={direction}_trailers x1: effective oldest ; resume {direction}\n"
            );
        }
        if chance.one_in(4) {
            script += &format!(
                "{direction}_trailers: add {direction}_trailers x-f {index} ; pairs {direction}_trailers\n"
            );
        }
    }
    Filter {
        name: Some(char::from(b'a' + u8::try_from(index).unwrap_or(0)).to_string()),
        allow_on_headers_stop_iteration: holds_headers,
        ..Filter::probe(script)
    }
}

/// What a client does that sends everything at once: when pieces arrive would be
/// a matter of luck.
fn client(chance: &mut Chance, protocol: Protocol) -> Vec<String> {
    let chunked = chunked(protocol);
    match chance.below(6) {
        0 => lines(["GET /x"]),
        1 => lines(["HEAD /x"]),
        2 => lines(["POST /x | content-length: 6", "last abcdef"]),
        3 => lines([&format!("PUT /x{chunked}"), "last abcdef"]),
        4 => lines([&format!("POST /x{chunked}"), "end"]),
        _ => lines([
            &format!("POST /x{chunked}"),
            "body abcdef",
            "trailers x-t: 1",
        ]),
    }
}

fn answer(chance: &mut Chance, protocol: Protocol) -> Vec<String> {
    let chunked = chunked(protocol);
    match chance.below(8) {
        0 => lines(["204"]),
        1 => lines([&format!("200{chunked}"), "last hello"]),
        2 => lines([&format!("200{chunked}"), "body hello", "trailers x-u: 1"]),
        3 => lines(["503 | content-length: 5", "last hello"]),
        4 => lines(["reset"]),
        5 => lines(["304 | etag: x"]),
        _ => lines(["200 | content-length: 5", "last hello"]),
    }
}

fn chunked(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H1 => " | transfer-encoding: chunked",
        Protocol::H2 | Protocol::Tcp => "",
    }
}

fn lines<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).to_vec()
}

/// The lines as steps; all of them are some, as a test sees to.
fn steps(lines: &[String]) -> Vec<Step> {
    lines.iter().flat_map(|line| Step::parse(line)).collect()
}

/// Splitmix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn of_case(seed: u64, number: usize) -> Self {
        Self(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_step() {
        let mut chance = Chance(1);
        for protocol in [Protocol::H1, Protocol::H2].repeat(100) {
            let lines = [client(&mut chance, protocol), answer(&mut chance, protocol)].concat();
            assert_eq!(steps(&lines).len(), lines.len());
        }
    }

    #[test]
    fn seed_gives_the_same_cases_again() {
        for make in [group, interrupted] {
            let text = |seed| format!("{:?}", make(seed, 20));
            assert_eq!(text(7), text(7));
            assert_ne!(text(7), text(8));
        }
    }
}
