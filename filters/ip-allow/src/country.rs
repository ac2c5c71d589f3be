//! [`Countries`]: who is let in by the country that a proxy in front names.

use filter_config::HeaderName;
use serde::Deserialize;

/// Countries, by the header that names the one of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Countries {
    pub(crate) header: HeaderName,
    #[serde(default)]
    allow: Vec<Code>,
    #[serde(default)]
    deny: Vec<Code>,
}

/// Two letters of ISO 3166, or what a proxy has in their place, such as `T1` and `XX`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Code(String);

impl TryFrom<String> for Code {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            true => Ok(Self(text)),
            false => Err("expected the two letters of a country"),
        }
    }
}

impl Countries {
    /// Whether requests from the country are let in; a request that names none is not, if
    /// only some countries are.
    pub(crate) fn let_in(&self, country: Option<&str>) -> bool {
        let within = |codes: &[Code]| {
            let country = country.unwrap_or_default().trim();
            codes
                .iter()
                .any(|code| code.0.eq_ignore_ascii_case(country))
        };
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn let_in(json: &str, country: Option<&str>) -> bool {
        let countries: Countries = filter_config::parse(Some(json.as_bytes())).unwrap();
        countries.let_in(country)
    }

    #[test]
    fn a_country_is_let_in_by_its_code() {
        let some = r#"{"header": "cf-ipcountry", "allow": ["DE", "fr"]}"#;
        for (country, expected) in [
            (Some("DE"), true),
            (Some(" de "), true),
            (Some("FR"), true),
            (Some("US"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(let_in(some, country), expected, "{country:?}");
        }
        let all_but = r#"{"header": "cf-ipcountry", "deny": ["T1"]}"#;
        assert!(!let_in(all_but, Some("t1")));
        assert!(let_in(all_but, Some("DE")) && let_in(all_but, None));
    }

    #[test]
    fn a_code_has_two_letters() {
        let json = br#"{"header": "x", "allow": ["Germany"]}"#;
        let refusal = filter_config::parse::<Countries>(Some(json)).unwrap_err();
        assert!(refusal.to_string().contains("two letters"), "{refusal}");
    }
}
