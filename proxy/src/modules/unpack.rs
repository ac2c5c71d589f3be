//! Modules in archives: gzip and tar, bounded in what comes out of them.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::error::FetchError;
use crate::limits::ARCHIVE_OVERHEAD_BYTES;

/// What a module in an image made for Istio is called.
pub(crate) const PLUGIN: &str = "plugin.wasm";

/// What a binary module begins with.
const WASM: &[u8] = b"\0asm";

const GZIP: &[u8] = &[0x1f, 0x8b];

/// What tar has at byte 257.
const USTAR: &[u8] = b"ustar";

/// Archives in archives that are opened: a gzip around a tar around a gzip.
const DEPTH: usize = 3;

/// The module in what a server has sent: as it is, in gzip or in tar.
pub(super) fn file(mut bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, FetchError> {
    for _ in 0..DEPTH {
        if bytes.starts_with(GZIP) {
            let reader = bounded(
                MultiGzDecoder::new(&bytes[..]),
                limit.saturating_add(ARCHIVE_OVERHEAD_BYTES),
            );
            bytes = all(reader).map_err(|error| damaged(&error, limit))?;
        } else if is_tar(&bytes) {
            let wanted = |path: &[u8]| path.ends_with(b".wasm");
            let found = from_tar(&bytes[..], limit, wanted)?;
            bytes = found.ok_or_else(|| {
                FetchError::Layout("the archive has no file `*.wasm` in it".to_owned())
            })?;
        } else {
            break;
        }
    }
    module(bytes, limit)
}

/// The module in a layer of files: `plugin.wasm`, in whatever folder.
pub(super) fn layer(bytes: &[u8], limit: usize) -> Result<Vec<u8>, FetchError> {
    let wanted = |path: &[u8]| {
        let name = path.rsplit(|b| *b == b'/').next();
        name == Some(PLUGIN.as_bytes())
    };
    let found = if bytes.starts_with(GZIP) {
        from_tar(MultiGzDecoder::new(bytes), limit, wanted)?
    } else {
        from_tar(bytes, limit, wanted)?
    };
    let found = found.ok_or_else(|| {
        FetchError::Layout(format!(
            "the last layer of the image has no file `{PLUGIN}`"
        ))
    })?;
    module(found, limit)
}

/// What has to be a module.
pub(super) fn module(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, FetchError> {
    if bytes.len() > limit {
        let what = "the module";
        return Err(FetchError::TooLarge { what, limit });
    }
    if !bytes.starts_with(WASM) {
        let message = "what arrived is not a WebAssembly module";
        return Err(FetchError::Layout(message.to_owned()));
    }
    Ok(bytes)
}

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..).is_some_and(|rest| rest.starts_with(USTAR))
}

/// The first file of an archive whose path is `wanted`.
fn from_tar(
    reader: impl Read,
    limit: usize,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, FetchError> {
    let failed = |error: io::Error| damaged(&error, limit);
    let mut archive = tar::Archive::new(bounded(
        reader,
        limit.saturating_add(ARCHIVE_OVERHEAD_BYTES),
    ));
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links and sparse files are no modules, whatever they are called.
        if entry.header().entry_type() != tar::EntryType::Regular || !wanted(&entry.path_bytes()) {
            continue;
        }
        // What the header says of the size is no reason to make room for it.
        return all(bounded(entry, limit)).map(Some).map_err(failed);
    }
    Ok(None)
}

fn damaged(error: &io::Error, limit: usize) -> FetchError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        let what = "what the archive unpacks to";
        return FetchError::TooLarge { what, limit };
    }
    FetchError::Layout(format!("the archive is damaged: {error}"))
}

fn all(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A reader that fails with [`io::ErrorKind::FileTooLarge`] behind `left` bytes.
struct Bounded<R> {
    reader: R,
    left: usize,
}

fn bounded<R: Read>(reader: R, left: usize) -> Bounded<R> {
    Bounded { reader, left }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        match self.left.checked_sub(n) {
            Some(left) => self.left = left,
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(name: &str, size: u64, kind: tar::EntryType) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_cksum();
        header
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let header = header(name, bytes.len() as u64, tar::EntryType::Regular);
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn wasm() -> Vec<u8> {
        b"\0asm\x01\0\0\0".to_vec()
    }

    #[test]
    fn a_file_is_a_module_or_an_archive_with_one() {
        let tarred = tar(&[("README", b"text"), ("a/filter.wasm", &wasm())]);
        let wrapped = tar(&[("filter.wasm", &gzip(&wasm()))]);
        for sent in [wasm(), gzip(&wasm()), gzip(&tarred), tarred, gzip(&wrapped)] {
            assert_eq!(file(sent, LIMIT).unwrap(), wasm());
        }
        for wrong in [
            b"<html>".to_vec(),
            Vec::new(),
            gzip(&gzip(&gzip(&gzip(&wasm())))),
            tar(&[("filter.txt", &wasm())]),
            gzip(&wasm())[..20].to_vec(),
        ] {
            assert!(matches!(file(wrong, LIMIT), Err(FetchError::Layout(_))));
        }
    }

    #[test]
    fn a_layer_has_the_module_under_its_name() {
        for path in ["plugin.wasm", "./plugin.wasm", "opt/plugin.wasm"] {
            let files = tar(&[("other.wasm", b"\0asm...."), (path, &wasm())]);
            assert_eq!(layer(&gzip(&files), LIMIT).unwrap(), wasm());
            assert_eq!(layer(&files, LIMIT).unwrap(), wasm());
        }
        for path in ["plugin.wasm.bak", "my-plugin.wasm", "plugin.wasm/x"] {
            let files = tar(&[(path, &wasm())]);
            assert!(matches!(layer(&files, LIMIT), Err(FetchError::Layout(_))));
        }
    }

    #[test]
    fn archives_that_unpack_to_too_much_are_refused_on_the_way() {
        let zeros = vec![0; 64 << 20];
        let too_large = |result| matches!(result, Err(FetchError::TooLarge { .. }));
        assert!(too_large(file(gzip(&zeros), LIMIT)));
        assert!(too_large(layer(
            &gzip(&tar(&[("plugin.wasm", &zeros)])),
            LIMIT
        )));
        assert!(too_large(layer(&gzip(&tar(&[("zeros", &zeros)])), LIMIT)));
        let mut large = wasm();
        large.resize(LIMIT + 1, 0);
        assert!(too_large(file(large, LIMIT)));
    }

    #[test]
    fn sizes_in_headers_are_not_believed() {
        // 8 EiB, and nothing behind it (CVE-2026-53717).
        let mut bytes = Vec::new();
        let mut lie = header("plugin.wasm", 0, tar::EntryType::Regular);
        let field = &mut lie.as_old_mut().size;
        field.copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
        lie.set_cksum();
        bytes.extend_from_slice(lie.as_bytes());
        bytes.extend_from_slice(&[0; 1024]);
        assert!(layer(&gzip(&bytes), LIMIT).is_err());
    }

    #[test]
    fn links_are_not_followed() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_ustar();
        link.set_path("plugin.wasm").unwrap();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_link_name("/etc/passwd").unwrap();
        link.set_size(0);
        link.set_cksum();
        builder.append(&link, io::empty()).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert!(matches!(layer(&bytes, LIMIT), Err(FetchError::Layout(_))));
    }
}
