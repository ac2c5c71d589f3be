//! The header `traceparent` (W3C Trace Context, version 00).

use std::cell::RefCell;
use std::fmt::Write as _;

use weir_abi::HeaderMap;

pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// Bytes of `traceparent` as it is now: a version, two identifiers, flags.
const LENGTH: usize = 55;

/// What a request is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whoever is in front records it.
    pub(super) sampled: bool,
}

impl TraceContext {
    /// What a request says of itself; `None` if that is nothing, or not well-formed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT.as_bytes());
        let value = given.next()?;
        match given.next() {
            None => Self::parse(value),
            Some(_) => None,
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version] = hex::<1>(&known[..2])?;
        // A later version may say more, behind another dash.
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        let context = Self {
            trace: hex(&known[3..35])?,
            span: hex(&known[36..52])?,
            sampled: hex::<1>(&known[53..])?[0] & 1 == 1,
        };
        let named = context.trace != [0; 16] && context.span != [0; 8];
        (ends && dashes && named).then_some(context)
    }

    /// As the header has it.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        let mut hex = |bytes: &[u8], end: &str| {
            for byte in bytes {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
            }
            text.push_str(end);
        };
        hex(&self.trace, "-");
        hex(&self.span, "-");
        hex(&[self.sampled.into()], "");
        text
    }
}

/// Bytes from digits, lower case alone.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Random bytes that one call of the system's is good for.
const BATCH: usize = 4096;

thread_local! {
    /// Random bytes, and how many of them are left.
    static POOL: RefCell<(Box<[u8; BATCH]>, usize)> = RefCell::new((Box::new([0; BATCH]), 0));
}

/// Random bytes, not all of them 0; `None` when the system has none.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let bytes = POOL.with_borrow_mut(|(pool, left)| {
        if *left < N {
            getrandom::fill(&mut pool[..]).ok()?;
            *left = pool.len();
        }
        *left -= N;
        pool[*left..].first_chunk::<N>().copied()
    });
    bytes.filter(|bytes| *bytes != [0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_and_written() {
        let context = TraceContext::parse(GIVEN.as_bytes()).unwrap();
        assert!(context.sampled);
        assert_eq!(context.text(), GIVEN);
        let unsampled = GIVEN.replace("-01", "-00");
        assert!(!TraceContext::parse(unsampled.as_bytes()).unwrap().sampled);
        let later = GIVEN.replacen("00", "cc", 1) + "-what-comes";
        assert!(TraceContext::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn what_is_not_well_formed_is_none() {
        for wrong in [
            "",
            "00",
            &GIVEN.to_uppercase(),
            &GIVEN.replacen("00", "ff", 1),
            &(GIVEN.to_owned() + "-more"),
            &(GIVEN.replacen("00", "01", 1) + "x"),
            &GIVEN.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GIVEN.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GIVEN.replace('-', "_"),
            &GIVEN[..54],
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let twice: HeaderMap = [(TRACEPARENT, GIVEN), (TRACEPARENT, GIVEN)]
            .into_iter()
            .collect();
        assert_eq!(TraceContext::of(&twice), None);
    }

    #[test]
    fn identifiers_differ() {
        let all: std::collections::HashSet<_> = (0..2000).filter_map(|_| random::<8>()).collect();
        assert_eq!(all.len(), 2000);
    }
}
