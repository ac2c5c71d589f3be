//! Protobuf's text form.

use miette::Diagnostic as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use weir_config::Span;

use super::locate::Places;

/// Reads a message and where its fields stand.
pub(super) fn read(
    descriptor: MessageDescriptor,
    text: &str,
) -> Result<(DynamicMessage, Places), (Span, String)> {
    match DynamicMessage::parse_text_format(descriptor, text) {
        Ok(message) => Ok((message, Places::in_text(text))),
        Err(error) => {
            let labels = error.labels().into_iter().flatten();
            let spans = labels.map(|label| {
                let start = label.offset();
                Span::new(start, start + label.len())
            });
            let end = Span::new(text.len(), text.len());
            let span = spans.min().unwrap_or(end);
            Err((span, error.to_string()))
        }
    }
}
