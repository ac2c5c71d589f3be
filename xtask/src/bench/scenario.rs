//! What proxies are put through.

/// A proxy that is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Weir,
    Envoy,
    Nginx,
    /// Weir that does itself what the filters do.
    Native,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weir => "Weir",
            Self::Envoy => "Envoy",
            Self::Nginx => "nginx",
            Self::Native => "Weir, native",
        }
    }
}

/// Those that run filters.
const WITH_FILTERS: &[Kind] = &[Kind::Weir, Kind::Envoy];
const ALL: &[Kind] = &[Kind::Weir, Kind::Envoy, Kind::Nginx];
/// What Weir can do itself too.
const WITH_NATIVE: &[Kind] = &[Kind::Weir, Kind::Envoy, Kind::Native];

/// What a proxy does, and what it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    /// For `--only`.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) filters: Filters,
    pub(super) path: &'static str,
    /// Bytes of body of each request.
    pub(super) body: usize,
    pub(super) http2: bool,
    /// Routes in front of the one that is asked for.
    pub(super) routes: usize,
    /// Another configuration, once a second.
    pub(super) reloads: bool,
    /// Requests that fail are part of it.
    pub(super) fails: bool,
    /// What becomes of a VM that has failed; `None` for what is done by default.
    pub(super) failure_policy: Option<&'static str>,
    /// What is in a response, head or body, if all is well.
    pub(super) mark: &'static str,
    pub(super) kinds: &'static [Kind],
}

/// Scenarios that differ in nothing but how many hello filters there are, and how many.
const CHAINS: [(&str, usize); 4] = [("plain", 0), ("hello", 1), ("hello-5", 5), ("hello-20", 20)];

/// From one chain to the next longer one.
pub(super) struct Extension {
    /// Names of the shorter and of the longer one.
    pub(super) chains: [&'static str; 2],
    few: usize,
    many: usize,
}

/// From each of [`CHAINS`] to the next.
pub(super) fn extensions() -> impl Iterator<Item = Extension> {
    let longer = CHAINS.into_iter().skip(1);
    let pairs = CHAINS.into_iter().zip(longer);
    pairs.map(|((shorter, few), (longer, many))| Extension {
        chains: [shorter, longer],
        few,
        many,
    })
}

impl Extension {
    /// For people.
    pub(super) fn title(&self) -> String {
        format!("from {} to {}", self.few, self.many)
    }

    /// Filters that the longer one has more.
    pub(super) fn added(&self) -> usize {
        self.many - self.few
    }
}

impl Scenario {
    /// Whether it is one of [`CHAINS`].
    pub(super) fn is_chain(&self) -> bool {
        CHAINS.iter().any(|(name, _)| *name == self.name)
    }
}

/// A chain of filters, each of which has a VM.
#[derive(Clone, Copy)]
pub(super) enum Filters {
    /// So many times `hello`, which sets one header in each direction.
    Hello(usize),
    /// A filter of the module `bench`, by its name.
    Bench(&'static str),
    /// Of a module, with a configuration.
    Module(&'static str, &'static str),
    /// So many modules, no two the same.
    Distinct(usize),
}

const PLAIN: Scenario = Scenario {
    name: "plain",
    title: "plain proxy",
    filters: Filters::Hello(0),
    path: "/catalogue/shoes?size=42",
    body: 0,
    http2: false,
    routes: 0,
    reloads: false,
    fails: false,
    failure_policy: Some("FAIL_RELOAD"),
    mark: "",
    kinds: ALL,
};

const HELLO: Scenario = Scenario {
    name: "hello",
    title: "one hello filter",
    filters: Filters::Hello(1),
    mark: "x-hello: from Weir",
    kinds: WITH_FILTERS,
    ..PLAIN
};

const TRAPS: Scenario = Scenario {
    name: "traps",
    title: "1 % traps, VMs started again after a second",
    filters: Filters::Bench("trap"),
    fails: true,
    mark: "",
    ..HELLO
};

pub(super) const SCENARIOS: [Scenario; 16] = [
    PLAIN,
    Scenario {
        kinds: WITH_NATIVE,
        ..HELLO
    },
    Scenario {
        name: "hello-5",
        title: "five hello filters",
        filters: Filters::Hello(5),
        ..HELLO
    },
    Scenario {
        name: "hello-20",
        title: "twenty hello filters",
        filters: Filters::Hello(20),
        ..HELLO
    },
    Scenario {
        name: "headers",
        title: "ten headers read, two written",
        filters: Filters::Bench("headers"),
        mark: "x-written: by the filter",
        ..HELLO
    },
    Scenario {
        name: "read-body",
        title: "16 KiB of request body read",
        filters: Filters::Bench("read-body"),
        body: 16 << 10,
        mark: "",
        ..HELLO
    },
    Scenario {
        name: "rewrite-body",
        title: "64 KiB of response body rewritten",
        filters: Filters::Bench("rewrite-body"),
        path: "/bytes/65536",
        mark: "AAAA",
        ..HELLO
    },
    Scenario {
        name: "local-response",
        title: "local response",
        filters: Filters::Bench("local-response"),
        mark: "from the filter",
        ..HELLO
    },
    Scenario {
        name: "callout",
        title: "one HTTP callout",
        filters: Filters::Bench("callout"),
        mark: "",
        ..HELLO
    },
    Scenario {
        name: "rate-limit",
        title: "rate limit in shared data",
        filters: Filters::Module("rate-limit", r#"{"limit": 1000000000, "by": "all"}"#),
        mark: "",
        ..HELLO
    },
    Scenario {
        name: "http2",
        title: "HTTP/2 from the client",
        http2: true,
        ..PLAIN
    },
    Scenario {
        name: "routes",
        title: "the last of 1,000 routes",
        path: "/route-1000/shoes?size=42",
        routes: 1000,
        ..PLAIN
    },
    Scenario {
        name: "reload",
        title: "one hello filter, another configuration each second",
        reloads: true,
        ..HELLO
    },
    TRAPS,
    Scenario {
        name: "traps-default",
        title: "1 % traps, no failure policy",
        failure_policy: None,
        ..TRAPS
    },
    Scenario {
        name: "modules-100",
        title: "100 different modules",
        filters: Filters::Distinct(100),
        ..HELLO
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different() {
        for (place, scenario) in SCENARIOS.iter().enumerate() {
            let others = &SCENARIOS[..place];
            assert!(others.iter().all(|other| other.name != scenario.name));
        }
    }
}
