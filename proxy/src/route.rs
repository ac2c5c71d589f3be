//! Routing: which cluster a request goes to.

use std::time::Duration;

/// One rule of a listener.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// The path must begin with this.
    pub(crate) prefix: String,
    /// Index of the cluster in the generation.
    pub(crate) cluster: usize,
    /// From the end of the request to the end of the response; `None` for no
    /// limit.
    pub(crate) timeout: Option<Duration>,
}

/// The first route of `routes` that takes `path`.
pub(crate) fn find<'a>(routes: &'a [Route], path: &[u8]) -> Option<&'a Route> {
    routes
        .iter()
        .find(|r| path.starts_with(r.prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_whose_prefix_fits_is_taken() {
        let route = |prefix: &str, cluster| Route {
            prefix: prefix.to_owned(),
            cluster,
            timeout: None,
        };
        let routes = [route("/api/v2", 0), route("/api", 1), route("/apix", 2)];
        let cluster = |path: &str| find(&routes, path.as_bytes()).map(|r| r.cluster);
        assert_eq!(cluster("/api/v2/x"), Some(0));
        assert_eq!(cluster("/api"), Some(1));
        assert_eq!(cluster("/apix"), Some(1));
        assert_eq!(cluster("/"), None);
        assert_eq!(cluster(""), None);
    }
}
