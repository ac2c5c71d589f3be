//! Compiled modules are kept for the next start.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use weir_conformance::{Upstream, Weir, check, eventually};

/// Fails at `/trap`, in a function with a name.
const FILTER: &str = r#"(module
    (import "env" "proxy_get_header_map_value"
      (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) ":path")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func $falls_over (unreachable))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $get (i32.const 0) (i32.const 16) (i32.const 5)
                       (i32.const 64) (i32.const 68)))
      (if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const 0x74))
        (then (call $falls_over)))
      (if (i32.eq (i32.load8_u (i32.const 1025)) (i32.const 0x6c))
        (then (loop $forever (br $forever))))
      (i32.const 0)))"#;

struct Rig {
    upstream: Upstream,
    folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self {
            upstream: Upstream::echo(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn entries(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let is_entry = |path: &PathBuf| path.extension().is_some_and(|e| e == "weir-compiled");
        files.filter(is_entry).collect()
    }

    fn config(&self) -> String {
        format!(
            "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\n\
             compile_cache: {{ path: {}, max_size: 64MiB }}\nlisteners:\n\
             - name: edge\n  address: 127.0.0.1:0\n  \
               http_filters: [{{ name: f, wasm: {{ vm_config: \
                 {{ code: {{ local: {{ filename: f.wasm }} }} }} }} }}]\n  \
               routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
             clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
            self.cache().display(),
            self.upstream.address
        )
    }

    fn start(&self) -> Weir {
        Weir::start_with(&self.config(), filter)
    }
}

fn filter(folder: &Path) {
    fs::write(folder.join("f.wasm"), wat::parse_str(FILTER).unwrap()).unwrap();
}

/// Lookups with this result.
fn lookups(weir: &Weir, result: &str) -> u64 {
    weir.metric_of(
        "weir_compile_cache_lookups_total",
        &format!("result=\"{result}\""),
    )
}

#[test]
fn a_restart_takes_what_is_there_and_runs_it_as_before() {
    let rig = Rig::new();
    for result in ["miss", "hit", "hit"] {
        let weir = rig.start();
        assert_eq!(lookups(&weir, result), 1);
        assert_eq!(lookups(&weir, "damaged"), 0);
        let mut client = weir.connect();
        assert!(client.get("/x").text().starts_with("GET /x\n"));
        assert_eq!(client.get("/trap").status, 503);
        eventually("a backtrace with names", || {
            weir.log().contains("falls_over").then_some(())
        });
        // The watchdog knows where the code is.
        assert_eq!(weir.connect().get("/loop").status, 503);
        assert!(weir.connect().get("/x").text().starts_with("GET /x\n"));
        assert_eq!(rig.entries().len(), 1);
    }
}

#[test]
fn a_damaged_entry_is_told_and_replaced() {
    let rig = Rig::new();
    drop(rig.start());
    let entry = rig.entries().remove(0);
    let mut bytes = fs::read(&entry).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entry, &bytes).unwrap();
    let weir = rig.start();
    assert_eq!(lookups(&weir, "damaged"), 1);
    assert!(weir.log().contains("is compiled again"), "{}", weir.log());
    assert!(weir.connect().get("/x").text().starts_with("GET /x\n"));
    assert_eq!(lookups(&rig.start(), "hit"), 1);
}

#[test]
fn a_folder_that_cannot_be_used_costs_time_alone() {
    let rig = Rig::new();
    fs::create_dir(rig.cache()).unwrap();
    fs::set_permissions(rig.cache(), fs::Permissions::from_mode(0o777)).unwrap();
    let weir = rig.start();
    assert!(weir.log().contains("there is no compile cache"));
    assert!(weir.connect().get("/x").text().starts_with("GET /x\n"));
    assert_eq!(rig.entries().len(), 0);
}

#[test]
fn a_check_prepares_the_start() {
    let rig = Rig::new();
    let (passed, printed) = check(&rig.config(), filter);
    assert!(passed, "{printed}");
    assert_eq!(lookups(&rig.start(), "hit"), 1);
}
