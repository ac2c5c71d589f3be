//! What deploy/Containerfile makes of Weir, without its registries: a folder with the
//! program and the libraries of the image that it is put on, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value as Json;
use weir_conformance::{Client, command, eventually, in_own_network, program};

/// The libraries of distroless' `cc`: those of libc6, libgcc-s1 and libstdc++6.
const LIBRARIES: [&str; 9] = [
    "libc.so",
    "libdl.so",
    "libgcc_s.so",
    "libm.so",
    "libpthread.so",
    "libresolv.so",
    "librt.so",
    "libstdc++.so",
    "libutil.so",
];

/// The user `nonroot` of distroless.
const USER: &str = "65532";

/// Enters the folder `$1` as a container's runtime does: nothing of it can be written but
/// `/tmp`, and nothing but it can be seen, `/proc` and `/dev` aside. Takes root.
const ENTER: &str = r#"
set -eu
root=$1
user=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user:$user" "$root" "$@"
"#;

/// The libraries that the program is linked to, the loader among them.
fn libraries(program_path: &Path) -> Vec<PathBuf> {
    let output = program("ldd").arg(program_path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let paths = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

fn weir_path() -> PathBuf {
    PathBuf::from(command().get_program())
}

/// The image as a folder, with a configuration.
fn image(config: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |from: &Path, to: &str| {
        let target = root.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from, target).unwrap();
    };
    put(&weir_path(), "/usr/bin/weir");
    for library in libraries(&weir_path()) {
        put(&library, library.to_str().unwrap());
    }
    for folder in ["etc/weir", "proc", "dev", "tmp"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    fs::write(root.path().join("etc/weir/weir.yaml"), config).unwrap();
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.path(), readable).unwrap();
    root
}

/// A process that is killed when the test ends.
struct Container(Child);

impl Container {
    fn start(root: &Path, arguments: &[&str]) -> Self {
        let mut enter = program("unshare");
        let path = std::env::var_os("PATH").unwrap_or_default();
        enter.env_clear().env("PATH", path);
        enter.env("XDG_CACHE_HOME", "/tmp");
        enter.args(["--mount", "--", "sh", "-c", ENTER, "enter"]);
        enter
            .arg(root)
            .arg(USER)
            .arg("/usr/bin/weir")
            .args(arguments);
        Self(enter.stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_program_needs_no_library_that_the_image_lacks() {
    let all = libraries(&weir_path());
    assert!(all.len() > 1, "{all:?}");
    for library in all {
        let name = library.file_name().unwrap().to_str().unwrap();
        let known = LIBRARIES.iter().any(|known| name.starts_with(known));
        assert!(known || name.starts_with("ld-linux"), "{name}");
    }
}

#[test]
fn it_serves_what_the_manifests_say_from_nothing_but_the_image() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes.yaml");
    let manifests: Vec<Json> =
        serde_saphyr::from_multiple(&fs::read_to_string(manifests).unwrap()).unwrap();
    let map = manifests
        .iter()
        .find(|object| object["kind"] == "ConfigMap")
        .unwrap();
    let deployment = manifests
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap();
    let arguments: Vec<_> = arguments
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let root = image(map["data"]["weir.yaml"].as_str().unwrap());
    // With the very ports of the manifests.
    in_own_network(|| {
        let mut container = Container::start(root.path(), &arguments);
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        eventually("listening", || {
            let ended = container.0.try_wait().unwrap();
            assert_eq!(ended, None, "it has ended");
            TcpStream::connect(address(9902)).ok()
        });
        let mut probe = Client::connect(address(9902));
        assert_eq!(probe.get("/ready").text(), "LIVE\n");
        assert_eq!(Client::connect(address(8080)).get("/healthz").text(), "ok");

        let status = fs::read_to_string(format!("/proc/{}/status", container.0.id())).unwrap();
        let value = |key: &str| {
            let mut lines = status.lines().filter_map(|line| line.strip_prefix(key));
            lines
                .next()
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(value("Uid:"), USER);
        assert_eq!(value("CapEff:").trim_start_matches('0'), "");
    });
}
