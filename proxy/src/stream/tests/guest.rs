//! Guests made of a script: every callback logs itself, and does what the script
//! says. The language is that of the recordings made with Envoy:
//! `SECTION[@CONDITION] OPERATION ARGUMENTS`, separated by `;`.
//!
//! | section | callback | logged as |
//! |---|---|---|
//! | `rqh`, `rsh` | headers | `rqh`, `rqh eos` |
//! | `rqb`, `rsb` | body | `rqb 3`, `rqb 0 eos` |
//! | `rqt`, `rst` | trailers | `rqt` |
//! | `ctx`, `log`, `done`, `delete` | a stream's life | `ctx` … |
//! | `tick`, `configure` | the root's | `tick`; not at all |
//!
//! Conditions: `@eos`, `@neos`, `@3` for the third call in this VM, `@root2` for
//! streams of the VM's second plugin. Maps and buffers are numbered as in the ABI.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;

use weir_abi::Module;

/// Section, export, kind of its arguments, and what it returns by default.
const SECTIONS: &[(&str, &str, Arguments, Option<u32>)] = &[
    ("ctx", "context_create", Arguments::Parent, None),
    ("configure", "configure", Arguments::Root, Some(1)),
    ("tick", "tick", Arguments::None, None),
    ("rqh", "request_headers", Arguments::Headers, Some(0)),
    ("rqb", "request_body", Arguments::Body, Some(0)),
    ("rqt", "request_trailers", Arguments::Trailers, Some(0)),
    ("rsh", "response_headers", Arguments::Headers, Some(0)),
    ("rsb", "response_body", Arguments::Body, Some(0)),
    ("rst", "response_trailers", Arguments::Trailers, Some(0)),
    ("log", "log", Arguments::None, None),
    ("done", "done", Arguments::None, Some(1)),
    ("delete", "delete", Arguments::None, None),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    None,
    Parent,
    Root,
    Headers,
    Body,
    Trailers,
}

impl Arguments {
    /// Parameters after the context's number.
    fn params(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Parent => "(param $parent i32)",
            Self::Root | Self::Trailers => "(param $n i32)",
            Self::Headers | Self::Body => "(param $n i32) (param $eos i32)",
        }
    }
}

/// Compiles the guest that does what `script` says.
pub(super) fn compile(script: &str) -> Module {
    static COMPILED: Mutex<Option<HashMap<String, Module>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap();
    let compiled = compiled.get_or_insert_default();
    let module = compiled.entry(script.to_owned()).or_insert_with(|| {
        let text = Text::new(script).module();
        let binary = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        Module::compile(&binary).unwrap()
    });
    module.clone()
}

/// What every guest has: imports, memory, and functions that log.
const PRELUDE: &str = include_str!("guest.wat");

struct Text {
    data: Vec<u8>,
    sections: HashMap<&'static str, String>,
}

impl Text {
    fn new(script: &str) -> Self {
        let mut text = Self {
            data: b"status ".to_vec(),
            sections: HashMap::new(),
        };
        let statements = script.split(';').map(str::trim);
        for statement in statements.filter(|s| !s.is_empty()) {
            text.statement(statement);
        }
        text
    }

    /// Address and length of `bytes`, as constants.
    fn string(&mut self, bytes: &str) -> String {
        let bytes = if bytes == "-" { "" } else { bytes };
        let address = 1024 + self.data.len();
        self.data.extend_from_slice(bytes.as_bytes());
        format!("(i32.const {address}) (i32.const {})", bytes.len())
    }

    fn statement(&mut self, statement: &str) {
        let (place, operation) = statement.split_once(' ').unwrap();
        let (section, condition) = place.split_once('@').unwrap_or((place, ""));
        let &(name, ..) = SECTIONS.iter().find(|(s, ..)| *s == section).unwrap();
        let code = self.operation(operation);
        let code = match condition {
            "" => code,
            "eos" => format!("(if (local.get $eos) (then {code}))"),
            "neos" => format!("(if (i32.eqz (local.get $eos)) (then {code}))"),
            _ if condition.starts_with("root") => {
                let root = &condition[4..];
                format!(
                    "(if (i32.eq (call $root (local.get $id)) (i32.const {root})) (then {code}))"
                )
            }
            nth => {
                format!("(if (i32.eq (global.get ${name}_calls) (i32.const {nth})) (then {code}))")
            }
        };
        self.sections.entry(name).or_default().push_str(&code);
    }

