//! Payment card numbers: 13 to 19 digits with a right check digit, in one run or in
//! groups as they are printed on a card.

use super::window::is_word;
use super::{Found, Match, Window};
use crate::limits::CARD_DIGITS;

/// Digits of a group behind the first one, as `4-6-5` and `4-4-4-4-3` have them.
const GROUP_DIGITS: std::ops::RangeInclusive<usize> = 3..=6;
const FIRST_GROUP_DIGITS: usize = 4;

/// The longest number that begins here. One in groups has the same single blank,
/// plus or hyphen between all of them.
pub(super) fn find(window: &Window<'_>) -> Found {
    if window.before() == Some(b'.') {
        return Ok(None); // decimals
    }
    let mut digits = Vec::with_capacity(*CARD_DIGITS.end());
    let mut separator = None;
    let mut offset = 0;
    let mut longest = None;
    loop {
        let group_start = digits.len();
        while let Some(digit @ b'0'..=b'9') = window.at(offset)? {
            if digits.len() == *CARD_DIGITS.end() {
                return Ok(longest);
            }
            digits.push(digit - b'0');
            offset += 1;
        }
        let group = digits.len() - group_start;
        if separator.is_some() && !GROUP_DIGITS.contains(&group) {
            return Ok(longest);
        }
        let next = window.at(offset)?;
        let ends = !next.is_some_and(is_word);
        if ends && CARD_DIGITS.contains(&digits.len()) && has_check_digit(&digits) {
            longest = Some(Match::of(offset));
        }
        let goes_on = matches!(next, Some(b' ' | b'-' | b'+'))
            && match separator {
                None => group == FIRST_GROUP_DIGITS,
                Some(_) => next == separator,
            };
        if !goes_on {
            return Ok(longest);
        }
        separator = next;
        offset += 1;
    }
}

/// The Luhn check (ISO/IEC 7812-1, annex B): from the right, every second digit
/// counts twice, its own digits added.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum: u32 = (digits.iter().rev().enumerate())
        .map(|(place, &digit)| match place % 2 {
            0 => u32::from(digit),
            _ => u32::from(digit) * 2 % 10 + u32::from(digit) / 5,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{matched, undecided};
    use super::*;

    #[test]
    fn numbers_of_every_length_are_found() {
        for number in [
            "4222222222222",
            "378282246310005",
            "4111111111111111",
            "6304000000000000000",
        ] {
            assert_eq!(matched(find, number), Some(number.len()), "{number}");
        }
    }

    #[test]
    fn numbers_in_groups_are_found() {
        for number in [
            "4111 1111 1111 1111",
            "3782-822463-10005",
            "4111+1111+1111+1111",
        ] {
            assert_eq!(matched(find, number), Some(number.len()), "{number}");
        }
    }

    #[test]
    fn what_follows_a_number_is_not_part_of_it() {
        assert_eq!(matched(find, "4111 1111 1111 1111 12/29"), Some(19));
        assert_eq!(matched(find, "4111111111111111, 7"), Some(16));
        assert_eq!(matched(find, "4111111111111111 4111111111111111"), Some(16));
    }

    #[test]
    fn wrong_check_digits_and_other_numbers_are_left() {
        for text in [
            "4111111111111112",
            "411111111111",
            "41111111111111110000",
            "4111111111111111a",
            "4111 1111-1111 1111",
            "411 1111 1111 11111",
            "41 11 11 11 11 11 11 11",
        ] {
            assert_eq!(matched(find, text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_left() {
        assert_eq!(
            find(&Window::new(Some(b'.'), b"4111111111111111", true)),
            Ok(None)
        );
    }

    #[test]
    fn number_that_may_go_on_is_undecided() {
        assert!(undecided(find, "4111111111111111"));
        assert!(undecided(find, "4111 1111 1111 1111"));
        assert!(!undecided(find, "4111 1111 1111 1111."));
    }
}
