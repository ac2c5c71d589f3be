//! Whether what a token claims is right: who has issued it, for whom, and for when.

use serde_json::{Map, Value};

use crate::failure::Failure;

/// What is asked of claims.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    /// `iss`; any when none.
    pub(crate) issuer: Option<String>,
    /// One of them has to be in `aud`; any may when there are none. Each as
    /// [`audience`] leaves it.
    pub(crate) audiences: Vec<String>,
    /// Seconds that clocks may differ by.
    pub(crate) leeway: u64,
    /// Whether there has to be an `exp`.
    pub(crate) expiration: bool,
}

impl Demands {
    /// Judges claims at `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in Envoy's order.
    pub(crate) fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<(), Failure> {
        let issuer = text(claims, "iss")?;
        text(claims, "sub")?;
        time(claims, "iat")?;
        let (not_before, expiration) = (time(claims, "nbf")?, time(claims, "exp")?);
        text(claims, "jti")?;
        let audiences = audiences(claims)?;
        if self.issuer.is_some() && self.issuer.as_deref() != issuer {
            return Err(Failure::UnknownIssuer);
        }
        if not_before.is_some_and(|time| time > now.saturating_add(self.leeway)) {
            return Err(Failure::NotYetValid);
        }
        match expiration {
            Some(time) if now > time.saturating_add(self.leeway) => return Err(Failure::Expired),
            None if self.expiration => return Err(Failure::NoExpiration),
            _ => {}
        }
        let wanted = |claimed: &str| self.audiences.iter().any(|own| own == audience(claimed));
        if !self.audiences.is_empty() && !audiences.into_iter().any(wanted) {
            return Err(Failure::Audience);
        }
        Ok(())
    }
}

/// An audience as it is compared: without the scheme and the slash at the end, as
/// in Envoy.
pub(crate) fn audience(text: &str) -> &str {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    rest.strip_suffix('/').unwrap_or(rest)
}

fn text<'c>(
    claims: &'c Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'c str>, Failure> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Failure::NotText(name)),
    }
}

/// Seconds since 1970; fractions do not count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Failure> {
    const END: f64 = i64::MAX as f64;
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match (value.as_u64(), value.as_f64()) {
        (_, None) => Err(Failure::NotNumber(name)),
        (Some(seconds), _) if i64::try_from(seconds).is_ok() => Ok(Some(seconds)),
        (None, Some(seconds)) if (0.0..END).contains(&seconds) => Ok(Some(seconds as u64)),
        _ => Err(Failure::NotTime(name)),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Failure> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().ok_or(Failure::AudienceNotText))
            .collect(),
        Some(_) => Err(Failure::AudienceNotText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn demands() -> Demands {
        Demands {
            issuer: Some("us".to_owned()),
            audiences: vec!["api".to_owned()],
            leeway: 60,
            expiration: false,
        }
    }

    fn check(demands: &Demands, claims: &str) -> Result<(), Failure> {
        let claims: Map<String, Value> = serde_json::from_str(claims).unwrap();
        demands.check(&claims, NOW)
    }

    /// Claims that are right, and further ones.
    fn with(more: &str) -> String {
        format!(r#"{{"iss": "us", "aud": ["web", "api"]{more}}}"#)
    }

    #[test]
    fn right_claims_pass() {
        for more in [
            "",
            r#", "exp": 1000001"#,
            r#", "exp": 999940, "nbf": 1000060"#,
            r#", "exp": 4102444800.5, "sub": "ada", "iat": 1, "jti": "x""#,
        ] {
            assert_eq!(check(&demands(), &with(more)), Ok(()), "{more}");
        }
        for audience in ["api", "https://api/", "http://api"] {
            let claims = format!(r#"{{"iss": "us", "aud": "{audience}"}}"#);
            assert_eq!(check(&demands(), &claims), Ok(()), "{audience}");
        }
    }

    #[test]
    fn wrong_claims_fail_for_what_is_wrong_with_them() {
        for (more, expected) in [
            (r#", "exp": 999939"#, Failure::Expired),
            (r#", "exp": 0"#, Failure::Expired),
            (r#", "nbf": 1000061"#, Failure::NotYetValid),
            (r#", "exp": "1""#, Failure::NotNumber("exp")),
            (r#", "exp": -1"#, Failure::NotTime("exp")),
            (r#", "exp": 18446744073709551616"#, Failure::NotTime("exp")),
            (r#", "nbf": 1e300"#, Failure::NotTime("nbf")),
            (r#", "iat": []"#, Failure::NotNumber("iat")),
            (r#", "sub": 1"#, Failure::NotText("sub")),
            (r#", "jti": 1"#, Failure::NotText("jti")),
            (r#", "iss": 1"#, Failure::NotText("iss")),
            (r#", "iss": "them""#, Failure::UnknownIssuer),
            (r#", "aud": "web""#, Failure::Audience),
            (r#", "aud": []"#, Failure::Audience),
            (r#", "aud": 1"#, Failure::AudienceNotText),
            (r#", "aud": ["api", 1]"#, Failure::AudienceNotText),
        ] {
            assert_eq!(check(&demands(), &with(more)), Err(expected), "{more}");
        }
        assert_eq!(
            check(&demands(), r#"{"aud": "api"}"#),
            Err(Failure::UnknownIssuer)
        );
        assert_eq!(
            check(&demands(), r#"{"iss": "us"}"#),
            Err(Failure::Audience)
        );
    }

    #[test]
    fn an_expiration_can_be_demanded() {
        let demands = Demands {
            expiration: true,
            ..Demands::default()
        };
        assert_eq!(check(&demands, "{}"), Err(Failure::NoExpiration));
        assert_eq!(check(&demands, r#"{"exp": 1000000}"#), Ok(()));
    }
}
