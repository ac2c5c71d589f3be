//! [`Judge`]: who decides what is accepted of what a server sends.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::limits::DETAIL_BYTES;
use crate::resource_type::ResourceType;
use crate::snapshot::{Changes, Snapshot};
use crate::text::cut;

/// Decides what is accepted. One offer is judged after the other; nothing is read from
/// the server meanwhile. So it must not wait for other resources: it can ask for them by
/// [`crate::Subscriptions`], accept what it has, and use it when they have come, as
/// [`Snapshot::is_complete`] tells. It may take its time, and must not block the thread:
/// the connection is kept alive by others on it. What was refused may be offered again.
pub trait Judge: Send {
    /// Whether what is offered can be used. An offer has at least one change.
    fn judge(&mut self, offer: Offer) -> impl Future<Output = Verdict> + Send;
}

/// What one response of the server would make of the resources that there are.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The type of all that is in it.
    pub kind: ResourceType,
    /// What there is.
    pub before: Snapshot,
    /// What there would be.
    pub after: Snapshot,
    /// What the response changes.
    pub changes: Changes,
}

/// What becomes of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is taken.
    Accepted,
    /// What is named stays as it is, the rest is taken, as Envoy does with clusters and
    /// listeners. The server is told what was refused.
    Partly(Vec<Rejection>),
    /// Everything stays as it is.
    Rejected(Vec<Rejection>),
}

impl Verdict {
    /// Nothing is refused, as one that names nothing says too.
    pub(crate) fn simplified(self) -> Self {
        match self {
            Self::Partly(rejections) if rejections.is_empty() => Self::Accepted,
            other => other,
        }
    }
}

/// Why something is refused, in words for whoever runs the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The resource; `None` if it is for all of them.
    pub name: Option<Arc<str>>,
    /// The reason, to be read behind the resource's name.
    pub reason: String,
}

impl Rejection {
    /// One resource is refused.
    pub fn new(name: impl Into<Arc<str>>, reason: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            reason: reason.into(),
        }
    }

    /// The response is refused, for no single resource.
    pub fn of_all(reason: impl Into<String>) -> Self {
        Self {
            name: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What the server is told, at most [`DETAIL_BYTES`] of it and then how many more there
/// are.
pub(crate) fn detail(kind: ResourceType, rejections: &[Rejection]) -> String {
    if rejections.is_empty() {
        return format!("{kind}: refused, and no reason is known");
    }
    let mut text = String::new();
    for (place, rejection) in rejections.iter().enumerate() {
        let separator = if place == 0 { "" } else { "; " };
        let colon = if rejection.name.is_some() { "" } else { ":" };
        let next = format!("{separator}{kind}{colon} {rejection}");
        if text.len() + next.len() > DETAIL_BYTES {
            if place == 0 {
                text.push_str(cut(&next, DETAIL_BYTES));
            }
            let more = rejections.len() - place.max(1);
            if more > 0 {
                text.push_str(&format!("; and {more} more"));
            }
            break;
        }
        text.push_str(&next);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ResourceType = ResourceType::Listener;

    #[test]
    fn a_detail_names_type_resource_and_reason() {
        let rejections = [
            Rejection::new("a", "has no filter chain"),
            Rejection::of_all("number 3 has no name"),
        ];
        let expected = "listener `a`: has no filter chain; listener: number 3 has no name";
        assert_eq!(detail(KIND, &rejections), expected);
    }

    #[test]
    fn a_detail_has_an_end() {
        let long = vec![Rejection::new("a", "ä".repeat(700)); 9];
        let text = detail(KIND, &long);
        assert!(text.len() < DETAIL_BYTES + 32, "{}", text.len());
        assert!(text.ends_with("; and 7 more"), "{text}");
        let one = [Rejection::of_all("ä".repeat(DETAIL_BYTES))];
        assert!(detail(KIND, &one).len() <= DETAIL_BYTES);
        assert!(!detail(KIND, &[]).is_empty());
    }
}
