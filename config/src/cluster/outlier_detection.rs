//! Ejection of endpoints that fail while others do not.

use std::time::Duration;

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`outlier_detection`",
    keys: &[
        ("consecutive_5xx", "5"),
        ("consecutive_gateway_failure", "5"),
        ("consecutive_local_origin_failure", "5"),
        ("interval", "10s"),
        ("base_ejection_time", "30s"),
        ("max_ejection_time", "5m"),
        ("max_ejection_time_jitter", "1s"),
        ("max_ejection_percent", "10"),
        ("always_eject_one_host", "false"),
        ("enforcing_consecutive_5xx", "100"),
        ("enforcing_consecutive_gateway_failure", "0"),
        ("enforcing_consecutive_local_origin_failure", "100"),
        ("enforcing_success_rate", "100"),
        ("enforcing_local_origin_success_rate", "100"),
        ("success_rate_minimum_hosts", "5"),
        ("success_rate_request_volume", "100"),
        ("success_rate_stdev_factor", "1900"),
        ("enforcing_failure_percentage", "0"),
        ("enforcing_failure_percentage_local_origin", "0"),
        ("failure_percentage_threshold", "85"),
        ("failure_percentage_minimum_hosts", "5"),
        ("failure_percentage_request_volume", "50"),
        ("split_external_local_origin_errors", "false"),
        ("successful_active_health_check_uneject_host", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `outlier_detection`: Envoy's `OutlierDetection`, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierDetection {
    /// `consecutive_5xx`: responses in a row with a status of 500 and above, and
    /// requests that got none, after which an endpoint is ejected. Default: 5.
    pub consecutive_5xx: u32,
    /// `consecutive_gateway_failure`: the same, of 502, 503 and 504 only. Default:
    /// 5.
    pub consecutive_gateway_failure: u32,
    /// `consecutive_local_origin_failure`: with
    /// `split_external_local_origin_errors`: connections in a row that could not
    /// be made, or broke, and requests that timed out. Default: 5.
    pub consecutive_local_origin_failure: u32,
    /// `interval`: how often success rates are looked at, and whether ejected
    /// endpoints come back; more than 0. Default: 10s.
    pub interval: Duration,
    /// `base_ejection_time`: how long an endpoint is ejected, times how often it
    /// has been lately; more than 0. Default: 30s.
    pub base_ejection_time: Duration,
    /// `max_ejection_time`: how long at most; `base_ejection_time`, if that is
    /// more. Default: 5m.
    pub max_ejection_time: Duration,
    /// `max_ejection_time_jitter`: up to so much is added to each ejection, at
    /// random. Default: 0.
    pub max_ejection_time_jitter: Duration,
    /// `max_ejection_percent`: the part of the endpoints that may be ejected at
    /// the same time, from 0 to 100. Default: 10.
    pub max_ejection_percent: u32,
    /// `always_eject_one_host`: whether one may be, whatever part that is.
    /// Default: false.
    pub always_eject_one_host: bool,
    /// `enforcing_consecutive_5xx`: of 100 endpoints with so many in a row, how
    /// many are ejected, from 0 to 100. Default: 100.
    pub enforcing_consecutive_5xx: u32,
    /// `enforcing_consecutive_gateway_failure`: the same for gateway failures,
    /// from 0 to 100. Default: 0.
    pub enforcing_consecutive_gateway_failure: u32,
    /// `enforcing_consecutive_local_origin_failure`: the same for failures that do
    /// not come from the endpoint, from 0 to 100. Default: 100.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// `enforcing_success_rate`: of 100 endpoints whose success rate is too low,
    /// how many are ejected, from 0 to 100. Default: 100.
    pub enforcing_success_rate: u32,
    /// `enforcing_local_origin_success_rate`: the same for failures that do not
    /// come from the endpoint, from 0 to 100. Default: 100.
    pub enforcing_local_origin_success_rate: u32,
    /// `success_rate_minimum_hosts`: endpoints with enough requests, without which
    /// success rates are not compared. Default: 5.
    pub success_rate_minimum_hosts: u32,
    /// `success_rate_request_volume`: requests in an `interval` that are enough.
    /// Default: 100.
    pub success_rate_request_volume: u32,
    /// `success_rate_stdev_factor`: an endpoint is ejected whose success rate is
    /// below the mean by this many thousandths of the standard deviation. Default:
    /// 1900.
    pub success_rate_stdev_factor: u32,
    /// `enforcing_failure_percentage`: of 100 endpoints with too many failures,
    /// how many are ejected, from 0 to 100. Default: 0.
    pub enforcing_failure_percentage: u32,
    /// `enforcing_failure_percentage_local_origin`: the same for failures that do
    /// not come from the endpoint, from 0 to 100. Default: 0.
    pub enforcing_failure_percentage_local_origin: u32,
    /// `failure_percentage_threshold`: the part of requests that may fail, from 0
    /// to 100. Default: 85.
    pub failure_percentage_threshold: u32,
    /// `failure_percentage_minimum_hosts`: endpoints with enough requests, without
    /// which failures are not looked at. Default: 5.
    pub failure_percentage_minimum_hosts: u32,
    /// `failure_percentage_request_volume`: requests in an `interval` that are
    /// enough. Default: 50.
    pub failure_percentage_request_volume: u32,
    /// `split_external_local_origin_errors`: whether failures to reach an endpoint
    /// count apart from what it answers, or as 503 and 504 of its own. Default:
    /// false.
    pub split_external_local_origin_errors: bool,
    /// `successful_active_health_check_uneject_host`: whether an active health
    /// check that succeeds ends an ejection. Default: true.
    pub successful_active_health_check_uneject_host: bool,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            enforcing_consecutive_5xx: 100,
            enforcing_consecutive_gateway_failure: 0,
            enforcing_consecutive_local_origin_failure: 100,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            failure_percentage_threshold: 85,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            split_external_local_origin_errors: false,
            successful_active_health_check_uneject_host: true,
        }
    }
}

