//! Modules in the environment of Weir itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use weir_config::{Config, ConfigError, Spanned};

use super::unpack;

/// The module in an environment variable: in base64, as every module begins with a
/// byte that no variable can hold.
///
/// # Errors
/// That there is none, at its place in the configuration.
pub(crate) fn from_environment(
    config: &Config,
    name: &Spanned<String>,
) -> Result<Bytes, ConfigError> {
    let wrong = |why: &str| {
        let message = format!("the environment variable `{name}` {why}");
        config.error(name.span, message)
    };
    let Some(value) = std::env::var_os(&name.value) else {
        let help = "it is one of Weir's own environment, not of the filter's";
        return Err(wrong("is not set").with_help(help));
    };
    let mut text = value.into_encoded_bytes();
    text.retain(|byte| !byte.is_ascii_whitespace());
    let decoded = STANDARD.decode(&text).map_err(|_| {
        let help = "`base64 auth.wasm` prints it, and `gzip -c auth.wasm | base64` less of it";
        wrong("is not a module in base64").with_help(help)
    })?;
    let module = unpack::file(decoded, config.modules.module_size);
    let module = module.map_err(|error| wrong(&format!("has no module in it: {error}")))?;
    Ok(module.into())
}
