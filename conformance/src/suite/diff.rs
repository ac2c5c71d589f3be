//! The difference of two observations, line by line.

/// Lines of both in order: ` ` common, `-` of the first only, `+` of the second.
#[must_use]
pub fn diff(first: &[String], second: &[String]) -> Vec<String> {
    // longest common subsequence of what follows, by position in both
    let mut longest = vec![vec![0_usize; second.len() + 1]; first.len() + 1];
    for (i, line) in first.iter().enumerate().rev() {
        for (j, other) in second.iter().enumerate().rev() {
            longest[i][j] = if line == other {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            lines.push(format!("  {}", first[i]));
            i += 1;
            j += 1;
        } else if i < first.len() && (j == second.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(format!("- {}", first[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", second[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_side_are_marked() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            diff(&lines("a b c"), &lines("a x c d")),
            ["  a", "- b", "+ x", "  c", "+ d"]
        );
    }
}
