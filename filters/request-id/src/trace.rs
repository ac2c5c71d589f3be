//! `traceparent` (W3C Trace Context, section 3.2).

use crate::config::TraceMode;
use crate::id::hex;

/// The flags that version 00 gives a meaning to and that go on with a trace:
/// sampled, and random-trace-id of level 2.
const KNOWN_FLAGS: u8 = 0x03;

/// Length of a version 00 header; later versions may only be longer.
const VERSION_00_BYTES: usize = 55;

/// What the request's `traceparent` becomes.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Both headers stay as they are.
    Untouched,
    /// The same trace under a new parent id; `tracestate` stays.
    Continued(String),
    /// A new trace; `tracestate` belonged to another one and has to go.
    Started(String),
}

/// Decides about a request. `incoming` is the only `traceparent` it carries: none
/// or several are `None`. `random` becomes the ids that have to be new.
pub(crate) fn outcome(
    mode: TraceMode,
    incoming: Option<&[u8]>,
    sampled: bool,
    random: [u8; 24],
) -> Outcome {
    let (trace_id, parent_id) = random.split_at(16);
    let started = || Outcome::Started(format(&id(trace_id), &id(parent_id), u8::from(sampled)));
    match (mode, incoming.and_then(parse)) {
        (TraceMode::Off, _) | (TraceMode::Pass, Some(_)) => Outcome::Untouched,
        (TraceMode::Continue, Some(trace)) => Outcome::Continued(format(
            trace.trace_id,
            &id(parent_id),
            trace.flags & KNOWN_FLAGS,
        )),
        (TraceMode::Restart, _) | (_, None) => started(),
    }
}

#[derive(Debug, PartialEq)]
struct TraceParent<'a> {
    /// 32 lower-case hexadecimal digits.
    trace_id: &'a str,
    flags: u8,
}

/// A valid header of any version but `ff`: what follows the four fields of version
/// 00 in a later one is ignored, as the specification asks.
fn parse(header: &[u8]) -> Option<TraceParent<'_>> {
    let known = std::str::from_utf8(header.get(..VERSION_00_BYTES)?).ok()?;
    let rest = &header[VERSION_00_BYTES..];
    let mut fields = known.split('-');
    let mut field = |digits: usize| fields.next().filter(|text| is_hex(text, digits));
    let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let known_version = match version {
        "ff" => false,
        "00" => rest.is_empty(),
        _ => rest.first().is_none_or(|&byte| byte == b'-'),
    };
    let set = |id: &str| id.bytes().any(|digit| digit != b'0');
    (known_version && set(trace_id) && set(parent_id)).then_some(TraceParent {
        trace_id,
        flags: u8::from_str_radix(flags, 16).ok()?,
    })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn format(trace_id: &str, parent_id: &str, flags: u8) -> String {
    format!("00-{trace_id}-{parent_id}-{flags:02x}")
}

/// An id of all zeros is invalid: the one value that must not be used as drawn.
fn id(random: &[u8]) -> String {
    let mut digits = hex(random);
    if digits.bytes().all(|digit| digit == b'0') {
        digits.replace_range(digits.len() - 1.., "1");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const RANDOM: [u8; 24] = [0xab; 24];
    const STARTED: &str = "00-abababababababababababababababab-abababababababab-01";

    fn continued(header: &str) -> Outcome {
        outcome(TraceMode::Continue, Some(header.as_bytes()), true, RANDOM)
    }

    fn started() -> Outcome {
        Outcome::Started(STARTED.to_owned())
    }

    #[test]
    fn valid_trace_goes_on_under_a_new_parent_id() {
        let expected = "00-0af7651916cd43dd8448eb211c80319c-abababababababab-01";
        assert_eq!(continued(VALID), Outcome::Continued(expected.to_owned()));
    }

    #[test]
    fn sampled_flag_of_a_trace_is_not_changed_and_unknown_flags_are_cleared() {
        let flags = |flags: &str| match continued(&VALID.replace("-01", flags)) {
            Outcome::Continued(header) => header[53..].to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(flags("-00"), "00");
        assert_eq!(flags("-03"), "03");
        assert_eq!(flags("-fd"), "01");
    }

    #[test]
    fn missing_trace_is_started_with_the_configured_flag() {
        assert_eq!(outcome(TraceMode::Continue, None, true, RANDOM), started());
        let unsampled = Outcome::Started(STARTED.replace("-01", "-00"));
        assert_eq!(outcome(TraceMode::Continue, None, false, RANDOM), unsampled);
    }

    #[test]
    fn invalid_headers_start_a_trace() {
        for header in [
            "",
            "00",
            &VALID[..54],
            &VALID.to_uppercase(),
            &format!("{VALID}-00"),
            &VALID.replace("00-0af", "ff-0af"),
            &VALID.replace("00-0af", "0g-0af"),
            &VALID.replace('-', "_"),
            &VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            &VALID.replace("b7ad6b716920333", "b7ad6b716920-33"),
            &format!(" {VALID}"),
        ] {
            assert_eq!(continued(header), started(), "{header:?}");
        }
        let binary = outcome(TraceMode::Continue, Some(&[0xff; 55]), true, RANDOM);
        assert_eq!(binary, started());
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for header in [
            VALID.replace("00-0af", "cc-0af"),
            VALID.replace("00-0af", "cc-0af") + "-x",
        ] {
            assert!(
                matches!(continued(&header), Outcome::Continued(_)),
                "{header}"
            );
        }
        assert_eq!(
            continued(&(VALID.replace("00-0af", "cc-0af") + ".x")),
            started()
        );
    }

    #[test]
    fn pass_leaves_a_valid_trace_and_replaces_an_invalid_one() {
        let pass = |header: &[u8]| outcome(TraceMode::Pass, Some(header), true, RANDOM);
        assert_eq!(pass(VALID.as_bytes()), Outcome::Untouched);
        assert_eq!(pass(b"nonsense"), started());
    }

    #[test]
    fn restart_never_continues_and_off_never_touches() {
        let valid = Some(VALID.as_bytes());
        assert_eq!(outcome(TraceMode::Restart, valid, true, RANDOM), started());
        assert_eq!(
            outcome(TraceMode::Off, None, true, RANDOM),
            Outcome::Untouched
        );
    }

    #[test]
    fn ids_are_never_all_zeros() {
        let Outcome::Started(header) = outcome(TraceMode::Continue, None, true, [0; 24]) else {
            panic!("not started");
        };
        assert_eq!(header, format!("00-{:032x}-{:016x}-01", 1, 1));
    }
}
