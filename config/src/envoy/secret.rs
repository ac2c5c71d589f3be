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

/// Secrets by their names. What names one that is not there is an error.
#[derive(Debug, Default)]
pub(super) struct Secrets(HashMap<String, Secret>);

impl Secrets {
    /// The secret of that name, if it is there by now.
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// A secret is there, in the place of what had its name.
    pub(super) fn insert(&mut self, name: String, secret: Secret) {
        self.0.insert(name, secret);
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(String::as_str)
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
