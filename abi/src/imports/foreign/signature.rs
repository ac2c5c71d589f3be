//! `verify_signature` and `sign`: RSA (PKCS #1 v1.5) and ECDSA (P-256, P-384,
//! P-521, signatures in DER), over SHA-1 and SHA-2 (Envoy, `verify_signature.proto`,
//! `sign.proto`, `crypto/utility_impl.cc`).

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::Pkcs1v15Sign;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::message::{Value, fields, put_bytes};
use super::{Call, Given};
use crate::types::Status;

/// What is signed, as a hash, and how RSA names that hash.
struct Hashed {
    digest: Vec<u8>,
    rsa: Pkcs1v15Sign,
}

impl Hashed {
    /// `None` for a function that there is not.
    fn of(function: &[u8], text: &[u8]) -> Option<Self> {
        macro_rules! hashed {
            ($hash:ty) => {
                Self {
                    digest: <$hash>::digest(text).to_vec(),
                    rsa: Pkcs1v15Sign::new::<$hash>(),
                }
            };
        }
        Some(match &*function.to_ascii_lowercase() {
            b"sha1" => hashed!(Sha1),
            b"sha224" => hashed!(Sha224),
            b"sha256" => hashed!(Sha256),
            b"sha384" => hashed!(Sha384),
            b"sha512" => hashed!(Sha512),
            _ => return None,
        })
    }
}

/// A key in DER or PEM.
#[derive(Clone, Copy)]
enum Form<'a> {
    Der(&'a [u8]),
    Pem(&'a str),
}

enum PublicKey {
    Rsa(rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// A `SubjectPublicKeyInfo`, or for RSA what PKCS #1 has.
    fn read(form: Form<'_>) -> Option<Self> {
        macro_rules! first {
            ($($kind:ident $key:ty),*) => {
                $(
                    let key = match form {
                        Form::Der(der) => <$key>::from_public_key_der(der).ok(),
                        Form::Pem(pem) => <$key>::from_public_key_pem(pem).ok(),
                    };
                    if let Some(key) = key {
                        return Some(Self::$kind(key));
                    }
                )*
            };
        }
        first!(
            Rsa rsa::PublicKey,
            P256 p256::ecdsa::VerifyingKey,
            P384 p384::ecdsa::VerifyingKey,
            P521 p521::ecdsa::VerifyingKey
        );
        let key = match form {
            Form::Der(der) => rsa::PublicKey::from_pkcs1_der(der).ok(),
            Form::Pem(pem) => rsa::PublicKey::from_pkcs1_pem(pem).ok(),
        };
        key.map(Self::Rsa)
    }

    fn verifies(&self, hashed: Hashed, signature: &[u8]) -> bool {
        macro_rules! ecdsa {
            ($curve:ident, $key:expr) => {
                $curve::ecdsa::Signature::from_der(signature)
                    .is_ok_and(|s| $key.verify_prehash(&hashed.digest, &s).is_ok())
            };
        }
        match self {
            Self::Rsa(key) => key.verify(hashed.rsa, &hashed.digest, signature).is_ok(),
            Self::P256(key) => ecdsa!(p256, key),
            Self::P384(key) => ecdsa!(p384, key),
            Self::P521(key) => ecdsa!(p521, key),
        }
    }
}

enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl PrivateKey {
    /// PKCS #8, or for RSA what PKCS #1 has.
    fn read(form: Form<'_>) -> Option<Self> {
        macro_rules! first {
            ($($make:expr, $key:ty);*) => {
                $(
                    let key = match form {
                        Form::Der(der) => <$key>::from_pkcs8_der(der).ok(),
                        Form::Pem(pem) => <$key>::from_pkcs8_pem(pem).ok(),
                    };
                    if let Some(key) = key {
                        return Some($make(key));
                    }
                )*
            };
        }
        let rsa = |key| Self::Rsa(Box::new(key));
        first!(
            rsa, rsa::PrivateKey;
            Self::P256, p256::ecdsa::SigningKey;
            Self::P384, p384::ecdsa::SigningKey;
            Self::P521, p521::ecdsa::SigningKey
        );
        let key = match form {
            Form::Der(der) => rsa::PrivateKey::from_pkcs1_der(der).ok(),
            Form::Pem(pem) => rsa::PrivateKey::from_pkcs1_pem(pem).ok(),
        };
        key.map(rsa)
    }

    fn sign(&self, hashed: Hashed) -> Option<Vec<u8>> {
        macro_rules! ecdsa {
            ($curve:ident, $key:expr) => {{
                let signature: $curve::ecdsa::Signature = $key.sign_prehash(&hashed.digest).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }};
        }
        match self {
            Self::Rsa(key) => key.sign(hashed.rsa, &hashed.digest).ok(),
            Self::P256(key) => ecdsa!(p256, key),
            Self::P384(key) => ecdsa!(p384, key),
            Self::P521(key) => ecdsa!(p521, key),
        }
    }
}

/// Which fields of a message hold what.
struct Numbers {
    der: u64,
    pem: u64,
    text: u64,
}

#[derive(Default)]
struct Arguments<'a> {
    hash: &'a [u8],
    der: &'a [u8],
    pem: &'a [u8],
    text: &'a [u8],
    /// Of `verify_signature` only.
    signature: &'a [u8],
}

impl<'a> Arguments<'a> {
    fn read(message: &'a [u8], numbers: &Numbers) -> Result<Self, Status> {
        let mut arguments = Self::default();
        for field in fields(message) {
            let (number, Value::Bytes(bytes)) = field.ok_or(Status::BadArgument)? else {
                continue;
            };
            let argument = match number {
                1 => &mut arguments.hash,
                n if n == numbers.der => &mut arguments.der,
                n if n == numbers.pem => &mut arguments.pem,
                n if n == numbers.text => &mut arguments.text,
                3 => &mut arguments.signature,
                _ => continue,
            };
            *argument = bytes;
        }
        Ok(arguments)
    }

    /// The key, in the one form in which it is given.
    fn key(&self) -> Result<Form<'a>, Status> {
        match (self.der, self.pem) {
            (der, []) if !der.is_empty() => Ok(Form::Der(der)),
            ([], pem) if !pem.is_empty() => std::str::from_utf8(pem)
                .map(Form::Pem)
                .map_err(|_| Status::BadArgument),
            _ => Err(Status::BadArgument),
        }
    }

    fn hashed(&self) -> Result<Hashed, String> {
        let name = String::from_utf8_lossy(self.hash);
        Hashed::of(self.hash, self.text).ok_or_else(|| format!("{name} is not supported."))
    }
}

