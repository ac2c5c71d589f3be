//! What endpoints are told of clients' certificates: `x-forwarded-client-cert`.

use crate::read::words;

/// `http.forward_client_cert_details`: what happens to `x-forwarded-client-cert`, with
/// which proxies tell each other who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// `sanitize`: it is removed.
    Sanitize,
    /// `forward_only`: it stays if the client has shown a certificate.
    ForwardOnly,
    /// `append_forward`: if the client has shown a certificate, that is added.
    AppendForward,
    /// `sanitize_set`: if the client has shown a certificate, that takes its place.
    SanitizeSet,
    /// `always_forward_only`: it stays as it is.
    AlwaysForwardOnly,
}

words!(ForwardClientCert, "a way to forward certificates",
    "sanitize" => Self::Sanitize,
    "forward_only" => Self::ForwardOnly,
    "append_forward" => Self::AppendForward,
    "sanitize_set" => Self::SanitizeSet,
    "always_forward_only" => Self::AlwaysForwardOnly);

/// `http.set_current_client_cert_details[]`: what is told of a certificate, besides its
/// digest and the URIs of the listener's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertDetail {
    /// `subject`
    Subject,
    /// `uri`: names that are URIs.
    Uri,
    /// `dns`: names in the DNS.
    Dns,
}

words!(ClientCertDetail, "a detail of a certificate",
    "subject" => Self::Subject,
    "uri" => Self::Uri,
    "dns" => Self::Dns);
