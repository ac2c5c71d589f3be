//! [`Contents`]: the sections of a module.

use std::ops::Range;

use wasmparser::{
    BinaryReaderError, CompositeInnerType, ExternalKind, FuncType, KnownCustom, MemoryType, Name,
    Parser, Payload, TypeRef,
};
use weir_abi::AbiVersion;

/// Bytes of a page of memory.
const PAGE: u64 = 65_536;

/// What is in a module.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) imports: Vec<Import>,
    pub(super) exports: Vec<Export>,
    pub(super) memories: Vec<Memory>,
    pub(super) sections: Vec<Section>,
    /// Name and bytes of each custom section.
    pub(super) custom: Vec<(String, u64)>,
    pub(super) producers: Vec<Producer>,
    /// Names of functions, as far as the module tells them.
    pub(super) functions: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Import {
    pub(super) module: String,
    pub(super) name: String,
    pub(super) ty: String,
}

#[derive(Debug)]
pub(super) struct Export {
    pub(super) name: String,
    pub(super) ty: String,
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) initial: u64,
    pub(super) maximum: Option<u64>,
    pub(super) shared: bool,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) bytes: u64,
    /// Number of things in it; `None` where that means nothing.
    pub(super) items: Option<u32>,
}

/// An entry of the `producers` section (WebAssembly/tool-conventions).
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) field: String,
    pub(super) name: String,
    pub(super) version: String,
}

impl Contents {
    pub(super) fn read(wasm: &[u8]) -> Result<Self, String> {
        if !wasm.starts_with(b"\0asm") {
            let beginning = wasm.get(..8).unwrap_or(wasm);
            return Err(format!(
                "this is not a WebAssembly binary: it begins with `{}`",
                beginning.escape_ascii()
            ));
        }
        let malformed = |error: BinaryReaderError| {
            format!(
                "the module is malformed at offset {:#x}: {}",
                error.offset(),
                error.message()
            )
        };
        let mut reading = Reading::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(malformed)?;
            reading.payload(payload).map_err(malformed)?;
        }
        Ok(reading.contents)
    }

    /// The exported functions whose names are markers of an ABI version, in order.
    pub(super) fn markers(&self) -> Vec<&str> {
        let names = self.exports.iter().map(|export| export.name.as_str());
        names
            .filter(|name| name.starts_with(AbiVersion::MARKER_PREFIX))
            .collect()
    }

    /// The ABI version: the first marker that is one.
    pub(super) fn abi(&self) -> Option<AbiVersion> {
        self.markers().into_iter().find_map(AbiVersion::from_marker)
    }

    pub(super) fn exports(&self, name: &str) -> bool {
        self.exports.iter().any(|export| export.name == name)
    }

    pub(super) fn imports(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.name == name)
    }
}

/// A module as it is being read.
#[derive(Default)]
struct Reading {
    contents: Contents,
    types: Vec<Option<FuncType>>,
    /// Types of all functions, imported ones first.
    functions: Vec<u32>,
}

impl Reading {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(types) => {
                self.section("type", &types.range(), Some(types.count()));
                for group in types {
                    for ty in group?.into_types() {
                        self.types.push(match ty.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                self.section("import", &imports.range(), Some(imports.count()));
                for import in imports.into_imports() {
                    let import = import?;
                    let ty = match import.ty {
                        TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                            self.functions.push(index);
                            self.function_type(index)
                        }
                        TypeRef::Memory(memory) => {
                            self.contents.memories.push(Memory::of(memory));
                            "memory".to_owned()
                        }
                        TypeRef::Table(_) => "table".to_owned(),
                        TypeRef::Global(_) => "global".to_owned(),
                        TypeRef::Tag(_) => "tag".to_owned(),
                    };
                    self.contents.imports.push(Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        ty,
                    });
                }
            }
            Payload::FunctionSection(functions) => {
                self.section("function", &functions.range(), Some(functions.count()));
                for function in functions {
                    self.functions.push(function?);
                }
            }
            Payload::MemorySection(memories) => {
                self.section("memory", &memories.range(), Some(memories.count()));
                for memory in memories {
                    self.contents.memories.push(Memory::of(memory?));
                }
            }
            Payload::ExportSection(exports) => {
                self.section("export", &exports.range(), Some(exports.count()));
                for export in exports {
                    let export = export?;
                    let ty = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => {
                            let function = self.functions.get(export.index as usize);
                            function.map_or_else(String::new, |f| self.function_type(*f))
                        }
                        ExternalKind::Table => "table".to_owned(),
                        ExternalKind::Memory => "memory".to_owned(),
                        ExternalKind::Global => "global".to_owned(),
                        ExternalKind::Tag => "tag".to_owned(),
                    };
                    let name = export.name.to_owned();
                    self.contents.exports.push(Export { name, ty });
                }
            }
            Payload::TableSection(s) => self.section("table", &s.range(), Some(s.count())),
            Payload::TagSection(s) => self.section("tag", &s.range(), Some(s.count())),
            Payload::GlobalSection(s) => self.section("global", &s.range(), Some(s.count())),
            Payload::ElementSection(s) => self.section("element", &s.range(), Some(s.count())),
            Payload::DataSection(s) => self.section("data", &s.range(), Some(s.count())),
            Payload::StartSection { range, .. } => self.section("start", &range, None),
            Payload::CodeSectionStart {
                count,
                unchecked_range: range,
                ..
            } => {
                self.section("code", &range, Some(count));
            }
            Payload::CustomSection(section) => {
                let name = section.name().to_owned();
                let bytes = section.data().len() as u64;
                self.contents.custom.push((name, bytes));
                // One that cannot be read says nothing, and does no harm.
                match section.as_known() {
                    KnownCustom::Producers(fields) => {
                        for field in fields.into_iter().flatten() {
                            for value in field.values.into_iter().flatten() {
                                self.contents.producers.push(Producer {
                                    field: field.name.to_owned(),
                                    name: value.name.to_owned(),
                                    version: value.version.to_owned(),
                                });
                            }
                        }
                    }
                    KnownCustom::Name(names) => {
                        for name in names.into_iter().flatten() {
                            if let Name::Function(map) = name {
                                let names = map.into_iter().flatten();
                                let names = names.map(|naming| naming.name.to_owned());
                                self.contents.functions.extend(names);
                            }
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn section(&mut self, name: &'static str, range: &Range<u64>, items: Option<u32>) {
        let bytes = range.end - range.start;
        self.contents.sections.push(Section { name, bytes, items });
    }

    fn function_type(&self, index: u32) -> String {
        let Some(Some(ty)) = self.types.get(index as usize) else {
            return "function".to_owned();
        };
        let list = |types: &[wasmparser::ValType]| {
            let types: Vec<_> = types.iter().map(ToString::to_string).collect();
            types.join(", ")
        };
        format!("({}) -> ({})", list(ty.params()), list(ty.results()))
    }
}

impl Memory {
    fn of(memory: MemoryType) -> Self {
        let page = memory.page_size_log2.map_or(PAGE, |log2| 1 << log2.min(63));
        Self {
            initial: memory.initial.saturating_mul(page),
            maximum: memory.maximum.map(|maximum| maximum.saturating_mul(page)),
            shared: memory.shared,
        }
    }
}
