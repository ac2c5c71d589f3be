//! Where in its sources a module's instructions come from, by the DWARF in it
//! (WebAssembly/tool-conventions, `Dwarf.md`).

use std::collections::HashMap;
use std::fmt;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use wasmparser::{Parser, Payload};

/// A call in the sources, which may have been compiled into the function that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFrame {
    /// As it is in the source.
    pub function: String,
    /// As the compiler was given it, mostly absolute.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1; `None` if it is not known.
    pub column: Option<u32>,
}

impl fmt::Display for SourceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            file,
            line,
            column,
        } = self;
        write!(f, "{file}:{line}")?;
        if let Some(column) = column {
            write!(f, ":{column}")?;
        }
        write!(f, " in {function}")
    }
}

/// The frames of the instructions at `offsets`, byte offsets in the module, innermost
/// first; none where the module does not tell.
#[must_use]
pub fn source_frames(module: &[u8], offsets: &[usize]) -> Vec<Vec<SourceFrame>> {
    let frames = |context: &Context<EndianSlice<'_, LittleEndian>>, code: usize, offset: usize| {
        let address = offset.checked_sub(code)? as u64;
        let mut found = context.find_frames(address).skip_all_loads().ok()?;
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref();
            let name = name.and_then(|name| name.raw_name().ok());
            let name = name.map(|name| format!("{:#}", rustc_demangle::demangle(&name)));
            let Some(location) = frame.location else {
                continue;
            };
            let (Some(file), Some(line)) = (location.file, location.line) else {
                continue;
            };
            frames.push(SourceFrame {
                function: name.unwrap_or_else(|| "?".to_owned()),
                file: file.to_owned(),
                line,
                column: location.column.filter(|column| *column > 0),
            });
        }
        Some(frames)
    };
    let Some((context, code)) = context(module) else {
        return vec![Vec::new(); offsets.len()];
    };
    let frames = |offset: &usize| frames(&context, code, *offset).unwrap_or_default();
    offsets.iter().map(frames).collect()
}

/// What the module tells, and where its code begins, from which addresses count.
fn context(module: &[u8]) -> Option<(Context<EndianSlice<'_, LittleEndian>>, usize)> {
    let (mut sections, mut code) = (HashMap::new(), None);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => code = usize::try_from(unchecked_range.start).ok(),
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                sections.insert(section.name(), section.data());
            }
            _ => {}
        }
    }
    if !sections.contains_key(".debug_line") {
        return None;
    }
    let load = |id: addr2line::gimli::SectionId| {
        let section = sections.get(id.name()).copied().unwrap_or_default();
        Ok::<_, addr2line::gimli::Error>(EndianSlice::new(section, LittleEndian))
    };
    let context = Context::from_dwarf(Dwarf::load(load).ok()?).ok()?;
    Some((context, code?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_debug_information_tells_nothing() {
        let module = wat::parse_str("(module (func unreachable))").unwrap();
        assert_eq!(source_frames(&module, &[20, 0]), [vec![], vec![]]);
        assert_eq!(source_frames(b"no module", &[1]), [vec![]]);
    }
}
