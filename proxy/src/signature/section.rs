//! Signatures in a module's own `signature` section, as the convention in
//! WebAssembly/tool-conventions (`Signatures.md`) has them and `wasmsign2` writes
//! them: with a length before each set of hashes and each signature.
//!
//! Only a signature of the whole module counts, so only the last hash of a set does:
//! the one of everything behind the section.

use sha2::{Digest, Sha256};

use super::{PrivateKey, PublicKey, SignatureError};

/// What a binary module begins with, and its version.
pub(crate) const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

const CUSTOM_SECTION: u8 = 0;

const NAME: &[u8] = b"signature";

/// Version of the convention, kind of content (a module), hash (SHA-256).
const KIND: [u8; 3] = [1, 1, 1];

/// What is signed begins with this.
const DOMAIN: &[u8] = b"wasmsig";

const ED25519: u8 = 1;

const HASH: usize = 32;

/// Sets of hashes, hashes, and signatures that one section may have, each.
const COUNT_MAX: u32 = 64;

const CUT_OFF: SignatureError = SignatureError::Malformed("the `signature` section is cut off");

/// Whether a module has signatures in its first section, good or not.
pub(crate) fn is_signed(module: &[u8]) -> bool {
    split(module).is_some()
}

/// Verifies a module with the signatures in its first section, of which one must fit.
pub(super) fn verify(key: &PublicKey, module: &[u8]) -> Result<(), SignatureError> {
    let (mut section, signed) = split(module).ok_or(SignatureError::Missing)?;
    if !matches!(key, PublicKey::Ed25519(_)) {
        return Err(SignatureError::OtherAlgorithm(key.algorithm()));
    }
    if section.take(KIND.len())? != KIND {
        let error = "its `signature` section is of an unknown version or kind";
        return Err(SignatureError::Malformed(error));
    }
    let hash: [u8; HASH] = Sha256::digest(signed).into();
    for _ in 0..section.count()? {
        let mut set = section.part()?;
        let hashes = set.count()? as usize;
        let hashes = set.take(hashes * HASH)?;
        let signatures = set.count()?;
        if !hashes.ends_with(&hash) {
            continue;
        }
        let message = [DOMAIN, &KIND, hashes].concat();
        for _ in 0..signatures {
            let mut signature = set.part()?;
            signature.part()?; // The key's name, which proves nothing.
            if signature.take(1)? == [ED25519] && key.verify(&message, signature.part()?.0).is_ok()
            {
                return Ok(());
            }
        }
    }
    Err(SignatureError::Wrong)
}

/// The module with a signature in its first section, in place of one that is there.
///
/// # Errors
/// When it is no module.
pub(super) fn sign(key: &PrivateKey, module: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let no_module = SignatureError::Malformed("it is no module");
    let unsigned = module.strip_prefix(MODULE_HEADER).ok_or(no_module)?;
    let signed = split(module).map_or(unsigned, |(_, signed)| signed);
    let hash = Sha256::digest(signed);
    let signature = key.sign(&[DOMAIN, &KIND[..], &hash[..]].concat());
    // Without a name of the key, which proves nothing.
    let signature = [&[0, ED25519][..], &part(&signature)].concat();
    let set = [&[1][..], &hash[..], &[1], &part(&signature)].concat();
    let section = [&part(NAME)[..], &KIND, &[1], &part(&set)].concat();
    Ok([MODULE_HEADER, &[CUSTOM_SECTION], &part(&section), signed].concat())
}

/// Bytes with their length before them, in LEB128.
fn part(bytes: &[u8]) -> Vec<u8> {
    let mut part = Vec::with_capacity(bytes.len() + 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        part.push(length as u8 | 0x80);
        length >>= 7;
    }
    part.push(length as u8);
    part.extend_from_slice(bytes);
    part
}

/// What is in the section, and what follows it; `None` without such a section.
fn split(module: &[u8]) -> Option<(Bytes<'_>, &[u8])> {
    let mut rest = Bytes(module.strip_prefix(MODULE_HEADER)?);
    if rest.take(1).ok()? != [CUSTOM_SECTION] {
        return None;
    }
    let mut section = rest.part().ok()?;
    let name = section.part().ok()?;
    (name.0 == NAME).then_some((section, rest.0))
}

/// Bytes that are being read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SignatureError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    /// An unsigned number in LEB128.
    fn number(&mut self) -> Result<u32, SignatureError> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            let bits = u32::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(SignatureError::Malformed("a number in it is too large"))
    }

    fn count(&mut self) -> Result<u32, SignatureError> {
        let count = self.number()?;
        if count > COUNT_MAX {
            return Err(SignatureError::Malformed("there is too much in it"));
        }
        Ok(count)
    }

    /// Bytes with their length before them.
    fn part(&mut self) -> Result<Self, SignatureError> {
        let length = self.number()? as usize;
        self.take(length).map(Self)
    }
}
