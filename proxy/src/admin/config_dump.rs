//! `/config_dump`: the configuration that is served, without its secrets, and which
//! code its filters run.

use serde_json::{Value as Json, json};

use super::AdminState;
use super::answer::Answer;
use super::request::Request;
use crate::filter::FilterVmSpec;
use crate::reload::Configuration;

/// `/config_dump`
pub(super) fn config_dump(state: &AdminState, request: &Request) -> Answer {
    let served = state.served.load_full();
    let Some(served) = served else {
        return Answer::code(503, "nothing is served yet\n");
    };
    let dump = dump(&served);
    match request.parameter("format") {
        None | Some("json" | "") => Answer::json(&dump),
        Some("yaml") => Answer::new(
            200,
            "application/yaml; charset=utf-8",
            weir_config::yaml(&dump),
        ),
        Some(_) => Answer::code(400, "usage: /config_dump?format=json|yaml\n"),
    }
}

fn dump(served: &Configuration) -> Json {
    let mut configuration = served.config.to_json();
    weir_config::redact(&mut configuration);
    let modules = served.generation.vms.iter();
    json!({
        "generation": served.generation.number,
        "last_updated": humantime::format_rfc3339_millis(served.since).to_string(),
        "modules": modules.map(|vm| module(vm)).collect::<Vec<_>>(),
        "configuration": configuration,
    })
}

fn module(vm: &FilterVmSpec) -> Json {
    json!({
        "vm_id": vm.config.vm_id,
        "plugins": vm.plugins.iter().map(|p| p.plugin.name.as_str()).collect::<Vec<_>>(),
        "sha256": digest(vm),
    })
}

/// Digest of the code, in hexadecimal.
pub(super) fn digest(vm: &FilterVmSpec) -> String {
    let bytes = vm.module.digest().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
