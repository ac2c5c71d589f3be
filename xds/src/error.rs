//! Why a client cannot be made, and why its stream is over.

use http::uri::InvalidUri;
use tonic::Status;

use crate::dial::DialError;
use crate::limits::SHOWN_BYTES;
use crate::text::cut;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// What the server is to be called is no host, with or without a port.
    #[error("`{authority}` cannot be the authority of a management server: {source}")]
    Authority {
        /// What it was to be called.
        authority: String,
        /// What is wrong with it.
        source: InvalidUri,
    },
}

/// Why there is no stream to the server, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server, or the connection to it, has ended the stream with an error.
    #[error("{code:?}: {message}")]
    Status {
        /// The status.
        code: tonic::Code,
        /// What it says.
        message: String,
    },
    /// The server has ended the stream.
    #[error("the server has ended the stream")]
    Ended,
}

impl StreamError {
    pub(crate) fn of_status(status: &Status) -> Self {
        let mut message = cut(status.message(), SHOWN_BYTES).to_owned();
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            let text = error.to_string();
            if message.len() + text.len() < SHOWN_BYTES && !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        Self::Status {
            code: status.code(),
            message,
        }
    }
}
