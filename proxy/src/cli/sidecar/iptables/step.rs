//! [`Step`]: what changes the system's rules, to be carried out or printed.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

/// The words of a command; none of them means anything to a shell but `!`, which is
/// never the first.
type Words = Vec<String>;

/// Something that leaves the system in a certain state, whatever it was in before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Gives tables what a text says, each of them at once.
    Restore {
        command: Words,
        text: String,
    },
    Run(Words),
    /// Does something unless a command succeeds.
    Unless {
        probe: Words,
        then: Words,
    },
    /// Does something unless a command prints anything.
    UnlessPrinted {
        probe: Words,
        then: Words,
    },
    /// Does something until it fails: there is no more of it.
    UntilGone(Words),
    /// Does something if a command succeeds.
    If {
        probe: Words,
        then: Vec<Step>,
    },
}

/// Why rules are not what they should be.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum StepError {
    #[error("cannot run `{program}`: {source}; it is of the package {package}")]
    Program {
        program: String,
        package: &'static str,
        source: io::Error,
    },
    #[error("`{command}` has failed: {said}; rules are changed with CAP_NET_ADMIN, as root has it")]
    Failed { command: String, said: String },
}

/// Parts a command at its spaces.
pub(super) fn words(command: &str) -> Words {
    command.split_whitespace().map(str::to_owned).collect()
}

impl Step {
    pub(super) fn run(&self) -> Result<(), StepError> {
        match self {
            Self::Restore { command, text } => checked(command, text),
            Self::Run(command) => checked(command, ""),
            Self::Unless { probe, then } => {
                if output(probe, "")?.status.success() {
                    return Ok(());
                }
                checked(then, "")
            }
            Self::UnlessPrinted { probe, then } => {
                if !output(probe, "")?.stdout.is_empty() {
                    return Ok(());
                }
                checked(then, "")
            }
            Self::UntilGone(command) => {
                while output(command, "")?.status.success() {}
                Ok(())
            }
            Self::If { probe, then } => {
                if !output(probe, "")?.status.success() {
                    return Ok(());
                }
                then.iter().try_for_each(Self::run)
            }
        }
    }

    /// Writes it for a shell.
    fn write(&self, script: &mut String, indent: &str) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Restore { command, text } => {
                let command = command.join(" ");
                writeln!(script, "{indent}{command} <<'END'\n{text}END")
            }
            Self::Run(command) => writeln!(script, "{indent}{}", command.join(" ")),
            Self::Unless { probe, then } => {
                let (probe, then) = (probe.join(" "), then.join(" "));
                writeln!(script, "{indent}{probe} 2>/dev/null || {then}")
            }
            Self::UnlessPrinted { probe, then } => {
                let (probe, then) = (probe.join(" "), then.join(" "));
                writeln!(
                    script,
                    "{indent}[ -n \"$({probe} 2>/dev/null)\" ] || {then}"
                )
            }
            Self::UntilGone(command) => {
                let command = command.join(" ");
                writeln!(script, "{indent}while {command} 2>/dev/null; do :; done")
            }
            Self::If { probe, then } => {
                let probe = probe.join(" ");
                let _ = writeln!(script, "{indent}if {probe} >/dev/null 2>&1; then");
                then.iter().for_each(|step| step.write(script, indent));
                writeln!(script, "{indent}fi")
            }
        };
    }
}

/// What does the same in a shell.
pub(super) fn script(steps: &[Step]) -> String {
    let mut script = "set -e\n".to_owned();
    steps.iter().for_each(|step| step.write(&mut script, ""));
    script
}

fn checked(command: &[String], input: &str) -> Result<(), StepError> {
    let output = output(command, input)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    Err(StepError::Failed {
        command: command.join(" "),
        said: if said.is_empty() {
            output.status.to_string()
        } else {
            said.to_owned()
        },
    })
}

fn output(command: &[String], input: &str) -> Result<Output, StepError> {
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let failed = |source| StepError::Program {
        program: program.to_owned(),
        package: if program == "ip" {
            "iproute2"
        } else {
            "iptables"
        },
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read it says why itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(failed)
}