/// Whether a signature is right. A wrong one is an answer, not an error.
pub(super) fn verify(call: &Call<'_>) -> Result<Given, Status> {
    let numbers = Numbers {
        der: 2,
        pem: 5,
        text: 4,
    };
    let arguments = Arguments::read(call.argument, &numbers)?;
    let key = PublicKey::read(arguments.key()?);
    let verified = arguments.hashed().and_then(|hashed| {
        let key = key.ok_or("Failed to initialize digest verify.")?;
        if key.verifies(hashed, arguments.signature) {
            Ok(())
        } else {
            Err("Failed to verify digest. Error code: 0".to_owned())
        }
    });
    Ok(Some(match verified {
        Ok(()) => vec![1 << 3, 1],
        Err(reason) => {
            let mut result = Vec::new();
            put_bytes(&mut result, 2, reason.as_bytes());
            result
        }
    }))
}

/// Signs a text.
pub(super) fn sign(call: &Call<'_>) -> Result<Given, Status> {
    let numbers = Numbers {
        der: 2,
        pem: 4,
        text: 3,
    };
    let arguments = Arguments::read(call.argument, &numbers)?;
    let key = PrivateKey::read(arguments.key()?);
    let signed = arguments.hashed().and_then(|hashed| {
        let no_key = "Invalid key type: private key required for signing operation.";
        let key = key.ok_or(no_key)?;
        let signature = key.sign(hashed);
        signature.ok_or_else(|| "Failed to create signature.".to_owned())
    });
    let mut result = Vec::new();
    match signed {
        Ok(signature) => {
            result.extend([1 << 3, 1]);
            put_bytes(&mut result, 2, &signature);
        }
        Err(reason) => put_bytes(&mut result, 3, reason.as_bytes()),
    }
    Ok(Some(result))
}
