//! What is there to deploy Weir with, and what its command line promises.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use weir_conformance::{Upstream, Weir, check, direct, run};

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn manifests() -> Vec<Json> {
    serde_saphyr::from_multiple(&file("kubernetes.yaml")).unwrap()
}

fn of_kind<'m>(manifests: &'m [Json], kind: &str) -> &'m Json {
    let mut found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "{kind}");
    one
}

#[test]
fn the_configuration_in_the_manifests_is_valid() {
    let manifests = manifests();
    let config = of_kind(&manifests, "ConfigMap")["data"]["weir.yaml"]
        .as_str()
        .unwrap();
    let (passed, printed) = check(config, |_| {});
    assert!(passed, "{printed}");
}

#[test]
fn the_manifests_agree_with_one_another_and_with_the_configuration() {
    let manifests = manifests();
    let config = of_kind(&manifests, "ConfigMap")["data"]["weir.yaml"]
        .as_str()
        .unwrap();
    let config: Json = serde_saphyr::from_str(config).unwrap();
    let deployment = &of_kind(&manifests, "Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];
    let name = &deployment["selector"]["matchLabels"];
    assert_eq!(&deployment["template"]["metadata"]["labels"], name);
    let service = &of_kind(&manifests, "Service")["spec"];
    assert_eq!(&service["selector"], name);

    let ports = container["ports"].as_array().unwrap();
    let listeners = config["listeners"].as_array().unwrap();
    for port in ports {
        let number = port["containerPort"].to_string();
        let serves = |l: &Json| {
            l["address"]
                .as_str()
                .unwrap()
                .ends_with(&format!(":{number}"))
        };
        assert!(listeners.iter().any(serves), "{port}");
    }
    let is_port = |name: &Json| ports.iter().any(|port| port["name"] == *name);
    assert!(is_port(&service["ports"][0]["targetPort"]));
    for (probe, path) in [
        ("startupProbe", "/ready"),
        ("readinessProbe", "/ready"),
        ("livenessProbe", "/live"),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["path"], path);
        assert!(is_port(&get["port"]), "{probe}");
    }
    let seconds = |key: &str| {
        let text = config[key].as_str().unwrap();
        text.strip_suffix('s').unwrap().parse::<u64>().unwrap()
    };
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > seconds("drain_delay") + seconds("drain_timeout"));
    assert_eq!(
        container["resources"]["limits"]["cpu"],
        config["workers"].to_string()
    );
    assert!(
        config["admin"]["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    for (holder, key) in [
        (&pod["securityContext"], "runAsNonRoot"),
        (&container["securityContext"], "readOnlyRootFilesystem"),
    ] {
        assert_eq!(holder[key], true, "{key}");
    }
}

#[test]
fn probes_get_through_to_the_admin_and_nothing_else_does() {
    let manifests = manifests();
    let config = of_kind(&manifests, "ConfigMap")["data"]["weir.yaml"]
        .as_str()
        .unwrap();
    let any = config
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("0.0.0.0:9902", "127.0.0.1:0");
    // The configuration has to name the port twice: it is that of an address of its own.
    let admin = weir_conformance::own_ip().to_string();
    let weir = Weir::start(&any.replace("127.0.0.1:9901", &format!("{admin}:9901")));
    let mut probe =
        weir_conformance::Client::connect_as(weir.listener("operations"), "10.0.0.7:9902");
    assert_eq!(probe.get("/ready").text(), "LIVE\n");
    assert_eq!(probe.get("/live").status, 200);
    assert!(
        probe
            .get("/stats/prometheus")
            .text()
            .contains("envoy_server_live")
    );
    assert_eq!(probe.request("POST", "/quitquitquit", &[], b"").status, 404);
    assert_eq!(probe.get("/config_dump").status, 404);
    assert_eq!(weir.connect().get("/healthz").text(), "ok");
}

