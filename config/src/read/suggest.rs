//! "Did you mean …?"

use strsim::damerau_levenshtein;

/// The candidate that `word` is most likely a slip of, if one is near enough:
/// at most one edit in three characters, or a part of the name.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str> + Clone,
) -> Option<&'c str> {
    let word = snake_case(word);
    let allowed = |candidate: &str| candidate.chars().count().max(3) / 3;
    candidates
        .clone()
        .map(|candidate| {
            (
                damerau_levenshtein(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= allowed(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or_else(|| part_of_one(&word, candidates))
}

/// The only candidate that has `word` as one of its `_`-separated words.
fn part_of_one<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let mut hits = candidates.filter(|candidate| {
        let whole = format!("_{candidate}_");
        whole.contains(&format!("_{word}_"))
    });
    match (hits.next(), hits.next()) {
        (Some(hit), None) => Some(hit),
        _ => None,
    }
}

/// `rootId`, `Root-Id` and `ROOT_ID` as `root_id`.
pub(crate) fn snake_case(word: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for c in word.chars() {
        if c.is_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(if c == '-' { '_' } else { c }.to_lowercase());
    }
    out
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["name", "address", "http_filters", "root_id", "clusters"];

    fn suggest(word: &str) -> Option<&'static str> {
        nearest(word, KEYS.into_iter())
    }

    #[test]
    fn slips_and_other_spellings_are_recognised() {
        assert_eq!(suggest("adress"), Some("address"));
        assert_eq!(suggest("nmae"), Some("name"));
        assert_eq!(suggest("clustres"), Some("clusters"));
        assert_eq!(suggest("rootId"), Some("root_id"));
        assert_eq!(suggest("ROOT-ID"), Some("root_id"));
        assert_eq!(suggest("filters"), Some("http_filters"));
    }

    #[test]
    fn a_different_word_is_not_taken_for_a_slip() {
        assert_eq!(suggest("timeout"), None);
        assert_eq!(suggest("x"), None);
        assert_eq!(suggest(""), None);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
