//! Why a module could not be fetched.

use std::path::PathBuf;

use ureq::http::StatusCode;

use super::address::Forbidden;

/// Why a module could not be fetched, for the one who has configured it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{host}: {}", told(.source))]
    Http { host: String, source: ureq::Error },
    #[error("it did not arrive in time: `timeout` says how long that is")]
    Time,
    #[error("{host} answers {status}{}", hint(*.status))]
    Status { host: String, status: StatusCode },
    /// Of something that is not a fetch.
    #[error(
        "{host} refuses {what}: {status}{}{}",
        .said.as_ref().map_or_else(String::new, |said| format!(", {said}")),
        .challenge.as_ref().map_or_else(String::new, |c| format!("; it asks for {c}"))
    )]
    Refused {
        host: String,
        what: String,
        status: StatusCode,
        /// What it wants to be shown, with the realm.
        challenge: Option<String>,
        /// Why, in its own words.
        said: Option<String>,
    },
    #[error("{0}")]
    Protocol(String),
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("{what} has the digest sha256:{found}, and not sha256:{expected}")]
    Digest {
        what: &'static str,
        expected: String,
        found: String,
    },
    /// The configuration says what the digest is.
    #[error("{what} has the digest sha256:{found}, and not the one given here")]
    Sha256 { what: &'static str, found: String },
    #[error("{what} leads to `{to}`: {why}")]
    Leads {
        what: &'static str,
        to: String,
        why: &'static str,
    },
    #[error("{0}")]
    Layout(String),
    #[error("cannot read the credentials in {}: {why}", path.display())]
    Secret { path: PathBuf, why: String },
    #[error("cannot read the certificates in {}: {why}", path.display())]
    Certificates { path: PathBuf, why: String },
}

impl FetchError {
    /// Whether it may go better in a while.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Http { source, .. } => !matches!(
                source,
                ureq::Error::Other(_) | ureq::Error::BadUri(_) | ureq::Error::Rustls(_)
            ),
            Self::Status { status, .. } | Self::Refused { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Time => true,
            _ => false,
        }
    }

    /// Whether it is for want of credentials.
    pub(crate) fn is_for_credentials(&self) -> bool {
        matches!(
            self,
            Self::Status { status, .. } | Self::Refused { status, .. }
                if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        )
    }
}

/// In words that say where to look.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "the name is not known".to_owned(),
        ureq::Error::Other(other) => match other.downcast_ref::<Forbidden>() {
            Some(forbidden) => forbidden.to_string(),
            None => other.to_string(),
        },
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ": `pull_secret` names a file with credentials"
        }
        StatusCode::NOT_FOUND => ": there is no such thing, or not without credentials",
        _ => "",
    }
}
