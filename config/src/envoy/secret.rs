//! Envoy's `Secret`: certificates, keys and authorities that TLS refers to by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::Message;
use super::transport::{self, Validation};
use crate::source::Spanned;
use crate::tls::TlsCertificate;

/// What TLS refers to by name.
#[derive(Debug, Clone)]
pub struct Secret(Content);

/// What a secret is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// `tls_certificate`: who this side is.
    Certificate(Spanned<TlsCertificate>),
    /// `validation_context`: what others must show.
    Validation(Validation),
}

/// Secrets by their names: those of a bootstrap, and those that come later. What names
/// one that is not there is an error.
#[derive(Debug, Clone, Default)]
pub struct Secrets(HashMap<String, Arc<Secret>>);

impl Secrets {
    /// The secret of that name, if it is there by now.
    pub(super) fn get(&self, name: &str) -> Option<&Content> {
        self.0.get(name).map(|secret| &secret.0)
    }

    /// A secret is there, in the place of what had its name.
    pub fn insert(&mut self, name: String, secret: Secret) {
        self.0.insert(name, Arc::new(secret));
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(String::as_str)
    }
}

/// `secrets[]`: the secret and its name; `None` if it is none that TLS can use.
pub(super) fn read(message: &Message<'_, '_>) -> Option<(String, Secret)> {
    message.reader.guarded(transport::GUARD, || {
        let name = message.required_text("name").value;
        let kinds = ["tls_certificate", "validation_context"];
        let content = match message.one_of(&kinds) {
            Some("tls_certificate") => {
                let pair = message.message("tls_certificate")?;
                transport::certificate(&pair).map(Content::Certificate)
            }
            Some(_) => {
                let context = message.message("validation_context")?;
                Some(Content::Validation(transport::validation(&context)))
            }
            None => {
                // Keys of tickets and other secrets are reported as unknown fields.
                if !message.has_unknown() {
                    message.missing("tls_certificate");
                }
                None
            }
        };
        Some((name, Secret(content?)))
    })
}
