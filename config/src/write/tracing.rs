//! `tracing`.

use serde_json::Value as Json;

use super::Object;
use crate::defaults::{OTLP_TIMEOUT, SERVICE_NAME};
use crate::tracing::{Sampling, Tracing};

pub(super) fn tracing(tracing: &Tracing) -> Json {
    let mut otlp = Object::default();
    otlp.set("endpoint", tracing.otlp.endpoint.value.as_str());
    let headers = tracing.otlp.headers.iter();
    let headers = headers.map(|(name, value)| (name.value.clone(), value.as_str().into()));
    otlp.set("headers", Json::Object(headers.collect()));
    otlp.duration("timeout", tracing.otlp.timeout, OTLP_TIMEOUT);
    let mut block = Object::default();
    block.set("otlp", otlp);
    if tracing.sampling != Sampling::default() {
        block.set("sampling", tracing.sampling.to_string());
    }
    if tracing.service_name != SERVICE_NAME {
        block.set("service_name", tracing.service_name.as_str());
    }
    block.into()
}
