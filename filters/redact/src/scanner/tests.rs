use super::*;
use crate::config::Config;
use crate::limits::MAX_LITERAL_BYTES;

const EVERYTHING: &str = r#"{"rules": [
    {"detect": "bearer_token"},
    {"detect": "credit_card", "keep_last": 4},
    {"detect": "email", "replacement": "[email]"},
    {"detect": "ipv4", "replacement": "[ip]"},
    {"literal": "swordfish", "ignore_case": true, "replacement": "[word]"},
    {"literal": "sword", "replacement": "[short]"},
    {"literal": "aab", "replacement": "[aab]"},
    {"regex": "\\bkey-[0-9a-f]{4,8}\\b", "replacement": "[key]"},
    {"regex": "(?m)^#[^\n]{1,20}$", "replacement": "[comment]"}
]}"#;

/// Text in which every rule of [`EVERYTHING`] matches, nearly matches, and matches
/// next to another one.
const SAMPLE: &str = concat!(
    "# a comment\nswordfish SWORDFISH swordfis sword Sword\n",
    r#"{"mail":"bob@example.com","text":"a\nbob@example.com\u00e9bob@example.com\\n"}"#,
    "\ncard=4111 1111 1111 1111&card=4111-1111-1111-1112&next%3D378282246310005\n",
    "user%40example.com%0Aroot@localhost, <a.b+c@d.example.org.>, x@y@z.com 10.0.0.1:80 1.2.3.4.5\n",
    "Authorization: Bearer abcdefghijklmnopqrstuvwxyz.0123456789/+==, bearer of news\n",
    r#"{"t":"Bearer abcdefghijklmnop\/qrst%2Fuvw"} key-0123 key-0123456789 key-abcdef0 xkey-0123"#,
    "\naaab aabaab key-\u{e9} \u{1f600}4111111111111111\u{1f600} %41%4 100%user@example.com\n",
    "# not a comment because it is too long\n#end",
);

fn rules(json: &str) -> Rc<Rules> {
    let mut config: Config = filter_config::parse(Some(json.as_bytes())).unwrap();
    Rc::new(config.take_rules())
}

fn scanner(json: &str) -> Scanner {
    Scanner::new(rules(json))
}

fn redact_chunks<'a>(rules: &Rc<Rules>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut scanner = Scanner::new(Rc::clone(rules));
    let mut output = Vec::new();
    for chunk in chunks {
        scanner.push(chunk, &mut output);
        assert!(
            scanner.withheld.len() <= MAX_LITERAL_BYTES,
            "withholds too much"
        );
    }
    scanner.finish(&mut output);
    assert!(!scanner.withholds());
    output
}

fn redact(rules: &str, text: &str) -> String {
    let rules = self::rules(&format!(r#"{{"rules": [{rules}]}}"#));
    String::from_utf8(redact_chunks(&rules, [text.as_bytes()])).unwrap()
}

/// A small generator of reproducible numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from(drawn).unwrap() % bound
    }

    fn cut<'a>(&mut self, mut text: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        while !text.is_empty() {
            // a chunk may be empty, as the last callback of a body often is
            let (chunk, rest) = text.split_at(self.below(longest + 1).min(text.len()));
            chunks.push(chunk);
            text = rest;
        }
        chunks
    }
}

#[test]
fn sample_is_redacted_as_a_reader_would() {
    let output = String::from_utf8(redact_chunks(&rules(EVERYTHING), [SAMPLE.as_bytes()])).unwrap();
    let expected = concat!(
        "[comment]\n[word] [word] [short]fis [short] Sword\n",
        r#"{"mail":"[email]","text":"a\n[email]\u00e9[email]\\n"}"#,
        "\ncard=**** **** **** 1111&card=4111-1111-1111-1112&next%3D***********0005\n",
        "[email]%0Aroot@localhost, <[email].>, x@[email] [ip]:80 1.2.3.4.5\n",
        "Authorization: Bearer [redacted], bearer of news\n",
        r#"{"t":"Bearer [redacted]"} [key] key-0123456789 [key] xkey-0123"#,
        "\na[aab] [aab][aab] key-\u{e9} \u{1f600}************1111\u{1f600} %41%4 100%[email]\n",
        "# not a comment because it is too long\n[comment]",
    );
    assert_eq!(output, expected);
}

#[test]
fn output_does_not_depend_on_one_cut_anywhere() {
    let rules = rules(EVERYTHING);
    let whole = redact_chunks(&rules, [SAMPLE.as_bytes()]);
    for at in 0..=SAMPLE.len() {
        let (first, second) = SAMPLE.as_bytes().split_at(at);
        assert_eq!(redact_chunks(&rules, [first, second]), whole, "cut at {at}");
    }
}

#[test]
fn output_does_not_depend_on_the_size_of_chunks() {
    let rules = rules(EVERYTHING);
    let whole = redact_chunks(&rules, [SAMPLE.as_bytes()]);
    for size in 1..64 {
        let chunks = SAMPLE.as_bytes().chunks(size);
        assert_eq!(redact_chunks(&rules, chunks), whole, "chunks of {size}");
    }
}

