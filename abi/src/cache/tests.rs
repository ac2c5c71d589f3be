//! The cache with real files, threads and processes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::engine::{Deadline, Effort};

const MUCH: u64 = 1 << 30;

/// A module; each number makes another.
fn wasm(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
          (memory (export "memory") 1)
          (table 1 funcref)
          (global (export "number") i32 (i32.const {number}))
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 1024))
          (func (export "proxy_on_tick") (param i32)
            (table.set (i32.const 0) (ref.null func))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Bytes that one entry has room in, and two have not.
const ONE: u64 = 12 * 1024;

fn open(folder: &Path) -> ModuleCache {
    ModuleCache::open(folder, MUCH).unwrap()
}

fn outcome(cache: &ModuleCache, number: u32) -> Outcome {
    let (_, lookup) = cache.compile_for(&wasm(number), Deadline::Off).unwrap();
    assert!(lookup.not_kept.is_none(), "{lookup:?}");
    lookup.outcome
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let ends = |path: &PathBuf| path.to_str().unwrap().ends_with(ending);
    files.filter(ends).collect()
}

#[test]
fn a_module_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder");
    assert_eq!(outcome(&open(&path), 1), Outcome::Miss);
    assert_eq!(outcome(&open(&path), 1), Outcome::Hit);
    assert_eq!(outcome(&open(&path), 2), Outcome::Miss);
}

#[test]
fn what_was_compiled_beside_others_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder.path().join("cache"));
    let options = CompileOptions {
        effort: Effort::Shared,
        ..CompileOptions::default()
    };
    let (shared, lookup) = cache.compile_for(&wasm(1), options).unwrap();
    assert_eq!(lookup.outcome, Outcome::Miss);
    let (full, lookup) = cache.compile_for(&wasm(1), Deadline::default()).unwrap();
    assert_eq!(lookup.outcome, Outcome::Hit);
    let lengths = full.compiled.function_lengths();
    assert_eq!(shared.compiled.function_lengths(), lengths);
}

#[test]
fn what_the_engine_knows_beside_the_code_comes_back_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = open(&path);
    for deadline in [Deadline::Off, Deadline::Counter, Deadline::default()] {
        let first = cache.compile_for(&wasm(1), deadline).unwrap();
        let second = cache.compile_for(&wasm(1), deadline).unwrap();
        assert_eq!(first.1.outcome, Outcome::Miss);
        assert_eq!(second.1.outcome, Outcome::Hit);
        let (first, second) = (first.0, second.0);
        assert_eq!(first.digest(), second.digest());
        assert_eq!(first.abi(), second.abi());
        assert_eq!(second.deadline(), deadline);
        assert!(first.compiled.changes_beyond_memory());
        assert!(second.compiled.changes_beyond_memory());
        let lengths = first.compiled.function_lengths();
        assert_eq!(lengths.len(), 3);
        assert_eq!(second.compiled.function_lengths(), lengths);
    }
}

#[test]
fn a_damaged_entry_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = open(&path);
    outcome(&cache, 1);
    let entry = files(&path, folder::ENTRY).remove(0);
    let whole = fs::read(&entry).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for damaged in [&changed[..], &whole[..whole.len() / 2], &[]] {
        fs::write(&entry, damaged).unwrap();
        assert!(matches!(outcome(&cache, 1), Outcome::Damaged(_)));
        assert_eq!(outcome(&cache, 1), Outcome::Hit);
    }
}

#[test]
fn an_entry_in_the_place_of_another_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = open(&path);
    outcome(&cache, 1);
    let first = files(&path, folder::ENTRY).remove(0);
    let other = fs::read(&first).unwrap();
    outcome(&cache, 2);
    for entry in files(&path, folder::ENTRY) {
        fs::write(entry, &other).unwrap();
    }
    assert_eq!(outcome(&cache, 1), Outcome::Hit);
    assert!(matches!(outcome(&cache, 2), Outcome::Damaged(_)));
}

#[test]
fn without_its_key_an_entry_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let key = path.join("key");
    outcome(&open(&path), 1);
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let spoil: [&dyn Fn(); 3] = [
        &|| fs::remove_file(&key).unwrap(),
        &|| fs::write(&key, "short").unwrap(),
        &|| fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap(),
    ];
    for spoil in spoil {
        spoil();
        let cache = open(&path);
        assert!(matches!(outcome(&cache, 1), Outcome::Damaged(_)));
        assert_eq!(outcome(&open(&path), 1), Outcome::Hit);
    }
}

