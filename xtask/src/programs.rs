//! Programs that the tests run, and what those read, in `target/programs`:
//! `weir_conformance::program` finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::go::{self, Tool};
use crate::progress::step;
use crate::{debian, layout, process, pypi};

/// What the tests run, or serve, of Debian's.
const PACKAGES: [&str; 7] = [
    "curl",
    "iproute2",
    "iptables",
    "libnginx-mod-stream",
    "nghttp2-client",
    "nginx",
    "openssl",
];

const HELM: Tool = Tool {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    version: "v3.22.0",
    check: "version",
};

const KUBECONFORM: Tool = Tool {
    name: "kubeconform",
    package: "github.com/yannh/kubeconform/cmd/kubeconform",
    version: "v0.8.0",
    check: "-v",
};

/// The schemas of Kubernetes' objects, of all its versions of late.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
const SCHEMAS_HASH: &str = "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9";
const SCHEMAS_FOLDER: &str = "kubernetes_validate/kubernetes-json-schema";
/// Those that the tests judge by, where unknown keys are wrong.
const SCHEMAS_USED: [&str; 2] = ["v1.31.0-local-strict", "v1.37.0-local-strict"];

/// Gets all of them, and returns a line for each that cannot be had here: it may be there
/// in another way, and a test that misses one fails.
pub(crate) fn install() -> Vec<String> {
    let steps: [fn() -> Result<()>; 5] = [
        || debian::install(&PACKAGES),
        control_plane,
        || link(&HELM.program()?, HELM.name),
        || link(&KUBECONFORM.program()?, KUBECONFORM.name),
        schemas,
    ];
    let missing = steps.iter().filter_map(|step| step().err());
    missing.map(|reason| format!("{reason:#}")).collect()
}

/// Builds the management server, and tests it.
fn control_plane() -> Result<()> {
    let go = go::toolchain().context("the tests' management server needs Go")?;
    let folder = layout::root().join("proxy/tests/control-plane");
    let run = |arguments: &[&str], path: Option<&Path>| {
        let mut command = Command::new(&go);
        command.current_dir(&folder).args(arguments).args(path);
        process::build(&mut command)
    };
    step("building control-plane", || {
        let program = place("control-plane")?;
        run(&["build", "-trimpath", "-o"], Some(&program))
    })?;
    step("testing control-plane", || run(&["test", "./..."], None))
}

/// Has schemas refer to one another as files, which they do as parts of a server.
fn schemas() -> Result<()> {
    let folder = place("kubernetes-schemas")?;
    for version in SCHEMAS_USED {
        let made = folder.join(version);
        if made.is_dir() {
            continue;
        }
        let source = pypi::files(SCHEMAS, SCHEMAS_HASH, SCHEMAS_FOLDER)?.join(version);
        let unfinished = folder.join(format!("{version}.part"));
        fs::create_dir_all(&unfinished)?;
        for file in fs::read_dir(&source)? {
            let file = file?;
            let schema = fs::read_to_string(file.path())?;
            let schema = schema
                .replace("\"$id\": \"https:", "\"$comment\": \"https:")
                .replace("\"/api/_definitions.json", "\"_definitions.json");
            fs::write(unfinished.join(file.file_name()), schema)?;
        }
        fs::rename(&unfinished, &made)?;
    }
    Ok(())
}

/// Where a program belongs.
fn place(name: &str) -> Result<PathBuf> {
    fs::create_dir_all(layout::programs())?;
    Ok(layout::programs().join(name))
}

/// Puts a file or a folder where the tests look for it.
fn link(target: &Path, name: &str) -> Result<()> {
    let place = place(name)?;
    if fs::read_link(&place).ok().as_deref() == Some(target) {
        return Ok(());
    }
    fs::remove_file(&place).ok();
    std::os::unix::fs::symlink(target, &place)
        .with_context(|| format!("cannot make {}", place.display()))
}