#[test]
fn output_does_not_depend_on_any_cut_of_any_text() {
    const PIECES: [&str; 40] = [
        "bob",
        "@",
        "example",
        ".",
        "com",
        "%40",
        "%",
        "\\",
        "u00e9",
        "n",
        " ",
        "\n",
        "-",
        "+",
        "4111",
        "1111",
        "111",
        "378282246310005",
        "4111 1111 1111 1111",
        "2",
        "10.0.0",
        "255",
        "Bearer",
        "bearer ",
        "abcdefghijklmnop",
        "/",
        "=",
        "key-",
        "0123",
        "abcdef",
        "sword",
        "fish",
        "a",
        "b",
        "#",
        "\u{e9}",
        "_",
        "xn--",
        "%2F",
        "\0",
    ];
    let rules = rules(EVERYTHING);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..2000 {
        let pieces = 1 + random.below(30);
        let text: String = (0..pieces)
            .map(|_| PIECES[random.below(PIECES.len())])
            .collect();
        let whole = redact_chunks(&rules, [text.as_bytes()]);
        for longest in [1, 3, 9, 40] {
            let chunks = random.cut(text.as_bytes(), longest);
            assert_eq!(
                redact_chunks(&rules, chunks.iter().copied()),
                whole,
                "round {round}: {chunks:?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_pass_unchanged() {
    let bytes: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
    let chunks = bytes.chunks(7);
    let rules = rules(r#"{"rules": [{"detect": "email"}]}"#);
    assert_eq!(redact_chunks(&rules, chunks), bytes);
}

#[test]
fn nothing_is_withheld_when_nothing_can_begin() {
    let mut scanner = scanner(EVERYTHING);
    let mut output = Vec::new();
    scanner.push(b"data: {}\n\n", &mut output);
    assert!(!scanner.withholds());
    assert_eq!(output, b"data: {}\n\n");
}

#[test]
fn what_is_decided_does_not_wait_for_the_rest() {
    let mut scanner = scanner(EVERYTHING);
    let mut output = Vec::new();
    scanner.push(b"mail to bob@exam", &mut output);
    assert_eq!(output, b"mail to ");
    scanner.push(b"ple.com.", &mut output);
    assert_eq!(output, b"mail to ");
    scanner.push(b" Bye", &mut output);
    assert_eq!(output, b"mail to [email]. ");
    scanner.finish(&mut output);
    assert_eq!(output, b"mail to [email]. Bye");
}

#[test]
fn token_longer_than_any_window_is_dropped_as_it_streams() {
    let mut scanner = scanner(r#"{"rules": [{"detect": "bearer_token"}]}"#);
    let mut output = Vec::new();
    scanner.push(b"Bearer 0123456789abcdef", &mut output);
    assert_eq!(output, b"Bearer [redacted]");
    for _ in 0..100 {
        scanner.push(&[b'x'; 1000], &mut output);
    }
    scanner.push(b"\"}", &mut output);
    assert_eq!(output, b"Bearer [redacted]\"}");
    assert_eq!(scanner.take_redactions(), 1);
}

#[test]
fn first_rule_wins_at_one_place_and_the_first_place_wins() {
    let short_first = r#"{"literal": "ab", "replacement": "1"},
                         {"literal": "abc", "replacement": "2"}"#;
    assert_eq!(redact(short_first, "abc"), "1c");
    let long_first = r#"{"literal": "abc", "replacement": "2"},
                        {"literal": "ab", "replacement": "1"}"#;
    assert_eq!(redact(long_first, "abcabd"), "21d");
    let later = r#"{"literal": "bc", "replacement": "1"}, {"literal": "ab", "replacement": "2"}"#;
    assert_eq!(redact(later, "abc"), "2c");
}

#[test]
fn output_of_a_rule_is_not_searched_again() {
    assert_eq!(
        redact(r#"{"literal": "a", "replacement": "aa"}"#, "aba"),
        "aabaa"
    );
}

#[test]
fn escape_in_front_of_a_word_stays_whole() {
    let rules = r#"{"detect": "email", "replacement": "X"}"#;
    assert_eq!(redact(rules, r"\nbob@example.com"), r"\nX");
    assert_eq!(redact(rules, r"\\nbob@example.com"), r"\\X");
    assert_eq!(redact(rules, r"\u000abob@example.com"), r"\u000aX");
    assert_eq!(redact(rules, "%3Dbob%40example.com"), "%3DX");
}

#[test]
fn literals_and_regexes_see_escapes_as_they_are() {
    assert_eq!(redact(r#"{"literal": "nbob"}"#, r"\nbob"), r"\[redacted]");
    assert_eq!(
        redact(r#"{"regex": "%2[fF]"}, {"detect": "email"}"#, "a%2Fb"),
        "a[redacted]b"
    );
}

#[test]
fn redactions_are_counted() {
    let mut scanner = scanner(EVERYTHING);
    let mut output = Vec::new();
    scanner.push(b"sword sword 10.0.0.1 ", &mut output);
    assert_eq!(scanner.take_redactions(), 3);
    assert_eq!(scanner.take_redactions(), 0);
}
