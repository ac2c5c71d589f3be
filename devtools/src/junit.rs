//! A report as `JUnit`'s XML, which CI systems read.

use std::fmt::Write as _;

use crate::report::{Report, TestResult, Verdict};

/// The report of `suite`.
pub(crate) fn xml(suite: &str, report: &Report) -> String {
    let count = |verdict: fn(&Verdict) -> bool| {
        report
            .tests
            .iter()
            .filter(|test| verdict(&test.verdict))
            .count()
    };
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let ignored = count(|verdict| *verdict == Verdict::Ignored);
    let (tests, seconds) = (report.tests.len(), report.took.as_secs_f64());
    let name = escaped(suite);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" \
         skipped=\"{ignored}\" time=\"{seconds:.6}\">"
    );
    for test in &report.tests {
        case(&mut xml, &name, test);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, suite: &str, test: &TestResult) {
    let (name, seconds) = (escaped(&test.name), test.took.as_secs_f64());
    let _ = write!(
        xml,
        "    <testcase classname=\"{suite}\" name=\"{name}\" time=\"{seconds:.6}\""
    );
    match &test.verdict {
        Verdict::Passed => xml.push_str("/>\n"),
        Verdict::Ignored => xml.push_str("><skipped/></testcase>\n"),
        Verdict::Failed(failures) => {
            xml.push_str(">\n");
            for failure in failures {
                let (message, text) = (escaped(&failure.subject), escaped(&failure.text()));
                let _ = writeln!(xml, "      <failure message=\"{message}\">{text}</failure>");
            }
            if !test.output.is_empty() {
                let output = escaped(&test.output);
                let _ = writeln!(xml, "      <system-out>{output}</system-out>");
            }
            xml.push_str("    </testcase>\n");
        }
    }
}

/// Text as XML has it; what XML cannot have at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_xml_is_escaped() {
        assert_eq!(
            escaped("<a b=\"&\">\u{1b}\n"),
            "&lt;a b=&quot;&amp;&quot;&gt;?\n"
        );
    }
}
