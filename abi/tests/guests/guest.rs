//! [`Guest`]: a module in text form, put together from callbacks that are lists
//! of hostcalls.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::signatures::{CALLBACKS, HOSTCALLS, Out, WASI, params};

/// Where hostcalls put what they hand back.
pub const OUT: u32 = 16;
/// First byte of the page in which reports are put together.
const REPORT: u32 = 65_536;
/// Pages that the guest may have.
pub const PAGES_MAX: usize = 64;

/// A bump allocator that grows the memory, and returns 0 when it cannot.
const ALLOCATOR: &str = r#"
  (global $heap (mut i32) (i32.const 131072))
  (func (export "malloc") (param $n i32) (result i32) (local $p i32)
    (local.set $p (global.get $heap))
    (global.set $heap (i32.add (local.get $p)
      (i32.and (i32.add (local.get $n) (i32.const 7)) (i32.const -8))))
    (loop $grow
      (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1))
            (then
              (global.set $heap (local.get $p))
              (return (i32.const 0))))
          (br $grow))))
    (local.get $p))
"#;

/// Tells the host a hostcall's status and what it handed back: a trace line of
/// the status, the kind of what was handed back, its words, and its bytes.
const REPORTER: &str = r#"
  (func $report (param $status i32) (param $kind i32) (local $n i32)
    (i32.store (i32.const 65536) (local.get $status))
    (i32.store (i32.const 65540) (local.get $kind))
    (memory.copy (i32.const 65544) (i32.const 16) (i32.const 8))
    (if (i32.and (i32.eqz (local.get $status)) (i32.eq (local.get $kind) (i32.const 1)))
      (then
        (local.set $n (i32.load (i32.const 20)))
        (memory.copy (i32.const 65552) (i32.load (i32.const 16)) (local.get $n))))
    (drop (call $proxy_log (i32.const 0) (i32.const 65536)
      (i32.add (i32.const 16) (local.get $n)))))
"#;

/// A module in the making.
pub struct Guest {
    markers: Vec<String>,
    memory: String,
    allocator: String,
    imports: BTreeSet<String>,
    items: String,
    data: Vec<u8>,
}