    fn operation(&mut self, operation: &str) -> String {
        let words: Vec<&str> = operation.split(' ').collect();
        match words[..] {
            ["ret", value] => format!("(local.set $ret (i32.const {value}))\n"),
            ["trap"] => "(unreachable)\n".to_owned(),
            ["http"] => "(drop (call $act_for (global.get $last)))\n".to_owned(),
            [call @ ("continue" | "close"), stream] => {
                format!("(drop (call ${call} (i32.const {stream})))\n")
            }
            ["local", code, details, body, headers, grpc] => {
                let (details, body) = (self.string(details), self.string(body));
                let headers = self.pairs(headers);
                format!(
                    "(drop (call $local (i32.const {code}) {details} {body} {headers} \
                     (i32.const {grpc})))\n"
                )
            }
            ["get", map, name] => {
                let (key, label) = (self.string(name), self.string(&format!("{name}=")));
                format!(
                    "(call $text {label}) (call $result (call $get (i32.const {map}) {key} \
                     (i32.const 16) (i32.const 20)))\n"
                )
            }
            ["count", map] => format!(
                "(drop (call $pairs (i32.const {map}) (i32.const 16) (i32.const 20))) \
                 (call $number (i32.load (i32.load (i32.const 16)))) (call $line)\n"
            ),
            [call @ ("set" | "add"), map, name, value] => {
                let (name, value) = (self.string(name), self.string(value));
                format!("(drop (call ${call} (i32.const {map}) {name} {value}))\n")
            }
            ["buf", buffer] => {
                let label = self.string("body=");
                format!(
                    "(call $text {label}) (call $result (call $buf (i32.const {buffer}) \
                     (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 20)))\n"
                )
            }
            ["setbuf", buffer, start, length, data] => {
                let length = if length == "max" { "-1" } else { length };
                let data = self.string(data);
                format!(
                    "(drop (call $setbuf (i32.const {buffer}) (i32.const {start}) \
                     (i32.const {length}) {data}))\n"
                )
            }
            _ => panic!("no such operation: {operation}"),
        }
    }

    /// Serialised pairs from `a=1;b=2`, with `,` for `;`.
    fn pairs(&mut self, headers: &str) -> String {
        if headers == "-" {
            return self.string("-");
        }
        let pairs: Vec<_> = headers
            .split(',')
            .map(|p| p.split_once('=').unwrap())
            .collect();
        let mut wire = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            wire.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            wire.extend_from_slice(text.as_bytes());
            wire.push(0);
        }
        let address = 1024 + self.data.len();
        self.data.extend_from_slice(&wire);
        format!("(i32.const {address}) (i32.const {})", wire.len())
    }

    fn module(mut self) -> String {
        let mut text = format!("(module {PRELUDE}");
        for (name, export, arguments, returns) in SECTIONS {
            let code = self.sections.remove(name).unwrap_or_default();
            let announce = self.announce(name, *arguments);
            let (result, value) = match returns {
                Some(value) => (
                    "(result i32) (local $ret i32)",
                    format!("(local.set $ret (i32.const {value}))"),
                ),
                None => ("", String::new()),
            };
            let give = returns.map_or("", |_| "(local.get $ret)");
            let params = arguments.params();
            write!(
                text,
                r#"
  (global ${name}_calls (mut i32) (i32.const 0))
  (func (export "proxy_on_{export}") (param $id i32) {params} {result}
    {value}
    (global.set $heap (i32.const 65536))
    (global.set ${name}_calls (i32.add (global.get ${name}_calls) (i32.const 1)))
    {announce}
    {code}
    {give})"#
            )
            .unwrap();
        }
        let data: String = self.data.iter().map(|b| format!("\\{b:02x}")).collect();
        write!(text, "\n  (data (i32.const 1024) \"{data}\"))").unwrap();
        text
    }

    /// Logs a callback's name and arguments.
    fn announce(&mut self, name: &str, arguments: Arguments) -> String {
        let name = self.string(name);
        let eos = self.string(" eos");
        let eos = format!("(if (local.get $eos) (then (call $text {eos})))");
        match arguments {
            Arguments::Root => String::new(),
            Arguments::None | Arguments::Trailers => format!("(call $text {name}) (call $line)"),
            Arguments::Parent => format!(
                "(i32.store (i32.add (i32.const 16384) (i32.mul (local.get $id) (i32.const 4)))
                   (local.get $parent))
                 (if (i32.eqz (local.get $parent)) (then (return)))
                 (global.set $last (local.get $id))
                 (call $text {name}) (call $line)"
            ),
            Arguments::Headers => format!("(call $text {name}) {eos} (call $line)"),
            Arguments::Body => {
                let space = self.string(" ");
                format!(
                    "(call $text {name}) (call $text {space}) (call $number (local.get $n)) {eos}
                     (call $line)"
                )
            }
        }
    }
}
