//! The charts and manifests for Kubernetes: by Helm itself, against the schemas of
//! Kubernetes' objects, and against what Weir takes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value as Json;
use weir_conformance::{built, check, program, run};

/// The oldest and the newest version of Kubernetes that its users are on.
const KUBERNETES: [&str; 2] = ["1.31.0", "1.37.0"];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Copies of the charts, with what they depend on in its place.
struct Charts {
    folder: tempfile::TempDir,
}

impl Charts {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&deploy().join("helm"), folder.path());
        let charts = Self { folder };
        let example = charts.path("example");
        let output = charts.helm(&["dependency", "update", example.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        charts
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs Helm with nothing of the user's.
    fn helm(&self, arguments: &[&str]) -> Output {
        let mut helm = program("helm");
        for (name, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            helm.env(name, self.path(folder));
        }
        helm.env_remove("KUBECONFIG")
            .args(arguments)
            .output()
            .unwrap()
    }

    /// What a release `edge` of a chart is made of, with more words for Helm.
    fn render(&self, chart: &str, more: &[&str]) -> Result<String, String> {
        let path = self.path(chart);
        let mut words = vec!["template", "edge", path.to_str().unwrap()];
        words.extend(["--namespace", "shop", "--kube-version", KUBERNETES[1]]);
        words.extend(more);
        let output = self.helm(&words);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(text(&output))
        }
    }

    /// A chart with its own values, and with each of the files in `ci`.
    fn all(&self, chart: &str) -> Vec<(String, String)> {
        let own = self.render(chart, &[]).unwrap();
        let mut all = vec![(chart.to_owned(), own)];
        for file in deploy()
            .join("helm")
            .join(chart)
            .join("ci")
            .read_dir()
            .unwrap()
        {
            let file = file.unwrap().path();
            let rendered = self.render(chart, &["--values", file.to_str().unwrap()]);
            all.push((file.display().to_string(), rendered.unwrap()));
        }
        assert!(all.len() > 1);
        all
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn objects(rendered: &str) -> Vec<Json> {
    let all: Vec<Json> = serde_saphyr::from_multiple(rendered).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

fn of_kind(objects: &[Json], kind: &str) -> Option<Json> {
    objects
        .iter()
        .find(|object| object["kind"] == kind)
        .cloned()
}

/// Judges objects by the schemas of a version of Kubernetes; unknown keys are wrong.
fn judge(rendered: &str, kubernetes: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    fs::write(&file, rendered).unwrap();
    let schemas = built("kubernetes-schemas");
    assert!(
        schemas.is_dir(),
        "no schemas; `cargo xtask test` fetches them"
    );
    let name = "{{.ResourceKind}}{{.KindSuffix}}.json";
    let of_kubernetes = format!(
        "{}/{{{{.NormalizedKubernetesVersion}}}}-local{{{{.StrictSuffix}}}}/{name}",
        schemas.display()
    );
    // Of those that Prometheus' operator brings.
    let others = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let output = program("kubeconform")
        .args(["-strict", "-summary", "-kubernetes-version", kubernetes])
        .args(["-schema-location", &of_kubernetes])
        .args(["-schema-location", &format!("{}/{name}", others.display())])
        .arg(file)
        .output()
        .unwrap();
    let told = text(&output);
    assert!(told.contains("Summary: "), "{told}");
    if output.status.success() {
        assert!(!told.contains("found in 1 file - Valid: 0,"), "{told}");
        Ok(())
    } else {
        Err(told)
    }
}

fn weir_config(objects: &[Json]) -> Option<String> {
    let map = of_kind(objects, "ConfigMap")?;
    Some(map["data"]["weir.yaml"].as_str().unwrap().to_owned())
}

#[test]
fn all_manifests_are_valid_for_every_version_of_kubernetes() {
    let charts = Charts::new();
    let mut all = charts.all("weir");
    all.extend(charts.all("example"));
    for name in ["kubernetes.yaml", "sidecar.yaml"] {
        let manifests = fs::read_to_string(deploy().join(name)).unwrap();
        all.push((name.to_owned(), manifests));
    }
    for (name, rendered) in all {
        for kubernetes in KUBERNETES {
            if let Err(told) = judge(&rendered, kubernetes) {
                panic!("{name}, {kubernetes}: {told}");
            }
        }
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_found() {
    let manifests = fs::read_to_string(deploy().join("kubernetes.yaml")).unwrap();
    for (right, wrong) in [
        ("replicas: 2", "replica: 2"),
        ("replicas: 2", "replicas: two"),
        ("containerPort: 8080", "port: 8080"),
        ("minAvailable: 1", "minAvailable: 1\n  minimum: 1"),
    ] {
        assert!(manifests.contains(right), "{right}");
        let told = judge(&manifests.replace(right, wrong), KUBERNETES[1]);
        assert!(told.is_err(), "{wrong}");
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    let charts = Charts::new();
    for chart in ["weir", "example"] {
        let mut words = vec!["lint".to_owned(), "--strict".to_owned()];
        for file in charts.path(chart).join("ci").read_dir().unwrap() {
            let path = charts.path(chart).display().to_string();
            let values = file.unwrap().path().display().to_string();
            words.truncate(2);
            words.extend([path, "--values".to_owned(), values]);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let output = charts.helm(&words);
            assert!(output.status.success(), "{}", text(&output));
        }
    }
}

#[test]
fn values_that_the_chart_does_not_know_are_refused() {
    let charts = Charts::new();
    for (value, named) in [
        ("replica=3", "replica"),
        ("workers=none", "workers"),
        ("service.type=Other", "type"),
        ("ports[0].name=a_b", "name"),
    ] {
        let told = charts.render("weir", &["--set", value]).unwrap_err();
        assert!(told.contains(named), "{value}: {told}");
    }
    let told = charts
        .render("example", &["--set", "weir-sidecar.interception.by=magic"])
        .unwrap_err();
    assert!(told.contains("init, external or none"), "{told}");
}

#[test]
fn the_chart_says_how_to_reach_it() {
    let charts = Charts::new();
    // Helm shows it when a cluster is there, and not before.
    let object = r#"notes: {{ include "weir/templates/NOTES.txt" . | toJson }}"#;
    fs::write(charts.path("weir/templates/shown.yaml"), object).unwrap();
    let words = ["--show-only", "templates/shown.yaml"];
    let rendered = charts.render("weir", &words).unwrap();
    let notes = objects(&rendered)[0]["notes"].to_string();
    assert!(
        notes.contains("port-forward service/edge-weir 8080:80"),
        "{notes}"
    );
}

#[test]
fn weir_takes_the_configuration_of_the_chart() {
    let charts = Charts::new();
    for (name, rendered) in charts.all("weir") {
        let Some(config) = weir_config(&objects(&rendered)) else {
            continue;
        };
        // Its Secret is not here.
        let config = config.replace("/etc/weir/tls/shop/tls.crt", "tls.pem");
        let config = config.replace("/etc/weir/tls/shop/tls.key", "tls.key");
        let (passed, printed) = check(&config, |folder| {
            let ca = weir_conformance::tls::Authority::new("test");
            ca.issue(&["shop.test"]).write(folder, "tls");
        });
        assert!(passed, "{name}: {printed}");
    }
}

#[test]
fn what_the_chart_makes_fits_together() {
    let charts = Charts::new();
    for (name, rendered) in charts.all("weir") {
        let objects = objects(&rendered);
        let deployment = &of_kind(&objects, "Deployment").unwrap()["spec"];
        let labels = deployment["template"]["metadata"]["labels"]
            .as_object()
            .unwrap();
        let selector = deployment["selector"]["matchLabels"].as_object().unwrap();
        for kind in ["Service", "PodDisruptionBudget"] {
            let Some(object) = of_kind(&objects, kind) else {
                continue;
            };
            let spec = &object["spec"]["selector"];
            let chosen = spec.get("matchLabels").unwrap_or(spec);
            assert_eq!(chosen.as_object().unwrap(), selector, "{name}");
        }
        assert!(
            selector.iter().all(|(key, value)| labels[key] == *value),
            "{name}"
        );

        let pod = &deployment["template"]["spec"];
        let container = &pod["containers"][0];
        let ports = container["ports"].as_array().unwrap();
        let is_port = |port: &Json| ports.iter().any(|known| known["name"] == *port);
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert!(
                is_port(&container[probe]["httpGet"]["port"]),
                "{name}: {probe}"
            );
        }
        let service = of_kind(&objects, "Service").unwrap();
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert!(is_port(&port["targetPort"]), "{name}: {port}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        // A change of the ConfigMap reaches pods, and starts none again.
        let annotations = &deployment["template"]["metadata"]["annotations"];
        assert!(!annotations.to_string().contains("checksum"), "{name}");
        let mounts = container["volumeMounts"].as_array().unwrap();
        let of_config = |mount: &&Json| mount["name"] == "configuration";
        let mount = mounts.iter().find(of_config).unwrap();
        assert_eq!(mount.get("subPath"), None, "{name}");

        let Some(config) = weir_config(&objects) else {
            continue;
        };
        let config: Json = serde_saphyr::from_str(&config).unwrap();
        let listeners = config["listeners"].as_array().unwrap();
        for port in ports {
            let end = format!(":{}", port["containerPort"]);
            let serves = |l: &Json| l["address"].as_str().unwrap().ends_with(&end);
            assert!(listeners.iter().any(serves), "{name}: {port}");
        }
        let seconds = |key: &str| {
            let text = config[key].as_str().unwrap();
            text.strip_suffix('s').unwrap().parse::<u64>().unwrap()
        };
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(
            grace > seconds("drain_delay") + seconds("drain_timeout"),
            "{name}"
        );
        let cpu = &container["resources"]["limits"]["cpu"];
        assert_eq!(*cpu, config["workers"].to_string(), "{name}");
    }
}

#[test]
fn the_plain_manifest_of_a_sidecar_is_that_of_the_chart() {
    let charts = Charts::new();
    let rendered = charts.render("example", &[]).unwrap();
    let plain = fs::read_to_string(deploy().join("sidecar.yaml")).unwrap();
    assert_eq!(objects(&plain), objects(&rendered));
}

#[test]
fn the_sidecar_is_told_what_it_takes() {
    let charts = Charts::new();
    let mut seen = Vec::new();
    for (name, rendered) in charts.all("example") {
        let deployment = of_kind(&objects(&rendered), "Deployment").unwrap();
        let pod = deployment["spec"]["template"]["spec"].clone();
        for container in pod["initContainers"].as_array().unwrap() {
            let words = container["args"].as_array().unwrap();
            let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
            let commands = words.iter().take_while(|word| !word.starts_with('-'));
            let commands: Vec<_> = commands.copied().collect();
            seen.push(commands.join(" "));
            // Errors of the command line come before what else may be wrong.
            let output = run(Path::new("."), &[&commands[..], &["--help"]].concat());
            let help = text(&output);
            assert!(output.status.success(), "{help}");
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let option = word.split('=').next().unwrap();
                assert!(
                    help.contains(&format!("{option} ")),
                    "{name}: {option}\n{help}"
                );
            }
        }
    }
    for commands in ["sidecar", "sidecar iptables"] {
        assert!(seen.iter().any(|known| known == commands), "{seen:?}");
    }
}

#[test]
fn only_those_who_need_it_may_change_the_network() {
    let charts = Charts::new();
    let pods = charts.all("example").into_iter().map(|(name, rendered)| {
        let deployment = of_kind(&objects(&rendered), "Deployment").unwrap();
        (name, deployment["spec"]["template"]["spec"].clone())
    });
    let may = |container: &Json| {
        let added = &container["securityContext"]["capabilities"]["add"];
        added.to_string().contains("NET_ADMIN")
    };
    let mut without = 0;
    for (name, pod) in pods {
        let containers = pod["initContainers"].as_array().unwrap();
        let sidecar = containers.iter().find(|c| c["name"] == "weir").unwrap();
        let root = sidecar["securityContext"]["runAsUser"] == 0;
        assert_eq!(may(sidecar), root, "{name}");
        assert_eq!(may(sidecar), name.contains("tproxy"), "{name}");
        assert_eq!(sidecar["restartPolicy"], "Always", "{name}");
        let init = containers.iter().find(|c| c["name"] == "weir-init");
        assert!(init.is_none_or(may), "{name}");
        without += usize::from(init.is_none() && !may(sidecar));
    }
    assert_eq!(without, 2);
}
