//! Compiled modules as bytes, under a seal.
//!
//! The engine takes machine code for what it says it is: loading bytes that somebody
//! else has written is as good as running them. So they carry a MAC, made with a key
//! that only their owner has, and it is looked at before anything else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmer_types::target::Target;

use super::effort::Effort;
use super::module::{self, CompiledModule, Deadline};
use super::polls::Polls;

/// What follows machine code: identity, whether it changes more than memory, format,
/// and the MAC of all before it. At the end, so that the code keeps the alignment
/// that the engine reads it with.
const TRAILER: usize = IDENTITY + 1 + FORMAT.len() + MAC;
const IDENTITY: usize = 32;
const FORMAT: &[u8; 8] = b"weir-cm1";
const MAC: usize = 32;

/// What code is rewritten and compiled by; another text of it is taken for another
/// compiler.
const COMPILED_BY: [&str; 2] = [include_str!("module.rs"), include_str!("polls.rs")];

/// Everything that decides what a module is compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity([u8; IDENTITY]);

impl Identity {
    /// Of the module whose SHA-256 is `wasm`: beside that, the engine with its
    /// version and settings, what code is rewritten by, the kind of deadline, and the
    /// CPU with its features.
    pub(crate) fn new(wasm: &[u8; 32], deadline: Deadline) -> Self {
        let deadline = deadline.available();
        let engine = module::engine(Polls::new(deadline), Effort::Full);
        let target = Target::default();
        let parts = [
            format!("{deadline:?}"),
            wasmer_compiler::VERSION.to_owned(),
            engine.deterministic_id(),
            env!("CARGO_PKG_VERSION").to_owned(),
            target.triple().to_string(),
            format!("{:?}", target.cpu_features()),
        ];
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(wasm);
        let parts = parts.iter().map(String::as_str).chain(COMPILED_BY);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn bytes(&self) -> &[u8; IDENTITY] {
        &self.0
    }
}

/// Why sealed bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it is cut off")]
    Short,
    #[error("its seal does not fit: it was changed, or written with another key")]
    Mac,
    #[error("it is in the place of another")]
    Other,
    #[error("the engine cannot load it: {0}")]
    Engine(String),
}

/// The key of the seal.
pub(crate) struct SealKey(Hmac<Sha256>);

impl SealKey {
    /// Bytes of a key: a block of SHA-256.
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn new(key: [u8; Self::BYTES]) -> Self {
        Self(Hmac::new(&key.into()))
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac
    }
}

impl CompiledModule {
    /// The machine code and what else is known of it, for [`CompiledModule::open`].
    /// The error is the engine's own sentence.
    pub(crate) fn seal(&self, identity: Identity, key: &SealKey) -> Result<Vec<u8>, String> {
        let code = catch_unwind(AssertUnwindSafe(|| self.module.serialize()));
        let code = code.map_err(|_| "the engine panicked".to_owned())?;
        let mut bytes = code.map_err(|e| e.to_string())?.to_vec();
        bytes.reserve_exact(TRAILER);
        bytes.extend_from_slice(&identity.0);
        bytes.push(self.code.is_changed_beyond_memory().into());
        bytes.extend_from_slice(FORMAT);
        let mac = key.mac(&bytes).finalize();
        bytes.extend_from_slice(&mac.into_bytes());
        Ok(bytes)
    }

    /// What [`CompiledModule::seal`] has written with the same key and identity.
    pub(crate) fn open(
        mut bytes: Vec<u8>,
        identity: Identity,
        key: &SealKey,
        deadline: Deadline,
    ) -> Result<Self, SealError> {
        let signed = bytes.len().checked_sub(MAC).ok_or(SealError::Short)?;
        let code = bytes.len().checked_sub(TRAILER).ok_or(SealError::Short)?;
        let (content, mac) = bytes.split_at(signed);
        let checked = key.mac(content).verify_slice(mac);
        checked.map_err(|_| SealError::Mac)?;
        let (found, rest) = content[code..].split_at(IDENTITY);
        if found != identity.0 || rest[1..] != *FORMAT {
            return Err(SealError::Other);
        }
        let changes_more = rest[0] != 0;
        bytes.truncate(code);
        let deadline = deadline.available();
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let engine = module::engine(Polls::new(deadline), Effort::Full);
            // SAFETY: the bytes are those that `seal` got from `serialize`, since the
            // MAC over them fits and nobody else has the key; by their identity, it
            // was the same engine with the same settings, for this CPU.
            #[allow(unsafe_code)]
            let module = unsafe { wasmer::Module::deserialize(&engine, bytes) };
            let module = module.map_err(|e| SealError::Engine(e.to_string()))?;
            Ok(Self::of(engine, module, deadline, changes_more))
        }));
        opened.unwrap_or_else(|_| Err(SealError::Engine("it panicked".to_owned())))
    }
}

#[cfg(test)]
impl CompiledModule {
    pub(crate) fn changes_beyond_memory(&self) -> bool {
        self.code.is_changed_beyond_memory()
    }

    pub(crate) fn function_lengths(&self) -> Vec<usize> {
        self.code.function_lengths()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    fn sealed(identity: Identity, key: &SealKey) -> Vec<u8> {
        let module = CompiledModule::compile(WASM, Deadline::Off.into()).unwrap();
        module.seal(identity, key).unwrap()
    }

    fn key(byte: u8) -> SealKey {
        SealKey::new([byte; SealKey::BYTES])
    }

    #[test]
    fn every_changed_bit_and_every_cut_breaks_the_seal() {
        let identity = Identity::new(&[1; 32], Deadline::Off);
        let bytes = sealed(identity, &key(1));
        let open = |bytes| CompiledModule::open(bytes, identity, &key(1), Deadline::Off);
        assert!(open(bytes.clone()).is_ok());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(matches!(open(changed), Err(SealError::Mac)), "{at}");
            let cut = open(bytes[..at].to_vec());
            assert!(
                matches!(cut, Err(SealError::Mac | SealError::Short)),
                "{at}"
            );
        }
    }

    #[test]
    fn another_key_or_identity_is_refused() {
        let identity = Identity::new(&[1; 32], Deadline::Off);
        let bytes = sealed(identity, &key(1));
        let open = |identity, key: &SealKey| {
            CompiledModule::open(bytes.clone(), identity, key, Deadline::Off).err()
        };
        assert!(matches!(open(identity, &key(2)), Some(SealError::Mac)));
        for other in [
            Identity::new(&[2; 32], Deadline::Off),
            Identity::new(&[1; 32], Deadline::Counter),
        ] {
            assert!(matches!(open(other, &key(1)), Some(SealError::Other)));
        }
    }
}
