//! Envoy's `config.cluster.v3.OutlierDetection`.

use super::cluster::{number, positive};
use super::message::Message;
use crate::cluster::OutlierDetection;

pub(super) fn read(message: &Message<'_, '_>) -> OutlierDetection {
    let mut read = OutlierDetection::default();
    number(
        message,
        "consecutive_5xx",
        0..=u32::MAX,
        &mut read.consecutive_5xx,
    );
    number(
        message,
        "consecutive_gateway_failure",
        0..=u32::MAX,
        &mut read.consecutive_gateway_failure,
    );
    number(
        message,
        "consecutive_local_origin_failure",
        0..=u32::MAX,
        &mut read.consecutive_local_origin_failure,
    );
    positive(message, "interval", &mut read.interval);
    positive(message, "base_ejection_time", &mut read.base_ejection_time);
    positive(message, "max_ejection_time", &mut read.max_ejection_time);
    if let Some(value) = message.duration("max_ejection_time_jitter") {
        read.max_ejection_time_jitter = value.value;
    }
    number(
        message,
        "max_ejection_percent",
        0..=100,
        &mut read.max_ejection_percent,
    );
    if let Some(value) = message.flag("always_eject_one_host") {
        read.always_eject_one_host = value;
    }
    number(
        message,
        "enforcing_consecutive_5xx",
        0..=100,
        &mut read.enforcing_consecutive_5xx,
    );
    number(
        message,
        "enforcing_consecutive_gateway_failure",
        0..=100,
        &mut read.enforcing_consecutive_gateway_failure,
    );
    number(
        message,
        "enforcing_consecutive_local_origin_failure",
        0..=100,
        &mut read.enforcing_consecutive_local_origin_failure,
    );
    number(
        message,
        "enforcing_success_rate",
        0..=100,
        &mut read.enforcing_success_rate,
    );
    number(
        message,
        "enforcing_local_origin_success_rate",
        0..=100,
        &mut read.enforcing_local_origin_success_rate,
    );
    number(
        message,
        "success_rate_minimum_hosts",
        0..=u32::MAX,
        &mut read.success_rate_minimum_hosts,
    );
    number(
        message,
        "success_rate_request_volume",
        0..=u32::MAX,
        &mut read.success_rate_request_volume,
    );
    number(
        message,
        "success_rate_stdev_factor",
        0..=u32::MAX,
        &mut read.success_rate_stdev_factor,
    );
    number(
        message,
        "enforcing_failure_percentage",
        0..=100,
        &mut read.enforcing_failure_percentage,
    );
    number(
        message,
        "enforcing_failure_percentage_local_origin",
        0..=100,
        &mut read.enforcing_failure_percentage_local_origin,
    );
    number(
        message,
        "failure_percentage_threshold",
        0..=100,
        &mut read.failure_percentage_threshold,
    );
    number(
        message,
        "failure_percentage_minimum_hosts",
        0..=u32::MAX,
        &mut read.failure_percentage_minimum_hosts,
    );
    number(
        message,
        "failure_percentage_request_volume",
        0..=u32::MAX,
        &mut read.failure_percentage_request_volume,
    );
    if let Some(value) = message.flag("split_external_local_origin_errors") {
        read.split_external_local_origin_errors = value;
    }
    if let Some(value) = message.flag("successful_active_health_check_uneject_host") {
        read.successful_active_health_check_uneject_host = value;
    }
    read
}