impl Guest {
    /// A guest of ABI 0.2.1 with a memory, an allocator and no callback.
    pub fn new() -> Self {
        let mut guest = Self {
            markers: vec!["proxy_abi_version_0_2_1".into()],
            memory: format!(r#"(memory (export "memory") 4 {PAGES_MAX})"#),
            allocator: ALLOCATOR.into(),
            imports: BTreeSet::new(),
            items: String::new(),
            data: Vec::new(),
        };
        guest.import("proxy_log");
        guest
    }

    /// Exports these version markers, in this order, and no other.
    pub fn markers(mut self, names: &[&str]) -> Self {
        self.markers = names.iter().map(|&n| n.to_owned()).collect();
        self
    }

    /// Has this text in the place of the memory.
    pub fn memory(mut self, text: &str) -> Self {
        self.memory = text.into();
        self
    }

    /// Has this text in the place of the allocator.
    pub fn allocator(mut self, text: &str) -> Self {
        self.allocator = text.into();
        self
    }

    /// Imports the function `name` as `$name`.
    pub fn importing(mut self, name: &str) -> Self {
        self.import(name);
        self
    }

    /// Imports a function of any type.
    pub fn raw_import(mut self, module: &str, name: &str, ty: &str) -> Self {
        self.imports
            .insert(format!(r#"(import "{module}" "{name}" (func {ty}))"#));
        self
    }

    /// Adds any text.
    pub fn text(mut self, text: &str) -> Self {
        self.items.push_str(text);
        self
    }

    /// Exports the callback `name` that does what `script` says, line by line:
    ///
    /// - `get_header_map_value 0 ':path'`: the hostcall with these arguments,
    ///   and a report of its status and what it handed back. `'…'` is the
    ///   address and length of these bytes, `@0` the callback's first parameter;
    ///   pointers for what is handed back are added.
    /// - `args`: a report of the callback's name and arguments
    /// - `trap`, `return 1`, and any text in parentheses
    pub fn on(self, name: &str, script: &str) -> Self {
        let &(_, count, result) = CALLBACKS.iter().find(|(n, ..)| *n == name).unwrap();
        self.on_with(name, count, result, script)
    }

    /// [`Guest::on`], with a number of parameters of one's own.
    pub fn on_with(mut self, name: &str, count: usize, result: Option<u32>, script: &str) -> Self {
        let mut body = String::new();
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let instruction = self.instruction(name, count, line);
            writeln!(body, "    {instruction}").unwrap();
        }
        if let Some(result) = result {
            writeln!(body, "    (i32.const {result})").unwrap();
        }
        let (params, result) = (
            " i32".repeat(count),
            if result.is_some() { "(result i32)" } else { "" },
        );
        writeln!(
            self.items,
            "  (func (export \"{name}\") (param{params}) {result}\n{body}  )"
        )
        .unwrap();
        self
    }

    fn instruction(&mut self, callback: &str, count: usize, line: &str) -> String {
        if line.starts_with('(') {
            return line.to_owned();
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "trap" => "unreachable".to_owned(),
            "return" => format!("(return (i32.const {rest}))"),
            "args" => {
                let name = self.intern(callback.as_bytes());
                let mut text = String::new();
                for i in 0..count {
                    let at = OUT as usize + 4 * i;
                    write!(text, "(i32.store (i32.const {at}) (local.get {i}))").unwrap();
                }
                format!("{text} (call $report_call {name} (i32.const {count}))")
            }
            _ => self.hostcall(word, rest),
        }
    }

    fn hostcall(&mut self, word: &str, rest: &str) -> String {
        let full = format!("proxy_{word}");
        let name = if HOSTCALLS.iter().any(|(n, ..)| *n == full) {
            full
        } else {
            word.to_owned()
        };
        self.import(&name);
        let out = HOSTCALLS
            .iter()
            .find(|(n, ..)| *n == name)
            .map_or(Out::Nothing, |(_, _, out)| *out);
        let mut arguments = self.arguments(rest);
        for i in 0..out.pointers() {
            write!(arguments, " (i32.const {})", OUT as usize + 4 * i).unwrap();
        }
        format!(
            "(call $report (call ${name}{arguments}) (i32.const {}))",
            out as u32
        )
    }

    fn arguments(&mut self, mut rest: &str) -> String {
        let mut text = String::new();
        while !rest.trim_start().is_empty() {
            rest = rest.trim_start();
            if let Some(quoted) = rest.strip_prefix('\'') {
                let (bytes, tail) = quoted.split_once('\'').unwrap();
                let place = self.intern(bytes.as_bytes());
                write!(text, " {place}").unwrap();
                rest = tail;
                continue;
            }
            let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = tail;
            if let Some(parameter) = word.strip_prefix('@') {
                write!(text, " (local.get {parameter})").unwrap();
            } else if let Some(long) = word.strip_suffix('L') {
                write!(text, " (i64.const {long})").unwrap();
            } else {
                write!(text, " (i32.const {word})").unwrap();
            }
        }
        text
    }

    /// Puts `bytes` into the data; their address and length as constants.
    fn intern(&mut self, bytes: &[u8]) -> String {
        let address = 1024 + self.data.len();
        self.data.extend_from_slice(bytes);
        assert!(1024 + self.data.len() < REPORT as usize);
        format!("(i32.const {address}) (i32.const {})", bytes.len())
    }

    fn import(&mut self, name: &str) {
        let (module, letters) = HOSTCALLS
            .iter()
            .map(|(n, letters, _)| ("env", n, letters))
            .chain(
                WASI.iter()
                    .map(|(n, letters, _)| ("wasi_snapshot_preview1", n, letters)),
            )
            .find(|(_, n, _)| **n == name)
            .map(|(module, _, letters)| (module, letters))
            .unwrap();
        let params = params(letters);
        self.imports.insert(format!(
            r#"(import "{module}" "{name}" (func ${name} (param{params}) (result i32)))"#
        ));
    }

    /// The module in text form.
    pub fn wat(&self) -> String {
        let mut text = String::from("(module\n");
        for import in &self.imports {
            writeln!(text, "  {import}").unwrap();
        }
        writeln!(text, "  {}", self.memory).unwrap();
        for marker in &self.markers {
            writeln!(text, "  (func (export \"{marker}\"))").unwrap();
        }
        let data: String = self.data.iter().map(|b| format!("\\{b:02x}")).collect();
        let (allocator, items) = (&self.allocator, &self.items);
        write!(
            text,
            r#"  {allocator}
  {REPORTER}
  (func $report_call (param $name i32) (param $length i32) (param $count i32)
    (i32.store (i32.const {REPORT}) (local.get $count))
    (i32.store (i32.const {kind}) (i32.const 99))
    (memory.copy (i32.const {words}) (i32.const {OUT}) (i32.const 20))
    (memory.copy (i32.const {bytes}) (local.get $name) (local.get $length))
    (drop (call $proxy_log (i32.const 0) (i32.const {REPORT})
      (i32.add (i32.const 28) (local.get $length)))))
  {items}
  (data (i32.const 1024) "{data}"))
"#,
            kind = REPORT + 4,
            words = REPORT + 8,
            bytes = REPORT + 28,
        )
        .unwrap();
        text
    }

    /// The module in binary form.
    pub fn build(&self) -> Vec<u8> {
        let text = self.wat();
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }
}
