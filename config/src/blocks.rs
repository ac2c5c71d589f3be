//! Every kind of mapping there is, for the help on a key in the wrong one.

use crate::read::Block;

pub(crate) static ALL: &[&Block] = &[
    &crate::config::BLOCK,
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
    &crate::route::BLOCK,
    &crate::route::MATCH_BLOCK,
    &crate::cluster::BLOCK,
];