#[test]
fn a_folder_that_others_may_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o777, 0o755, 0o710] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let refused = ModuleCache::open(folder.path(), MUCH);
        assert!(matches!(refused, Err(CacheError::Shared(_))));
    }
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = open(&path);
    let mut size = 0;
    for number in 0..3 {
        let before = files(&path, folder::ENTRY);
        outcome(&cache, number);
        let mut entries = files(&path, folder::ENTRY);
        entries.retain(|entry| !before.contains(entry));
        size = fs::metadata(&entries[0]).unwrap().len();
        let age = Duration::from_secs(60 - u64::from(number));
        let file = fs::File::open(&entries[0]).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    assert_eq!(outcome(&cache, 0), Outcome::Hit);
    let cache = ModuleCache::open(&path, 3 * size + size / 2).unwrap();
    assert_eq!(outcome(&cache, 3), Outcome::Miss);
    assert_eq!(files(&path, folder::ENTRY).len(), 3);
    assert_eq!(outcome(&cache, 0), Outcome::Hit);
    assert_eq!(outcome(&cache, 1), Outcome::Miss);
    drop(ModuleCache::open(&path, size + size / 2).unwrap());
    assert_eq!(files(&path, folder::ENTRY).len(), 1);
}

#[test]
fn what_is_larger_than_the_cache_drives_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    outcome(&open(&path), 0);
    let entries = files(&path, folder::ENTRY);
    let size = fs::metadata(&entries[0]).unwrap().len();
    let mut larger = wasm(1);
    // A custom section of 16 KiB, which the engine keeps.
    larger.extend([0, 0x81, 0x80, 0x01, 0]);
    larger.resize(larger.len() + 16 * 1024, 0);
    let cache = ModuleCache::open(&path, size + 1024).unwrap();
    let (_, lookup) = cache.compile_for(&larger, Deadline::default()).unwrap();
    assert!(matches!(lookup.not_kept, Some(CacheError::TooLarge { .. })));
    assert_eq!(files(&path, folder::ENTRY), entries);
}

#[test]
fn other_files_in_the_folder_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    outcome(&open(&path), 1);
    let others = ["a.tmp", "b.compiled", "c"].map(|name| path.join(name));
    for other in &others {
        fs::write(other, [0; 64]).unwrap();
    }
    drop(ModuleCache::open(&path, 1).unwrap());
    assert!(others.iter().all(|other| other.exists()));
    assert_eq!(files(&path, folder::ENTRY).len(), 0);
}

#[test]
fn a_cache_that_was_removed_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let cache = open(&path);
    outcome(&cache, 1);
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(outcome(&cache, 1), Outcome::Miss);
    assert_eq!(outcome(&cache, 1), Outcome::Hit);
}

/// Steps until the process is killed, as a child of a test; or none.
fn kill_at() -> Option<u32> {
    std::env::var("WEIR_CACHE_KILL_AT").ok()?.parse().ok()
}

/// Where a process may be killed.
pub(super) fn step() {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    if kill_at() == Some(STEPS.fetch_add(1, Ordering::Relaxed)) {
        let id = std::process::id().to_string();
        Command::new("kill").args(["-9", &id]).status().unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Runs [`child`] in a process of its own.
fn in_child(folder: &Path, kill_at: Option<u32>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "cache::tests::child", "--ignored", "--quiet"]);
    command.env("WEIR_CACHE_FOLDER", folder);
    command.stdout(std::process::Stdio::null());
    if let Some(step) = kill_at {
        command.env("WEIR_CACHE_KILL_AT", step.to_string());
    }
    command
}

#[test]
#[ignore = "is run by other tests"]
fn child() {
    let Some(folder) = std::env::var_os("WEIR_CACHE_FOLDER") else {
        return;
    };
    let cache = ModuleCache::open(Path::new(&folder), ONE).unwrap();
    for number in 0..3 {
        // One has room in there, so another is evicted each time.
        assert!(!matches!(outcome(&cache, number), Outcome::Damaged(_)));
    }
    let cache = open(Path::new(&folder));
    for number in 0..4 {
        assert!(!matches!(outcome(&cache, number), Outcome::Damaged(_)));
    }
}

#[test]
fn after_a_kill_at_any_step_the_next_start_is_clean() {
    const KILL: i32 = 9;
    let killed = |status: ExitStatus| status.signal() == Some(KILL);
    let mut step = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let status = in_child(&path, Some(step)).status().unwrap();
        if !killed(status) {
            assert!(status.success(), "{status}");
            break;
        }
        let cache = open(&path);
        assert_eq!(files(&path, "tmp"), [] as [PathBuf; 0]);
        for number in 0..4 {
            assert!(!matches!(outcome(&cache, number), Outcome::Damaged(_)));
            assert_eq!(outcome(&cache, number), Outcome::Hit);
        }
        step += 1;
    }
    assert!(step > 40, "{step} steps");
}

#[test]
fn processes_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let children: Vec<_> = (0..4)
        .map(|_| in_child(&path, None).spawn().unwrap())
        .collect();
    // Each evicts what others have written.
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let cache = open(&path);
    assert_eq!(files(&path, "tmp"), [] as [PathBuf; 0]);
    for number in 0..4 {
        outcome(&cache, number);
        assert_eq!(outcome(&cache, number), Outcome::Hit);
    }
}
