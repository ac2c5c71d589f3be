//! Limits of HTTP/2 connections.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, Fields, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`http2`",
    keys: &[
        ("max_concurrent_streams", "100"),
        ("initial_stream_window_size", "256KiB"),
        ("initial_connection_window_size", "1MiB"),
        ("allow_connect", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

/// The smallest window, which is HTTP/2's own default (RFC 9113, 6.9.2).
pub(crate) const MIN_WINDOW: u32 = 65_535;

/// The largest window (RFC 9113, 6.9.1).
pub(crate) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// `http2`: limits of the HTTP/2 connections of a listener or cluster. `None`
/// leaves them to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Options {
    /// `max_concurrent_streams`: at least 1.
    pub max_concurrent_streams: Option<u32>,
    /// `initial_stream_window_size`: bytes of one stream that may be under way,
    /// from 65535.
    pub initial_stream_window_size: Option<u32>,
    /// `initial_connection_window_size`: the same of all streams of a
    /// connection.
    pub initial_connection_window_size: Option<u32>,
    /// `allow_connect`: whether a stream may switch to another protocol (RFC
    /// 8441). Default: true; from Envoy's configuration: false.
    pub allow_connect: bool,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_concurrent_streams: None,
            initial_stream_window_size: None,
            initial_connection_window_size: None,
            allow_connect: true,
        }
    }
}

impl FromYaml for Http2Options {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let streams = fields.valid::<u32>("max_concurrent_streams");
        if let Some(streams) = streams.filter(|streams| streams.value == 0) {
            let message = "`max_concurrent_streams` must be more than 0";
            fields.problems.push(Problem::new(streams.span, message));
        }
        Self {
            max_concurrent_streams: streams.map(|streams| streams.value),
            initial_stream_window_size: window(&mut fields, "initial_stream_window_size"),
            initial_connection_window_size: window(&mut fields, "initial_connection_window_size"),
            allow_connect: fields.optional("allow_connect").unwrap_or(true),
        }
    }
}

fn window(fields: &mut Fields<'_, '_>, key: &str) -> Option<u32> {
    let size = fields.valid::<ByteSize>(key)?;
    let window = u32::try_from(size.0).ok();
    let window = window.filter(|window| (MIN_WINDOW..=MAX_WINDOW).contains(window));
    if window.is_none() {
        let message = format!("`{key}` is not between {MIN_WINDOW} and {MAX_WINDOW} bytes");
        fields.problems.push(Problem::new(size.span, message));
    }
    window
}
