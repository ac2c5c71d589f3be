//! The ABI's own names and numbers (specification, `abi-versions/`; numbers as
//! in the C++ host that Envoy embeds).

/// Status that every hostcall returns, as an `i32`.
///
/// A guest built with the Rust SDK panics on a status its wrapper does not
/// list, so which one a call answers is part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such key, property, queue, metric or call.
    NotFound = 1,
    /// An argument is out of its range, or the object cannot be changed now.
    BadArgument = 2,
    /// A value cannot be encoded.
    SerializationFailure = 3,
    /// A value cannot be decoded.
    ParseFailure = 4,
    /// A pointer or length lies outside the guest's memory, or the guest's
    /// allocator failed.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The value changed since its CAS number was read.
    CasMismatch = 8,
    /// The host failed, or the call is denied to this guest.
    InternalFailure = 10,
    /// Status code of a callout whose connection broke.
    BrokenConnection = 11,
    /// This host does not offer the call.
    Unimplemented = 12,
}

impl Status {
    /// The status that a guest sees as `number`.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Ok,
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            6 => Self::InvalidMemoryAccess,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            10 => Self::InternalFailure,
            11 => Self::BrokenConnection,
            12 => Self::Unimplemented,
            _ => return None,
        })
    }
}

/// Which of the three published ABI versions a module was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbiVersion {
    /// `proxy_abi_version_0_1_0`
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    V0_2_1,
}

impl AbiVersion {
    /// Prefix of the exported function whose name carries the version.
    pub const MARKER_PREFIX: &str = "proxy_abi_version_";

    /// The version that the exported function `name` stands for.
    #[must_use]
    pub fn from_marker(name: &str) -> Option<Self> {
        match name.strip_prefix(Self::MARKER_PREFIX)? {
            "0_1_0" => Some(Self::V0_1_0),
            "0_2_0" => Some(Self::V0_2_0),
            "0_2_1" => Some(Self::V0_2_1),
            _ => None,
        }
    }
}

impl std::fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_2_1 => "0.2.1",
        })
    }
}

/// Number of a context inside one VM. 0 is the VM itself (start functions and
/// the allocator run in it); roots and streams count up from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u32);

impl ContextId {
    /// The VM itself.
    pub const VM: Self = Self(0);
}

impl std::fmt::Display for ContextId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl LogLevel {
    /// The level of this number.
    #[must_use]
    pub fn from_wire(level: u32) -> Option<Self> {
        Some(match level {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }

    const ALL: [(Self, &str); 6] = [
        (Self::Trace, "trace"),
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Warn, "warn"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
    ];
}

impl std::fmt::Display for LogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Self::ALL.iter().find(|(level, _)| level == self);
        f.pad(name.map_or("", |(_, name)| name))
    }
}

/// A word is no [`LogLevel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is one of trace, debug, info, warn, error and critical")]
pub struct NoLogLevel;

impl std::str::FromStr for LogLevel {
    type Err = NoLogLevel;

    fn from_str(word: &str) -> Result<Self, NoLogLevel> {
        let found = Self::ALL.iter().find(|(_, name)| *name == word);
        found.map(|(level, _)| *level).ok_or(NoLogLevel)
    }
}

/// A header map as hostcalls number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum MapType {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    GrpcInitialMetadata = 4,
    GrpcTrailingMetadata = 5,
    CallResponseHeaders = 6,
    CallResponseTrailers = 7,
}

impl MapType {
    /// The map of this number.
    #[must_use]
    pub fn from_wire(map: u32) -> Option<Self> {
        Some(match map {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::CallResponseHeaders,
            7 => Self::CallResponseTrailers,
            _ => return None,
        })
    }

