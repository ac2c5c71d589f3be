//! `weir man`

use std::io::{self, Write as _};

use clap::Args;

#[derive(Args)]
pub(super) struct Man {
    /// The command that the page is about, such as `run` or `filter test`; without one,
    /// Weir as a whole.
    #[arg(value_name = "COMMAND")]
    about: Vec<String>,
}

impl Man {
    /// Prints a page of the manual of `cli`, in roff.
    pub(super) fn execute(self, mut cli: clap::Command) -> io::Result<()> {
        cli.build();
        let mut page = cli;
        for name in &self.about {
            let found = page.find_subcommand(name).cloned();
            page =
                found.ok_or_else(|| io::Error::other(format!("there is no command `{name}`")))?;
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text)?;
        if self.about.is_empty() {
            text.extend_from_slice(OUTLOOK.as_bytes());
        }
        io::stdout().write_all(&text)
    }
}

const OUTLOOK: &str = "\
.SH \"EXIT STATUS\"
.TP
\\fB0\\fR
It is done; of \\fBrun\\fR: everything has drained, or a signal has ended it.
.TP
\\fB1\\fR
It has failed: a configuration is not valid, a file cannot be read, Weir does not start. Of \
\\fBdiff\\fR: something changes.
.TP
\\fB2\\fR
The command line is wrong. Of \\fBdiff\\fR: a configuration is not valid.
.SH SIGNALS
.TP
\\fBSIGTERM\\fR
Weir drains and ends; a second one ends it at once.
.TP
\\fBSIGINT\\fR
Weir ends at once.
.TP
\\fBSIGHUP\\fR
Weir reads its configuration again.
.SH ENVIRONMENT
.TP
\\fBWEIR_LOG\\fR
What is logged: a level, or levels by target, such as info,guest=debug.
.TP
\\fBNO_COLOR\\fR
If it is set, \\fBdev\\fR prints without colours also on a terminal.
.TP
\\fBDOCKER_CONFIG\\fR
The folder of the config.json with credentials that \\fBfilter push\\fR and \\fBfilter \
sign\\fR show to registries; ~/.docker otherwise.
";
