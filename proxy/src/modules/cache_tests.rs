use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const SIZE: u64 = 1 << 20;
const LIMIT: usize = 1 << 20;

/// Variables of a process that ends at a certain step of a write.
const FOLDER: &str = "WEIR_TEST_CACHE";
const STEP: &str = "WEIR_TEST_CACHE_STEP";

/// Steps of one [`Cache::put`]: those of two files.
const STEPS: usize = 14;

fn open(folder: &Path) -> Cache {
    Cache::open(folder, SIZE, DAY).unwrap()
}

fn copy(module: &[u8]) -> Copy {
    Copy {
        origin: sha256(b"origin"),
        module: module.to_vec(),
        signatures: Vec::new(),
    }
}

fn got(cache: &Cache, source: &str) -> Option<Vec<u8>> {
    cache.get(source, LIMIT).map(|copy| copy.module)
}

fn count(folder: &Path, of: &str) -> usize {
    files(&folder.join("modules").join(of)).unwrap().len()
}

fn age(cache: &Cache, source: &str, age: Duration) {
    let file = File::open(cache.ref_path(source)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn signatures_are_kept_with_what_they_are_of() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let largest = |fill: &str| fill.repeat(IMAGE_SIGNATURE_BYTES_MAX);
    let signature = |form| ImageSignature {
        form,
        payload: largest("\""),
        signature: largest("A"),
    };
    let mut signatures = vec![signature(Form::SimpleSigning); IMAGE_SIGNATURES_MAX];
    signatures[0] = signature(Form::Statement);
    let copy = Copy {
        signatures: signatures.clone(),
        ..copy(b"module")
    };
    cache.put("source", &copy).unwrap();
    assert_eq!(cache.get("source", LIMIT).unwrap().signatures, signatures);
    cache.put("source", &self::copy(b"module")).unwrap();
    assert!(cache.get("source", LIMIT).unwrap().signatures.is_empty());
}

#[test]
fn what_is_put_is_got_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    assert_eq!(got(&cache, "a"), None);
    cache.put("a", &copy(b"module")).unwrap();
    cache.put("b", &copy(b"module")).unwrap();
    let other = open(folder.path());
    assert_eq!(got(&other, "a").unwrap(), b"module");
    assert_eq!(other.get("b", LIMIT).unwrap().origin, sha256(b"origin"));
    assert_eq!(count(folder.path(), "blobs"), 1);
    cache.put("a", &copy(b"newer")).unwrap();
    assert_eq!(got(&other, "a").unwrap(), b"newer");
    assert!(other.get("a", 4).is_none(), "larger than may be");
}

#[test]
fn damage_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let put = || cache.put("a", &copy(b"module")).unwrap();
    let blob = cache.blob_path(&sha256(b"module"));
    let name = cache.ref_path("a");
    for damage in [&b"mXdule"[..], b"modul", b"", b"modulee"] {
        put();
        fs::write(&blob, damage).unwrap();
        assert_eq!(got(&cache, "a"), None);
    }
    put();
    fs::remove_file(&blob).unwrap();
    assert_eq!(got(&cache, "a"), None);
    let module = "../../../../etc/passwd";
    for damage in [
        "",
        "{",
        "{}",
        r#"{"source": "a", "origin": "", "module": 1}"#,
        &json!({"source": "a", "origin": "", "module": module}).to_string(),
        &json!({"source": "b", "origin": "", "module": sha256(b"module")}).to_string(),
    ] {
        put();
        fs::write(&name, damage).unwrap();
        assert_eq!(got(&cache, "a"), None, "{damage}");
        cache.tidy().unwrap();
        assert_eq!(count(folder.path(), "refs"), 0, "{damage}");
        assert_eq!(count(folder.path(), "blobs"), 0, "{damage}");
    }
    put();
    assert_eq!(got(&cache, "a").unwrap(), b"module");
}

