//! Keys of a JSON Web Key Set (RFC 7517), and signatures by them.

use std::cell::RefCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use p256::ecdsa;
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PublicKey, pkcs1v15};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};

use crate::failure::Failure;
use crate::token::{Algorithm, Token};
use crate::verified::{Verified, digest};

/// Bits of an RSA key at the least (RFC 7518, section 3.3), and at the most: a
/// longer one takes long to compute with.
const RSA_BITS_MIN: u32 = 2048;
const RSA_BITS_MAX: u32 = 8192;
/// Bytes of an Ed25519 signature (RFC 8032).
const ED25519_BYTES: usize = 64;

/// A key set; at least one key.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Keys {
    keys: Vec<Key>,
    verified: RefCell<Verified>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa(PublicKey),
    P256(ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The members of a key that are looked at (RFC 7518, section 6; RFC 8037).
#[derive(Deserialize)]
struct Fields {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl TryFrom<Value> for Keys {
    type Error = String;

    /// A set as an object, or as text. Keys that cannot be used are left out.
    fn try_from(set: Value) -> Result<Self, String> {
        let set = match set {
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|error| format!("the key set is no JSON: {error}"))?,
            set => set,
        };
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("the key set has no list of `keys`".to_owned());
        };
        let keys: Vec<_> = keys.iter().filter_map(Key::read).collect();
        match keys.is_empty() {
            true => Err("the key set has no key that can verify a signature".to_owned()),
            false => Ok(Self {
                keys,
                verified: RefCell::default(),
            }),
        }
    }
}

impl Keys {
    /// A set as it comes from a server.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn read(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// Whether a key may be the one that has signed a token.
    pub(crate) fn know(&self, token: &Token<'_>) -> bool {
        self.keys.iter().any(|key| key.fits(token))
    }

    /// Verifies a token's signature by each key that may be meant, unless it is among the
    /// last `kept` that these keys have verified: whether it was.
    ///
    /// # Errors
    ///
    /// If there is none, or the signature is by none of them.
    pub(crate) fn verify(&self, token: &Token<'_>, kept: usize) -> Result<bool, Failure> {
        let digest = (kept > 0).then(|| digest(token));
        let mut verified = self.verified.borrow_mut();
        if digest.is_some_and(|digest| verified.contains(&digest, kept)) {
            return Ok(true);
        }
        self.compute(token)?;
        if let Some(digest) = digest {
            verified.insert(digest, kept);
        }
        Ok(false)
    }

