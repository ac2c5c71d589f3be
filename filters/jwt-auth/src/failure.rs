//! Why a request does not pass, in the words of Envoy's `jwt_authn`.

use std::fmt;

/// One reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Missing,
    NotAToken,
    HeaderBase64,
    HeaderJson,
    NoAlgorithm,
    AlgorithmUnknown,
    KeyIdNotText,
    PayloadBase64,
    PayloadJson,
    /// A claim that is not text.
    NotText(&'static str),
    /// A claim that is not a number.
    NotNumber(&'static str),
    /// A claim that is a number, and no time.
    NotTime(&'static str),
    AudienceNotText,
    SignatureBase64,
    NotYetValid,
    Expired,
    NoExpiration,
    UnknownIssuer,
    Audience,
    NoKey,
    Signature,
    Ed25519Length,
    Fetch,
}

impl Failure {
    /// The status of the answer.
    pub(crate) fn status(self) -> u32 {
        match self {
            Self::Audience => 403,
            _ => 401,
        }
    }

    /// Which of two providers' failures is told: the one that says most.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Missing, _) => other,
            (Self::UnknownIssuer, _) if other != Self::Missing => other,
            _ => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Jwt is missing",
            Self::NotAToken => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::NoAlgorithm => "Jwt header [alg] field is required and must be a string",
            Self::AlgorithmUnknown => "Jwt header [alg] is not supported",
            Self::KeyIdNotText => "Jwt header [kid] field is not a string",
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::NotText(claim) => {
                return write!(f, "Jwt payload [{claim}] field is not a string");
            }
            Self::NotNumber(claim) => {
                return write!(f, "Jwt payload [{claim}] field is not an integer");
            }
            Self::NotTime(claim) => {
                return write!(
                    f,
                    "Jwt payload [{claim}] field is not a positive 64 bit integer"
                );
            }
            Self::AudienceNotText => "Jwt payload [aud] field is not a string or string list",
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::NoExpiration => "Jwt has no expiration",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::NoKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::Signature => "Jwt verification fails",
            Self::Ed25519Length => "Jwt ED25519 signature is wrong length",
            Self::Fetch => "Jwks remote fetch is failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Failure::{Expired, Missing, UnknownIssuer};

    #[test]
    fn the_failure_that_says_most_is_told() {
        assert_eq!(Missing.or(UnknownIssuer), UnknownIssuer);
        assert_eq!(UnknownIssuer.or(Missing), UnknownIssuer);
        assert_eq!(UnknownIssuer.or(Expired), Expired);
        assert_eq!(Expired.or(UnknownIssuer), Expired);
        assert_eq!(Missing.or(Missing), Missing);
    }
}