#[test]
fn what_nobody_uses_goes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    for source in ["old", "used"] {
        cache.put(source, &copy(source.as_bytes())).unwrap();
        age(&cache, source, DAY - Duration::from_secs(60));
    }
    assert!(got(&cache, "used").is_some());
    age(&cache, "old", DAY + Duration::from_secs(60));
    assert_eq!(got(&cache, "old"), None);
    cache.tidy().unwrap();
    assert!(got(&cache, "used").is_some());
    assert_eq!(count(folder.path(), "refs"), 1);
    assert_eq!(count(folder.path(), "blobs"), 1);
}

#[test]
fn there_is_no_more_than_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 100, DAY).unwrap();
    for (source, minutes) in [("a", 3), ("b", 1), ("c", 2)] {
        cache
            .put(source, &copy(source.repeat(40).as_bytes()))
            .unwrap();
        age(&cache, source, Duration::from_secs(60 * minutes));
    }
    cache.put("too large", &copy(&[0; 101])).unwrap();
    cache.tidy().unwrap();
    assert_eq!(got(&cache, "a"), None, "not used for the longest time");
    assert!(got(&cache, "b").is_some() && got(&cache, "c").is_some());
    assert_eq!(count(folder.path(), "blobs"), 2);
}

#[test]
fn nothing_is_removed_while_somebody_writes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let lock = cache.lock().unwrap();
    lock.0.lock_shared().unwrap();
    let unfinished = folder.path().join("modules/tmp/1");
    fs::write(&unfinished, "").unwrap();
    open(folder.path());
    assert!(unfinished.exists());
    drop(lock);
    open(folder.path());
    assert!(!unfinished.exists());
}

/// Ends the process as `kill -9` does, if it is one that has to end here.
pub(super) fn step() {
    static STEPS_SO_FAR: AtomicU64 = AtomicU64::new(0);
    let Ok(step) = std::env::var(STEP) else {
        return;
    };
    if STEPS_SO_FAR.fetch_add(1, Ordering::Relaxed).to_string() == step {
        let own = std::process::id().to_string();
        Command::new("kill").args(["-9", &own]).status().unwrap();
        std::thread::park();
    }
}

/// The process that the tests below start: it writes, and may be killed meanwhile.
#[test]
#[ignore = "started by others"]
fn writer() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let until = Instant::now() + Duration::from_millis(300);
    let cache = open(&folder);
    loop {
        for source in ["a", "b", "c"] {
            cache
                .put(source, &copy(source.repeat(5000).as_bytes()))
                .unwrap();
            let module = got(&cache, source).expect("nothing is damaged, and nothing is lost");
            assert_eq!(module, source.repeat(5000).as_bytes());
        }
        cache.tidy().unwrap();
        if Instant::now() > until {
            return;
        }
    }
}

fn start_writer(folder: &Path, step: Option<usize>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "modules::cache::tests::writer", "--ignored"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(step) = step {
        command.env(STEP, step.to_string());
    }
    command.spawn().unwrap()
}

#[test]
fn a_process_that_is_killed_between_any_two_steps_leaves_nothing_behind() {
    use std::os::unix::process::ExitStatusExt;
    for step in 0..STEPS {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).put("old", &copy(b"old")).unwrap();
        let ended = start_writer(folder.path(), Some(step)).wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "step {step}");
        // As the next start does.
        let cache = open(folder.path());
        assert_eq!(count(folder.path(), "tmp"), 0, "step {step}");
        assert_eq!(got(&cache, "old").unwrap(), b"old");
        // The second file has been moved at step 12: there is a copy, and it is whole.
        let is_there = step >= 12;
        assert_eq!(got(&cache, "a").is_some(), is_there, "step {step}");
        let expected = 1 + usize::from(is_there);
        assert_eq!(count(folder.path(), "refs"), expected, "step {step}");
        assert_eq!(count(folder.path(), "blobs"), expected, "step {step}");
        cache.put("a", &copy(b"module")).unwrap();
        assert_eq!(got(&cache, "a").unwrap(), b"module");
    }
}

#[test]
fn processes_that_share_a_cache_do_not_get_in_each_others_way() {
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..3).map(|_| start_writer(folder.path(), None)).collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    open(folder.path());
    assert_eq!(count(folder.path(), "tmp"), 0);
    assert_eq!(count(folder.path(), "blobs"), 3);
}
