//! TLS, towards clients and endpoints.

mod certificate;
mod cipher;
mod client_certificates;
mod listener;
mod pem;
mod san;
mod socket_match;
mod upstream;
mod version;

pub use self::certificate::TlsCertificate;
pub use self::cipher::{TlsCipher, TlsCiphers};
pub use self::client_certificates::ClientCertificates;
pub use self::listener::ListenerTls;
pub use self::pem::Pem;
pub use self::san::{SanMatch, SanType};
pub use self::socket_match::TlsMatch;
pub use self::upstream::{UpstreamTls, Verification};
pub use self::version::{TlsVersion, TlsVersions};

pub(crate) use self::certificate::BLOCK as CERTIFICATE_BLOCK;
pub(crate) use self::client_certificates::BLOCK as CLIENT_CERTIFICATES_BLOCK;
pub(crate) use self::listener::BLOCK as LISTENER_BLOCK;
pub(crate) use self::san::BLOCK as SAN_BLOCK;
pub(crate) use self::socket_match::BLOCK as MATCH_BLOCK;
pub(crate) use self::upstream::BLOCK as UPSTREAM_BLOCK;

use crate::error::Problem;
use crate::read::Fields;
use crate::source::Spanned;

/// Bytes that the name of a protocol has at most (RFC 7301, section 3.1).
const ALPN_NAME_MAX: usize = 255;

/// Names of protocols that can be offered; `None` if the key is absent.
fn alpn(fields: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let names: Vec<Spanned<String>> = fields.optional("alpn")?;
    for name in &names {
        if name.is_empty() || name.len() > ALPN_NAME_MAX {
            let message = format!("a protocol's name has 1 to {ALPN_NAME_MAX} bytes");
            fields.problems.push(Problem::new(name.span, message));
        }
    }
    Some(names.into_iter().map(|name| name.value).collect())
}