#[test]
fn the_unit_of_systemd_runs_and_reloads_what_there_is() {
    let unit = file("weir.service");
    let value = |key: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        lines
            .find_map(|rest| rest.strip_prefix('='))
            .unwrap_or_else(|| panic!("{key}"))
    };
    for key in ["ExecStart", "ExecStartPre"] {
        let mut words = value(key).split(' ');
        assert_eq!(words.next(), Some("/usr/bin/weir"));
        let command = words.next().unwrap();
        let help = run(Path::new("."), &[command, "--help"]);
        assert!(help.status.success(), "{key}");
        let help = String::from_utf8(help.stdout).unwrap();
        for option in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{option}");
        }
    }
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    for section in ["[Unit]", "[Service]", "[Install]"] {
        assert_eq!(unit.lines().filter(|line| *line == section).count(), 1);
    }
}

#[test]
fn the_image_has_no_shell_and_no_root() {
    let text = file("Containerfile");
    let stages: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("FROM "))
        .collect();
    assert_eq!(stages.len(), 3);
    // What it is built on, and what it runs on, have the same C library.
    assert!(
        stages[..2]
            .iter()
            .all(|stage| stage.contains("-bookworm") || stage.contains(":bookworm"))
    );
    assert!(stages[2].contains("-debian12:"));
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.contains("distroless") && last.contains("\nUSER nonroot"));
    assert!(
        !last.contains("\nRUN "),
        "there is no shell to run anything"
    );
    let config =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
    let version = config
        .split("rust-version = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(text.contains(&format!("rust:{version}-")), "{version}");
}

fn folder(config: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weir.yaml"), config).unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn commands_end_with_the_codes_that_are_documented() {
    let upstream = Upstream::echo();
    let good = format!(
        "listeners: [{{ name: edge, address: 127.0.0.1:0, tcp: {{ cluster: web }} }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    );
    let (_kept, path) = folder(&good);
    fs::write(path.join("bad.yaml"), "listeners: []").unwrap();
    for (arguments, code) in [
        (&["check", "weir.yaml"][..], 0),
        (&["check", "bad.yaml"], 1),
        (&["check", "none.yaml"], 1),
        (&["run", "bad.yaml"], 1),
        (&["diff", "weir.yaml", "weir.yaml"], 0),
        (&["diff", "weir.yaml", "bad.yaml"], 2),
        (&["schema"], 0),
        (&["man"], 0),
        (&["man", "run"], 0),
        (&["man", "nothing"], 1),
        (&["completions", "bash"], 0),
        (&["completions", "csh"], 2),
        (&["--version"], 0),
        (&["nothing"], 2),
        (&[], 2),
    ] {
        let ended = run(&path, arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
    }
    for signal in ["TERM", "INT"] {
        let mut weir = Weir::start(&format!(
            "admin: {{ address: 127.0.0.1:0 }}\n\
             listeners: [{{ name: edge, address: 127.0.0.1:0, {} }}]\n",
            direct("x")
        ));
        weir.signal(signal);
        assert_eq!(weir.wait().code(), Some(0), "{signal}");
    }
    let broken = std::process::Command::new(weir_binary())
        .args(["schema"])
        .env("WEIR_LOG", "a=loud")
        .output()
        .unwrap();
    assert_eq!(broken.status.code(), Some(1));
}

fn weir_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_weir"))
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let help = String::from_utf8(run(Path::new("."), &["--help"]).stdout).unwrap();
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.collect();
    assert!(names.len() > 6, "{names:?}");
    let printed = |arguments: &[&str]| {
        let output = run(Path::new("."), arguments);
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = printed(&["man"]);
    let scripts = ["bash", "zsh", "fish"].map(|shell| printed(&["completions", shell]));
    for name in names {
        assert!(manual.contains(&format!("weir\\-{name}(1)")), "{name}");
        assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
    }
    assert!(manual.contains("EXIT STATUS") && manual.starts_with(".ie"));
    assert!(printed(&["man", "run"]).contains("takeover"));
    assert!(printed(&["man", "filter", "test"]).contains("junit"));
    assert!(printed(&["filter", "test", "--help"]).contains("--watch"));
}
