//! Envoy's `Secret`: certificates, keys and authorities that TLS refers to by name.

use std::collections::HashMap;

use super::message::Message;
use super::transport::{self, Validation};
use crate::source::Spanned;
use crate::tls::TlsCertificate;

/// What TLS refers to by name.
#[derive(Debug, Clone)]
pub(super) enum Secret {
    /// `tls_certificate`: who this side is.
    Certificate(Spanned<TlsCertificate>),
    /// `validation_context`: what others must show.
    Validation(Validation),
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretKind {
    Certificate,
    Validation,
}

impl SecretKind {
    /// The field that a secret of this kind has.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Certificate => "tls_certificate",
            Self::Validation => "validation_context",
        }
    }
}

/// Secrets by their names. What names one that is not there is an error.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    there: HashMap<String, Secret>,
    /// All that are not there will come.
    are_awaited: bool,
}

impl Secrets {
    /// None is there, and whatever is named will come.
    pub(super) fn awaited() -> Self {
        Self {
            there: HashMap::new(),
            are_awaited: true,
        }
    }

    /// The secret of that name, if it is there and of that kind; one without content if
    /// it will come.
    pub(super) fn get(&self, name: &str, kind: SecretKind) -> Option<Secret> {
        if self.are_awaited {
            return Some(match kind {
                SecretKind::Certificate => Secret::Certificate(transport::no_certificate()),
                SecretKind::Validation => Secret::Validation(transport::no_authority()),
            });
        }
        let is_it = |secret: &&Secret| match secret {
            Secret::Certificate(_) => kind == SecretKind::Certificate,
            Secret::Validation(_) => kind == SecretKind::Validation,
        };
        self.there.get(name).filter(is_it).cloned()
    }

    /// A secret is there, in the place of what had its name.
    pub(super) fn insert(&mut self, name: String, secret: Secret) {
        self.there.insert(name, secret);
    }

    /// The names of all that are there.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.there.keys().map(String::as_str)
    }
}

/// `secrets[]`: the secret and its name; `None` if it is none that TLS can use.
pub(super) fn read(message: &Message<'_, '_>) -> Option<(String, Secret)> {
    message.reader.guarded(transport::GUARD, || {
        let name = message.required_text("name").value;
        let kinds = ["tls_certificate", "validation_context"];
        let secret = match message.one_of(&kinds) {
            Some("tls_certificate") => {
                let pair = message.message("tls_certificate")?;
                transport::certificate(&pair).map(Secret::Certificate)
            }
            Some(_) => {
                let context = message.message("validation_context")?;
                Some(Secret::Validation(transport::validation(&context)))
            }
            None => {
                // Keys of tickets and other secrets are reported as unknown fields.
                if !message.has_unknown() {
                    message.missing("tls_certificate");
                }
                None
            }
        };
        Some((name, secret?))
    })
}