    fn compute(&self, token: &Token<'_>) -> Result<(), Failure> {
        let mut result = Err(Failure::NoKey);
        for key in self.keys.iter().filter(|key| key.fits(token)) {
            result = key.public.verify(token);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl Key {
    fn read(json: &Value) -> Option<Self> {
        let fields = Fields::deserialize(json).ok()?;
        if fields.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let public = match &*fields.kty {
            "RSA" => Public::rsa(&fields.n?, &fields.e?)?,
            "EC" if fields.crv.as_deref() == Some("P-256") => Public::p256(&fields.x?, &fields.y?)?,
            "OKP" if fields.crv.as_deref() == Some("Ed25519") => Public::ed25519(&fields.x?)?,
            _ => return None,
        };
        let algorithm = match fields.alg {
            None => None,
            Some(name) => Some(Algorithm::named(&name)?),
        };
        Some(Self {
            id: fields.kid,
            algorithm,
            public,
        })
    }

    /// A key or a token that does not say which is meant may be any.
    fn fits(&self, token: &Token<'_>) -> bool {
        let id = match (&self.id, &token.key_id) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        id && self.algorithm.is_none_or(|own| own == token.algorithm)
    }
}

impl Public {
    fn rsa(n: &str, e: &str) -> Option<Self> {
        let number = |text: &str| Some(BoxedUint::from_be_slice_vartime(&decode(text)?));
        let key = PublicKey::new(number(n)?, number(e)?).ok()?;
        let bits = key.n().bit_width();
        (RSA_BITS_MIN..=RSA_BITS_MAX)
            .contains(&bits)
            .then_some(Self::Rsa(key))
    }

    fn p256(x: &str, y: &str) -> Option<Self> {
        // SEC 1, section 2.3.3: a point that is not compressed
        let point = [&[4][..], &decode(x)?, &decode(y)?].concat();
        ecdsa::VerifyingKey::from_sec1_bytes(&point)
            .ok()
            .map(Self::P256)
    }

    fn ed25519(x: &str) -> Option<Self> {
        let point = decode(x)?.try_into().ok()?;
        ed25519_dalek::VerifyingKey::from_bytes(&point)
            .ok()
            .map(Self::Ed25519)
    }

    fn verify(&self, token: &Token<'_>) -> Result<(), Failure> {
        let (signed, signature) = (token.signed, &*token.signature);
        let right = match (self, token.algorithm) {
            (Self::Rsa(key), Algorithm::Rs256) => {
                let key = pkcs1v15::VerifyingKey::<Sha256>::new(key.clone());
                signature
                    .try_into()
                    .is_ok_and(|s| key.verify(signed, &s).is_ok())
            }
            (Self::Rsa(key), Algorithm::Rs384) => {
                let key = pkcs1v15::VerifyingKey::<Sha384>::new(key.clone());
                signature
                    .try_into()
                    .is_ok_and(|s| key.verify(signed, &s).is_ok())
            }
            (Self::Rsa(key), Algorithm::Rs512) => {
                let key = pkcs1v15::VerifyingKey::<Sha512>::new(key.clone());
                signature
                    .try_into()
                    .is_ok_and(|s| key.verify(signed, &s).is_ok())
            }
            (Self::P256(key), Algorithm::Es256) => ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            (Self::Ed25519(key), Algorithm::EdDsa) => {
                let bytes: &[u8; ED25519_BYTES] =
                    signature.try_into().map_err(|_| Failure::Ed25519Length)?;
                key.verify_strict(signed, &bytes.into()).is_ok()
            }
            _ => false,
        };
        if right {
            Ok(())
        } else {
            Err(Failure::Signature)
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Keys and signatures of RFC 7515, A.2 and A.3.
    const RS256: (&str, &str) = (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    const ES256: (&str, &str, &str) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );

    fn rsa() -> Value {
        json!({ "kty": "RSA", "n": RS256.0, "e": "AQAB" })
    }

    fn p256() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "x": ES256.0, "y": ES256.1, "kid": "e" })
    }

    fn set(keys: &[Value]) -> Result<Keys, String> {
        Keys::try_from(json!({ "keys": keys }))
    }

    fn verify(keys: &[Value], text: &str) -> Result<(), Failure> {
        let verified = set(keys).unwrap().verify(&Token::parse(text).unwrap(), 0);
        verified.map(|known| assert!(!known))
    }

    #[test]
    fn signatures_of_the_standards_are_right() {
        assert_eq!(verify(&[rsa()], RS256.1), Ok(()));
        assert_eq!(verify(&[p256()], ES256.2), Ok(()));
        assert_eq!(verify(&[rsa(), p256()], ES256.2), Ok(()));
    }

    #[test]
    fn a_signature_over_something_else_is_wrong() {
        for (key, text) in [(rsa(), RS256.1), (p256(), ES256.2)] {
            let changed = text.replace(".eyJpc3MiOiJqb2Ui", ".eyJpc3MiOiJKb2Ui");
            assert_ne!(changed, text);
            assert_eq!(verify(&[key], &changed), Err(Failure::Signature));
        }
        let short = RS256.1.rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
        assert_eq!(verify(&[rsa()], &short), Err(Failure::Signature));
    }

    #[test]
    fn a_key_is_used_for_what_it_is_meant_for() {
        let with = |mut key: Value, name: &str, value: &str| {
            key[name] = value.into();
            key
        };
        let token = RS256.1;
        assert_eq!(verify(&[p256()], token), Err(Failure::Signature));
        let other = with(rsa(), "alg", "RS512");
        assert_eq!(verify(&[other], token), Err(Failure::NoKey));
        assert_eq!(verify(&[with(rsa(), "kid", "r")], token), Ok(()));
        assert!(set(&[with(rsa(), "use", "enc")]).is_err());
        assert!(set(&[with(rsa(), "alg", "RSA-OAEP")]).is_err());
    }

    #[test]
    fn keys_that_cannot_be_used_are_left_out() {
        let weak = json!({ "kty": "RSA", "n": &RS256.0[..171], "e": "AQAB" });
        let off = json!({ "kty": "EC", "crv": "P-256", "x": ES256.1, "y": ES256.1 });
        let secret = json!({ "kty": "oct", "k": "AAAA" });
        for keys in [
            vec![],
            vec![weak.clone()],
            vec![off.clone()],
            vec![secret.clone()],
        ] {
            assert!(set(&keys).unwrap_err().contains("no key"), "{keys:?}");
        }
        assert_eq!(
            verify(&[weak, off, secret, json!(1), rsa()], RS256.1),
            Ok(())
        );
    }

    #[test]
    fn a_set_may_be_text_and_must_be_one() {
        let text = json!({ "keys": [rsa()] }).to_string();
        assert!(Keys::try_from(Value::String(text)).is_ok());
        for (set, words) in [
            (json!("{"), "no JSON"),
            (json!({}), "no list of `keys`"),
            (json!({ "keys": {} }), "no list of `keys`"),
        ] {
            assert!(Keys::try_from(set).unwrap_err().contains(words));
        }
    }

    #[test]
    fn a_signature_is_computed_once_while_it_is_kept() {
        let keys = set(&[rsa(), p256()]).unwrap();
        let known = |text: &str, kept| keys.verify(&Token::parse(text).unwrap(), kept);
        assert_eq!(known(RS256.1, 1), Ok(false));
        assert_eq!(known(RS256.1, 1), Ok(true));
        assert_eq!(known(ES256.2, 1), Ok(false));
        assert_eq!(known(ES256.2, 0), Ok(false));
        // Neither the one nor the other may stand for a token like it.
        let (signed, _) = RS256.1.rsplit_once('.').unwrap();
        let (_, signature) = ES256.2.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{signature}");
        for _ in 0..2 {
            assert_eq!(known(&forged, 1), Err(Failure::Signature));
        }
    }
}
