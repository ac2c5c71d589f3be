//! Every kind of mapping there is, for the help on a key in the wrong one.

use crate::read::Block;

pub(crate) static ALL: &[&Block] = &[
    &crate::config::BLOCK,
    &crate::identity::BLOCK,
    &crate::identity::LOCALITY_BLOCK,
    &crate::admin::BLOCK,
    &crate::listener::BLOCK,
    &crate::access_log::BLOCK,
    &crate::http_filter::BLOCK,
    &crate::plugin::BLOCK,
    &crate::plugin::LIMITS_BLOCK,
    &crate::vm::BLOCK,
    &crate::code::BLOCK,
    &crate::code::LOCAL_BLOCK,
    &crate::environment::BLOCK,
    &crate::failure::RELOAD_BLOCK,
    &crate::failure::BACKOFF_BLOCK,
    &crate::capability::BLOCK,
    &crate::http_options::BLOCK,
    &crate::http2_options::BLOCK,
    &crate::tcp_proxy::BLOCK,
    &crate::virtual_host::BLOCK,
    &crate::route::BLOCK,
    &crate::route::MATCH_BLOCK,
    &crate::route::HEADER_MATCH_BLOCK,
    &crate::route::RANGE_BLOCK,
    &crate::route::REGEX_REWRITE_BLOCK,
    &crate::route::REDIRECT_BLOCK,
    &crate::route::DIRECT_RESPONSE_BLOCK,
    &crate::cluster::BLOCK,
];
