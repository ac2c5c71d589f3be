//! What a client accepts (RFC 9110, section 12.5.3).

/// Whether `accept-encoding` prefers gzip to the response as it is.
pub(crate) fn accepts_gzip(header: &str) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in header.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let quality = quality.map_or(Some(1.0), |q| q.parse::<f32>().ok());
        // a quality that is none is none at all
        let quality = quality.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0);
        let slot = match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => &mut gzip,
            "identity" => &mut identity,
            "*" => &mut any,
            _ => continue,
        };
        slot.get_or_insert(quality);
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::accepts_gzip;

    #[test]
    fn gzip_is_accepted_by_name_or_by_star() {
        for header in [
            "gzip",
            "deflate, GZIP;q=0.5",
            "br;q=1.0, gzip; q=0.8, *;q=0.1",
            "*",
            "x-gzip",
            "identity;q=0.5, gzip;q=0.5",
        ] {
            assert!(accepts_gzip(header), "{header}");
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_accepted() {
        for header in [
            "",
            "br",
            "gzip;q=0",
            "gzip;q=0, *",
            "*;q=0",
            "identity, gzip;q=0.5",
            "gzip;q=x",
            "gzip;q=2",
        ] {
            assert!(!accepts_gzip(header), "{header}");
        }
    }
}
