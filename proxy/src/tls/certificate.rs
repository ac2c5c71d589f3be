//! [`CertificateFacts`]: what a certificate says, as filters and logs see it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// What a certificate says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// As RFC 2253 writes it: the last part first.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// In hexadecimal digits.
    pub(crate) serial: String,
    pub(crate) uri_sans: Vec<String>,
    pub(crate) dns_sans: Vec<String>,
    pub(crate) email_sans: Vec<String>,
    pub(crate) ip_sans: Vec<String>,
    pub(crate) common_name: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Seconds since 1970, as `not_after`.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl CertificateFacts {
    /// Of a certificate in DER.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of(der: &[u8]) -> Result<Self, X509Error> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
        })?;
        let mut facts = Self {
            subject: rfc2253(certificate.subject()),
            issuer: rfc2253(certificate.issuer()),
            serial: hex(certificate.raw_serial()),
            uri_sans: Vec::new(),
            dns_sans: Vec::new(),
            email_sans: Vec::new(),
            ip_sans: Vec::new(),
            common_name: common_name(certificate.subject()),
            sha256: hex(&Sha256::digest(der)),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        };
        let names = certificate.subject_alternative_name()?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => facts.dns_sans.push((*name).to_owned()),
                GeneralName::URI(uri) => facts.uri_sans.push((*uri).to_owned()),
                GeneralName::RFC822Name(name) => facts.email_sans.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => facts.ip_sans.extend(ip(bytes)),
                _ => {}
            }
        }
        Ok(facts)
    }

    pub(super) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        i64::try_from(now).unwrap_or(i64::MAX) > self.not_after
    }

    /// The names that it is for, in lower case: without any among its alternative
    /// names, its common name, as in Envoy.
    pub(super) fn server_names(&self) -> Vec<String> {
        let names = match self.dns_sans.as_slice() {
            [] => self.common_name.as_slice(),
            names => names,
        };
        names.iter().map(|name| name.to_ascii_lowercase()).collect()
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(address.to_string())
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let last = name.iter_common_name().last()?;
    last.as_str().ok().map(str::to_owned)
}

/// Names of attributes as OpenSSL has them, which people know; others are written by
/// their number.
const ATTRIBUTES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// A name as RFC 2253 writes it.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.iter_rdn() {
        let attributes = part.iter().map(attribute);
        parts.push(attributes.collect::<Vec<_>>().join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(id, _)| *id == number);
    let kind = known.map_or(number.as_str(), |(_, name)| name);
    match attribute.as_str() {
        Ok(text) => format!("{kind}={}", escaped(text)),
        Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
    }
}

/// Escapes of RFC 2253, section 2.4, as OpenSSL makes them: what is not printable
/// ASCII by its bytes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' | b' ' if at == 0 => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' if at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_says_who_it_is_for() {
        let mut params = CertificateParams::new(vec!["A.example".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::URI("spiffe://example/web".try_into().unwrap()),
            SanType::Rfc822Name("a@example".try_into().unwrap()),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        ]);
        params.distinguished_name.remove(DnType::CommonName);
        for (kind, value) in [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Doe, Jane + \"Co\""),
            (DnType::CommonName, " caf\u{e9}"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let facts = CertificateFacts::of(certificate.der()).unwrap();
        let subject = r#"CN=\ caf\C3\A9,O=Doe\, Jane \+ \"Co\",C=DE"#;
        assert_eq!((&*facts.subject, &*facts.issuer), (subject, subject));
        assert_eq!(facts.dns_sans, ["A.example"]);
        assert_eq!(facts.uri_sans, ["spiffe://example/web"]);
        assert_eq!(facts.email_sans, ["a@example"]);
        assert_eq!(facts.ip_sans, ["192.0.2.1"]);
        assert_eq!(facts.server_names(), ["a.example"]);
        assert_eq!(facts.not_after, 4_102_444_800);
        assert_eq!(facts.sha256.len(), 64);
        assert!(!facts.has_expired());
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert!(CertificateFacts::of(b"-----BEGIN").is_err());
        assert!(CertificateFacts::of(&[]).is_err());
    }
}
