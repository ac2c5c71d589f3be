//! [`NameMatcher`]: whether one of the names in a certificate is as it must be.

use weir_config::{ConfigError, SanMatch, SanType, Span, TextMatcher as Wanted};

use super::certificate::CertificateFacts;
use super::pem::PemReader;
use crate::route::TextMatcher;

/// What one of the names in a certificate must be like; one of these is enough.
#[derive(Debug)]
pub(super) struct NameMatcher(Vec<Name>);

#[derive(Debug)]
struct Name {
    san_type: Option<SanType>,
    text: TextMatcher,
    /// The whole name, for one with a wildcard that stands for it.
    exact: Option<String>,
}

impl NameMatcher {
    /// # Errors
    /// A regular expression that is none, at `span`.
    pub(super) fn build(
        names: &[SanMatch],
        span: Span,
        reader: &PemReader<'_>,
    ) -> Result<Self, ConfigError> {
        let name = |name: &SanMatch| {
            let text = TextMatcher::build(&name.text).map_err(|error| {
                let message = format!("not a regular expression: {error}");
                reader.error(span, message)
            })?;
            Ok(Name {
                san_type: name.san_type,
                text,
                exact: match &name.text.matcher {
                    Wanted::Exact(exact) => Some(exact.to_ascii_lowercase()),
                    _ => None,
                },
            })
        };
        names.iter().map(name).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn matches(&self, facts: &CertificateFacts) -> bool {
        self.0.iter().any(|name| name.matches(facts))
    }
}

impl Name {
    fn matches(&self, facts: &CertificateFacts) -> bool {
        let all = [
            (SanType::Dns, &facts.dns_sans),
            (SanType::Uri, &facts.uri_sans),
            (SanType::Email, &facts.email_sans),
            (SanType::IpAddress, &facts.ip_sans),
        ];
        let looked_at = all
            .iter()
            .filter(|(san_type, _)| self.san_type.is_none_or(|wanted| wanted == *san_type));
        looked_at.into_iter().any(|(san_type, names)| {
            names.iter().any(|name| {
                let stands_for = |exact: &String| {
                    let name = name.to_ascii_lowercase();
                    *san_type == SanType::Dns && (name == *exact || is_wildcard_for(&name, exact))
                };
                self.text.matches(name.as_bytes()) || self.exact.as_ref().is_some_and(stands_for)
            })
        })
    }
}

/// Whether `pattern` is `*.` and what follows the first label of `name` (RFC 6125,
/// section 6.4.3). Both are in lower case.
pub(super) fn is_wildcard_for(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(rest), Some((label, behind))) => !label.is_empty() && rest == behind,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(is_wildcard_for("*.example.com", "a.example.com"));
        for name in ["example.com", "a.b.example.com", ".example.com", "*"] {
            assert!(!is_wildcard_for("*.example.com", name), "{name}");
        }
        assert!(!is_wildcard_for("a.example.com", "a.example.com"));
    }
}
