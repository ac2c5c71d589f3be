//! TLS towards endpoints.

use super::{Pem, SanMatch, TlsCertificate, TlsVersions, alpn};
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`tls` of a cluster",
    keys: &[
        ("sni", "web.example.com"),
        ("verify", "full"),
        ("ca", "authorities.pem"),
        ("match_subject_alt_names", "[{ exact: web.example.com }]"),
        ("cert", "client.pem"),
        ("key", "client.key"),
        ("alpn", "[h2]"),
        ("min_version", "1.2"),
        ("max_version", "1.3"),
        ("cipher_suites", "[ECDHE-ECDSA-AES128-GCM-SHA256]"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `clusters[].tls`: connections to the endpoints are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `sni`: the name that endpoints are asked for, and that their certificate must
    /// be for; an empty one is not sent. Default: the endpoint's own name, if it has
    /// one; of an endpoint that is an address, the certificate must be for that.
    pub sni: Option<Spanned<String>>,
    /// `verify`: what the certificate of an endpoint must be. Default: `full`.
    pub verify: Verification,
    /// `ca`: certificates of the authorities that are believed, in PEM: a file, or
    /// the text. Default: those that Mozilla trusts.
    pub ca: Option<Spanned<Pem>>,
    /// `match_subject_alt_names`: what one of the names in a certificate must be
    /// like, in place of the endpoint's name: one of these is enough.
    pub match_subject_alt_names: Vec<SanMatch>,
    /// `cert` and `key`: for endpoints that want to know who this is. Default: none.
    pub certificate: Option<TlsCertificate>,
    /// `alpn`: protocols that the endpoint can choose from. Default: that of
    /// `protocol`, and none for a listener with `tcp`.
    pub alpn: Option<Vec<String>>,
    /// `min_version` and `max_version`: `1.2` or `1.3`. Default: both. `cipher_suites`:
    /// those of TLS 1.2 that may be used.
    pub versions: TlsVersions,
}

/// `verify`: what the certificate of an endpoint must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// `full`: issued by an authority that is believed, for the name or address of
    /// the endpoint.
    Full,
    /// `chain`: issued by an authority that is believed, for whatever name.
    Chain,
    /// `none`: anything. Whoever is on the way can be the endpoint.
    None,
}

words!(Verification, "a kind of verification",
    "full" => Self::Full,
    "chain" => Self::Chain,
    "none" => Self::None);

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            sni: None,
            verify: Verification::Full,
            ca: None,
            match_subject_alt_names: Vec::new(),
            certificate: None,
            alpn: None,
            versions: TlsVersions::default(),
        }
    }
}

impl FromYaml for UpstreamTls {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let verify = fields.optional("verify").unwrap_or(Verification::Full);
        for key in ["ca", "match_subject_alt_names"] {
            if verify == Verification::None && fields.node(key).is_some() {
                let message = format!("`{key}` has no effect beside `verify: none`");
                let problem = Problem::new(fields.key_span(key), message);
                fields.problems.push(problem);
            }
        }
        Self {
            sni: fields.optional("sni"),
            verify,
            ca: fields.optional("ca"),
            match_subject_alt_names: fields
                .optional("match_subject_alt_names")
                .unwrap_or_default(),
            certificate: certificate(&mut fields),
            alpn: alpn(&mut fields),
            versions: TlsVersions::read(&mut fields),
        }
    }
}

/// `cert` and `key`, of which neither is good for anything without the other.
fn certificate(fields: &mut Fields<'_, '_>) -> Option<TlsCertificate> {
    let cert: Option<Spanned<Pem>> = fields.optional("cert");
    let key: Option<Spanned<Pem>> = fields.optional("key");
    match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsCertificate { cert, key }),
        (None, None) => None,
        (cert, _) => {
            let (given, missing) = match cert {
                Some(_) => ("cert", "key"),
                None => ("key", "cert"),
            };
            let message = format!("`{given}` needs `{missing}` beside it");
            let problem = Problem::new(fields.key_span(given), message);
            fields.problems.push(problem);
            None
        }
    }
}
