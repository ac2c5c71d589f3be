//! The configuration.

use std::collections::BTreeMap;
use std::fmt;

use filter_config::{HeaderName, HeaderValue};
use serde::Deserialize;

/// Every field has a default: `{}` is a complete configuration. A header whose
/// field is `null` is not set.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// `strict-transport-security`, on responses to https requests only.
    pub(crate) hsts: Option<Hsts>,
    /// `x-content-type-options: nosniff`.
    pub(crate) content_type_options: bool,
    /// `x-frame-options`.
    pub(crate) frame_options: Option<FrameOptions>,
    /// `referrer-policy`.
    pub(crate) referrer_policy: Option<ReferrerPolicy>,
    /// `content-security-policy`, on documents only.
    pub(crate) content_security_policy: Option<HeaderValue>,
    /// `content-security-policy-report-only`, on documents only.
    pub(crate) content_security_policy_report_only: Option<HeaderValue>,
    /// `permissions-policy`.
    pub(crate) permissions_policy: Option<HeaderValue>,
    /// `cross-origin-opener-policy`.
    pub(crate) cross_origin_opener_policy: Option<OpenerPolicy>,
    /// `cross-origin-resource-policy`.
    pub(crate) cross_origin_resource_policy: Option<ResourcePolicy>,
    /// `cross-origin-embedder-policy`.
    pub(crate) cross_origin_embedder_policy: Option<EmbedderPolicy>,
    /// Further headers, treated as the ones above are.
    pub(crate) headers: BTreeMap<HeaderName, HeaderValue>,
    /// Headers to remove from every response.
    pub(crate) remove: Vec<HeaderName>,
    /// Whether a header that the upstream set is replaced; otherwise it stays.
    #[serde(rename = "override")]
    pub(crate) replace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hsts: Some(Hsts::default()),
            content_type_options: true,
            frame_options: Some(FrameOptions::SameOrigin),
            referrer_policy: Some(ReferrerPolicy::StrictOriginWhenCrossOrigin),
            content_security_policy: None,
            content_security_policy_report_only: None,
            permissions_policy: None,
            cross_origin_opener_policy: None,
            cross_origin_resource_policy: None,
            cross_origin_embedder_policy: None,
            headers: BTreeMap::new(),
            remove: [
                "server",
                "x-powered-by",
                "x-aspnet-version",
                "x-aspnetmvc-version",
            ]
            .map(HeaderName::from_static)
            .to_vec(),
            replace: false,
        }
    }
}

/// RFC 6797, section 6.1.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hsts {
    /// Seconds.
    pub(crate) max_age: u64,
    pub(crate) include_subdomains: bool,
    /// Asks to be put on the browsers' own lists.
    pub(crate) preload: bool,
}

impl Default for Hsts {
    fn default() -> Self {
        Self {
            max_age: 365 * 24 * 60 * 60,
            include_subdomains: false,
            preload: false,
        }
    }
}

/// The header's value.
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

/// An enumeration whose variants are the values of one header.
macro_rules! header_values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
        pub(crate) enum $name {
            $(#[serde(rename = $value)] $variant,)+
        }

        impl $name {
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }
    };
}

header_values! {
    /// RFC 7034, section 2.1.
    FrameOptions { Deny = "DENY", SameOrigin = "SAMEORIGIN" }
}

header_values! {
    /// W3C Referrer Policy, section 3.
    ReferrerPolicy {
        NoReferrer = "no-referrer",
        NoReferrerWhenDowngrade = "no-referrer-when-downgrade",
        Origin = "origin",
        OriginWhenCrossOrigin = "origin-when-cross-origin",
        SameOrigin = "same-origin",
        StrictOrigin = "strict-origin",
        StrictOriginWhenCrossOrigin = "strict-origin-when-cross-origin",
        UnsafeUrl = "unsafe-url",
    }
}

header_values! {
    /// WHATWG HTML, section 7.1.3.
    OpenerPolicy {
        UnsafeNone = "unsafe-none",
        SameOriginAllowPopups = "same-origin-allow-popups",
        SameOrigin = "same-origin",
        NoopenerAllowPopups = "noopener-allow-popups",
    }
}

header_values! {
    /// WHATWG Fetch, section 3.7.
    ResourcePolicy {
        SameOrigin = "same-origin",
        SameSite = "same-site",
        CrossOrigin = "cross-origin",
    }
}

header_values! {
    /// WHATWG HTML, section 7.1.4.
    EmbedderPolicy {
        UnsafeNone = "unsafe-none",
        RequireCorp = "require-corp",
        Credentialless = "credentialless",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        filter_config::parse::<Config>(Some(json.as_bytes()))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn null_switches_a_header_off() {
        let config: Config = filter_config::parse(Some(br#"{"hsts": null}"#)).unwrap();
        assert!(config.hsts.is_none());
        assert_eq!(config.frame_options, Some(FrameOptions::SameOrigin));
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (
                r#"{"hsts": {"max_age": -1}}"#,
                "field `hsts.max_age`: invalid value",
            ),
            (
                r#"{"hsts": {"preloaded": true}}"#,
                "unknown field `preloaded`",
            ),
            (
                r#"{"frame_options": "ALLOW"}"#,
                "field `frame_options`: unknown variant `ALLOW`",
            ),
            (
                r#"{"referrer_policy": "none"}"#,
                "field `referrer_policy`: unknown variant",
            ),
            (
                r#"{"headers": {"x-a": "b\r\nc"}}"#,
                "field `headers.x-a`: '\\r' is not allowed",
            ),
            (
                r#"{"remove": ["server", ""]}"#,
                "field `remove[1]`: a header name cannot be empty",
            ),
            (r#"{"csp": "x"}"#, "unknown field `csp`"),
        ] {
            let message = refusal(json);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn invalid_name_of_a_further_header_is_refused() {
        let message = refusal(r#"{"headers": {"x a": "b"}}"#);
        assert!(message.contains("`x a` is not a header name"), "{message}");
    }
}
