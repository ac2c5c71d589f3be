//! Header maps behind a trait, so that what is made of them can be tested without
//! a host.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;

/// A header map.
pub trait Headers {
    /// The value of a header. None also if it is not UTF-8: nothing that a filter
    /// looks for is spelled otherwise.
    fn get(&self, name: &str) -> Option<String>;

    /// All values of a header, of which one that is not UTF-8 is told as it can be.
    fn get_all(&self, name: &str) -> Vec<String> {
        self.get(name).into_iter().collect()
    }

    /// Sets a header to one value, or removes it.
    fn set(&self, name: &str, value: Option<&str>);
}

/// The request's headers, of the stream that is the host's effective context.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request;

/// The response's headers, of the same stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Response;

impl Headers for Request {
    fn get(&self, name: &str) -> Option<String> {
        get(MapType::HttpRequestHeaders, name)
    }

    fn get_all(&self, name: &str) -> Vec<String> {
        let pairs = hostcalls::get_map_bytes(MapType::HttpRequestHeaders);
        let pairs = pairs.unwrap_or_default().into_iter();
        let values = pairs.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        values
            .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
            .collect()
    }

    fn set(&self, name: &str, value: Option<&str>) {
        set(MapType::HttpRequestHeaders, name, value);
    }
}

impl Headers for Response {
    fn get(&self, name: &str) -> Option<String> {
        get(MapType::HttpResponseHeaders, name)
    }

    fn set(&self, name: &str, value: Option<&str>) {
        set(MapType::HttpResponseHeaders, name, value);
    }
}

fn get(map: MapType, name: &str) -> Option<String> {
    let value = hostcalls::get_map_value_bytes(map, name).ok().flatten()?;
    String::from_utf8(value).ok()
}

fn set(map: MapType, name: &str, value: Option<&str>) {
    let set = match value {
        Some(value) => hostcalls::set_map_value(map, name, Some(value)),
        None => hostcalls::remove_map_value(map, name),
    };
    if let Err(status) = set {
        log::error!("the host refused to set the header `{name}`: {status:?}");
    }
}
