//! Finished WebAssembly modules.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::layout;

/// How every binary module begins: its magic number and version 1.
const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
/// Every proxy-wasm module exports one function whose name begins so.
const ABI_MARKER: &[u8] = b"proxy_abi_version_";

/// Puts a built module where the proxy's tests and examples look for it. One that
/// has not changed is left alone: a running proxy may be watching it.
///
/// # Errors
///
/// If it is not a proxy-wasm module.
pub(crate) fn publish(built: &Path, name: &str) -> Result<()> {
    let code = fs::read(built).with_context(|| format!("the build left no {}", built.display()))?;
    let Some(abi) = abi_version(&code) else {
        bail!("{} is not a proxy-wasm module", built.display());
    };
    let path = layout::modules().join(format!("{name}.wasm"));
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    if fs::read(&path).ok().as_deref() != Some(&code[..]) {
        let unfinished = path.with_extension("part");
        fs::write(&unfinished, &code)?;
        fs::rename(&unfinished, &path)?;
    }
    println!("    {name}.wasm: {} KiB, ABI {abi}", code.len() / 1024);
    Ok(())
}

/// The version in the name of the ABI marker; none if this is no such module.
fn abi_version(code: &[u8]) -> Option<String> {
    let body = code.strip_prefix(PREAMBLE)?;
    let at = body
        .windows(ABI_MARKER.len())
        .position(|window| window == ABI_MARKER)?;
    let version = body[at + ABI_MARKER.len()..].iter();
    let digits = version.take_while(|&&byte| byte == b'_' || byte.is_ascii_digit());
    Some(
        digits
            .map(|&byte| if byte == b'_' { '.' } else { char::from(byte) })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_marker() {
        let code = [PREAMBLE, b"\x07proxy_abi_version_0_2_1\0\x01memory"].concat();
        assert_eq!(abi_version(&code).as_deref(), Some("0.2.1"));
    }

    #[test]
    fn other_files_are_no_modules() {
        assert_eq!(abi_version(b"proxy_abi_version_0_2_1"), None);
        assert_eq!(abi_version(PREAMBLE), None);
    }
}
