//! What is made of the observations of a case.

use super::case::Case;
use super::diff::diff;
use super::observation::Observation;

/// What there is to compare.
pub struct Evidence<'a> {
    /// The real Envoy, now.
    pub envoy: Option<&'a Observation>,
    /// The real Envoy, when the expectations were recorded.
    pub recorded: Option<&'a Observation>,
    pub weir: Option<&'a Observation>,
    /// What Weir does in the place of what Envoy does.
    pub recorded_weir: Option<&'a Observation>,
}

/// How a case came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Weir does what Envoy does.
    Equal,
    /// Weir does what is recorded of it, and that is on purpose.
    OnPurpose,
    /// Weir was not run.
    NotCompared,
    /// Weir differs, for this reason, with a difference line by line.
    Different(&'static str, Vec<String>),
    /// Envoy itself is not as recorded: the same, of Envoy.
    Unsteady(&'static str, Vec<String>),
}

/// Judges a case.
#[must_use]
pub fn judge(case: &Case, evidence: &Evidence<'_>) -> Verdict {
    let Evidence {
        envoy,
        recorded,
        weir,
        recorded_weir,
    } = evidence;
    match (envoy, recorded) {
        (Some(envoy), Some(recorded)) if envoy != recorded => {
            return Verdict::Unsteady(
                "Envoy is not what was recorded of it",
                diff(&recorded.lines, &envoy.lines),
            );
        }
        (Some(envoy), None) => {
            return Verdict::Unsteady("nothing is recorded of Envoy", diff(&[], &envoy.lines));
        }
        (None, None) if !case.crashes_envoy => {
            return Verdict::Unsteady("nothing is recorded of Envoy", Vec::new());
        }
        _ => {}
    }
    let Some(weir) = weir else {
        return Verdict::NotCompared;
    };
    if !case.differs.is_empty() {
        return match recorded_weir {
            None => Verdict::Different(
                "nothing is recorded of Weir, which differs here",
                diff(&[], &weir.lines),
            ),
            Some(expected) if expected == weir => Verdict::OnPurpose,
            Some(expected) => Verdict::Different(
                "Weir is not what was recorded of it",
                diff(&expected.lines, &weir.lines),
            ),
        };
    }
    match envoy.or(*recorded) {
        Some(envoy) if envoy == *weir => Verdict::Equal,
        Some(envoy) => {
            Verdict::Different("Weir differs from Envoy", diff(&envoy.lines, &weir.lines))
        }
        None => Verdict::Different(
            "a case that crashes Envoy has to say by which difference Weir differs",
            Vec::new(),
        ),
    }
}