impl FromYaml for OutlierDetection {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let mut read = Self::default();
        read.consecutive_5xx = fields.number_from("consecutive_5xx", 0, read.consecutive_5xx);
        read.consecutive_gateway_failure = fields.number_from(
            "consecutive_gateway_failure",
            0,
            read.consecutive_gateway_failure,
        );
        read.consecutive_local_origin_failure = fields.number_from(
            "consecutive_local_origin_failure",
            0,
            read.consecutive_local_origin_failure,
        );
        read.interval = fields.positive("interval", read.interval);
        read.base_ejection_time = fields.positive("base_ejection_time", read.base_ejection_time);
        read.max_ejection_time = fields.positive("max_ejection_time", read.max_ejection_time);
        if let Some(value) = fields.optional("max_ejection_time_jitter") {
            read.max_ejection_time_jitter = value;
        }
        read.max_ejection_percent =
            fields.percent("max_ejection_percent", read.max_ejection_percent);
        if let Some(value) = fields.optional("always_eject_one_host") {
            read.always_eject_one_host = value;
        }
        read.enforcing_consecutive_5xx =
            fields.percent("enforcing_consecutive_5xx", read.enforcing_consecutive_5xx);
        read.enforcing_consecutive_gateway_failure = fields.percent(
            "enforcing_consecutive_gateway_failure",
            read.enforcing_consecutive_gateway_failure,
        );
        read.enforcing_consecutive_local_origin_failure = fields.percent(
            "enforcing_consecutive_local_origin_failure",
            read.enforcing_consecutive_local_origin_failure,
        );
        read.enforcing_success_rate =
            fields.percent("enforcing_success_rate", read.enforcing_success_rate);
        read.enforcing_local_origin_success_rate = fields.percent(
            "enforcing_local_origin_success_rate",
            read.enforcing_local_origin_success_rate,
        );
        read.success_rate_minimum_hosts = fields.number_from(
            "success_rate_minimum_hosts",
            0,
            read.success_rate_minimum_hosts,
        );
        read.success_rate_request_volume = fields.number_from(
            "success_rate_request_volume",
            0,
            read.success_rate_request_volume,
        );
        read.success_rate_stdev_factor = fields.number_from(
            "success_rate_stdev_factor",
            0,
            read.success_rate_stdev_factor,
        );
        read.enforcing_failure_percentage = fields.percent(
            "enforcing_failure_percentage",
            read.enforcing_failure_percentage,
        );
        read.enforcing_failure_percentage_local_origin = fields.percent(
            "enforcing_failure_percentage_local_origin",
            read.enforcing_failure_percentage_local_origin,
        );
        read.failure_percentage_threshold = fields.percent(
            "failure_percentage_threshold",
            read.failure_percentage_threshold,
        );
        read.failure_percentage_minimum_hosts = fields.number_from(
            "failure_percentage_minimum_hosts",
            0,
            read.failure_percentage_minimum_hosts,
        );
        read.failure_percentage_request_volume = fields.number_from(
            "failure_percentage_request_volume",
            0,
            read.failure_percentage_request_volume,
        );
        if let Some(value) = fields.optional("split_external_local_origin_errors") {
            read.split_external_local_origin_errors = value;
        }
        if let Some(value) = fields.optional("successful_active_health_check_uneject_host") {
            read.successful_active_health_check_uneject_host = value;
        }
        read
    }
}
