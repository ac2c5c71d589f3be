//! Every limit of the filter, with its reason.

/// Rules in a configuration: one bit each in the table that finds the candidates
/// for a byte.
pub(crate) const MAX_RULES: usize = 64;

/// Bytes of a literal. Bounds what is withheld at the end of a chunk.
pub(crate) const MAX_LITERAL_BYTES: usize = 1024;

/// Bytes that a regex may match. A regex is tried afresh at every place where it
/// can begin, so this bounds the work for a byte of the body, too.
pub(crate) const MAX_REGEX_MATCH_BYTES: usize = 256;

/// Bytes of memory for one compiled regex, and for its compilation.
pub(crate) const MAX_REGEX_MEMORY: usize = 1 << 20;

/// Bytes of a body that are held back in the host's buffer while the message's
/// announced trailers keep the end of a chunk from being withheld in the filter.
/// Well below the 1 MiB at which Envoy refuses a buffered body.
pub(crate) const MAX_HELD_BYTES: usize = 256 << 10;

/// Bytes of an e-mail address before the `@` (RFC 5321, section 4.5.3.1.1).
pub(crate) const MAX_EMAIL_LOCAL_BYTES: usize = 64;

/// Bytes of a domain name (RFC 1035, section 2.3.4).
pub(crate) const MAX_DOMAIN_BYTES: usize = 253;

/// Bytes between two dots of a domain name (RFC 1035, section 2.3.4).
pub(crate) const MAX_LABEL_BYTES: usize = 63;

/// Digits of a payment card number (ISO/IEC 7812-1); the shortest in use have 13.
pub(crate) const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Characters that must follow `Bearer` before they are taken for a token: words
/// of a text that speaks of bearers are shorter, tokens are longer.
pub(crate) const MIN_TOKEN_CHARS: usize = 16;

/// Blanks between `Bearer` and the token.
pub(crate) const MAX_TOKEN_BLANKS: usize = 4;
