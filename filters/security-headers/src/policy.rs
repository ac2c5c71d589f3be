//! The headers that a configuration stands for, worked out once: a response only
//! has to walk the list.

use crate::config::{
    Config, EmbedderPolicy, FrameOptions, OpenerPolicy, ReferrerPolicy, ResourcePolicy,
};

/// What is to happen to responses.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) remove: Vec<String>,
    pub(crate) set: Vec<Header>,
    /// Whether a header that the upstream set is replaced; otherwise it stays.
    pub(crate) replace: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The responses that get it.
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    All,
    /// Responses to requests over TLS: elsewhere, RFC 6797 (section 7.2) forbids it.
    Https,
    /// Responses that a browser may show as a document.
    Documents,
}

/// What has to be known of a response to choose its headers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Response {
    pub(crate) https: bool,
    pub(crate) document: bool,
}

impl Header {
    pub(crate) fn applies_to(&self, response: Response) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Https => response.https,
            Scope::Documents => response.document,
        }
    }
}

impl From<Config> for Policy {
    fn from(config: Config) -> Self {
        let mut set = Vec::new();
        let mut add = |name: &str, value: Option<&str>, scope| {
            set.extend(value.map(|value| Header {
                name: name.to_owned(),
                value: value.to_owned(),
                scope,
            }));
        };
        let hsts = config.hsts.map(|hsts| hsts.to_string());
        let nosniff = config.content_type_options.then_some("nosniff");
        let frame = config.frame_options.map(FrameOptions::as_str);
        let referrer = config.referrer_policy.map(ReferrerPolicy::as_str);
        let csp = config.content_security_policy.as_deref();
        let csp_report_only = config.content_security_policy_report_only.as_deref();
        let permissions = config.permissions_policy.as_deref();
        let opener = config.cross_origin_opener_policy.map(OpenerPolicy::as_str);
        let resource = config
            .cross_origin_resource_policy
            .map(ResourcePolicy::as_str);
        let embedder = config
            .cross_origin_embedder_policy
            .map(EmbedderPolicy::as_str);

        add("strict-transport-security", hsts.as_deref(), Scope::Https);
        add("x-content-type-options", nosniff, Scope::All);
        add("x-frame-options", frame, Scope::All);
        add("referrer-policy", referrer, Scope::All);
        add("content-security-policy", csp, Scope::Documents);
        add(
            "content-security-policy-report-only",
            csp_report_only,
            Scope::Documents,
        );
        add("permissions-policy", permissions, Scope::All);
        add("cross-origin-opener-policy", opener, Scope::All);
        add("cross-origin-resource-policy", resource, Scope::All);
        add("cross-origin-embedder-policy", embedder, Scope::All);
        for (name, value) in &config.headers {
            add(name, Some(value), Scope::All);
        }
        let remove = config.remove.iter().map(|name| name.to_string()).collect();
        Self {
            remove,
            set,
            replace: config.replace,
        }
    }
}

/// Whether a browser may show a body of this content type as a document, so that a
/// content security policy means something for it. Without a content type it may.
pub(crate) fn is_document(content_type: Option<&[u8]>) -> bool {
    const DOCUMENTS: [&[u8]; 5] = [
        b"text/html",
        b"application/xhtml+xml",
        b"image/svg+xml",
        b"text/xml",
        b"application/xml",
    ];
    content_type.is_none_or(|content_type| {
        let essence = content_type
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default();
        DOCUMENTS
            .iter()
            .any(|document| essence.trim_ascii().eq_ignore_ascii_case(document))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: Response = Response {
        https: true,
        document: true,
    };

    fn policy(json: &str) -> Policy {
        filter_config::parse::<Config>(Some(json.as_bytes()))
            .unwrap()
            .into()
    }

    fn headers(policy: &Policy, response: Response) -> Vec<String> {
        let applicable = policy
            .set
            .iter()
            .filter(|header| header.applies_to(response));
        applicable
            .map(|Header { name, value, .. }| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn defaults_are_headers_that_break_no_site() {
        let policy = policy("{}");
        assert_eq!(
            headers(&policy, HTML),
            [
                "strict-transport-security: max-age=31536000",
                "x-content-type-options: nosniff",
                "x-frame-options: SAMEORIGIN",
                "referrer-policy: strict-origin-when-cross-origin",
            ]
        );
        assert!(policy.remove.contains(&"x-powered-by".to_owned()));
        assert!(!policy.replace);
    }

    #[test]
    fn everything_can_be_switched_off() {
        let policy = policy(
            r#"{"hsts": null, "content_type_options": false, "frame_options": null,
                "referrer_policy": null, "remove": []}"#,
        );
        assert!(policy.set.is_empty());
        assert!(policy.remove.is_empty());
    }

    #[test]
    fn every_header_can_be_set() {
        let policy = policy(
            r#"{"hsts": {"max_age": 60, "include_subdomains": true, "preload": true},
                "content_type_options": false, "frame_options": "DENY", "referrer_policy": "origin",
                "content_security_policy": "default-src 'self'",
                "content_security_policy_report_only": "img-src 'none'",
                "permissions_policy": "camera=()",
                "cross_origin_opener_policy": "same-origin",
                "cross_origin_resource_policy": "same-site",
                "cross_origin_embedder_policy": "require-corp",
                "headers": {"X-Robots-Tag": "noindex"}, "remove": ["Via"], "override": true}"#,
        );
        assert_eq!(
            headers(&policy, HTML),
            [
                "strict-transport-security: max-age=60; includeSubDomains; preload",
                "x-frame-options: DENY",
                "referrer-policy: origin",
                "content-security-policy: default-src 'self'",
                "content-security-policy-report-only: img-src 'none'",
                "permissions-policy: camera=()",
                "cross-origin-opener-policy: same-origin",
                "cross-origin-resource-policy: same-site",
                "cross-origin-embedder-policy: require-corp",
                "x-robots-tag: noindex",
            ]
        );
        assert_eq!(policy.remove, ["via"]);
        assert!(policy.replace);
    }

    #[test]
    fn hsts_is_not_sent_over_plain_http() {
        let plain = headers(
            &policy("{}"),
            Response {
                https: false,
                document: true,
            },
        );
        assert!(
            !plain
                .iter()
                .any(|header| header.starts_with("strict-transport-security"))
        );
    }

    #[test]
    fn content_security_policy_is_sent_on_documents_only() {
        let policy = policy(r#"{"content_security_policy": "default-src 'self'"}"#);
        let json = headers(
            &policy,
            Response {
                https: true,
                document: false,
            },
        );
        assert!(
            !json
                .iter()
                .any(|header| header.starts_with("content-security-policy"))
        );
    }

    #[test]
    fn documents_are_known_by_their_content_type() {
        for document in ["text/html", "Text/HTML; charset=utf-8", "image/svg+xml"] {
            assert!(is_document(Some(document.as_bytes())), "{document}");
        }
        for other in ["application/json", "text/html-not", "", "image/png"] {
            assert!(!is_document(Some(other.as_bytes())), "{other}");
        }
        assert!(is_document(None));
    }
}