    /// The map of an HTTP stream that this number stands for, if it is one.
    #[must_use]
    pub fn http(self) -> Option<HttpMap> {
        Some(match self {
            Self::RequestHeaders => HttpMap::RequestHeaders,
            Self::RequestTrailers => HttpMap::RequestTrailers,
            Self::ResponseHeaders => HttpMap::ResponseHeaders,
            Self::ResponseTrailers => HttpMap::ResponseTrailers,
            Self::GrpcInitialMetadata
            | Self::GrpcTrailingMetadata
            | Self::CallResponseHeaders
            | Self::CallResponseTrailers => return None,
        })
    }
}

/// The header maps that belong to an HTTP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HttpMap {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

/// A buffer as hostcalls number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum BufferType {
    HttpRequestBody = 0,
    HttpResponseBody = 1,
    DownstreamData = 2,
    UpstreamData = 3,
    CallResponseBody = 4,
    GrpcReceive = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
    CallData = 8,
}

impl BufferType {
    /// The buffer of this number.
    #[must_use]
    pub fn from_wire(buffer: u32) -> Option<Self> {
        Some(match buffer {
            0 => Self::HttpRequestBody,
            1 => Self::HttpResponseBody,
            2 => Self::DownstreamData,
            3 => Self::UpstreamData,
            4 => Self::CallResponseBody,
            5 => Self::GrpcReceive,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            8 => Self::CallData,
            _ => return None,
        })
    }
}

/// A direction of an HTTP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// The two connections that a filter on TCP stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The one to the upstream.
    Upstream,
}

/// Who has closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerType {
    /// Nobody knows.
    Unknown = 0,
    /// The proxy.
    Local = 1,
    /// The other side.
    Remote = 2,
}

/// What a filter wants after a callback of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkStatus {
    /// Go on to the next filter.
    Continue,
    /// Go no further.
    Stop,
}

/// What a filter wants after a headers callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersStatus {
    /// Pass the headers on.
    Continue,
    /// Hold the headers; body and trailers are still shown to this filter.
    StopIteration,
    /// Hold everything; over the buffer limit the stream fails.
    StopAllAndBuffer,
    /// Hold everything; over the buffer limit the sender is slowed down.
    StopAllAndWatermark,
}

/// What a filter wants after a body callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStatus {
    /// Pass on what is held and this chunk.
    Continue,
    /// Hold; the next callback sees everything held so far.
    StopAndBuffer,
    /// Hold; the next callback sees its own chunk only, the sender is slowed
    /// down over the limit.
    StopAndWatermark,
    /// Hold back, and forget this chunk.
    StopNoBuffer,
}

/// What a filter wants after a trailers callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailersStatus {
    /// Pass the trailers on, and whatever is held before them.
    Continue,
    /// Hold them.
    Stop,
}

impl HeadersStatus {
    /// The meaning of a guest's result (C++ host, `context.cc`,
    /// `convertVmCallResultToFilterHeadersStatus`; 2, "continue and end
    /// stream", is not implemented there and counts as Continue).
    #[must_use]
    pub fn from_guest(result: u32, stop_iteration_allowed: bool) -> Self {
        match result {
            0 | 2 => Self::Continue,
            1 if stop_iteration_allowed => Self::StopIteration,
            3 => Self::StopAllAndBuffer,
            _ => Self::StopAllAndWatermark,
        }
    }
}

impl BodyStatus {
    /// The meaning of a guest's result.
    #[must_use]
    pub fn from_guest(result: u32) -> Self {
        match result {
            0 => Self::Continue,
            1 => Self::StopAndBuffer,
            2 => Self::StopAndWatermark,
            _ => Self::StopNoBuffer,
        }
    }
}

impl NetworkStatus {
    /// The meaning of a guest's result.
    #[must_use]
    pub fn from_guest(result: u32) -> Self {
        if result == 0 {
            Self::Continue
        } else {
            Self::Stop
        }
    }
}

impl TrailersStatus {
    /// The meaning of a guest's result.
    #[must_use]
    pub fn from_guest(result: u32) -> Self {
        if result == 0 {
            Self::Continue
        } else {
            Self::Stop
        }
    }
}
