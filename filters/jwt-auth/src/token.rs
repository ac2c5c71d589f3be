//! A token in the compact form (RFC 7515, section 3.1): header, payload, signature.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What a token is signed with, of those that are verified here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// By its name in a token or a key (RFC 7518, section 3.1; RFC 8037).
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "ES256" => Self::Es256,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// A token whose signature has not been looked at.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// The payload as it came, in base64url.
    pub(crate) payload: &'t str,
    /// What is signed.
    pub(crate) signed: &'t [u8],
    pub(crate) signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// # Errors
    ///
    /// If it is no token.
    pub(crate) fn parse(text: &'t str) -> Result<Self, Failure> {
        let mut sections = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) = (
            sections.next(),
            sections.next(),
            sections.next(),
            sections.next(),
        ) else {
            return Err(Failure::NotAToken);
        };
        let object = decode(header).ok_or(Failure::HeaderBase64)?;
        let mut object = object_of(&object).ok_or(Failure::HeaderJson)?;
        let Some(Value::String(name)) = object.get("alg") else {
            return Err(Failure::NoAlgorithm);
        };
        let algorithm = Algorithm::named(name).ok_or(Failure::AlgorithmUnknown)?;
        let key_id = match object.remove("kid") {
            None => None,
            Some(Value::String(id)) => Some(id),
            Some(_) => return Err(Failure::KeyIdNotText),
        };
        let claims = decode(payload).ok_or(Failure::PayloadBase64)?;
        let claims = object_of(&claims).ok_or(Failure::PayloadJson)?;
        let signature_bytes = decode(signature).ok_or(Failure::SignatureBase64)?;
        Ok(Self {
            algorithm,
            key_id,
            claims,
            payload,
            signed: &text.as_bytes()[..header.len() + 1 + payload.len()],
            signature: signature_bytes,
        })
    }
}

fn decode(section: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(section).ok()
}

fn object_of(json: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token of this header and payload with a signature of three bytes.
    pub(crate) fn token(header: &str, payload: &str) -> String {
        let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        format!("{}.{}.AAAA", encode(header), encode(payload))
    }

    fn failure(text: &str) -> Failure {
        Token::parse(text).unwrap_err()
    }

    #[test]
    fn the_parts_of_a_token_are_read() {
        let text = token(r#"{"alg":"ES256","kid":"k"}"#, r#"{"sub":"ada"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.algorithm, Algorithm::Es256);
        assert_eq!(token.key_id.as_deref(), Some("k"));
        assert_eq!(token.claims["sub"], "ada");
        assert_eq!(token.signature, [0, 0, 0]);
        let signed = str::from_utf8(token.signed).unwrap();
        assert_eq!(format!("{signed}.AAAA"), text);
        assert!(signed.ends_with(token.payload));
    }

    #[test]
    fn what_is_no_token_is_told_by_its_part() {
        let good = r#"{"alg":"RS256"}"#;
        for (text, expected) in [
            ("", Failure::NotAToken),
            ("a.b", Failure::NotAToken),
            ("a.b.c.d", Failure::NotAToken),
            ("a.b.c", Failure::HeaderBase64),
            ("e30=.e30.AAAA", Failure::HeaderBase64),
            ("e30.e30.AAAA", Failure::NoAlgorithm),
            (&token("[]", "{}"), Failure::HeaderJson),
            (&token(r#"{"alg":5}"#, "{}"), Failure::NoAlgorithm),
            (&token(r#"{"alg":"none"}"#, "{}"), Failure::AlgorithmUnknown),
            (
                &token(r#"{"alg":"HS256"}"#, "{}"),
                Failure::AlgorithmUnknown,
            ),
            (
                &token(r#"{"alg":"RS256","kid":1}"#, "{}"),
                Failure::KeyIdNotText,
            ),
            (&token(good, "[]"), Failure::PayloadJson),
            (&token(good, "{} {}"), Failure::PayloadJson),
            (&(token(good, "{}") + "!"), Failure::SignatureBase64),
            (
                &token(good, "{}").replace(".e30.", ".e3=."),
                Failure::PayloadBase64,
            ),
        ] {
            assert_eq!(failure(text), expected, "{text}");
        }
    }
}
